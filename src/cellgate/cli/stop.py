"""Ctrl-C in training: the first one asks, the second one kills."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

_SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it, and a process that is killed cannot bring it back


@dataclass
class Stop:
    """Which signal asked this process to stop; None: none did."""

    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """What a process that obeyed a signal returns: 130 for Ctrl-C."""
        return 128 + (self.signal or 0)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Note SIGINT and SIGTERM instead of dying of them; a second one has its usual effect."""
    stop = Stop()

    def note(number: int, _frame: FrameType | None) -> None:
        stop.signal = number
        for known in before:
            signal.signal(known, signal.SIG_DFL)
        cursor = _SHOW_CURSOR if sys.stderr.isatty() else b""
        with suppress(OSError):  # whoever reads stderr may be gone
            os.write(2, cursor + b"\nstopping after this step; once more to stop at once\n")

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
