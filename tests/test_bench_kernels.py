"""The benchmark of kernels: contestants agree, noisy rounds are thrown away, and its record is drawn. No timings."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from cellgate import bench, kernel
from cellgate.bench import kernels, neighbour, one_token, peers, results, rounds
from cellgate.bench.figures import Target, times
from cellgate.bench.peers import Shape
from cellgate.bench.rounds import Round
from cellgate.bench.sizes import Sizes
from cellgate.cli import run
from cellgate.config import usable_cores
from cellgate.errors import UsageError, WorkError
from cellgate.ops import lstm

SHAPES = (Shape(4, 9, 5, 8), Shape(3, 6, 8, 4))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short samples, a small matrix product, and no noise."""
    monkeypatch.setattr(rounds, "_SAMPLE_S", 0)
    monkeypatch.setattr(rounds, "_PAUSE_S", 0)
    monkeypatch.setattr(rounds, "sgemm_gflops", lambda: 100.0)
    monkeypatch.setattr(peers, "keras_refuses", lambda threads: "keras and jax not installed")


@pytest.fixture
def record(quick: None) -> dict[str, object]:
    return kernels.kernels(Sizes(threads=1, rounds=2), SHAPES, widths=(8,))


# what is timed


def test_a_drawn_layer_is_a_padded_batch_and_the_same_every_time() -> None:
    layer = peers.drawn(Shape(64, 40, 3, 5))
    assert layer.lengths.min() >= 10
    assert layer.lengths.max() == 40
    assert layer.tokens == layer.inside.sum() == layer.lengths.sum()
    assert not layer.d_y.numpy()[~layer.inside].any()
    assert torch.equal(layer.x, peers.drawn(Shape(64, 40, 3, 5)).x)
    assert layer.gflop == pytest.approx(2 * layer.tokens * 20 * (3 + 5) / 1e9)


@pytest.mark.parametrize("shape", [*SHAPES, Shape(1, 1, 2, 3)])
def test_all_contestants_agree(shape: Shape) -> None:
    layer = peers.drawn(shape)
    found, left_out = peers.contestants(layer, threads=usable_cores())
    assert list(found)[:4] == ["ours", "padded", "packed", "onnxruntime"]
    assert ("keras" in found) != ("keras" in left_out)
    peers.check_agreement(layer, found)
    y, _ = lstm(layer.x, layer.weights, lengths=layer.lengths)
    for contestant in found.values():
        given = np.asarray(contestant.y(contestant.forward()))
        np.testing.assert_allclose(given[layer.inside], y.numpy()[layer.inside], atol=1e-5)


def test_a_contestant_that_is_wrong_stops_the_benchmark() -> None:
    layer, other = peers.drawn(SHAPES[0], seed=0), peers.drawn(SHAPES[0], seed=1)
    ours, _ = peers.contestants(layer, threads=1)
    wrong, _ = peers.contestants(other, threads=1)
    with pytest.raises(WorkError, match=r"y of packed differs from ours by .* at 4, 9, 5, 8"):
        peers.check_agreement(layer, {"ours": ours["ours"], "packed": wrong["packed"]})


def test_keras_says_why_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name == "jax" else find_spec("torch"))
    assert peers.keras_refuses(1) == "jax not installed"
    monkeypatch.setattr(peers, "find_spec", lambda name: find_spec("torch"))
    assert "usable cores, this run has" in str(peers.keras_refuses(usable_cores() + 1))
    backend = type("Keras", (), {"backend": type("Backend", (), {"backend": staticmethod(lambda: "torch")})})
    monkeypatch.setattr(importlib, "import_module", lambda name: backend)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert peers.keras_refuses(usable_cores()) == "Keras runs on torch here; set KERAS_BACKEND=jax"


@pytest.mark.skipif(find_spec("keras") is None or find_spec("jax") is None, reason="keras and jax are not installed")
def test_keras_takes_part() -> None:
    found, left_out = peers.contestants(peers.drawn(SHAPES[0]), usable_cores())
    assert "keras" in found
    assert not left_out


def test_one_token_is_a_step_from_a_state() -> None:
    found, left_out = one_token.steps(one_token.token(8), threads=1)
    assert {"ours", "onnxruntime"} <= set(found)
    assert {"kernel"} == ({"kernel"} & set(found)) ^ set(left_out)
    assert all(np.size(np.asarray(step())) == 8 for step in found.values())


