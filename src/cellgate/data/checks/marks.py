"""What may be seen in a text that does not belong there, and where in it."""

import re
from enum import IntFlag
from functools import lru_cache

from cellgate.data.checks.words import words_of

_LOOKED_AT = 2_000  # characters of a text in which marks are looked for
_REPLACED = re.compile("\ufffd")
_HIGH = re.compile(r"[^\x00-\x7f]{2,}")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_HTML = re.compile(
    r"</?(?:br|p|div|span|a|b|i|li|ul|img|strong|em|font|td|tr)(?: [^<>]*=[^<>]*)? ?/?>|&(?:[a-z]{2,6}|#\d{2,5});", re.I
)
_GBK_MISREAD = re.compile("锟斤拷|烫烫烫|(?:[锛銆鐨鈥].{0,9}){3}")  # what the commonest UTF-8 marks become


class Mark(IntFlag):
    """What a text bears."""

    EMPTY = 1
    REPLACED = 2  # U+FFFD: characters that were lost
    MISREAD = 4  # UTF-8 that was read as something else
    CONTROL = 8
    HTML = 16
    NAMES_LABEL = 32  # a label of the row stands in it as a word


def marks_of(text: str, words: str, labels: tuple[str, ...]) -> int:
    """The marks of a text as a sum; `words` is `words_of(text)`, `labels` are its row's."""
    marks = 0 if text.strip() else int(Mark.EMPTY)
    for mark in (Mark.REPLACED, Mark.MISREAD, Mark.CONTROL, Mark.HTML):
        marks |= 0 if place_of(mark, text) is None else mark
    padded = f" {words} "
    marks |= Mark.NAMES_LABEL if any(name and name in padded for name in map(_searched, labels)) else 0
    return int(marks)


def place_of(mark: Mark, text: str) -> int | None:
    """Where in a text a mark is first seen; None: nowhere, or the mark is of the text as a whole."""
    text = text[:_LOOKED_AT]
    match mark:
        case Mark.CONTROL:
            found = _CONTROLS.search(text)
        case Mark.HTML if "<" in text or "&" in text:
            found = _HTML.search(text)
        case Mark.REPLACED if not text.isascii():
            found = _REPLACED.search(text)
        case Mark.MISREAD if not text.isascii():
            runs = (run for run in _HIGH.finditer(text) if _was_utf8(run.group()))
            found = next(runs, None) or _GBK_MISREAD.search(text)
        case _:
            found = None
    return found and found.start()


def _was_utf8(run: str) -> bool:
    """Whether characters beyond ASCII are the bytes of UTF-8, each read as one Western character."""
    for encoding in ("cp1252", "latin-1"):
        try:
            run.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False


@lru_cache(maxsize=10_000)
def _searched(label: str) -> str:
    """The label as it would stand among words; empty where that proves nothing: numbers, one or two letters."""
    name = words_of(label)
    if name.isascii():
        return f" {name} " if len(name) > 2 and not name.isdecimal() else ""
    return name if len(name) > 1 else ""  # where words are not spaced, inside them too
