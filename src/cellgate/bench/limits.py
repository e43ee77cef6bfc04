"""Limits: what installing, starting, streaming and training on a large file take, each in processes of their own."""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cellgate
from cellgate.bench.child import CELLGATE, Memory, ended_with_us, failed, folder_bytes, run, watched
from cellgate.bench.invented import LABELS, check_room, write_large
from cellgate.bench.machine import Record, require_extra, stamp
from cellgate.bench.sizes import Sizes
from cellgate.errors import UsageError, WorkError, listed, nearest

_PACKAGE = Path(cellgate.__file__).parent
_SAMPLES = _PACKAGE / "samples" / "questions.csv"
_READ_BYTES = 1 << 16

# A process of its own, so that neither its memory nor its time is mixed with ours: `lines.txt` again and again.
_REPEAT = """
import sys
lines = open(sys.argv[1], "rb").readlines()
whole, rest = divmod(int(sys.argv[2]), len(lines))
for _ in range(whole):
    sys.stdout.buffer.writelines(lines)
sys.stdout.buffer.writelines(lines[:rest])
"""


def names() -> list[str]:
    """Names of the limits."""
    return list(_LIMITS)


def limits(chosen: Sequence[str], sizes: Sizes | None = None) -> Iterator[Record]:
    """Yield one record a limit, as each is measured."""
    require_extra()
    for name in chosen:
        if name not in _LIMITS:
            raise UsageError(f"no limit {name!r}{nearest(name, _LIMITS) or f'; limits: {listed(_LIMITS)}'}")
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="cellgate-bench-") as folder:
            record = _LIMITS[name](Path(folder), sizes or Sizes())
        yield {"bench": name, **record}


def _install(folder: Path, _: Sizes) -> Record:
    """Size of all that installing without extras brings: packages, scripts and compiled bytecode; not pip itself."""
    source = _source()
    about = stamp(["pip", "install", ".", *_constraints(source)])
    installed = _core_install(folder / "venv", source)
    return {"size_mb": round(installed.added / 1e6, 1), "install_seconds": round(installed.seconds, 1), **about}


def _startup(folder: Path, sizes: Sizes) -> Record:
    """Time to the end of `--help`, and of one answered text, where torch is not installed."""
    about = stamp(["cellgate", "predict", "questions", "TEXT"])
    (text,) = islice(_sample_texts(), 1)
    _train_samples(folder)
    installed = _core_install(folder / "venv", _source())
    absent = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is not None)"
    run([str(installed.python), "-c", absent], folder)
    program = str(installed.python.with_name("cellgate"))

    def median_s(words: Sequence[str]) -> float:
        return round(statistics.median(run([program, *words], folder).seconds for _ in range(sizes.repeats)), 3)

    help_s, answer_s = median_s(["--help"]), median_s(["predict", "questions", text])
    return {"help_seconds": help_s, "predict_seconds": answer_s, "repeats": sizes.repeats, **about}


def _lines(folder: Path, sizes: Sizes) -> Record:
    """Rate and memory of one `predict` process that answers a long stream of short lines."""
    command = [*CELLGATE, "predict", "questions", "-"]
    about = stamp(command)
    _train_samples(folder)
    lines = folder / "lines.txt"
    lines.write_text("".join(f"{text}\n" for text in _sample_texts()), "utf-8", newline="\n")
    repeat = [sys.executable, "-c", _REPEAT, str(lines), str(sizes.lines)]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as stderr, _piped(repeat, command, folder, stderr.fileno()) as process:
        with watched(process.pid) as memory:
            answers = _drain(process, memory, sizes.lines)
            code = process.wait()
            seconds = time.perf_counter() - began
        stderr.seek(0)
        if code:
            raise failed(command, code, stderr.read())
    if answers.lines != sizes.lines:
        raise WorkError(f"`cellgate predict` wrote {answers.lines:,} answers to {sizes.lines:,} lines; they must match")
    return {
        "lines": sizes.lines,
        "lines_per_second": round(sizes.lines / seconds),
        "seconds": round(seconds, 1),
        "peak_mb": round(memory.peak_rss / 1e6, 1),
        "mb_at_a_tenth": round(answers.early.rss / 1e6, 1),
        "mb_at_the_end": round(memory.rss / 1e6, 1),
        **about,
    }


