"""n-grams as integer hashes, computed inside the net so that its graph carries them everywhere.

A sequence s_1..s_n hashes to (n * SALT + sum_k s_k * m_k) mod P with fixed multipliers m_k: multilinear hashing
(Carter & Wegman 1979). All products stay under 2^63, so torch, numpy and ONNX agree to the bit.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cellgate.batch import Ints
from cellgate.ops.onnx import Value, opset
from cellgate.ops.opaque import LIBRARY

P = 2**31 - 1
NONE, START = 0, 1  # token hashes that no token has: before the text; its beginning
_SALT = 1_540_483_477


def _multipliers(count: int, limit: int) -> list[int]:
    """Lehmer's generator (Park & Miller 1988), each value cut below `limit`."""
    values, value = [], 20_261_121
    for _ in range(count):
        value = value * 48_271 % P
        values.append(value % limit)
    return values


# A code point has 21 bits, so a spelling of 24 stays under 2^57; a token hash has 31, four of them under 2^62.
_CHARACTER = _multipliers(24, P)
_TOKEN = _multipliers(4, 2**29)


def token_hashes(spelling: Tensor) -> Tensor:
    """One hash a token [U] from its characters [U, C]; never NONE or START."""
    multipliers = torch.tensor(_CHARACTER, dtype=torch.int64)[: spelling.shape[1]]
    return (spelling * multipliers).sum(1) % (P - 2) + 2


def character_ngrams(spelling: Tensor, shortest: int, longest: int) -> tuple[Tensor, Tensor]:
    """Hashes of all character n-grams of tokens [U, K] and which of them exist [U, K]; spelling [U, C]."""
    found = [_in_graph("character_ngrams", _character_ngrams)(spelling, n) for n in range(shortest, longest + 1)]
    hashes, exists = zip(*found, strict=True)
    return torch.cat(hashes, 1), torch.cat(exists, 1)


def _character_ngrams(spelling: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Hashes of the n-grams that begin at each character [U, C], and which exist [U, C]."""
    width = spelling.shape[1]
    padded = F.pad(spelling, (0, n - 1))
    total = padded[:, :width] * _CHARACTER[0] + n * _SALT
    for k in range(1, n):
        total = total + padded[:, k : k + width] * _CHARACTER[k]
    return total % P, padded[:, n - 1 : n - 1 + width] != 0


def feature_hashes(kind: int, parts: Sequence[Tensor]) -> Tensor:
    """Hashes of features of one kind, made of up to four token hashes, all of one shape."""
    total = torch.full_like(parts[0], (kind + 1) * _SALT)
    for multiplier, part in zip(_TOKEN, parts, strict=False):
        total = total + part * multiplier
    return total % P


def chosen_hashes(counts: Ints, most: int) -> tuple[Ints, int]:
    """Which hash values to keep, by their counts [buckets, a power of two]: the most frequent ones, at most `most`.

    Returns them in order, and the number of values that they were first folded to: eight for each that is kept, so
    about one in sixteen is shared by two.
    """
    kept = min(int(np.count_nonzero(counts)), most)
    width = min(len(counts), 1 << (8 * kept).bit_length())
    folded = counts.reshape(-1, width).sum(0)
    best = np.argsort(-folded, kind="stable")[: min(int(np.count_nonzero(folded)), most)]
    return np.sort(best), width


def token_ngrams(hashes: Tensor, tail: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Hashes of the n-grams that end at each token [B, T, longest] and which exist [B, T, longest].

    hashes [B, T]; tail [B, longest - 1] are the hashes before them (NONE where there are none).
    """
    found: tuple[Tensor, Tensor] = _in_graph("token_ngrams", _token_ngrams)(hashes, tail, longest)
    return found


def _token_ngrams(hashes: Tensor, tail: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    width = hashes.shape[1]
    full = torch.cat([tail, hashes], 1)
    found, exists = [], []
    for n in range(1, longest + 1):
        first = longest - n
        total = full[:, first : first + width] * _TOKEN[0] + n * _SALT
        for k in range(1, n):
            total = total + full[:, first + k : first + k + width] * _TOKEN[k]
        found.append(total % P)
        exists.append(full[:, first : first + width] != NONE)
    return torch.stack(found, 2), torch.stack(exists, 2)


def first_tail(rows: int, longest: int) -> Tensor:
    """The tail before a text begins [rows, longest - 1]: START, and NONE before it."""
    tail = torch.full((rows, longest - 1), NONE, dtype=torch.int64)
    tail[:, -1:] = START
    return tail


def next_tail(hashes: Tensor, tail: Tensor, lengths: Tensor) -> Tensor:
    """The tail after `lengths` [B] of the tokens [B, T]."""
    full = torch.cat([tail, hashes], 1)
    return full.gather(1, lengths[:, None] + torch.arange(tail.shape[1])[None, :])


# While a graph is exported, n-grams are one operator each: of some 140 small ones the exporter takes seconds.


def _in_graph(name: str, function: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    """The function, or the operator that stands for it in a graph."""
    return getattr(torch.ops.cellgate, name).default if torch.compiler.is_exporting() else function


def _define(schema: str, function: Callable[..., tuple[Tensor, Tensor]]) -> None:
    name = schema.partition("(")[0]
    LIBRARY.define(f"{schema} -> (Tensor hashes, Tensor exists)")  # type: ignore[no-untyped-call]
    LIBRARY.impl(name, function, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]


def _like(hashes: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(hashes), torch.empty_like(hashes, dtype=torch.bool)


_define("character_ngrams(Tensor spelling, int n)", _character_ngrams)
_define("token_ngrams(Tensor hashes, Tensor tail, int longest)", _token_ngrams)
torch.library.register_fake("cellgate::character_ngrams", lambda spelling, n: _like(spelling), lib=LIBRARY)  # noqa: ARG005
torch.library.register_fake(
    "cellgate::token_ngrams",
    lambda hashes, tail, longest: _like(hashes.new_empty(*hashes.shape, longest)),  # noqa: ARG005
    lib=LIBRARY,
)


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Map each operator to the function that writes its ONNX nodes."""
    return {
        torch.ops.cellgate.character_ngrams.default: _character_ngrams_onnx,
        torch.ops.cellgate.token_ngrams.default: _token_ngrams_onnx,
    }


def _character_ngrams_onnx(spelling: Value, n: int) -> tuple[Value, Value]:
    op = opset()
    padded = op.Pad(spelling, op.Constant(value_ints=[0, 0, 0, n - 1]))
    view = _views(padded, op.Shape(spelling, start=1, end=2))
    return _sum([view(k) for k in range(n)], _CHARACTER), _differs(view(n - 1), 0)


def _token_ngrams_onnx(hashes: Value, tail: Value, longest: int) -> tuple[Value, Value]:
    op = opset()
    view = _views(op.Concat(tail, hashes, axis=1), op.Shape(hashes, start=1, end=2))
    lengths = range(1, longest + 1)
    found = [_sum([view(longest - n + k) for k in range(n)], _TOKEN) for n in lengths]
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
    total = op.Constant(value_int=len(parts) * _SALT)
    for part, multiplier in zip(parts, multipliers, strict=False):
        total = op.Add(total, op.Mul(part, op.Constant(value_int=multiplier)))
    return op.Mod(total, op.Constant(value_int=P))


def _differs(view: Value, value: int) -> Value:
    op = opset()
    return op.Not(op.Equal(view, op.Constant(value_int=value)))


def _stacked(parts: Sequence[Value]) -> Value:
    op = opset()
    return op.Concat(*(op.Unsqueeze(part, op.Constant(value_ints=[2])) for part in parts), axis=2)
