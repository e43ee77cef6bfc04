"""What the doors ask of their arguments, before any backend sees them. Legend of axes: see `cellgate.ops`."""

import torch
from torch import Tensor

from cellgate.errors import UsageError
from cellgate.ops.values import GATES, MEMORY, Cell, Inputs, Rows, State, Weights


def check_weights(cell: Cell, x: Inputs, weights: Weights) -> None:
    """Stop where x is no floating-point [B, T, I], or the weights do not fit it and `cell`."""
    if isinstance(x, Rows):
        _check_rows(x)
    elif not isinstance(x, Tensor) or x.ndim != 3 or not x.is_floating_point():
        raise UsageError(f"x: expected a floating-point tensor [B, T, I], got {_described(x)}")
    w_x, w_h, b, b_h, p = weights
    if not isinstance(w_h, Tensor) or w_h.ndim != 2 or w_h.shape[0] != GATES[cell] * w_h.shape[1]:
        axes = "[H, H]" if GATES[cell] == 1 else f"[{GATES[cell]}*H, H]"
        raise UsageError(f"weights.w_h of {cell}: expected {axes}, got {_described(w_h)}")
    rows, hidden = w_h.shape
    _expect("weights.w_h", w_h, "[G*H, H]", (rows, hidden), x)
    _expect("weights.w_x", w_x, "[G*H, I]", (rows, x.shape[2]), x)
    _expect("weights.b", b, "[G*H]", (rows,), x)
    if b_h is not None and cell != "gru":
        raise UsageError(f"weights.b_h of {cell}: expected None, only gru has it; got {_described(b_h)}")
    if b_h is not None:
        _expect("weights.b_h", b_h, "[H]", (hidden,), x)
    if p is not None and cell != "peephole":
        raise UsageError(f"weights.p of {cell}: expected None, only peephole has it; got {_described(p)}")
    if cell == "peephole":
        _expect("weights.p", p, "[3, H]", (3, hidden), x)


def checked_state(cell: Cell, x: Inputs, weights: Weights, state: State | None) -> State:
    """Return the state, zeros where it is None; stop where it does not fit."""
    shape = (x.shape[0], weights.w_h.shape[1])
    if state is None:

        def zeros() -> Tensor:
            return weights.w_h.new_zeros(shape)

        return State(zeros(), zeros() if cell in MEMORY else None)
    _expect("state.h", state.h, "[B, H]", shape, x)
    if cell in MEMORY:
        _expect("state.c", state.c, "[B, H]", shape, x)
    elif state.c is not None:
        raise UsageError(f"state.c of {cell}: expected None, only lstm and peephole have it; got {_described(state.c)}")
    return state


def checked_lengths(x: Inputs, lengths: Tensor | None) -> Tensor | None:
    """Return lengths [B] on x's device, None where every row has T tokens; stop where they do not fit."""
    if lengths is None:
        return None
    batch, steps, _ = x.shape
    if not isinstance(lengths, Tensor) or lengths.dtype != torch.int64 or lengths.shape != (batch,):
        raise UsageError(f"lengths: expected int64 [B] = [{batch}], got {_described(lengths)}")
    if torch.compiler.is_exporting() or batch == 0:
        return lengths
    low, high = (int(bound) for bound in lengths.aminmax())
    if low < 0 or high > steps:
        wrong = low if low < 0 else high
        row = lengths.tolist().index(wrong)
        raise UsageError(f"lengths: expected 0 to T = {steps}, got {wrong} in row {row}")
    return None if low == steps else lengths.to(x.device)


def _check_rows(x: Rows) -> None:
    """Stop where a table is no floating-point [U, I] or its index no int64 [B, T] beside it."""
    table, index = x.table, x.index
    if not isinstance(table, Tensor) or table.ndim != 2 or not table.is_floating_point():
        raise UsageError(f"x.table: expected a floating-point tensor [U, I], got {_described(table)}")
    if not isinstance(index, Tensor) or index.ndim != 2 or index.dtype != torch.int64 or index.device != table.device:
        raise UsageError(f"x.index: expected int64 [B, T] on {table.device}, as x.table is, got {_described(index)}")
    if torch.compiler.is_exporting() or index.numel() == 0:
        return
    low, high = (int(bound) for bound in index.aminmax())
    if low < 0 or high >= len(table):
        wrong = low if low < 0 else high
        row, position = (index == wrong).nonzero()[0].tolist()
        expected = f"0 to {len(table) - 1}" if len(table) else "none, the table is empty"
        raise UsageError(f"x.index: expected {expected}; got {wrong} in row {row}, position {position}")


def _expect(name: str, tensor: Tensor | None, axes: str, shape: tuple[int, ...], x: Inputs) -> None:
    """Stop unless the tensor has this shape and x's dtype and device."""
    if not isinstance(tensor, Tensor) or tensor.shape != shape or tensor.dtype != x.dtype or tensor.device != x.device:
        wanted = f"{_short(x.dtype)} {axes} = {list(shape)} on {x.device}, as x is"
        raise UsageError(f"{name}: expected {wanted}, got {_described(tensor)}")


def _described(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{_short(value.dtype)} {list(value.shape)} on {value.device}"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
