"""Training that is killed and resumed ends in the same bytes; a Bundle is whole or not there."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cellgate
from cellgate.errors import UsageError
from cellgate.fit.events import Step
from cellgate.plan import Plan
from cellgate.task import find
from cellgate.training import train, train_events
from tests.conftest import TINY

# Many checkpoints and several epochs, so that a kill can come at every kind of moment.
_TRAIN = {**TINY["train"], "max_steps": 150, "checkpoint_seconds": 0.01}
_CONFIG = {**TINY, "train": _TRAIN}
_SCRIPT = """
import json, sys, cellgate
from cellgate.training import train
rows, folder, config, resume = json.loads(sys.stdin.read())
train("classify", rows, folder=folder, config=config, resume=resume)
"""


def _start(rows: list[dict[str, str]], folder: Path, *, resume: bool) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", _SCRIPT], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps([rows, str(folder), _CONFIG, resume]).encode())
    process.stdin.close()
    return process


def _weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def test_killed_at_random_moments_and_resumed_ends_in_the_same_bytes(reviews, tmp_path):
    whole = tmp_path / "whole"
    train("classify", reviews, folder=whole, config=_CONFIG)
    folder, work = tmp_path / "killed", tmp_path / "killed.training"
    moments = random.Random()  # truly random: a failure prints where it was killed
    killed_at: list[float] = []
    kills = 0
    while not (folder / "bundle.json").exists():
        process = _start(reviews, folder, resume=work.exists())
        # Wait until the work has begun, then kill anywhere in training, exporting or saving; four times at most.
        while process.poll() is None and not work.exists():
            time.sleep(0.01)
        killed_at.append(moments.uniform(0.0, 6.0) if kills < 4 else 600.0)
        try:
            process.wait(killed_at[-1])
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            assert process.returncode == 0, process.stderr.read().decode() if process.stderr else killed_at
        if process.stderr is not None:
            process.stderr.close()
    assert kills, f"no kill came in time: {killed_at}"
    assert _weights(folder) == _weights(whole), f"killed after {killed_at} s"
    assert (folder / "model.onnx").read_bytes() == (whole / "model.onnx").read_bytes()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(reviews, tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        config = {**TINY, "train": {**TINY["train"], "seed": seed}}
        train("classify", reviews, folder=tmp_path / name, config=config)
    assert _weights(tmp_path / "a") == _weights(tmp_path / "b")
    assert _weights(tmp_path / "a") != _weights(tmp_path / "c")


def _plan(rows: list[dict[str, str]], folder: Path, seed: int = 0) -> Plan:
    task = find("classify")
    config = task.config.parse({**_CONFIG, "train": {**_TRAIN, "seed": seed}}, "test")
    return Plan("classify", config, [task.record(**row) for row in rows], None, folder, {"rows": len(rows)})


def test_closing_the_events_stops_with_a_checkpoint_that_is_gone_on_from(reviews, tmp_path):
    train("classify", reviews, folder=tmp_path / "whole", config=_CONFIG)
    folder = tmp_path / "stopped"
    events = train_events(_plan(reviews, folder))
    for event in events:
        if isinstance(event, Step) and event.step == 40:
            break
    events.close()
    assert not folder.exists()
    steps = [e.step for e in train_events(_plan(reviews, folder), resume=True) if isinstance(e, Step)]
    assert steps[0] == 41
    assert _weights(folder) == _weights(tmp_path / "whole")
    assert not (tmp_path / "stopped.training").exists()


@pytest.mark.parametrize(("last", "epochs"), [(12, 1), (36, 3)])
def test_stopping_at_the_very_last_step_loses_nothing(reviews, tmp_path, last, epochs):
    def plan(folder: Path) -> Plan:
        few = {**TINY["train"], "max_steps": last, "epochs": epochs}
        config = find("classify").config.parse({**TINY, "train": few}, "test")
        return Plan("classify", config, [find("classify").read(row) for row in reviews], None, folder, {})

    for _ in train_events(plan(tmp_path / "whole")):
        pass
    events = train_events(plan(tmp_path / "stopped"))
    next(event for event in events if isinstance(event, Step) and event.step == last)
    events.close()
    for _ in train_events(plan(tmp_path / "stopped"), resume=True):
        pass
    assert _weights(tmp_path / "stopped") == _weights(tmp_path / "whole")


def test_an_unfinished_training_is_not_thrown_away_nor_mixed_with_another(reviews, tmp_path):
    folder = tmp_path / "b"
    events = train_events(_plan(reviews, folder))
    next(event for event in events if isinstance(event, Step))
    events.close()
    with pytest.raises(UsageError, match="--resume, or delete"):
        next(train_events(_plan(reviews, folder)))
    with pytest.raises(UsageError, match=r"config differs .* train.seed was 0, is 3"):
        next(train_events(_plan(reviews, folder, seed=3), resume=True))
    with pytest.raises(UsageError, match=r"data differs .* rows was 400, is 399"):
        next(train_events(_plan(reviews[1:], folder), resume=True))
    with pytest.raises(UsageError, match="nothing to resume"):
        next(train_events(_plan(reviews, tmp_path / "other"), resume=True))


def test_a_folder_of_the_users_is_never_overwritten(reviews, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("dear diary")
    with pytest.raises(UsageError, match="is no Bundle; it is not overwritten"):
        train("classify", reviews, folder=tmp_path / "letters")
    assert (tmp_path / "letters" / "mine.txt").read_text() == "dear diary"


def test_a_crash_between_the_two_renames_leaves_the_old_bundle(bundle, reviews, tmp_path, monkeypatch):
    folder = tmp_path / "b"
    train("classify", reviews, folder=folder, config=TINY)
    before = _weights(folder)
    real = Path.rename

    def crash(self, target):
        if self.name == "bundle":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        train("classify", reviews, folder=folder, config={**TINY, "train": {**TINY["train"], "seed": 5}})
    monkeypatch.undo()
    assert not folder.exists()
    assert cellgate.open(folder).predict(["fine"])
    train("classify", reviews, folder=folder, config={**TINY, "train": {**TINY["train"], "seed": 5}}, resume=True)
    assert _weights(folder) != before


def test_a_full_disk_is_said_and_the_old_bundle_stands(reviews, tmp_path):
    """A file-size limit makes writing fail as a full disk does."""
    folder = tmp_path / "b"
    train("classify", reviews, folder=folder, config=TINY)
    before = _weights(folder)
    script = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
{_SCRIPT}
"""
    config = {**TINY, "train": {**TINY["train"], "seed": 9}}
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([reviews, str(folder), config, False]).encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    assert b"the disk is full at" in done.stderr
    assert _weights(folder) == before
