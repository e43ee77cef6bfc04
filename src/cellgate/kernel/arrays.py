"""The doors for numpy arrays. Legend of axes: see `cellgate.ops`."""

from typing import NamedTuple

import numpy as np

from cellgate.batch import Floats, Ints
from cellgate.config import usable_cores
from cellgate.errors import UsageError
from cellgate.kernel.built import missing
from cellgate.kernel.cells import GATES, MEMORY, NUMBERS, Cell

if missing is None:
    from cellgate.kernel import _native

FEW = 4
"""Tokens for which a dot product for each gate beats a matrix product."""


class Weights(NamedTuple):
    """One layer, one direction, in the order of `cellgate.ops.Weights`."""

    w_x: Floats
    w_h: Floats
    b: Floats
    b_h: Floats | None = None
    p: Floats | None = None


class State(NamedTuple):
    """h [B, H] and, of an lstm or peephole, c [B, H]."""

    h: Floats
    c: Floats | None = None


def lstm(
    x: Floats,
    weights: Weights,
    state: State | None = None,
    lengths: Ints | None = None,
    reverse: bool = False,
    threads: int = 0,
) -> tuple[Floats, State]:
    """Run an lstm over x [B, T, I] -> y [B, T, H] and its last state; threads 0: all cores."""
    return _run("lstm", x, weights, state, lengths, reverse, threads)


def peephole(
    x: Floats,
    weights: Weights,
    state: State | None = None,
    lengths: Ints | None = None,
    reverse: bool = False,
    threads: int = 0,
) -> tuple[Floats, State]:
    """Run an lstm with peepholes over x [B, T, I] -> y [B, T, H] and its last state; threads 0: all cores."""
    return _run("peephole", x, weights, state, lengths, reverse, threads)


def gru(
    x: Floats,
    weights: Weights,
    state: State | None = None,
    lengths: Ints | None = None,
    reverse: bool = False,
    threads: int = 0,
) -> tuple[Floats, State]:
    """Run a gru over x [B, T, I] -> y [B, T, H] and its last state; threads 0: all cores."""
    return _run("gru", x, weights, state, lengths, reverse, threads)


def rnn(
    x: Floats,
    weights: Weights,
    state: State | None = None,
    lengths: Ints | None = None,
    reverse: bool = False,
    threads: int = 0,
) -> tuple[Floats, State]:
    """Run a plain rnn over x [B, T, I] -> y [B, T, H] and its last state; threads 0: all cores."""
    return _run("rnn", x, weights, state, lengths, reverse, threads)


def _run(
    cell: Cell, x: Floats, weights: Weights, state: State | None, lengths: Ints | None, reverse: bool, threads: int
) -> tuple[Floats, State]:
    if missing is not None:
        raise UsageError(f"no kernel: {missing}")
    if threads < 0:
        raise UsageError(f"threads: expected 0, for all cores, or more, got {threads}")
    _expect("x", x, "[B, T, I]", None)
    batch, steps, inputs = x.shape
    w_x, w_h, b, b_h, p = _checked_weights(cell, weights, inputs)
    hidden = w_h.shape[1]
    h, c = _checked_state(cell, state, (batch, hidden))
    if lengths is not None:
        if not isinstance(lengths, np.ndarray) or lengths.dtype != np.int64 or lengths.shape != (batch,):
            raise UsageError(f"lengths: expected int64 [B] = [{batch}], got {_described(lengths)}")
        lengths = np.ascontiguousarray(lengths)
    try:
        layout = _native.Layout(batch, steps, _address(lengths))
    except ValueError as error:
        raise UsageError(str(error)) from None
    threads = threads or usable_cores()
    tokens = x.reshape(batch * steps, inputs)
    if not layout.full:
        x, tokens = np.ascontiguousarray(x), np.empty((layout.tokens, inputs), np.float32)
        _native.gather(layout, inputs, steps * inputs, inputs, inputs, _address(x), _address(tokens), threads)
    gates = _projected(tokens, w_x, b, threads)
    y = np.empty((batch, steps, hidden), np.float32)
    after = State(np.empty_like(h), None if c is None else np.empty_like(c))
    _native.forward(
        layout, NUMBERS[cell], hidden, reverse, threads, 0,
        _address(gates), 0, _address(w_h), _address(b_h), _address(p), _address(h), _address(c),
        _address(y), _address(after.h), _address(after.c), 0, 0, 0, 0,
    )  # fmt: skip
    return y, after


def _projected(tokens: Floats, w_x: Floats, b: Floats, threads: int) -> Floats:
    """Gates [N, G*H] of tokens [N, I]."""
    if len(tokens) > FEW:
        many: Floats = tokens @ w_x.T + b
        return many
    tokens, w_x, b = map(np.ascontiguousarray, (tokens, w_x, b))
    gates = np.empty((len(tokens), len(b)), np.float32)
    rows, depth = w_x.shape
    sizes = len(tokens), depth
    _native.project(0, threads, _address(tokens), *sizes, _address(w_x), _address(b), depth, rows, _address(gates))
    return gates


def _checked_weights(cell: Cell, weights: Weights, inputs: int) -> Weights:
    """Return the weights in one piece each; stop where they do not fit."""
    w_x, w_h, b, b_h, p = weights
    _expect("weights.w_h", w_h, "[G*H, H]", None)
    hidden = w_h.shape[-1]
    rows = GATES[cell] * hidden
    _expect("weights.w_h", w_h, "[G*H, H]", (rows, hidden))
    _expect("weights.w_x", w_x, "[G*H, I]", (rows, inputs))
    _expect("weights.b", b, "[G*H]", (rows,))
    if b_h is not None and cell != "gru":
        raise UsageError(f"weights.b_h of {cell}: expected None, only gru has it; got {_described(b_h)}")
    if b_h is not None:
        _expect("weights.b_h", b_h, "[H]", (hidden,))
        b_h = np.ascontiguousarray(b_h)
    if p is not None and cell != "peephole":
        raise UsageError(f"weights.p of {cell}: expected None, only peephole has it; got {_described(p)}")
    if cell == "peephole":
        _expect("weights.p", p, "[3, H]", (3, hidden))
    p = None if p is None else np.ascontiguousarray(p)
    return Weights(w_x, np.ascontiguousarray(w_h), b, b_h, p)


def _checked_state(cell: Cell, state: State | None, shape: tuple[int, int]) -> State:
    """Return the state in one piece each, zeros where it is None; stop where it does not fit."""
    if state is None:
        return State(np.zeros(shape, np.float32), np.zeros(shape, np.float32) if cell in MEMORY else None)
    h, c = state
    _expect("state.h", h, "[B, H]", shape)
    if cell not in MEMORY:
        if c is not None:
            raise UsageError(f"state.c of {cell}: expected None, only lstm and peephole have it; got {_described(c)}")
        return State(np.ascontiguousarray(h))
    _expect("state.c", c, "[B, H]", shape)
    return State(np.ascontiguousarray(h), np.ascontiguousarray(c))


def _expect(name: str, array: Floats | None, axes: str, shape: tuple[int, ...] | None) -> None:
    """Stop unless this is a float32 array of this shape; shape None: with as many axes as `axes` names."""
    fits = isinstance(array, np.ndarray) and array.dtype == np.float32
    if fits and (array.ndim == axes.count(",") + 1 if shape is None else array.shape == shape):  # type: ignore[union-attr]
        return
    wanted = axes if shape is None else f"{axes} = {list(shape)}"
    raise UsageError(f"{name}: expected float32 {wanted}, got {_described(array)}")


def _described(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def _address(array: Floats | Ints | None) -> int:
    return 0 if array is None else _native.address(array)
