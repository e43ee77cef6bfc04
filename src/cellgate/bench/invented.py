"""A large CSV file of invented words, the same bytes every time: Zipf frequencies, two labels, a few telling words."""

import csv
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellgate.batch import Ints
from cellgate.errors import UsageError

LABELS = ("calm", "stormy")

_SYLLABLES = tuple(map("".join, product("bcdfghjklmnprstvwxyz", "aeiou")))  # 100
_WORDS = 500_000
_TELLING = 50  # words of each label that it prefers
_TELLING_SHARE = 0.05  # of a text's words are drawn from those
_SHORTEST, _LONGEST = 10, 200  # words a text
_ROWS_AT_ONCE = 2_000
_ROOM = 3.0  # times the file's size: itself, its encoded rows, and what is being written


def check_room(folder: Path, gigabytes: float) -> None:
    """Stop with UsageError unless the disk has room for the file and a training on it."""
    free, needed = shutil.disk_usage(folder).free / 1e9, _ROOM * gigabytes + 1
    if free < needed:
        raise UsageError(
            f"a file of {gigabytes:g} GB and a training on it need {needed:.1f} GB, {folder} has {free:.1f} GB free: "
            "make room, let TMPDIR name another disk, or measure with fewer gigabytes"
        )


def write_large(path: Path, gigabytes: float) -> int:
    """Write rows of `text` and `label` until the file has that size; returns their number."""
    random = np.random.default_rng(0)
    words = np.array([_word(rank) for rank in range(_WORDS)], dtype=object)
    chances = np.cumsum(1 / (np.arange(_WORDS) + 2.7))  # Zipf and Mandelbrot's law of words
    chances /= chances[-1]
    rows = 0
    with path.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        while file.tell() < gigabytes * 1e9:
            lengths = random.integers(_SHORTEST, _LONGEST, _ROWS_AT_ONCE, endpoint=True)
            labels = random.integers(0, len(LABELS), _ROWS_AT_ONCE)
            spoken = words[_ranks(random, chances, np.repeat(labels, lengths))]
            ends = np.cumsum(lengths)
            texts = (" ".join(spoken[end - length : end]) for end, length in zip(ends, lengths, strict=True))
            writer.writerows(zip(texts, (LABELS[label] for label in labels), strict=True))
            rows += _ROWS_AT_ONCE
    return rows


def _ranks(random: np.random.Generator, chances: npt.NDArray[np.float64], labels: Ints) -> Ints:
    """Draw a word's rank for each place, whose text's label is given."""
    ranks = np.searchsorted(chances, random.random(len(labels)))
    telling = random.random(len(labels)) < _TELLING_SHARE
    preferred = 100 + labels * _TELLING + random.integers(0, _TELLING, len(labels))  # neither rare nor everywhere
    return np.where(telling, preferred, ranks)


def _word(rank: int) -> str:
    """Spell a rank: the frequent words are the short ones, as in languages."""
    word = _SYLLABLES[rank % 100]
    while rank := rank // 100:
        word += _SYLLABLES[rank % 100]
    return word
