"""A text without its case, spaces and punctuation; and which script its letters belong to."""

import re
import unicodedata

_NOT_WORDS = re.compile(r"[\W_]+")
_RANGES = {
    "Latin": "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff",
    "Han": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
    "Kana": "\u3041-\u30ff",
    "Hangul": "\u1100-\u11ff\uac00-\ud7af",
    "Cyrillic": "\u0400-\u052f",
    "Greek": "\u0370-\u03ff",
    "Arabic": "\u0620-\u06ff\u0750-\u077f",
    "Hebrew": "\u05d0-\u05ea",
    "Devanagari": "\u0900-\u097f",
    "Thai": "\u0e01-\u0e4f",
}
SCRIPTS = (*_RANGES, "another script", "no letters")
LATIN, HAN, NO_LETTERS = SCRIPTS.index("Latin"), SCRIPTS.index("Han"), SCRIPTS.index("no letters")
_OUTSIDE = tuple(re.compile(f"[^{letters}]+") for letters in _RANGES.values())


def words_of(text: str) -> str:
    """Fold case and compatibility forms; one space stands for whatever is no letter and no digit."""
    return _NOT_WORDS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def letters_by_script(text: str) -> dict[int, int]:
    """How many letters of each script (its number in SCRIPTS) stand in a text; scripts without any are left out."""
    if text.isascii():
        counts = [len(_OUTSIDE[LATIN].sub("", text))]
    else:
        counts = [len(pattern.sub("", text)) for pattern in _OUTSIDE]
        counts.append(max(0, sum(map(str.isalpha, text)) - sum(counts)))
    return {script: count for script, count in enumerate(counts) if count}
