"""Backend `reference`: the equations, one step at a time, in any dtype on any device.

Every other backend is tested against this one, in values and in gradients.
Legend of axes: see `cellgate.ops`.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import linear

from cellgate.ops.lengths import kept, past_end
from cellgate.ops.values import Cell, Inputs, State, Weights, dense

Step = Callable[[Tensor, Tensor, Any, Weights], State]
"""(x [B, I], h [B, H], c, weights) -> the state after this token; c [B, H] is None for gru and rnn."""


def refuses(cell: Cell, x: Inputs, weights: Weights) -> str | None:  # noqa: ARG001
    """Refuse nothing."""
    return None


def run(
    cell: Cell, x: Inputs, weights: Weights, state: State, lengths: Tensor | None, reverse: bool
) -> tuple[Tensor, State]:
    """Run `cell` over x [B, T, I] -> y [B, T, H] and the last state."""
    x = dense(x)
    batch, steps, _ = x.shape
    if lengths is None:
        lengths = torch.full((batch,), steps, device=x.device)
    past = past_end(lengths, steps)[:, :, None]
    # Zeroed, not only masked out afterwards: a NaN in the padding would come back through where's gradient.
    x = x.masked_fill(past, 0)
    outputs = [state.h.new_zeros(batch, 0, state.h.shape[1])]
    for t in reversed(range(steps)) if reverse else range(steps):
        new = STEPS[cell](x[:, t], state.h, state.c, weights)
        state = kept(past[:, t], state, new)
        outputs.append(new.h.masked_fill(past[:, t], 0)[:, None])
    y = torch.cat(outputs[:1] + outputs[:0:-1] if reverse else outputs, 1)
    return y, state


def _lstm_step(x: Tensor, h: Tensor, c: Tensor, weights: Weights) -> State:
    i, f, g, o = (linear(x, weights.w_x, weights.b) + linear(h, weights.w_h)).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return State(o.sigmoid() * c.tanh(), c)


def _peephole_step(x: Tensor, h: Tensor, c: Tensor, weights: Weights) -> State:
    p_i, p_f, p_o = cast(Tensor, weights.p)  # the door lets no peephole in without
    i, f, g, o = (linear(x, weights.w_x, weights.b) + linear(h, weights.w_h)).chunk(4, 1)
    c_new = (f + p_f * c).sigmoid() * c + (i + p_i * c).sigmoid() * g.tanh()
    return State((o + p_o * c_new).sigmoid() * c_new.tanh(), c_new)


def _gru_step(x: Tensor, h: Tensor, c: None, weights: Weights) -> State:  # noqa: ARG001
    x_r, x_z, x_n = linear(x, weights.w_x, weights.b).chunk(3, 1)
    h_r, h_z, h_n = linear(h, weights.w_h).chunk(3, 1)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    n = (x_n + r * (h_n if weights.b_h is None else h_n + weights.b_h)).tanh()
    return State((1 - z) * n + z * h)


def _rnn_step(x: Tensor, h: Tensor, c: None, weights: Weights) -> State:  # noqa: ARG001
    return State((linear(x, weights.w_x, weights.b) + linear(h, weights.w_h)).tanh())


STEPS: dict[Cell, Step] = {"lstm": _lstm_step, "peephole": _peephole_step, "gru": _gru_step, "rnn": _rnn_step}
