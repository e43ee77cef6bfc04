"""Words of a list, found in texts of characters: soft lexicon features (Ma et al. 2020).

A line of the list is a word and, behind a space or a tab, how often it occurs; what follows is not read. Of each
character the words are told that Begin there, run through it (Middle), End there, or are it alone (Single).
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cellgate.batch import Array, Floats, Ids, Ragged
from cellgate.errors import DataError
from cellgate.text.detect import detect_encoding, foreign_kind
from cellgate.text.opened import opened

SETS = 4
_BEGIN, _MIDDLE, _END, _SINGLE = range(SETS)
_LONGEST = 32  # characters of a word; beyond, a line is none, and each beginning of a word is kept
_SAMPLE_BYTES = 2**20
_COUNT_DIGITS = 15  # of a count; Python reads no number of thousands of them
_LEAST_SLOTS = 2  # torch's exporter takes an axis of 1 for a constant


@dataclass(frozen=True)
class Lexicon:
    """The words of a list that stand in the training texts; a word's number is its place."""

    words: Sequence[str]
    counts: Sequence[int]
    """How often each occurs, by the list or by the training texts."""
    of: int
    """Words of the whole list."""
    covered: float
    """Share of the training texts' characters that are part of a word of two or more."""

    @classmethod
    def learn(cls, path: str, texts: Iterable[str], normal: Callable[[str], str], min_count: int) -> "Lexicon":
        """Keep the words of a file that stand `min_count` times in `texts`; `normal` writes both alike.

        Counts are the list's where it has any. Counted in the texts, a word is left out where a longer one covers it.
        """
        listed = _read(path, normal)
        whole = cls(list(listed), list(listed.values()), len(listed), 0.0)
        seen, uncovered = np.zeros((2, len(listed)), np.int64)
        characters = covered = 0
        for text in map(normal, texts):
            characters += len("".join(text.split()))
            furthest = 0
            for start, end, number in whole.found(text):
                seen[number] += 1
                uncovered[number] += end > furthest
                covered += max(0, end - max(start, furthest)) if end - start > 1 else 0
                furthest = max(furthest, end)
        kept = np.flatnonzero(seen >= min_count).tolist()
        if not kept:
            raise DataError(
                f"{path}: none of its {len(listed):,} words stands {min_count} times in the training texts; give a "
                "list in their language and script, in UTF-8 (--text.lexicon)"
            )
        counts = whole.counts if any(whole.counts) else uncovered.tolist()
        words = [whole.words[number] for number in kept]
        return cls(words, [max(1, counts[number]) for number in kept], len(listed), covered / characters)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The number of each word, and -1 of what only begins words."""
        beginnings = dict.fromkeys((word[:end] for word in self.words for end in range(1, len(word))), -1)
        return beginnings | {word: number for number, word in enumerate(self.words)}

    def found(self, text: str) -> list[tuple[int, int, int]]:
        """Start, end (half-open) and number of each word in a normalised text, by start, the longest first."""
        numbers = self._numbers
        found: list[tuple[int, int, int]] = []
        for start in range(len(text)):
            here: list[tuple[int, int, int]] = []
            for end in range(start + 1, len(text) + 1):
                number = numbers.get(text[start:end])
                if number is None:
                    break
                if number >= 0:
                    here.append((start, end, number))
            found += reversed(here)
        return found

    def at_tokens(self, text: str, places: Sequence[tuple[int, int]]) -> Ids:
        """The words in a normalised text by its tokens, whose places are given.

        Flat: of each word the first token, that behind its last, and its number.
        """
        first = {start: token for token, (start, _) in enumerate(places)}
        last = {end: token + 1 for token, (_, end) in enumerate(places)}
        found = [(first[a], last[b], number) for a, b, number in self.found(text) if a in first and b in last]
        return np.array(found, np.int32).flatten()

    def sets(self, found: Ragged, width: int) -> dict[str, Array]:
        """Words as a net's inputs: "lexicon" [B, T, 4, slots], numbers, and "lexicon_weights", 0 in empty slots.

        `found` holds what `at_tokens` tells of B texts of at most T = `width` tokens. In each of a token's four sets
        weights go by the words' counts, and their sum is 1.
        """
        start, end, number = found.values.reshape(-1, 3).T.astype(np.int64)
        length = end - start
        word = np.repeat(np.arange(len(length)), length)  # of each token of each word
        inside = np.arange(len(word)) - np.repeat(np.cumsum(length) - length, length)
        last = inside == length[word] - 1
        which = np.where(inside == 0, np.where(last, _SINGLE, _BEGIN), np.where(last, _END, _MIDDLE))
        text = np.repeat(np.arange(len(found)), found.lengths // 3)
        place = ((text * width + start)[word] + inside) * SETS + which
        order = np.argsort(place, kind="stable")
        _, first, count = np.unique(place[order], return_index=True, return_counts=True)
        slot = np.arange(len(order)) - np.repeat(first, count)
        slots = max(_LEAST_SLOTS, int(count.max(initial=0)))
        numbers = np.zeros((len(found) * width * SETS, slots), np.int64)
        weights = np.zeros(numbers.shape, np.float32)
        numbers[place[order], slot] = number[word[order]]
        weights[place[order], slot] = self._weights[number[word[order]]]
        weights /= weights.sum(1, keepdims=True).clip(min=1)
        shape = (len(found), width, SETS, slots)
        return {"lexicon": numbers.reshape(shape), "lexicon_weights": weights.reshape(shape)}

    @cached_property
    def _weights(self) -> Floats:
        return np.array(self.counts, np.float32)


def _read(path: str, normal: Callable[[str], str]) -> dict[str, int]:
    """Count of each word of a list, 0 where it tells none; those of lines that become one word are added up."""
    counts: dict[str, int] = {}
    for line in _lines(path):
        word, *others = line.split("\t") if "\t" in line else line.split()
        word = normal(word.strip())
        if 0 < len(word) <= _LONGEST:
            told = others[0].strip() if others else ""
            counts[word] = counts.get(word, 0) + (int(told) if told.isdecimal() and len(told) <= _COUNT_DIGITS else 0)
    if not counts:
        raise DataError(
            f"{path} holds no words of up to {_LONGEST} characters; give a list with a word a line (--text.lexicon)"
        )
    return counts


def _lines(path: str) -> Iterator[str]:
    """The lines that hold anything, in whatever encoding."""
    with opened(path, "words (--text.lexicon)") as stream:
        sample = stream.read(_SAMPLE_BYTES)
        encoding = None if (kind := foreign_kind(sample)) else detect_encoding(sample)
        if encoding is None:
            raise DataError(f"{path} is {kind or 'in no encoding known here'}; give a list of words in UTF-8")
        stream.seek(0)
        with io.TextIOWrapper(stream, encoding.name, "replace") as lines:
            for line in lines:
                if line.strip("\ufeff").strip():
                    yield line.strip("\ufeff\r\n")
