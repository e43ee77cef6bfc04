"""Each cell as one torch operator, so that an exported graph holds it whole, batch and time dynamic.

`torch.library.Library` and not `custom_op`: a call costs some 12 us instead of 49 to 103.
Legend of axes: see `cellgate.ops`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from cellgate.ops.choice import chosen
from cellgate.ops.values import MEMORY, Cell, Inputs, State, Weights, dense

SCHEMAS: dict[Cell, str] = {
    "lstm": "lstm(Tensor x, Tensor w_x, Tensor w_h, Tensor b, Tensor h, Tensor c, Tensor lengths,"
    " bool reverse) -> (Tensor y, Tensor h, Tensor c)",
    "peephole": "peephole(Tensor x, Tensor w_x, Tensor w_h, Tensor b, Tensor p, Tensor h, Tensor c, Tensor lengths,"
    " bool reverse) -> (Tensor y, Tensor h, Tensor c)",
    "gru": "gru(Tensor x, Tensor w_x, Tensor w_h, Tensor b, Tensor b_h, Tensor h, Tensor lengths,"
    " bool reverse) -> (Tensor y, Tensor h)",
    "rnn": "rnn(Tensor x, Tensor w_x, Tensor w_h, Tensor b, Tensor h, Tensor lengths, bool reverse)"
    " -> (Tensor y, Tensor h)",
}

# A Library's operators live as long as it does.
LIBRARY = torch.library.Library("cellgate", "DEF")  # type: ignore[no-untyped-call]


def run(
    cell: Cell, x: Inputs, weights: Weights, state: State, lengths: Tensor | None, reverse: bool
) -> tuple[Tensor, State]:
    """Do what a backend's `run` does, through the operator."""
    x = dense(x)
    if lengths is None:
        lengths = torch.full((x.shape[0],), x.shape[1], device=x.device)
    w_x, w_h, b, b_h, p = weights
    h, c = state
    if cell == "peephole":
        y, h, c = torch.ops.cellgate.peephole(x, w_x, w_h, b, p, h, c, lengths, reverse)
        return y, State(h, c)
    if cell == "lstm":
        y, h, c = torch.ops.cellgate.lstm(x, w_x, w_h, b, h, c, lengths, reverse)
        return y, State(h, c)
    if cell == "gru":
        b_h = h.new_zeros(h.shape[1]) if b_h is None else b_h
        y, h = torch.ops.cellgate.gru(x, w_x, w_h, b, b_h, h, lengths, reverse)
    else:
        y, h = torch.ops.cellgate.rnn(x, w_x, w_h, b, h, lengths, reverse)
    return y, State(h)


def _lstm(
    x: Tensor, w_x: Tensor, w_h: Tensor, b: Tensor, h: Tensor, c: Tensor, lengths: Tensor, reverse: bool
) -> tuple[Tensor, ...]:
    weights = Weights(w_x, w_h, b)
    y, after = chosen("lstm", x, weights, None).run("lstm", x, weights, State(h, c), lengths, reverse)
    return y, *(value for value in after if value is not None)


def _peephole(  # an operator takes its tensors one by one
    x: Tensor,
    w_x: Tensor,
    w_h: Tensor,
    b: Tensor,
    p: Tensor,
    h: Tensor,
    c: Tensor,
    lengths: Tensor,
    reverse: bool,
) -> tuple[Tensor, ...]:
    weights = Weights(w_x, w_h, b, p=p)
    y, after = chosen("peephole", x, weights, None).run("peephole", x, weights, State(h, c), lengths, reverse)
    return y, *(value for value in after if value is not None)


def _gru(
    x: Tensor, w_x: Tensor, w_h: Tensor, b: Tensor, b_h: Tensor, h: Tensor, lengths: Tensor, reverse: bool
) -> tuple[Tensor, ...]:
    weights = Weights(w_x, w_h, b, b_h)
    y, after = chosen("gru", x, weights, None).run("gru", x, weights, State(h), lengths, reverse)
    return y, after.h


def _rnn(
    x: Tensor, w_x: Tensor, w_h: Tensor, b: Tensor, h: Tensor, lengths: Tensor, reverse: bool
) -> tuple[Tensor, ...]:
    weights = Weights(w_x, w_h, b)
    y, after = chosen("rnn", x, weights, None).run("rnn", x, weights, State(h), lengths, reverse)
    return y, after.h


def _register(cell: Cell, kernel: Callable[..., tuple[Tensor, ...]]) -> None:
    """Define the operator of `cell`: its values, its gradients, its shapes."""
    LIBRARY.define(SCHEMAS[cell])  # type: ignore[no-untyped-call]
    operator = getattr(torch.ops.cellgate, cell).default

    def fresh(*arguments: Tensor) -> tuple[Tensor, ...]:
        # No token, no step: the state comes back as it went in, and an operator may not return its argument.
        results = kernel(*arguments)
        return tuple(value.clone() if any(value is given for given in arguments) else value for value in results)

    def values(*arguments: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return fresh(*arguments)

    def gradients(*arguments: Tensor) -> tuple[Tensor, ...]:
        tensors = (argument for argument in arguments if isinstance(argument, Tensor))
        wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
        # An export asks for shapes alone: tracing a backend would freeze T to the example's.
        if wanted and not torch.compiler.is_exporting():
            return fresh(*arguments)
        with torch._C._AutoDispatchBelowAutograd():
            results: tuple[Tensor, ...] = operator(*arguments)
            return results

    def shapes(*arguments: Tensor) -> tuple[Tensor, ...]:
        x, w_h = arguments[0], arguments[2]
        batch, steps, hidden = x.shape[0], x.shape[1], w_h.shape[1]
        states = 2 if cell in MEMORY else 1
        return x.new_empty(batch, steps, hidden), *(x.new_empty(batch, hidden) for _ in range(states))

    LIBRARY.impl(cell, values, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    LIBRARY.impl(cell, gradients, "Autograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"cellgate::{cell}", shapes, lib=LIBRARY)


_register("lstm", _lstm)
_register("peephole", _peephole)
_register("gru", _gru)
_register("rnn", _rnn)
