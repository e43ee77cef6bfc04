"""What a recurrence takes and gives back: the cell's name, its weights, its state."""

from typing import Literal, NamedTuple

from torch import Tensor

Cell = Literal["lstm", "gru", "rnn"]

GATES: dict[Cell, int] = {"lstm": 4, "gru": 3, "rnn": 1}


class Weights(NamedTuple):
    """One layer, one direction. Row blocks of H: lstm i, f, g, o; gru r, z, n; rnn one."""

    w_x: Tensor
    """[G*H, I], from the input."""
    w_h: Tensor
    """[G*H, H], from the previous output."""
    b: Tensor
    """[G*H]; the one bias that is needed."""
    b_h: Tensor | None = None
    """[H], gru only: the bias of n inside its reset gate; None is zeros."""


class State(NamedTuple):
    """All that a recurrence remembers of the tokens it has read."""

    h: Tensor
    """[B, H], the last output."""
    c: Tensor | None = None
    """[B, H], the memory of an lstm; None for gru and rnn."""
