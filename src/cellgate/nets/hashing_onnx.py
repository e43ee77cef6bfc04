"""n-grams as operators, one each while a graph is exported, and as ONNX nodes: the same hashes as in `hashing.py`.

Of the 140 small operators that they are made of, the exporter would take seconds.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from cellgate.nets.hashing import CHARACTERS, NONE, SALT, TOKENS, P, ngrams_of_length, token_ngrams
from cellgate.ops.onnx import Value, opset
from cellgate.ops.opaque import LIBRARY


def _define(schema: str, function: Callable[..., tuple[Tensor, Tensor]]) -> None:
    name = schema.partition("(")[0]
    LIBRARY.define(f"{schema} -> (Tensor hashes, Tensor exists)")  # type: ignore[no-untyped-call]
    LIBRARY.impl(name, function, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]


def _like(hashes: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(hashes), torch.empty_like(hashes, dtype=torch.bool)


_define("ngrams_of_length(Tensor spelling, int n)", ngrams_of_length)
_define("token_ngrams(Tensor hashes, Tensor tail, int longest)", token_ngrams)
torch.library.register_fake("cellgate::ngrams_of_length", lambda spelling, n: _like(spelling), lib=LIBRARY)  # noqa: ARG005
torch.library.register_fake(
    "cellgate::token_ngrams",
    lambda hashes, tail, longest: _like(hashes.new_empty(*hashes.shape, longest)),  # noqa: ARG005
    lib=LIBRARY,
)


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Map each operator to the function that writes its ONNX nodes."""
    return {
        torch.ops.cellgate.ngrams_of_length.default: _ngrams_of_length,
        torch.ops.cellgate.token_ngrams.default: _token_ngrams,
    }


def _ngrams_of_length(spelling: Value, n: int) -> tuple[Value, Value]:
    op = opset()
    padded = op.Pad(spelling, op.Constant(value_ints=[0, 0, 0, n - 1]))
    view = _views(padded, op.Shape(spelling, start=1, end=2))
    return _sum([view(k) for k in range(n)], CHARACTERS), _differs(view(n - 1), 0)


def _token_ngrams(hashes: Value, tail: Value, longest: int) -> tuple[Value, Value]:
    op = opset()
    view = _views(op.Concat(tail, hashes, axis=1), op.Shape(hashes, start=1, end=2))
    lengths = range(1, longest + 1)
    found = [_sum([view(longest - n + k) for k in range(n)], TOKENS) for n in lengths]
    return _stacked(found), _stacked([_differs(view(longest - n), NONE) for n in lengths])


def _views(full: Value, width: Value) -> Callable[[int], Value]:
    """Columns [k, k + width) of `full`, by k."""
    op = opset()

    def view(k: int) -> Value:
        first = op.Constant(value_ints=[k])
        return op.Slice(full, first, op.Add(width, first), op.Constant(value_ints=[1]))

    return view


def _sum(parts: Sequence[Value], multipliers: Sequence[int]) -> Value:
    """Hashes of sequences, their members given by place."""
    op = opset()
    total = op.Constant(value_int=len(parts) * SALT)
    for part, multiplier in zip(parts, multipliers, strict=False):
        total = op.Add(total, op.Mul(part, op.Constant(value_int=multiplier)))
    return op.Mod(total, op.Constant(value_int=P))


def _differs(view: Value, value: int) -> Value:
    op = opset()
    return op.Not(op.Equal(view, op.Constant(value_int=value)))


def _stacked(parts: Sequence[Value]) -> Value:
    op = opset()
    return op.Concat(*(op.Unsqueeze(part, op.Constant(value_ints=[2])) for part in parts), axis=2)
