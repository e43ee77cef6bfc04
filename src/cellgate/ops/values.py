"""What a recurrence takes and gives back: the cell's name, its weights, its state."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding

from cellgate.kernel.cells import GATES, MEMORY, Cell

__all__ = ["GATES", "MEMORY", "Cell", "Inputs", "Rows", "State", "Weights", "dense"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs that repeat: position (b, t) of x [B, T, I] is table[index[b, t]]. Each is projected once."""

    table: Tensor
    """[U, I]"""
    index: Tensor
    """[B, T], int64, 0 to U-1 everywhere."""

    @property
    def shape(self) -> torch.Size:
        """B, T, I."""
        return torch.Size((*self.index.shape, self.table.shape[1]))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the inputs."""
        return self.table.dtype

    @property
    def device(self) -> torch.device:
        """Where the inputs are."""
        return self.table.device


Inputs = Tensor | Rows


def dense(x: Inputs) -> Tensor:
    """Write repeating inputs out: x [B, T, I]."""
    return embedding(x.index, x.table) if isinstance(x, Rows) else x


class Weights(NamedTuple):
    """One layer, one direction. Row blocks of H: lstm and peephole i, f, g, o; gru r, z, n; rnn one."""

    w_x: Tensor
    """[G*H, I], from the input."""
    w_h: Tensor
    """[G*H, H], from the previous output."""
    b: Tensor
    """[G*H]; the one bias that is needed."""
    b_h: Tensor | None = None
    """[H], gru only: the bias of n inside its reset gate; None is zeros."""
    p: Tensor | None = None
    """[3, H], peephole only, where it is needed: how much of the memory the gates i, f and o see."""


class State(NamedTuple):
    """All that a recurrence remembers of the tokens it has read."""

    h: Tensor
    """[B, H], the last output."""
    c: Tensor | None = None
    """[B, H], the memory of an lstm or peephole; None for gru and rnn."""
