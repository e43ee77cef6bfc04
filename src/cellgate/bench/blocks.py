"""A contestant of training in a process of its own, asked for blocks of steps by JSON lines through pipes.

When it is ready it says {"versions": {...}}; then, to each {"batches": [[row, ...], ...]}, a step a batch:
{"seconds": 0.8, "tokens": 12345}.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cellgate.bench.child import Memory, ended_with_us, failed, watched

Batches = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Contestant:
    """One that has begun."""

    process: "subprocess.Popen[bytes]"
    command: Sequence[str]
    words: IO[bytes]  # its stderr
    memory: Memory
    versions: Mapping[str, str]

    def take(self, batches: Batches) -> tuple[float, int]:
        """Let it take a step a batch; returns seconds and tokens. WorkError with its last words where it ends."""
        told = _asked(self.process, self.command, self.words, {"batches": batches})
        return told["seconds"], told["tokens"]


@contextmanager
def contestant(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Contestant]:
    """Start one in `folder` and wait until it is ready; it ends with the block."""
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command,
            bufsize=0,  # what was not written to one that has ended must not be tried again
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            env=dict(environment),
        )
        with process, ended_with_us(process), watched(process.pid) as memory:
            versions = _asked(process, command, words, None)["versions"]
            yield Contestant(process, command, words, memory, versions)


def _asked(
    process: "subprocess.Popen[bytes]", command: Sequence[str], words: IO[bytes], given: object
) -> dict[str, Any]:
    """Write a line, unless there is nothing to say, and read one."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("a contestant is asked through pipes")
    try:
        if given is not None:
            process.stdin.write(json.dumps(given).encode() + b"\n")
            process.stdin.flush()
        told: dict[str, Any] = json.loads(process.stdout.readline())
    except (BrokenPipeError, ValueError):  # it has ended, or it says what is no answer
        process.kill()
        words.seek(0)
        raise failed(command, process.wait(), words.read()) from None
    return told
