"""A text that comes in pieces: how much of it is normalised alike whatever follows.

Unicode NFKC joins a letter with the marks behind it, and the letters of Hangul with each other. Between most
characters nothing is ever joined; there a text can be parted.
"""

from dataclasses import dataclass

import regex

LONGEST_RUN = 100  # characters that join those before them, one behind the other
_PARTING = "\u034f"  # the combining grapheme joiner: whatever its name says, it joins nothing

# What may become one with a character before it, or change places with one: marks; vowels and finals of Hangul, also
# the compatibility and half-width ones; Kirat Rai, whose vowels are no marks; what newer versions of Unicode may add.
_JOINING = (
    r"[[\p{M}\p{Cn}\u1160-\u11ff\u3133\u3135\u3136\u313a-\u313f\u314f-\u3164\uff9e-\uffdc\U00016d40-\U00016d7f]"
    rf"--[{_PARTING}]]"
)
# What nothing behind it ever becomes one with.
_CLOSED = regex.compile(r"[\s\p{Han}.,:;!?，：；！？。]")
_LONG_RUN = regex.compile(rf"({_JOINING}{{{LONGEST_RUN}}})(?={_JOINING})", regex.V1)
_LAST_RUN = regex.compile(rf"(?r){_JOINING}*\Z", regex.V1)


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a text read so far that what follows may change; at most some hundred characters."""

    raw: str = ""
    """Not normalised yet: marks that follow may join its last character."""
    word: str = ""
    """Normalised, and no token yet: letters that follow may belong to the same word."""
    begun: bool = False
    """Whether any piece came before."""


def stream_safe(text: str) -> str:
    """Part runs of more than LONGEST_RUN joining characters, so that no end of a text stays open for long.

    As the Stream-Safe Text Process of UAX #15 does, which parts runs of 30; no writing system comes near to that.
    """
    return text if text.isascii() else _LONG_RUN.sub(rf"\1{_PARTING}", text)


def settled(text: str) -> int:
    """The place up to which a text's normal form is its own, and behind which that of the rest is, whatever follows."""
    run = _LAST_RUN.search(text)
    start = run.start() if run else len(text)
    return start if start == 0 or _CLOSED.match(text, start - 1) else start - 1
