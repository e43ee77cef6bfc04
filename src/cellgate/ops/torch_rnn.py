"""torch's own recurrences as functions of our weights. Legend of axes: see `cellgate.ops`."""

from collections.abc import Callable

import torch
from torch import Tensor

from cellgate.ops.values import Cell, State, Weights

FUNCTIONS: dict[Cell, Callable[..., tuple[Tensor, ...]]] = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "rnn": torch.rnn_tanh,
}
"""None for peephole: torch has none."""


def parameters(weights: Weights) -> list[Tensor]:
    """Spell the weights as torch does, with two biases: [G*H, I], [G*H, H], [G*H], [G*H]."""
    w_x, w_h, b, b_h, _ = weights
    b_hidden = torch.zeros_like(b)
    if b_h is not None:
        b_hidden = torch.cat([b_hidden[b_h.shape[0] :], b_h])
    return [w_x, w_h, b, b_hidden]


def over_padded(cell: Cell, x: Tensor, weights: list[Tensor], state: State) -> tuple[Tensor, State]:
    """Run forward over every position of x [B, T, I] -> y [B, T, H] and the last state."""
    results = FUNCTIONS[cell](
        x,
        _hidden(state),
        weights,
        True,  # has biases
        1,  # layers
        0.0,  # dropout
        torch.is_grad_enabled(),  # train: keep what backward needs
        False,  # bidirectional
        True,  # batch first
    )
    return results[0], State(*(value[0] for value in results[1:]))


def over_packed(
    cell: Cell, data: Tensor, batch_sizes: Tensor, weights: list[Tensor], state: State
) -> tuple[Tensor, State]:
    """Run forward over a packed sequence's data [tokens, I], batch_sizes [T] -> [tokens, H] and state."""
    results = FUNCTIONS[cell](
        data,
        batch_sizes,
        _hidden(state),
        weights,
        True,  # has biases
        1,  # layers
        0.0,  # dropout
        torch.is_grad_enabled(),  # train: keep what backward needs
        False,  # bidirectional
    )
    return results[0], State(*(value[0] for value in results[1:]))


def _hidden(state: State) -> Tensor | tuple[Tensor, Tensor]:
    """Add torch's leading axis of layers: [B, H] -> [1, B, H]."""
    return state.h[None] if state.c is None else (state.h[None], state.c[None])
