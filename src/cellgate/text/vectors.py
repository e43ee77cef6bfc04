"""Pretrained vectors of words or characters: the text format of word2vec and GloVe, plain or gzipped.

A line is a word and its numbers between spaces. A first line of two whole numbers (how many, how wide) may go before.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from cellgate.batch import Floats
from cellgate.errors import DataError
from cellgate.text.opened import opened

_SPREAD = 0.3  # standard deviation the numbers are brought to: files differ in theirs by a factor of ten


def read_words(path: str) -> Iterator[str]:
    """The words of a file in its order, which is that of their frequency in all known files."""
    for word, _, _ in _lines(path):
        yield word


def read_vectors(path: str, vocabulary: Mapping[str, int], normal: Callable[[str], str]) -> Floats:
    """Vectors [V, D] of the words of a vocabulary of V; zeros for a word that the file does not have.

    `normal` gives a word of the file as the vocabulary writes it; of several that become one, the word that is written
    so counts, else the first. DataError for a file that holds no vectors, with the line.
    """
    found: dict[int, list[str]] = {}
    exact: set[int] = set()
    width = 0
    for word, numbers, line in _lines(path):
        width = len(numbers)
        as_written = normal(word)
        place = vocabulary.get(as_written)
        if place is None or place in exact or (place in found and word != as_written):
            continue
        if word == as_written:
            exact.add(place)
        found[place] = _checked(numbers, path, line)
    values = np.zeros((len(vocabulary), width), np.float32)
    for place, numbers in found.items():
        values[place] = np.array(numbers, np.float32)
    spread = float(values[list(found)].std()) if found else 0.0
    return values * (_SPREAD / spread) if spread else values


def _checked(numbers: list[str], path: str, line: int) -> list[str]:
    if not all(_is_number(cell) and math.isfinite(float(cell)) for cell in numbers):
        raise DataError(
            f"{path}, line {line}: not all of its {len(numbers)} values are numbers; mend or delete the line"
        )
    return numbers


def _lines(path: str) -> Iterator[tuple[str, list[str], int]]:
    """Each line's word, its numbers as they are written, and its number; all have as many."""
    width = 0
    for line, text in enumerate(_text(path), start=1):
        cells = text.rstrip().split(" ")
        if line == 1 and len(cells) == 2 and all(cell.isdecimal() for cell in cells):
            continue
        if not text.strip():
            continue
        width = width or len(cells) - 1
        # A word may hold spaces, so its numbers are counted from the end.
        beyond = len(cells) - 1 - width
        if width == 0 or beyond < 0 or (beyond > 0 and _is_number(cells[beyond])):
            have = sum(map(_is_number, cells[1:]))
            wanted = f"the lines before have {width}" if width else "a word and its numbers are wanted"
            raise DataError(
                f"{path}, line {line}: {have} numbers, {wanted}; give vectors in the text format of word2vec or GloVe"
            )
        yield " ".join(cells[: beyond + 1]), cells[beyond + 1 :], line
    if not width:
        raise DataError(f"{path} holds no vectors; give a file in the text format of word2vec or GloVe")


def _text(path: str) -> Iterator[str]:
    # Some files hold words cut inside a character: no text has such a word.
    with opened(path, "vectors (--text.vectors)") as file, io.TextIOWrapper(file, "utf-8", "replace", "\n") as lines:
        yield from lines


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