def test_one_token_needs_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "missing", "it was not built")
    found, left_out = one_token.steps(one_token.token(8), threads=1)
    assert (list(found), left_out) == (["ours", "onnxruntime"], {"kernel": "it was not built"})


def test_a_step_that_is_wrong_stops_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_token, "_onnxruntime", lambda given, threads: lambda: np.ones(8))
    with pytest.raises(WorkError, match="one token: onnxruntime differs from ours by"):
        one_token.steps(one_token.token(8), threads=1)


# which rounds count


def fixed(figures: Mapping[str, float], sgemms: list[tuple[float, float]]) -> Iterator[Round]:
    for place, (before, after) in enumerate(sgemms):
        yield Round(before, after, {name: value + place for name, value in figures.items()})


def test_rounds_below_the_best_sgemm_are_thrown_away() -> None:
    made = fixed({"ours": 1.0}, [(100, 100), (84.9, 100), (100, 84.9), (85, 85), (50, 50)])
    kept = rounds.quiet({"a": list(made), "b": [Round(10, 10, {"ours": 1.0})]})
    assert [each.figures["ours"] for each in kept["a"].rounds] == [1.0, 4.0]
    assert (kept["a"].thrown_away, kept["b"].thrown_away) == (3, 1)
    assert kept["a"].median("ours") == 2.5
    assert kept["a"].sgemm == pytest.approx(92.5)


def test_rounds_are_run_until_enough_are_good() -> None:
    made = list(fixed({"ours": 1.0}, [(10, 10), (100, 100), (10, 10), (99, 100), (100, 100)]))
    kept = rounds.gathered(lambda place: {"a": made[place]}, 2)  # the fifth is not needed
    assert len(kept["a"].rounds) == kept["a"].thrown_away == 2


def test_after_three_times_as_many_rounds_few_good_ones_will_do_but_none_will_not() -> None:
    asked: list[int] = []

    def noisy(place: int) -> dict[str, Round]:
        asked.append(place)
        return {"a": Round(100 if place == 0 else 20, 100, {"ours": 1.0}), "b": Round(100, 100, {"ours": 1.0})}

    kept = rounds.gathered(noisy, 2)
    assert asked == list(range(6))
    assert (len(kept["a"].rounds), kept["a"].thrown_away) == (1, 5)
    with pytest.raises(WorkError, match="too noisy to measure b: in none of 6 rounds did sgemm reach 85%"):
        rounds.gathered(lambda place: noisy(place) | {"b": Round(70, 100, {"ours": 1.0})}, 2)


