"""Values that flow from codecs to nets: ragged columns, padded. Numpy only, never changed once made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Ints = npt.NDArray[np.int64]
Item = TypeVar("Item")
Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ragged:
    """B rows of uneven length in one flat array: row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: Ids  # [sum of lengths]
    offsets: Ints  # [B + 1]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Ids:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Ints:
        """Length of each row [B]."""
        return np.diff(self.offsets)

    def take(self, rows: Ints) -> "Ragged":
        """Copy the named rows, in the order named."""
        lengths = self.lengths[rows]
        return Ragged.of([self[row] for row in rows], lengths)

    @staticmethod
    def of(rows: Sequence[Ids], lengths: Ints | None = None) -> "Ragged":
        """Join rows into one value."""
        if lengths is None:
            lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        values = np.concatenate(rows) if rows else np.empty(0, np.int32)
        return Ragged(values.astype(np.int32, copy=False), np.concatenate(([0], np.cumsum(lengths))))


@dataclass(frozen=True, slots=True)
class Scores:
    """What a net says of N rows."""

    rows: Sequence[Floats] | Floats
    """Of each row log-probabilities of the labels [L], or scores of the tags of its tokens [T, K]."""
    shared: Mapping[str, Floats] = field(default_factory=dict)
    """What holds for all rows, by name."""

    @staticmethod
    def joined(parts: "Sequence[Scores]") -> "Scores":
        """Those of several batches, one behind the other."""
        return Scores([row for part in parts for row in part.rows], parts[0].shared if parts else {})


@dataclass(frozen=True, slots=True)
class TextSizes:
    """What a net must know of the texts it will read: learned by the codec, never set."""

    vocabulary: int
    unit: Literal["word", "subword", "character"]
    mean_tokens: float
    lexicon: int = 0  # words of a list that are told of characters


def chunked(rows: Iterable[Item], *, size: Callable[[Item], int], limit: int, total: int) -> Iterator[list[Item]]:
    """Gather rows into lists of at most `limit` rows and, where they are more than one, of `total` size."""
    chunk: list[Item] = []
    held = 0
    for row in rows:
        if chunk and (len(chunk) == limit or held + size(row) > total):
            yield chunk
            chunk, held = [], 0
        chunk.append(row)
        held += size(row)
    if chunk:
        yield chunk


def pad(rows: Ragged, fill: int = 0) -> Ints:
    """Rows as one rectangle [B, longest], filled with `fill` past each row's end."""
    lengths = rows.lengths
    width = int(lengths.max(initial=0))
    out = np.full((len(rows), width), fill, np.int64)
    out[np.arange(width) < lengths[:, None]] = rows.values
    return out
