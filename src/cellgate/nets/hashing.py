"""n-grams as integer hashes, computed inside the net so that its graph carries them everywhere.

A sequence s_1..s_n hashes to (n * SALT + sum_k s_k * m_k) mod P with fixed multipliers m_k: multilinear hashing
(Carter & Wegman 1979). All products stay under 2^63, so torch, numpy and ONNX agree to the bit.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cellgate.batch import Ints

P = 2**31 - 1
NONE, START = 0, 1  # token hashes that no token has: before the text; its beginning
SALT = 1_540_483_477


def _multipliers(count: int, limit: int) -> list[int]:
    """Lehmer's generator (Park & Miller 1988), each value cut below `limit`."""
    values, value = [], 20_261_121
    for _ in range(count):
        value = value * 48_271 % P
        values.append(value % limit)
    return values


# A code point has 21 bits, so a spelling of 24 stays under 2^57; a token hash has 31, four of them under 2^62.
CHARACTERS = _multipliers(24, P)
TOKENS = _multipliers(4, 2**29)


def token_hashes(spelling: Tensor) -> Tensor:
    """One hash a token [U] from its characters [U, C]; never NONE or START."""
    multipliers = torch.tensor(CHARACTERS, dtype=torch.int64)[: spelling.shape[1]]
    return (spelling * multipliers).sum(1) % (P - 2) + 2


def character_ngrams(spelling: Tensor, shortest: int, longest: int) -> tuple[Tensor, Tensor]:
    """Hashes of all character n-grams of tokens [U, K] and which of them exist [U, K]; spelling [U, C]."""
    found = [ngrams_of_length(spelling, n) for n in range(shortest, longest + 1)]
    hashes, exists = zip(*found, strict=True)
    return torch.cat(hashes, 1), torch.cat(exists, 1)


def ngrams_of_length(spelling: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Hashes of the n-grams that begin at each character [U, C], and which exist [U, C]."""
    if torch.compiler.is_exporting():  # one operator: see `hashing_onnx.py`
        return cast("tuple[Tensor, Tensor]", torch.ops.cellgate.ngrams_of_length(spelling, n))
    width = spelling.shape[1]
    padded = F.pad(spelling, (0, n - 1))
    total = padded[:, :width] * CHARACTERS[0] + n * SALT
    for k in range(1, n):
        total = total + padded[:, k : k + width] * CHARACTERS[k]
    return total % P, padded[:, n - 1 : n - 1 + width] != 0


def feature_hashes(kind: int, parts: Sequence[Tensor]) -> Tensor:
    """Hashes of features of one kind, made of up to four token hashes, all of one shape."""
    total = torch.full_like(parts[0], (kind + 1) * SALT)
    for multiplier, part in zip(TOKENS, parts, strict=False):
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
    if torch.compiler.is_exporting():  # one operator, too
        return cast("tuple[Tensor, Tensor]", torch.ops.cellgate.token_ngrams(hashes, tail, longest))
    width = hashes.shape[1]
    full = torch.cat([tail, hashes], 1)
    found, exists = [], []
    for n in range(1, longest + 1):
        first = longest - n
        total = full[:, first : first + width] * TOKENS[0] + n * SALT
        for k in range(1, n):
            total = total + full[:, first + k : first + k + width] * TOKENS[k]
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
