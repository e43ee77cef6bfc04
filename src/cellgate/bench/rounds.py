"""Contestants measured in turn, beside the machine's own matrix product, and noisy rounds thrown away.

A shared machine is slow for seconds at a time. So all contestants take turns within a round, a round begins and ends
with a float32 matrix product (sgemm), and a round during which that was slow does not count.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from timeit import Timer

import torch

from cellgate.config import usable_cores
from cellgate.errors import UsageError, WorkError

Call = Callable[[], object]

LEAST_SGEMM = 0.85  # of the run's best, before and after: a round below it is thrown away
_PATIENCE = 3  # times the wanted rounds are run at most
_SGEMM_WIDTH, _SGEMM_CALLS = 1536, 2  # 14 GFLOP, some 60 ms at 250 GFLOP/s
_SAMPLE_S = 0.05  # a sample lasts this long at least: one call where that is longer
_TRIALS = 3  # calls that tell how long one takes
_PAUSE_S = 0.06  # between samples: pools of threads spin for work a while after they had some, onnxruntime some 20 ms


@dataclass(frozen=True)
class Round:
    """One turn of each contestant; `figures` are seconds a call or a rate, as the benchmark has it."""

    before: float  # sgemm [GFLOP/s]
    after: float
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Kept:
    """The rounds that count, and how many do not."""

    rounds: tuple[Round, ...]
    thrown_away: int

    def median(self, contestant: str) -> float:
        """Median of a contestant's figure."""
        return statistics.median(each.figures[contestant] for each in self.rounds)

    @property
    def sgemm(self) -> float:
        """Median of sgemm around these rounds [GFLOP/s]."""
        return statistics.median(value for each in self.rounds for value in (each.before, each.after))


def gathered(measure: Callable[[int], Mapping[str, Round]], rounds: int) -> dict[str, Kept]:
    """Run measure(0), measure(1), ... (case to its round) until every case has enough good rounds.

    Three times as many are run at most. A case that has a few good rounds then is told with those few; WorkError
    where one has none, because nothing true can be said of it.
    """
    done: dict[str, list[Round]] = {}
    kept: dict[str, Kept] = {}
    for place in range(_PATIENCE * rounds):
        for case, made in measure(place).items():
            done.setdefault(case, []).append(made)
        kept = quiet(done)
        if all(len(each.rounds) >= rounds for each in kept.values()):
            break
    spoilt = [case for case, each in kept.items() if not each.rounds]
    if spoilt:
        raise WorkError(
            f"this machine is too noisy to measure {spoilt[0]}: in none of {len(done[spoilt[0]])} rounds did sgemm "
            f"reach {LEAST_SGEMM:.0%} of the run's best; run again when it is idle"
        )
    return kept


def quiet(done: Mapping[str, Sequence[Round]]) -> dict[str, Kept]:
    """Keep the rounds during which sgemm was near the best of all cases."""
    least = LEAST_SGEMM * max(max(each.before, each.after) for rounds in done.values() for each in rounds)
    found = {}
    for case, rounds in done.items():
        good = tuple(each for each in rounds if min(each.before, each.after) >= least)
        found[case] = Kept(good, len(rounds) - len(good))
    return found


def in_turn(calls: Mapping[str, Call], repeats: Mapping[str, int], place: int) -> Round:
    """Sample every contestant once, seconds a call; who begins moves on with each round's place."""
    names = list(calls)
    shift = place % len(names)
    before = sgemm_gflops()
    found = {name: sample(calls[name], repeats[name]) for name in names[shift:] + names[:shift]}
    return Round(before, sgemm_gflops(), {name: found[name] for name in names})


def sample(call: Call, repeats: int) -> float:
    """Seconds a call, the mean of some calls in a row."""
    time.sleep(_PAUSE_S)
    return Timer(call).timeit(repeats) / repeats


def repeats_of(call: Call) -> int:
    """How many calls make a sample. The first calls build what is built once, such as compiled code."""
    call()
    call()
    return 1 + int(_SAMPLE_S / min(Timer(call).repeat(_TRIALS, 1)))


def sgemm_gflops() -> float:
    """What this machine's matrix product of float32 reaches now, on the run's threads [GFLOP/s]."""
    return 2e-9 * _SGEMM_WIDTH**3 / sample(_sgemm(), _SGEMM_CALLS)


@cache
def _sgemm() -> Call:
    """Give the quickest matrix product that torch has on this machine: its BLAS's, or oneDNN's."""
    left, right = torch.rand(2, _SGEMM_WIDTH, _SGEMM_WIDTH)
    out = torch.empty_like(left)
    calls: list[Call] = [lambda: torch.mm(left, right, out=out)]
    # torch itself takes this one for Linear in compiled code only.
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        calls.append(lambda: torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], ""))
    return min(calls, key=lambda call: min(sample(call, _SGEMM_CALLS) for _ in range(_TRIALS)))


def checked_threads(threads: int | None) -> int:
    """Return the threads of a run: all usable cores where None; UsageError for more than there are cores."""
    cores = usable_cores()
    if threads is not None and threads > cores:
        raise UsageError(f"threads: this process may use {cores} cores, got {threads}; more would only wait in turn")
    return threads or cores


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch, and what takes its number of threads from torch, use this many."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def significant(value: float) -> float:
    """Round to what a measurement can tell: four digits."""
    return float(f"{value:.4g}")
