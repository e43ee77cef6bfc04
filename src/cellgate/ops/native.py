"""Backend `native`: our C++ kernel on a CPU, made for rows of uneven length. See docs/kernel.md.

`project` and `recur` are the two halves of a layer: one product over all real tokens (or over the distinct rows
of a table), then the steps. No padding is computed. Both stand in one autograd node, so that the gates' memory
serves again for what backward needs, and both weights' gradients are one product.
Legend of axes: see `cellgate.ops`; besides, N tokens: the sum of lengths, row by row.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from cellgate.errors import UsageError
from cellgate.kernel.arrays import FEW
from cellgate.kernel.built import missing
from cellgate.kernel.cells import KEPT, MEMORY, NUMBERS
from cellgate.ops.products import chosen_width, product, unread
from cellgate.ops.values import Cell, Inputs, Rows, State, Weights

if missing is None:
    from cellgate.kernel import _native


def refuses(cell: Cell, x: Inputs, weights: Weights) -> str | None:  # noqa: ARG001
    """Refuse all but float32 in a CPU's memory."""
    return unread(x.table if isinstance(x, Rows) else x)


def run(
    cell: Cell, x: Inputs, weights: Weights, state: State, lengths: Tensor | None, reverse: bool
) -> tuple[Tensor, State]:
    """Run `cell` over x [B, T, I] -> y [B, T, H] and the last state."""
    return compute(make_call(cell, x, lengths, reverse), x, weights, state)


class Call(NamedTuple):
    """What is not differentiated."""

    cell: Cell
    layout: "_native.Layout"
    table_index: Tensor | None
    """[B, T] into the rows of x, which is then a table [U, I]."""
    shape: tuple[int, int]
    """B, T."""
    reverse: bool
    threads: int
    width: int
    """Place in `cellgate.kernel.widths()`, or the steps that round the factors of their products."""


def make_call(cell: Cell, x: Inputs, lengths: Tensor | None, reverse: bool, width: int | None = None) -> Call:
    """Lay the rows out. `width`, where it is given, goes before what `products.multiplying` says."""
    index = x.index.contiguous() if isinstance(x, Rows) else None
    batch, steps, _ = x.shape
    lengths = None if lengths is None else lengths.contiguous()
    try:
        layout = _native.Layout(batch, steps, _address(lengths))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if width is None:
        width = chosen_width()
    return Call(cell, layout, index, (batch, steps), reverse, torch.get_num_threads(), width)


def compute(call: Call, x: Inputs, weights: Weights, state: State) -> tuple[Tensor, State]:
    """Give y [B, T, H] and the last state, differentiably."""
    data = x.table if isinstance(x, Rows) else x
    arguments = data, *weights, *state
    if torch.is_grad_enabled() and any(part is not None and part.requires_grad for part in arguments):
        y, *after = _Layer.apply(call, *arguments)  # type: ignore[no-untyped-call]
        return y, State(*after)
    # Not a node that will never be asked for gradients: it costs 10 us.
    gates, _ = project(call, data, weights.w_x, weights.b)
    return recur(call, gates, weights, state, None)


class Kept(NamedTuple):
    """What backward needs of each token."""

    gates: Tensor
    """[N, kept*H]; lstm and peephole: i, f, g, o; gru: n, r, z, U_n h + b_h; rnn: y."""
    cells: Tensor | None
    """[N, H], lstm and peephole: c_t."""
    before: Tensor
    """[N, H], h_{t-1}; rows may have a gap between them."""


def project(call: Call, x: Tensor, w_x: Tensor, b: Tensor, room: int = 0) -> tuple[Tensor, Tensor]:
    """Project each real token of x [B, T, I], or each row of a table, once.

    Returns the gates [N, G*H] and the inputs that gave them, [N, I + room] with `room` columns left to fill; for a
    table [U, G*H] and the table.
    """
    depth = x.shape[-1]
    if call.table_index is not None:
        inputs = x
    elif room == 0 and call.layout.full:
        inputs = x.reshape(call.layout.tokens, depth)
    else:
        inputs = x.new_empty(call.layout.tokens, depth + room)
        x = x if x.stride(2) == 1 else x.contiguous()
        strides = x.stride(0), x.stride(1), depth + room
        _native.gather(call.layout, depth, *strides, _address(x), _address(inputs), call.threads)
    if len(inputs) > FEW:
        return _product(call, inputs[:, :depth], w_x.t(), b), inputs
    gates, inputs, w_x, b = x.new_empty(len(inputs), len(b)), inputs.contiguous(), w_x.contiguous(), b.contiguous()
    _native.project(
        call.width, call.threads, _address(inputs), len(inputs), inputs.stride(0), _address(w_x), _address(b),
        depth, len(b), _address(gates),
    )  # fmt: skip
    return gates, inputs


