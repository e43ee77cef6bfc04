"""What training changes in the process it runs in, and what it must leave as it was."""

import platform
import subprocess
import sys

import pytest
import torch

from cellgate.fit.process import flushed_denormals
from cellgate.plan import Plan
from cellgate.task import find
from cellgate.training import train_events
from tests.conftest import TINY


def _half_of_the_smallest() -> float:
    return sys.float_info.min / 2


def test_denormals_are_zero_inside_only():
    assert _half_of_the_smallest() > 0
    with flushed_denormals():
        assert _half_of_the_smallest() == 0
        assert (torch.tensor([1e-38]) / 10).item() == 0
    assert _half_of_the_smallest() > 0


def test_denormals_are_back_after_an_error_and_stay_off_for_who_had_them_off():
    with pytest.raises(KeyError), flushed_denormals():
        raise KeyError
    assert _half_of_the_smallest() > 0
    try:
        torch.set_flush_denormal(True)
        with flushed_denormals():
            pass
        assert _half_of_the_smallest() == 0
    finally:
        torch.set_flush_denormal(False)


def test_arithmetic_is_exact_between_the_events_of_training(reviews, tmp_path):
    task = find("classify")
    records = [task.record(**row) for row in reviews]
    plan = Plan("classify", task.config.parse(TINY, "test"), records, None, tmp_path / "bundle", {})
    inexact = [event for event in train_events(plan) if _half_of_the_smallest() == 0]
    assert not inexact


_FAULTS = """
import resource, sys, torch
from cellgate.fit.process import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for step in range(40):
    if step == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep freed memory")
def test_freed_memory_is_kept_for_the_next_step():
    given_back, kept = (
        int(subprocess.check_output([sys.executable, "-c", _FAULTS, each])) for each in ("give back", "keep")
    )
    assert kept < given_back / 10
