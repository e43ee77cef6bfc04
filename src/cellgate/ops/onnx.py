"""Each cell as ONE ONNX node, for `torch.onnx.export(..., custom_translation_table=translations())`.

The node carries the lengths and the initial state; batch and time stay dynamic. Rows of gates are put in
ONNX's order by Split and Concat, which onnxruntime's basic optimisation folds into constants.
Legend of axes: see `cellgate.ops`.
"""

from collections.abc import Callable
from typing import Any

import torch

# A tensor of the graph being built: torch hands out symbolic values that no stub describes.
Value = Any
Pair = tuple[Value, Value]
Triple = tuple[Value, Value, Value]

INT32 = 6  # onnx.TensorProto.INT32


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Map each operator of `cellgate.ops` to the function that writes its ONNX node."""
    return {
        torch.ops.cellgate.lstm.default: _lstm,
        torch.ops.cellgate.peephole.default: _peephole,
        torch.ops.cellgate.gru.default: _gru,
        torch.ops.cellgate.rnn.default: _rnn,
    }


def _lstm(x: Value, w_x: Value, w_h: Value, b: Value, h: Value, c: Value, lengths: Value, reverse: bool) -> Triple:
    return _lstm_node(x, (w_x, w_h, b), (h, c), lengths, reverse, ())


def _peephole(
    x: Value, w_x: Value, w_h: Value, b: Value, p: Value, h: Value, c: Value, lengths: Value, reverse: bool
) -> Triple:
    op = opset()
    i, f, o = op.Split(p, num_outputs=3, axis=0)  # [1, H] each, so this axis serves as that of directions
    return _lstm_node(x, (w_x, w_h, b), (h, c), lengths, reverse, (op.Concat(i, o, f, axis=1),))


def _lstm_node(
    x: Value, weights: Triple, state: Pair, lengths: Value, reverse: bool, peepholes: tuple[Value, ...]
) -> Triple:
    op = opset()
    w_x, w_h, b = weights
    h, c = state

    def reordered(rows: Value) -> Value:
        i, f, g, o = op.Split(rows, num_outputs=4, axis=0)
        return op.Concat(i, o, f, g, axis=0)

    bias = reordered(b)
    y, h_last, c_last = op.LSTM(
        op.Transpose(x, perm=[1, 0, 2]),
        _one(reordered(w_x)),
        _one(reordered(w_h)),
        _one(op.Concat(bias, op.Sub(bias, bias), axis=0)),
        op.Cast(lengths, to=INT32),
        _one(h),
        _one(c),
        *peepholes,
        hidden_size=_hidden_size(w_h),
        direction=_direction(reverse),
    )
    return _batch_first(y), _after(h, h_last, lengths), _after(c, c_last, lengths)


def _gru(x: Value, w_x: Value, w_h: Value, b: Value, b_h: Value, h: Value, lengths: Value, reverse: bool) -> Pair:
    op = opset()

    def reordered(rows: Value) -> Value:
        r, z, n = op.Split(rows, num_outputs=3, axis=0)
        return op.Concat(z, r, n, axis=0)

    zeros = op.Sub(b_h, b_h)
    y, h_last = op.GRU(
        op.Transpose(x, perm=[1, 0, 2]),
        _one(reordered(w_x)),
        _one(reordered(w_h)),
        _one(op.Concat(reordered(b), zeros, zeros, b_h, axis=0)),
        op.Cast(lengths, to=INT32),
        _one(h),
        hidden_size=_hidden_size(w_h),
        direction=_direction(reverse),
        linear_before_reset=1,
    )
    return _batch_first(y), _after(h, h_last, lengths)


def _rnn(x: Value, w_x: Value, w_h: Value, b: Value, h: Value, lengths: Value, reverse: bool) -> Pair:
    op = opset()
    y, h_last = op.RNN(
        op.Transpose(x, perm=[1, 0, 2]),
        _one(w_x),
        _one(w_h),
        _one(op.Concat(b, op.Sub(b, b), axis=0)),
        op.Cast(lengths, to=INT32),
        _one(h),
        hidden_size=_hidden_size(w_h),
        direction=_direction(reverse),
    )
    return _batch_first(y), _after(h, h_last, lengths)


def opset() -> Value:
    """The set of ONNX operators that translations are written in."""
    # Only an export needs onnxscript, and it takes a second to import.
    from onnxscript import opset18

    return opset18


def _hidden_size(w_h: Value) -> int:
    return int(w_h.shape[1])


def _direction(reverse: bool) -> str:
    return "reverse" if reverse else "forward"


def _one(value: Value) -> Value:
    """Add ONNX's leading axis of directions."""
    op = opset()
    return op.Unsqueeze(value, op.Constant(value_ints=[0]))


def _after(first: Value, last: Value, lengths: Value) -> Value:
    """Drop the axis of directions, [1, B, H] -> [B, H], and keep the first state of rows without a token.

    ONNX does not say what the last state of such a row is; onnxruntime 1.31 gives zeros.
    """
    op = opset()
    empty = op.Equal(op.Unsqueeze(lengths, op.Constant(value_ints=[1])), op.Constant(value_ints=[0]))
    return op.Where(empty, first, op.Squeeze(last, op.Constant(value_ints=[0])))


def _batch_first(y: Value) -> Value:
    """Turn ONNX's [T, 1, B, H] into [B, T, H]."""
    op = opset()
    return op.Transpose(op.Squeeze(y, op.Constant(value_ints=[1])), perm=[1, 0, 2])
