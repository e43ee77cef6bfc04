"""Choosing the next token by log-probabilities: temperature, truncation, repetition, verse. Numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellgate.batch import Floats
from cellgate.errors import UsageError

_REMEMBERED = 64  # tokens that a repetition is looked for in
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. The order is that of the fields: each works on what the one before left."""

    repetition: float = 1.0
    """Log-probabilities of the last 64 different tokens written are multiplied by it (Keskar et al. 2019); 1: not."""
    temperature: float = 0.8
    """Below 1 likely tokens become likelier; 0: the likeliest is taken."""
    top_k: int = 0
    """Only so many of the likeliest; 0: all."""
    top_p: float = 1.0
    """Only the likeliest that together have this probability (Holtzman et al. 2020)."""
    min_p: float = 0.0
    """Only those at least this share as likely as the likeliest (Nguyen et al. 2024)."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, fits, wanted in (
            ("repetition", self.repetition >= 1, "a number from 1 on"),
            ("temperature", self.temperature >= 0, "a number from 0 on"),
            ("top_k", self.top_k >= 0, "a count, or 0 for all"),
            ("top_p", 0 < self.top_p <= 1, "a probability above 0, up to 1"),
            ("min_p", 0 <= self.min_p < 1, "a share from 0 on, below 1"),
        ):
            if not fits:
                raise UsageError(f"{name} {getattr(self, name)}: give {wanted}")


class Chooser:
    """Draws tokens one after the other."""

    def __init__(self, sampling: Sampling, banned: Mask, number: int = 0) -> None:
        """`banned` [V] tokens never come; `number` says which of several samples of one seed this is."""
        self._sampling = sampling
        self._banned = banned
        self._random = np.random.default_rng([sampling.seed, number])
        self._last: list[int] = []

    def choose(self, log_probabilities: Floats, banned: Mask | None = None) -> int:
        """Draw a token by log-probabilities [V], none of those `banned` now."""
        how = self._sampling
        scores = np.where(self._banned if banned is None else self._banned | banned, -np.inf, log_probabilities)
        if how.repetition > 1 and self._last:
            scores[self._last] *= how.repetition
        if how.temperature == 0:
            return self.take(int(scores.argmax()))
        scores /= how.temperature
        _truncate(scores, how)
        # The first of exponential clocks that run at these rates (Gumbel's trick).
        return self.take(int((scores - np.log(self._random.standard_exponential(len(scores)))).argmax()))

    def take(self, token: int) -> int:
        """Say which token came, drawn or given."""
        if self._sampling.repetition > 1:
            self._last = [token, *(each for each in self._last if each != token)][:_REMEMBERED]
        return token


def _truncate(scores: Floats, how: Sampling) -> None:
    """Put -inf, in place, where a token [V] is out of reach."""
    if 0 < how.top_k < len(scores):
        scores[scores < np.partition(scores, -how.top_k)[-how.top_k]] = -np.inf
    if how.top_p < 1:
        order = np.argsort(-scores, kind="stable")
        chances = np.exp(scores[order] - scores[order[0]])
        before = np.cumsum(chances) - chances
        scores[order[before >= how.top_p * chances.sum()]] = -np.inf
    if how.min_p > 0:
        scores[scores < scores.max() + np.log(how.min_p)] = -np.inf


@dataclass(frozen=True, slots=True)
class Verse:
    """Lines of so many characters, a mark behind each; line i begins with character i of the acrostic, if any.

    The mark behind the last one ends a sentence, where the vocabulary has such a mark and the lines are counted.
    """

    characters: int
    acrostic: str = ""
    lines: int = 0
    """How many; 0: one a character of the acrostic, else until the text ends."""

    def __post_init__(self) -> None:
        if self.characters < 1 or self.lines < 0:
            raise UsageError(f"a verse of {self.lines} lines of {self.characters} characters: give counts from 1 on")

    @property
    def most(self) -> int:
        """Lines after which the text ends; 0: never."""
        return self.lines or len(self.acrostic)


class Metre:
    """Where a verse stands: says which characters may come, and which must."""

    def __init__(self, verse: Verse, marks: Mask, full: Mask, ends: Mask, end: int, begun: int) -> None:
        """Begin, or go on behind the `begun` first characters of a line.

        `marks` [V]: tokens that end a line; `full` [V]: those of them that end a sentence; `ends` [V]: tokens that end
        a document, or a line of the page; `end`: the token that ends a document.
        """
        if begun > verse.characters or (begun and verse.acrostic):
            raise UsageError(
                f"the prompt's last line has {begun} characters: it begins a line of the verse, so give at most "
                f"{verse.characters}, and none beside an acrostic"
            )
        self._verse = verse
        self._inside = marks | ends  # not to come inside a line
        self._between = self._inside.copy()  # nor before one; but there the document may end
        self._between[end] = False
        self._behind = ~marks  # not to come behind it
        self._behind_last = ~full if full.any() else self._behind
        self.line, self.place = 0, begun

    @property
    def done(self) -> bool:
        """Whether all lines are there."""
        return bool(self._verse.most) and self.line >= self._verse.most

    @property
    def wanted(self) -> str:
        """The character that must come; empty: any that may."""
        given = self._verse.acrostic
        return given[self.line] if self.place == 0 and self.line < len(given) else ""

    @property
    def banned(self) -> Mask:
        """Tokens that may not come [V]."""
        if self.place == 0 and self.line and not self._verse.most:
            return self._between
        if self.place < self._verse.characters:
            return self._inside
        return self._behind_last if self.line + 1 == self._verse.most else self._behind

    def take(self) -> None:
        """One more character came."""
        self.place += 1
        if self.place > self._verse.characters:
            self.line, self.place = self.line + 1, 0


def held_back(text: str, stops: Sequence[str]) -> tuple[str, str, bool]:
    """What of a text may be shown, what may yet become one of `stops`, and whether one was met (nothing behind it)."""
    met = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    if met:
        return text[: min(met)], "", True
    longest = max(map(len, stops), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-size:]) for stop in stops):
            return text[:-size], text[-size:], False
    return text, "", False