def recur(call: Call, gates: Tensor, weights: Weights, state: State, kept: Kept | None) -> tuple[Tensor, State]:
    """Take the steps: gates [N, G*H] -> y [B, T, H] and the last state; fills `kept` where it is given."""
    hidden = weights.w_h.shape[1]
    y = gates.new_empty(*call.shape, hidden)
    h, c, w_h, b_h, p = map(_whole, (*state, weights.w_h, weights.b_h, weights.p))
    # Not like state.h, which may be transposed.
    after = State(y.new_empty(state.h.shape), None if c is None else y.new_empty(c.shape))
    left = (0, 0, 0, 0)
    if kept is not None:
        left = (_address(kept.gates), _address(kept.cells), _address(kept.before), kept.before.stride(0))
    _native.forward(
        call.layout, NUMBERS[call.cell], hidden, call.reverse, call.threads, call.width,
        _address(gates), _address(call.table_index), _address(w_h), _address(b_h), _address(p),
        _address(h), _address(c), _address(y), _address(after.h), _address(after.c), *left,
    )  # fmt: skip
    return y, after


class Back(NamedTuple):
    """Gradients that the steps give."""

    gates: Tensor
    """[N, kept*H]"""
    h: Tensor
    """[B, H], of the first state."""
    c: Tensor | None
    p: Tensor | None
    """[3, H]"""


def recur_backward(
    call: Call,
    weights: Weights,
    c: Tensor | None,
    kept: Kept,
    d_y: Tensor,
    d_after: tuple[Tensor | None, Tensor | None],
) -> Back:
    """Go back through the steps."""
    hidden = weights.w_h.shape[1]
    d_gates = torch.empty_like(kept.gates)
    d_h = d_y.new_empty(call.shape[0], hidden)
    d_c = None if c is None else torch.empty_like(d_h)
    d_p = None if weights.p is None else d_y.new_zeros(call.shape[0], 3, hidden)  # by row, so that threads share none
    w_h, p, c, d_y_whole, d_h_n, d_c_n = map(_whole, (weights.w_h, weights.p, c, d_y, *d_after))
    _native.backward(
        call.layout, NUMBERS[call.cell], hidden, call.reverse, call.threads, call.width,
        _address(kept.gates), _address(kept.cells), _address(kept.before), kept.before.stride(0),
        _address(w_h), _address(p), _address(c), _address(d_y_whole), _address(d_h_n), _address(d_c_n),
        _address(d_gates), _address(d_h), _address(d_c), _address(d_p),
    )  # fmt: skip
    return Back(d_gates, d_h, d_c, None if d_p is None else d_p.sum(0))


