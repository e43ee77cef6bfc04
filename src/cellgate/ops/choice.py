"""The table of backends, and the choice among them: the first that does not refuse serves."""

from typing import NamedTuple, Protocol

from torch import Tensor

from cellgate.errors import UsageError, listed, nearest
from cellgate.ops import cudnn, native, padded, reference
from cellgate.ops.values import Cell, Inputs, State, Weights


class Backend(Protocol):
    """A module with these two functions. Their arguments have passed `cellgate.ops.checks`."""

    def refuses(self, cell: Cell, x: Inputs, weights: Weights) -> str | None:
        """Say in a sentence why it cannot serve, from shapes, dtype and device alone; None if it can."""

    def run(
        self, cell: Cell, x: Inputs, weights: Weights, state: State, lengths: Tensor | None, reverse: bool
    ) -> tuple[Tensor, State]:
        """Give y [B, T, H] and the last state, differentiably; lengths None: every row has T tokens."""


BACKENDS: dict[str, Backend] = {"cudnn": cudnn, "native": native, "padded": padded, "reference": reference}


class Verdict(NamedTuple):
    """What one backend says to an input."""

    backend: str
    refusal: str | None
    serves: bool


def backends(cell: Cell, x: Inputs, weights: Weights) -> tuple[Verdict, ...]:
    """Tell, in the order they are asked, which backend serves x [B, T, I] and why others refuse it."""
    refusals = {name: backend.refuses(cell, x, weights) for name, backend in BACKENDS.items()}
    serving = next(name for name, refusal in refusals.items() if refusal is None)
    return tuple(Verdict(name, refusal, name == serving) for name, refusal in refusals.items())


def chosen(cell: Cell, x: Inputs, weights: Weights, name: str | None) -> Backend:
    """Return the backend called `name`, or where it is None the first that does not refuse."""
    if name is None:
        return next(backend for backend in BACKENDS.values() if backend.refuses(cell, x, weights) is None)
    check_name(name)
    refusal = BACKENDS[name].refuses(cell, x, weights)
    if refusal is not None:
        raise UsageError(f"backend {name!r} refuses this {cell}: {refusal}")
    return BACKENDS[name]


def check_name(name: str) -> None:
    """Stop at a backend that does not exist."""
    if name not in BACKENDS:
        raise UsageError(f"no backend {name!r}{nearest(name, BACKENDS)}; backends: {listed(BACKENDS)}")
