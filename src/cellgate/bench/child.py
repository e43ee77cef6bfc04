"""Run a command as a user would, in a new process, and watch its time and memory."""

import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cellgate.errors import WorkError

_LOOK_SECONDS = 0.05
_LOOKS_BEFORE_FULL = 40  # a full look walks the whole address space: every two seconds is enough
_LAST_LINES = 5  # of stderr in a message

CELLGATE = (sys.executable, "-m", "cellgate")


@dataclass
class Memory:
    """A process's memory [bytes], kept up by a thread; the peaks are of this process alone.

    `rss` counts the pages of mapped files that lie in memory, `private` does not. `uss` and `pss` (0 where the
    system has none) are looked at every two seconds.
    """

    rss: int = 0
    peak_rss: int = 0
    peak_private: int = 0
    peak_uss: int = 0
    peak_pss: int = 0


@dataclass(frozen=True)
class Finished:
    """What a command that went well took and wrote to stdout."""

    seconds: float
    memory: Memory
    stdout: str


def run(command: Sequence[str], folder: Path, given: bytes = b"") -> Finished:
    """Run a command in `folder` with `given` as its input; WorkError with its last words where it fails."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(given)
        stdin.seek(0)
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdin=stdin, stdout=stdout, stderr=stderr)
        with ended_with_us(process), watched(process.pid) as memory:
            code = process.wait()
            seconds = time.perf_counter() - began
        stdout.seek(0)
        stderr.seek(0)
        if code:
            raise failed(command, code, stderr.read())
        return Finished(seconds, memory, stdout.read().decode("utf-8"))


def failed(command: Sequence[str], code: int, stderr: bytes) -> WorkError:
    """Say how a command ended."""
    last = " / ".join(stderr.decode("utf-8", "replace").strip().splitlines()[-_LAST_LINES:])
    return WorkError(f"`{shlex.join(command)}` ended with code {code}: {last or 'it said nothing'}")


@contextmanager
def ended_with_us(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Let no process outlive the measurement, however that ends."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def watched(pid: int) -> Iterator[Memory]:
    """Watch a process's memory in a thread.

    getrusage would not do: its peak starts at what this very process held when it forked.
    """
    memory, stop = Memory(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(pid, memory, stop), daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        stop.set()
        watcher.join()


def _watch(pid: int, memory: Memory, stop: threading.Event) -> None:
    import psutil

    looks = 0
    try:
        process = psutil.Process(pid)
        while not stop.wait(_LOOK_SECONDS if looks else 0):
            now = process.memory_info()
            if not now.rss:  # it has ended
                return
            memory.rss = now.rss
            memory.peak_rss = max(memory.peak_rss, now.rss, _high_water(pid))
            memory.peak_private = max(memory.peak_private, now.rss - getattr(now, "shared", 0))
            if looks % _LOOKS_BEFORE_FULL == 0:
                full = process.memory_full_info()
                memory.peak_uss = max(memory.peak_uss, full.uss)
                memory.peak_pss = max(memory.peak_pss, getattr(full, "pss", 0))
            looks += 1
    except psutil.Error:  # it has ended
        return


def _high_water(pid: int) -> int:
    """Peak of the resident memory [bytes] as the kernel keeps it, so that nothing between two looks is missed."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def folder_bytes(folder: Path) -> int:
    """Size of all files under a folder [bytes]."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
