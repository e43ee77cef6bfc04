"""What training changes in the process it runs in."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers of mallopt's parameters


def keep_freed_memory() -> None:
    """Keep what a step frees for the next step, where the C library is glibc.

    It would give large pieces back and ask for them anew: the system cleared 47,000 pages in each step on imdb, a
    fifth of its time. What is kept is bounded by the largest step.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, 2**30)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Take numbers too small for full precision as 0: Adam's moments of rows seldom seen are, and cost 100 times more.

    It holds for this thread, and for good in torch's threads where they are started inside. On leaving, the caller's
    arithmetic is as it was: denormals are part of Python's floats.
    """
    before = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