class _Layer(torch.autograd.Function):
    """x (or a table), weights, state -> y [B, T, H], h [B, H] and where it has one c [B, H]."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  torch's object, its attributes are ours
        call: Call,
        x: Tensor,
        w_x: Tensor,
        w_h: Tensor,
        b: Tensor,
        b_h: Tensor | None,
        p: Tensor | None,
        h: Tensor,
        c: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        weights, hidden = Weights(w_x, w_h, b, b_h, p), w_h.shape[1]
        # Beside each token's input stands the h it meets: both weights' gradients are then one product.
        joined = call.table_index is None
        gates, inputs = project(call, x, w_x, b, hidden if joined else 0)
        tokens = call.layout.tokens
        kept = Kept(
            # The kernel reads a token's gates before it writes what it keeps of them.
            gates if joined and call.cell != "gru" else gates.new_empty(tokens, KEPT[call.cell] * hidden),
            gates.new_empty(tokens, hidden) if call.cell in MEMORY else None,
            inputs[:, x.shape[-1] :] if joined else gates.new_empty(tokens, hidden),
        )
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs, *kept, *weights, c)
        y, after = recur(call, gates, weights, State(h, c), kept)
        return (y, after.h) if after.c is None else (y, after.h, after.c)

    @staticmethod
    def backward(  # torch's object again
        ctx: Any,  # noqa: ANN401
        d_y: Tensor | None,
        d_h: Tensor | None,
        d_c: Tensor | None = None,
    ) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True; once_differentiable would give a gradient that is cut off
            raise UsageError("backend 'native' has no gradients of gradients; use backend='reference'")
        inputs, gates, cells, before, w_x, w_h, b, b_h, p, c = ctx.saved_tensors
        weights = Weights(w_x, w_h, b, b_h, p)
        if d_y is None:
            d_y = w_h.new_zeros(*ctx.call.shape, w_h.shape[1])
        back = recur_backward(ctx.call, weights, c, Kept(gates, cells, before), d_y, (d_h, d_c))
        gradients = _gru_gradients if ctx.call.cell == "gru" else _gradients
        d_gates, d_weights = gradients(ctx.call, back.gates, inputs, before, weights)
        d_x = None
        if ctx.needs_input_grad[1]:
            w_x = w_x.roll(w_h.shape[1], 0) if ctx.call.cell == "gru" else w_x
            d_x = _unfolded(ctx.call, _product(ctx.call, d_gates, w_x))
        return None, d_x, *d_weights._replace(p=back.p), back.h, back.c


def _gradients(call: Call, d_gates: Tensor, inputs: Tensor, before: Tensor, weights: Weights) -> tuple[Tensor, Weights]:
    """From d_gates [N, G*H] of any but a gru, those of the inputs' own rows [N or U, G*H] and of the weights."""
    d_b = d_gates.sum(0)
    if call.table_index is None:
        depth = weights.w_x.shape[1]
        d_joined = _product(call, d_gates.t(), inputs)
        return d_gates, Weights(d_joined[:, :depth], d_joined[:, depth:], d_b)
    d_w_h = _product(call, d_gates.t(), before)
    d_gates = _by_table_row(call, d_gates, len(inputs))
    return d_gates, Weights(_product(call, d_gates.t(), inputs), d_w_h, d_b)


def _gru_gradients(
    call: Call, d_gates: Tensor, inputs: Tensor, before: Tensor, weights: Weights
) -> tuple[Tensor, Weights]:
    """From d_gates [N, 4*H], of n, r, z and n's times r, what `_gradients` gives; the inputs' in that order."""
    hidden = weights.w_h.shape[1]
    d_input, d_hidden = d_gates[:, :-hidden], d_gates[:, hidden:]
    d_b, d_b_h = d_input.sum(0), None if weights.b_h is None else d_gates[:, -hidden:].sum(0)
    d_w_h = _product(call, d_hidden.t(), before)
    if call.table_index is not None:
        d_input = _by_table_row(call, d_input, len(inputs))
    d_w_x = _product(call, d_input.t(), inputs[:, : weights.w_x.shape[1]])
    # n, r, z here; r, z, n in the weights.
    return d_input, Weights(d_w_x.roll(-hidden, 0), d_w_h, d_b.roll(-hidden), d_b_h)


def _by_table_row(call: Call, d_gates: Tensor, rows: int) -> Tensor:
    """Sum the tokens' gradients [N, G*H] over each row of the table -> [U, G*H]."""
    depth = d_gates.shape[1]
    sums = d_gates.new_zeros(rows, depth)
    places = _address(call.table_index), _address(d_gates)
    _native.sum_by_index(call.layout, *places, d_gates.stride(0), depth, _address(sums), call.threads)
    return sums


def _unfolded(call: Call, d_x: Tensor) -> Tensor:
    """Put gradients of tokens [N, I] in their places -> [B, T, I], zeros past a row's end; a table's stay."""
    if call.table_index is not None:
        return d_x
    batch, steps = call.shape
    depth = d_x.shape[1]
    if call.layout.full:
        return d_x.view(batch, steps, depth)
    padded = d_x.new_empty(batch, steps, depth)
    _native.scatter(call.layout, depth, steps * depth, depth, depth, _address(d_x), _address(padded), call.threads)
    return padded


def _product(call: Call, left: Tensor, right: Tensor, b: Tensor | None = None) -> Tensor:
    return product(call.width, call.threads, left, right, b)


def _whole(tensor: Tensor | None) -> Tensor | None:
    """In one piece, as the kernel reads it."""
    return None if tensor is None else tensor.contiguous()


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