def test_who_begins_moves_on_and_order_on_paper_stays(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    turns: list[str] = []
    calls = {name: lambda name=name: turns.append(name) for name in "abc"}
    made = [rounds.in_turn(calls, dict.fromkeys("abc", 1), place) for place in range(4)]
    assert "".join(turns) == "abc" + "bca" + "cab" + "abc"
    assert all(list(each.figures) == ["a", "b", "c"] for each in made)


def test_geometric_means() -> None:
    shapes = [
        {
            "forward": {"over_ours": {"padded": padded}},
            "forward_backward": {"over_ours": {"padded": 1.0, "packed": 5.0}},
        }
        for padded in (2.0, 8.0)
    ]
    means = {"forward": {"padded": 4.0}, "forward_backward": {"padded": 1.0, "packed": 5.0}}
    assert kernels._geometric_means(shapes) == means
    assert rounds.significant(123456.7) == 123500
    assert rounds.significant(0.0123456) == 0.01235


def test_the_matrix_product_is_measured_and_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with rounds.torch_threads(1):
        assert torch.get_num_threads() == 1
        assert rounds.sgemm_gflops() > 0
    assert torch.get_num_threads() == before
    assert rounds.checked_threads(None) == usable_cores()
    with pytest.raises(UsageError, match="may use"):
        rounds.checked_threads(usable_cores() + 1)


def test_sizes_are_more_than_nothing() -> None:
    with pytest.raises(UsageError, match="max-steps: expected more than 0, got 0"):
        Sizes(max_steps=0)
    with pytest.raises(UsageError, match=r"gigabytes: expected more than 0, got -1\.5"):
        Sizes(gigabytes=-1.5)


# the neighbour


def test_a_neighbour_is_busy_and_gone_afterwards(quick: None) -> None:
    if usable_cores() < 2:
        pytest.skip("this machine lends one core: there is none for a neighbour")
    seen: list[tuple[int, int]] = []

    def call() -> None:
        children = [child for child in psutil.Process().children() if "getppid" in " ".join(child.cmdline())]
        seen.append((torch.get_num_threads(), len(children)))

    told = neighbour.beside_a_neighbour(call, 2)
    assert isinstance(told, dict)
    assert told.keys() == {"one_thread_ms", "two_threads_ms", "two_over_one"}
    assert {threads for threads, _ in seen} >= {1, 2}
    assert {children for _, children in seen} == {1}
    assert not [child for child in psutil.Process().children() if "getppid" in " ".join(child.cmdline())]


def test_a_neighbour_is_gone_even_where_the_measurement_fails(quick: None) -> None:
    def fail() -> None:
        raise WorkError("no such luck")

    if usable_cores() < 2:
        pytest.skip("this machine lends one core: there is none for a neighbour")
    with pytest.raises(WorkError, match="no such luck"):
        neighbour.beside_a_neighbour(fail, 1)
    assert not [child for child in psutil.Process().children() if "getppid" in " ".join(child.cmdline())]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say who a parent was")
def test_a_neighbour_ends_when_we_are_killed() -> None:
    script = (
        "import subprocess, sys, os, time; from cellgate.bench.neighbour import _BUSY; "
        "p = subprocess.Popen([sys.executable, '-c', _BUSY, str(os.getpid())], stdout=subprocess.PIPE); "
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
    for _ in range(200):
        if not child.is_running() or child.status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    raise AssertionError("the neighbour outlived us")


def test_one_core_has_no_room_for_a_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour, "usable_cores", lambda: 1)
    assert neighbour.beside_a_neighbour(lambda: None, 1) == "needs two cores, one for the neighbour"


# the record


def test_a_record_says_all(record: dict[str, object]) -> None:
    told = json.loads(json.dumps(record))
    assert (told["bench"], told["threads"], told["rounds"]) == ("kernels", 1, 2)
    assert (told["rounds_run"], told["rounds_thrown_away"]) == (6, 0)  # two shapes and one width, twice
    assert "--threads 1 --rounds 2" in told["command"]
    assert {"machine", "commit", "date", "versions", "load_before", "gomp_spincount"} <= told.keys()
    assert told["backends"][0]["backend"] == "cudnn"
    assert sum(verdict["serves"] for verdict in told["backends"]) == 1
    assert told["left_out"]["keras"] == "keras and jax not installed"
    serving = next(verdict["backend"] for verdict in told["backends"] if verdict["serves"])
    for shape, given in zip(told["shapes"], SHAPES, strict=True):
        assert shape["shape"] == list(given)
        assert (shape["rounds_kept"], shape["rounds_thrown_away"], shape["backend"]) == (2, 0, serving)
        assert list(shape["forward"]["ms"]) == ["ours", "padded", "packed", "onnxruntime"]
        assert list(shape["forward_backward"]["ms"]) == ["ours", "padded", "packed"]
        for measure, factor in (("forward", 1), ("forward_backward", 3)):
            taken = shape[measure]
            for name, ratio in taken["over_ours"].items():
                assert ratio == pytest.approx(taken["ms"][name] / taken["ms"]["ours"], rel=2e-3)
            work = factor * 2e-9 * shape["tokens"] * 4 * given.hidden * (given.inputs + given.hidden)
            assert taken["gflops"] == pytest.approx(work / (1e-3 * taken["ms"]["ours"]), rel=2e-3)
            assert taken["share_of_sgemm"] == pytest.approx(taken["gflops"] / 100, rel=2e-3)
    for measure, means in told["geometric_means"].items():
        for name, mean in means.items():
            ratios = [shape[measure]["over_ours"][name] for shape in told["shapes"]]
            assert mean == pytest.approx((ratios[0] * ratios[1]) ** 0.5, rel=2e-3)
    assert told["one_token"][0]["width"] == 8
    assert {"ours", "onnxruntime"} <= told["one_token"][0]["us"].keys()


def test_a_record_is_drawn_with_targets(record: dict[str, object]) -> None:
    told = json.loads(json.dumps(record))
    told |= {"neighbour": {"two_over_one": 1.5}, "rounds_run": 70, "rounds_thrown_away": 12, "sgemm_gflops": 251.3}
    told["geometric_means"] = {"forward": {"padded": 2.5}, "forward_backward": {"padded": 1.25, "packed": 6.0}}
    told["shapes"][0] |= {"shape": [32, 100, 128, 256]}
    told["shapes"][0]["forward_backward"] = {
        "ms": {"ours": 40.0, "padded": 60.0, "packed": 120.0},
        "over_ours": {"padded": 1.5, "packed": 3.0},
        "share_of_sgemm": 0.45,
    }
    told["one_token"] = [{"width": 256, "us": {"ours": 20.0, "kernel": 10.0}, "over_ours": {"kernel": 0.5}}]
    page = results.render([told])
    assert "| 1 | 251 | 1.50 x (target ≤ 1.30 x: not reached) | 70 | 12 |" in page
    assert "Keras on JAX: keras and jax not installed" in page
    assert (
        "| 32, 100, 128, 256 | forward and backward | 40.0 | 60.0, 1.50 x (target ≥ 1.50 x: reached) | 120, 3.00 x | - "
        "| 45 % (target ≥ 55 %: not reached) |" in page
    )
    assert "| geometric mean | forward | - | 2.50 x | - | - | - |" in page
    means = "| 1.25 x (target ≥ 2.50 x: not reached) | 6.00 x (target ≥ 7.00 x: not reached) | - | - |"
    assert f"| geometric mean | forward and backward | - {means}" in page
    assert "| one token, I = H | ours [us] | ours, numpy [us] |" in page
    assert "| 256 | 20.0 | 10.0, 0.50 x |" in page
    machine = {**told["machine"], "cpu": "Abacus 3000"}
    both = results.render([told, {**told, "machine": machine, "commit": "abc1234"}])
    assert "| 256 | 20.0 | 10.0, 0.50 x | A |" in both
    assert "| 256 | 20.0 | 10.0, 0.50 x | B |" in both


def test_a_target_is_reached_at_its_limit() -> None:
    assert Target(3, at_least=True).beside(3, times) == "3.00 x (target ≥ 3.00 x: reached)"
    assert Target(3, at_least=False).beside(3.1, times) == "3.10 x (target ≤ 3.00 x: not reached)"


# the command


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_the_command_shows_a_table_or_one_json_line(
    words: list[str],
    record: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[Sizes] = []

    def measured(sizes: Sizes) -> dict[str, object]:
        asked.append(sizes)
        return record

    monkeypatch.setattr(kernels, "kernels", measured)
    path = tmp_path / "results.jsonl"
    assert run(["bench", "kernels", "--threads", "1", "--rounds", "3", "--record", str(path), *words]) == 0
    assert asked == [Sizes(threads=1, rounds=3)]
    out = capsys.readouterr().out
    if words:
        assert json.loads(out) == record
    else:
        assert out.startswith("kernels\nthreads ")
        for part in ("4, 9, 5, 8", "ours [ms]", "geometric", "one token, I = H", "served by"):
            assert part in out
    assert results.read(path) == [record]


def test_a_limit_is_shown_as_facts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stamp = {"machine": {"cpu": "Abacus", "cores": 2, "memory_gb": 24}, "commit": "abc1234", "date": "2026-01-02"}
    record = {"bench": "startup", "help_seconds": 0.25, "predict_seconds": 1.5, **stamp}
    monkeypatch.setattr("cellgate.cli.bench.run", lambda *given: iter([record]))
    assert run(["bench", "startup"]) == 0
    out = capsys.readouterr().out
    assert "0.25 s (target ≤ 0.3 s: reached)" in out
    assert "Abacus, 2 cores, 24 GB" in out
    assert "`" not in out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["kernel"], "no benchmark 'kernel'; did you mean 'kernels'?"),
        (["kernels", "streem"], "no benchmark 'streem'; did you mean 'stream'?"),
        (["kernels", "--threads", "0"], "threads: expected more than 0, got 0"),
        (["kernels", "--threads", "4096"], "threads: this process may use"),
        (["kernels", "--round", "3"], "did you mean '--rounds'?"),
    ],
)
def test_a_wrong_command_stops_before_any_work(words: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", *words]) == 2
    assert part in capsys.readouterr().err


def test_names_are_known_without_torch() -> None:
    script = (
        "import sys; from cellgate import bench; from cellgate.cli import bench as door; "
        "assert 'torch' not in sys.modules; print(bench.names('speed'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(list(bench.SPEED))