def _stream(folder: Path, sizes: Sizes) -> Record:
    """Cost of a token and memory of a session, after a few tokens of one text and after many."""
    command = [sys.executable, "-m", "cellgate.bench.session", "questions", "text.txt", str(sizes.tokens)]
    about = stamp(["python", *command[1:]])
    _train_samples(folder, "--encoder.directions", "1")
    (folder / "text.txt").write_text(" ".join(_sample_texts()), "utf-8")
    return {**json.loads(run(command, folder).stdout), **about}


def _large(folder: Path, sizes: Sizes) -> Record:
    """Memory of a training on an invented file larger than it may take.

    `peak_mb` is the target's figure: all resident memory, mapped files included. `peak_private_mb` leaves out the
    pages of mapped files, which the system can drop; `peak_uss_mb` and `peak_pss_mb` are sampled.
    """
    check_room(folder, sizes.gigabytes)
    write_large(folder / "large.csv", sizes.gigabytes)
    command = [*CELLGATE, "train", "classify", "large.csv", "--text", "text", "--label", "label", "-o", "large"]
    command += ["--train.max-steps", str(sizes.max_steps)]
    about = stamp(command)
    done = run(command, folder)
    return {
        "gigabytes": sizes.gigabytes,
        "labels": len(LABELS),
        "seconds": round(done.seconds, 1),
        "peak_mb": round(done.memory.peak_rss / 1e6, 1),
        "peak_private_mb": round(done.memory.peak_private / 1e6, 1),
        "peak_uss_mb": round(done.memory.peak_uss / 1e6, 1),
        "peak_pss_mb": round(done.memory.peak_pss / 1e6, 1),
        **about,
    }


_LIMITS: dict[str, Callable[[Path, Sizes], Record]] = {
    "install": _install,
    "startup": _startup,
    "lines": _lines,
    "stream": _stream,
    "large": _large,
}


@dataclass(frozen=True)
class _Installed:
    python: Path
    added: int  # bytes
    seconds: float


def _source() -> Path:
    """Return the checkout this package runs from."""
    root = _PACKAGE.parents[1]
    if not (root / "pyproject.toml").is_file():
        raise UsageError(f"this benchmark installs Cellgate from its checkout, and {root} is none; run it from one")
    return root


def _constraints(source: Path) -> list[str]:
    return ["-c", "constraints.txt"] if (source / "constraints.txt").is_file() else []


def _core_install(venv: Path, source: Path) -> _Installed:
    """Install the checkout without extras into a new virtual environment."""
    run([sys.executable, "-m", "venv", str(venv)], source)
    python = venv / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    before = folder_bytes(venv)
    done = run([str(python), "-m", "pip", "install", "--quiet", ".", *_constraints(source)], source)
    return _Installed(python, folder_bytes(venv) - before, done.seconds)


def _train_samples(folder: Path, *settings: str) -> None:
    """Train the Bundle `questions` in `folder` on the sample questions."""
    columns = ["--text", "text", "--label", "intent"]
    run([*CELLGATE, "train", "classify", str(_SAMPLES), *columns, "-o", "questions", *settings], folder)


def _sample_texts() -> Iterator[str]:
    with _SAMPLES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield " ".join(row["text"].split())


@contextmanager
def _piped(
    writer: Sequence[str], reader: Sequence[str], folder: Path, stderr: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `writer | reader` in `folder`; yields the reader, whose output is a pipe."""
    source = subprocess.Popen(writer, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with ended_with_us(source):
        process = subprocess.Popen(reader, cwd=folder, stdin=source.stdout, stdout=subprocess.PIPE, stderr=stderr)
        if source.stdout:
            source.stdout.close()  # only the reader holds it now: the writer ends when the reader does
        with ended_with_us(process):
            yield process


@dataclass
class _Answers:
    lines: int = 0
    early: Memory = field(default_factory=Memory)  # when a tenth was answered


def _drain(process: "subprocess.Popen[bytes]", memory: Memory, lines: int) -> _Answers:
    """Count the answers as they come."""
    answers = _Answers()
    if process.stdout:
        with process.stdout as stream:
            while block := os.read(stream.fileno(), _READ_BYTES):
                answers.lines += block.count(b"\n")
                if not answers.early.rss and answers.lines * 10 >= lines:
                    answers.early = copy(memory)
    return answers
