"""Backend `padded`: torch's recurrences over padded rows on a CPU; for lstm that is oneDNN.

torch takes oneDNN only for padded input and knows no lengths there, so lengths are put around it: a
reverse pass turns each row within its own length before and after, and the last state is taken at each row's
last token. Legend of axes: see `cellgate.ops`.
"""

import torch
from torch import Tensor

from cellgate.ops.lengths import last, past_end, turned
from cellgate.ops.torch_rnn import FUNCTIONS, over_padded, parameters
from cellgate.ops.values import Cell, Inputs, State, Weights, dense

# sigmoid is exactly 0 below -104 and 1 above 17 in float32, so the gate's other terms may reach 9,800.
SHUT = 1e4


def refuses(cell: Cell, x: Inputs, weights: Weights) -> str | None:  # noqa: ARG001
    """Refuse all but float32 on a CPU."""
    if cell not in FUNCTIONS:
        return "torch has no LSTM with peepholes"
    if x.device.type != "cpu":
        return f"it runs on a CPU, x is on {x.device}"
    if x.dtype != torch.float32:
        return f"it computes in float32, x is {str(x.dtype).removeprefix('torch.')}"
    if 0 in x.shape:
        return f"torch's recurrences need a token, x is empty: {list(x.shape)}"
    return None


def run(
    cell: Cell, x: Inputs, weights: Weights, state: State, lengths: Tensor | None, reverse: bool
) -> tuple[Tensor, State]:
    """Run `cell` over x [B, T, I] -> y [B, T, H] and the last state."""
    x = dense(x)
    if lengths is None:
        y, after = over_padded(cell, turned(x, None) if reverse else x, parameters(weights), state)
        return (turned(y, None) if reverse else y), after
    past = past_end(lengths, x.shape[1])[:, :, None]
    x = x.masked_fill(past, 0)
    if reverse:
        x = turned(x, lengths)
    if cell == "lstm":
        x, weights = _holding(x, weights, past)
    y, after = over_padded(cell, x, parameters(weights), state)
    after = State(last(y, lengths, state.h), after.c)
    y = y.masked_fill(past, 0)
    return (turned(y, lengths) if reverse else y), after


def _holding(x: Tensor, weights: Weights, past: Tensor) -> tuple[Tensor, Weights]:
    """Add an input, 1 where `past` [B, T, 1], that shuts gate i and opens f: there c is carried unchanged.

    Values and gradients are exact: i = 0 and f = 1 to the last bit, and so their slopes are 0.
    """
    hidden = weights.w_h.shape[1]
    column = x.new_zeros(4, hidden)
    column[0], column[1] = -SHUT, SHUT
    w_x = torch.cat([weights.w_x, column.view(-1, 1)], 1)
    return torch.cat([x, past.to(x.dtype)], 2), weights._replace(w_x=w_x)
