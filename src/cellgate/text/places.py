"""Where the characters of a normalised text come from: places in the text as it was given.

A text is cut into grapheme clusters, what a reader takes for one character, and each is normalised by itself. A
token's place then begins and ends with whole clusters: an accent stays with its letter, whatever became of both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import regex

from cellgate.batch import Ids

_CLUSTERS = regex.compile(r"\X")
_WORDS = regex.compile(r"\s+|\S+")
_REMEMBERED = 100_000  # clusters whose normal form is kept


@dataclass(frozen=True, slots=True)
class Normal:
    """A normalised text; character i of it comes from `starts[i]` up to, not including, `ends[i]` of the given one."""

    text: str
    starts: Ids
    ends: Ids


@dataclass(frozen=True, slots=True)
class Normaliser:
    """Normalises texts by a function and remembers where characters come from."""

    normal: Callable[[str], str]
    known: dict[str, str] = field(default_factory=dict)

    def __call__(self, text: str) -> Normal:
        """Normalise a text with the places of its characters."""
        whole = self.normal(text)
        if text.isascii() and len(whole) == len(text):
            places = np.arange(len(text) + 1, dtype=np.int32)
            return Normal(whole, places[:-1], places[1:])
        # Nearly always clusters are normalised alike alone and in company; else words, else the text as a whole.
        for cut in (_CLUSTERS.findall, _WORDS.findall):
            pieces = cut(text)
            made = [self.piece(piece) for piece in pieces]
            if "".join(made) == whole:
                return _placed(whole, pieces, made)
        return _placed(whole, [text], [whole])

    def piece(self, piece: str) -> str:
        """Normalise a part of a text, or what was met before."""
        found = self.known.get(piece)
        if found is None:
            found = self.normal(piece)
            if len(self.known) < _REMEMBERED:
                self.known[piece] = found
        return found


def _placed(whole: str, pieces: list[str], made: list[str]) -> Normal:
    given = np.fromiter(map(len, pieces), np.int32, len(pieces))
    count = np.fromiter(map(len, made), np.int64, len(made))
    ends = given.cumsum(dtype=np.int32)
    return Normal(whole, np.repeat(ends - given, count), np.repeat(ends, count))
