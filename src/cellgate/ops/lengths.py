"""Rows of uneven length in one padded tensor. Legend of axes: see `cellgate.ops`."""

import torch
from torch import Tensor

from cellgate.ops.values import State


def past_end(lengths: Tensor, steps: int) -> Tensor:
    """Tell which of `steps` = T positions lie past their row's length: lengths [B] -> bool [B, T]."""
    return torch.arange(steps, device=lengths.device) >= lengths[:, None]


def turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse x [B, T, N] in time, each row within its own length; padding stays. Twice is the identity."""
    if lengths is None:
        return x.flip(1)
    time = torch.arange(x.shape[1], device=x.device)
    mirrored = lengths[:, None] - 1 - time
    index = torch.where(mirrored >= 0, mirrored, time)
    return x.gather(1, index[:, :, None].expand_as(x))


def last(y: Tensor, lengths: Tensor, initial: Tensor) -> Tensor:
    """Take y [B, T, H] at each row's last token, `initial` [B, H] where a row has none -> [B, H]."""
    index = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, y.shape[2])
    return torch.where((lengths == 0)[:, None], initial, y.gather(1, index).squeeze(1))


def kept(where: Tensor, old: State, new: State) -> State:
    """Take `old` in the rows where bool [B, 1] is true, `new` in the others."""
    h = torch.where(where, old.h, new.h)
    return State(h, None if old.c is None or new.c is None else torch.where(where, old.c, new.c))
