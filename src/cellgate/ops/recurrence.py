"""The doors: one layer, one direction, as pure functions of tensors. Legend of axes: see `cellgate.ops`."""

from collections.abc import Callable

import torch
from torch import Tensor

from cellgate.ops import opaque
from cellgate.ops.checks import check_weights, checked_lengths, checked_state
from cellgate.ops.choice import check_name, chosen
from cellgate.ops.values import Cell, Inputs, State, Weights

Run = Callable[[Cell, Inputs, Weights, State, Tensor | None, bool], tuple[Tensor, State]]


def lstm(
    x: Inputs,
    weights: Weights,
    state: State | None = None,
    lengths: Tensor | None = None,
    reverse: bool = False,
    backend: str | None = None,
) -> tuple[Tensor, State]:
    """Run a long short-term memory over x [B, T, I] -> y [B, T, H] and State(h, c), both [B, H].

        i, f, g, o = split(W_x x_t + W_h h_{t-1} + b)
        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(c_t);   y_t = h_t

    Hochreiter & Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997; the gate f: Gers,
    Schmidhuber & Cummins, "Learning to forget", Neural Computation 12(10), 2000.
    """
    check_weights("lstm", x, weights)
    state = checked_state("lstm", x, weights, state)
    lengths = checked_lengths(x, lengths)
    return _serving("lstm", x, weights, backend)("lstm", x, weights, state, lengths, reverse)


def peephole(
    x: Inputs,
    weights: Weights,
    state: State | None = None,
    lengths: Tensor | None = None,
    reverse: bool = False,
    backend: str | None = None,
) -> tuple[Tensor, State]:
    """Run an lstm with peepholes over x [B, T, I] -> y [B, T, H] and State(h, c), both [B, H].

        i, f, g, o = split(W_x x_t + W_h h_{t-1} + b);   p_i, p_f, p_o = p
        c_t = sigmoid(f + p_f * c_{t-1}) * c_{t-1} + sigmoid(i + p_i * c_{t-1}) * tanh(g)
        h_t = sigmoid(o + p_o * c_t) * tanh(c_t);   y_t = h_t

    The gates see the memory even where the gate o hides it from h: an lstm that counts and times.

    Gers & Schmidhuber, "Recurrent nets that time and count", IJCNN 2000; Gers, Schraudolph & Schmidhuber, "Learning
    precise timing with LSTM recurrent networks", Journal of Machine Learning Research 3, 2002.
    """
    check_weights("peephole", x, weights)
    state = checked_state("peephole", x, weights, state)
    lengths = checked_lengths(x, lengths)
    return _serving("peephole", x, weights, backend)("peephole", x, weights, state, lengths, reverse)


def gru(
    x: Inputs,
    weights: Weights,
    state: State | None = None,
    lengths: Tensor | None = None,
    reverse: bool = False,
    backend: str | None = None,
) -> tuple[Tensor, State]:
    """Run a gated recurrent unit over x [B, T, I] -> y [B, T, H] and State(h) [B, H].

        r = sigmoid(W_r x_t + U_r h_{t-1} + b_r)
        z = sigmoid(W_z x_t + U_z h_{t-1} + b_z)
        n = tanh(W_n x_t + b_n + r * (U_n h_{t-1} + b_h))
        h_t = (1 - z) * n + z * h_{t-1};   y_t = h_t

    where w_x stacks W_r, W_z, W_n and w_h stacks U_r, U_z, U_n. The reset gate r multiplies after U_n, as in
    cuDNN, torch and ONNX (`linear_before_reset=1`).

    Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
    translation", EMNLP 2014.
    """
    check_weights("gru", x, weights)
    state = checked_state("gru", x, weights, state)
    lengths = checked_lengths(x, lengths)
    return _serving("gru", x, weights, backend)("gru", x, weights, state, lengths, reverse)


def rnn(
    x: Inputs,
    weights: Weights,
    state: State | None = None,
    lengths: Tensor | None = None,
    reverse: bool = False,
    backend: str | None = None,
) -> tuple[Tensor, State]:
    """Run a plain recurrent net over x [B, T, I] -> y [B, T, H] and State(h) [B, H].

        h_t = tanh(W_x x_t + W_h h_{t-1} + b);   y_t = h_t

    Elman, "Finding structure in time", Cognitive Science 14(2), 1990.
    """
    check_weights("rnn", x, weights)
    state = checked_state("rnn", x, weights, state)
    lengths = checked_lengths(x, lengths)
    return _serving("rnn", x, weights, backend)("rnn", x, weights, state, lengths, reverse)


def _serving(cell: Cell, x: Inputs, weights: Weights, backend: str | None) -> Run:
    """Choose who computes. A graph being exported holds the cell whole, whatever the backend."""
    if torch.compiler.is_exporting():
        if backend is not None:
            check_name(backend)
        return opaque.run
    return chosen(cell, x, weights, backend).run
