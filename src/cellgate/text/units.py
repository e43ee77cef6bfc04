"""A running text as pieces that can be joined again: words with the space before them, lines, pieces of a long text."""

from collections.abc import Iterator, Sequence
from typing import Literal

import regex

from cellgate.text.tokens import UNSPACED

LINE_END = "\n"
WordEnds = Literal["spaces", "marks"]
_LETTERS = rf"[\p{{L}}\p{{M}}\p{{N}}_--[{UNSPACED}]]+(?:['’]\p{{L}}+)*"
_WORD = regex.compile(rf" ?{_LETTERS}| ?\S|\n", regex.V1)
_SPACES = regex.compile(r"[^\S\n]+")
_MARKS = regex.compile(r"(\s?)[.,;](?=\s)")
_LAST_SPACES = regex.compile(r"(?r)\s+\S*\Z")
PIECE = 8_192  # characters of a piece of a text, at most
_ALONE = 0.9  # share of marks behind a space from which all are taken to stand by themselves


def cut_words(text: str, words: WordEnds) -> list[str]:
    """Cut a text into words and line ends; more than one space is one, and none is kept before a line's end.

    With "marks" a word has the space before it, and marks are words; with "spaces" it is all between two spaces.
    """
    if words == "marks":
        found: list[str] = _WORD.findall(_SPACES.sub(" ", text))
        return found
    lines = text.split(LINE_END)
    return [word for place, line in enumerate(lines) for word in ([LINE_END] if place else []) + line.split()]


def needs_space(before: str, word: str, words: WordEnds) -> bool:
    """Whether a space stands between two words of `cut_words`; before the first there is an empty one."""
    return words == "spaces" and before != "" and not before[-1].isspace() and word != LINE_END


def words_of(texts: Sequence[str]) -> WordEnds:
    """How the words of such texts end: see by their full stops and commas whether they stand by themselves."""
    found = [space for text in texts for space in _MARKS.findall(text)]
    return "spaces" if found and sum(map(bool, found)) >= _ALONE * len(found) else "marks"


def parted(text: str) -> int:
    """The place before which the words and subwords of a text are certain, whatever follows: before its last spaces.

    Where there is no space in a whole piece, all of it is.
    """
    found = _LAST_SPACES.search(text)
    end = found.start() if found else 0
    return end if len(text) - end <= PIECE else len(text)


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """Cut a text into pieces of at most `size` characters, before a space or behind a line end if there is one."""
    start = 0
    while len(text) - start > size:
        window = (start + 1, start + size)
        end = max(text.rfind(" ", *window), text.rfind(LINE_END, *window) + 1, start)
        end = end if end > start else start + size
        yield text[start:end]
        start = end
    yield text[start:]
