"""A busy neighbour: another process keeps one core busy while we compute on two threads.

Threads that wait for each other by spinning lose everything then: each waits for one that has no core.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cellgate.bench.child import ended_with_us
from cellgate.bench.rounds import Call, repeats_of, sample, significant, torch_threads
from cellgate.config import usable_cores

# It ends with us even where we are killed and cannot end it: then its parent is another.
_BUSY = """
import os, sys
print("busy", flush=True)
while os.getppid() == int(sys.argv[1]):
    sum(range(100_000))
"""


def beside_a_neighbour(call: Call, rounds: int) -> dict[str, Any] | str:
    """Time a call [ms] on one thread and on two, in turn, beside a busy process; a sentence where that cannot be."""
    if usable_cores() < 2:
        return "needs two cores, one for the neighbour"
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with _busy_core():
        repeats = repeats_of(call)
        for _ in range(rounds):
            for threads, found in seconds.items():
                with torch_threads(threads):
                    call()  # pools of threads are made anew
                    found.append(sample(call, repeats))
    one, two = (statistics.median(seconds[threads]) for threads in (1, 2))
    return {
        "one_thread_ms": significant(1e3 * one),
        "two_threads_ms": significant(1e3 * two),
        "two_over_one": significant(two / one),
    }


@contextmanager
def _busy_core() -> Iterator[None]:
    command = [sys.executable, "-c", _BUSY, str(os.getpid())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    with ended_with_us(process):
        if process.stdout is not None:
            with process.stdout as said:
                said.readline()  # it has begun
        yield
