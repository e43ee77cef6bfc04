"""What the checks say: findings, each with its weight, its rows and what to do, and the verdict they make together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from cellgate.batch import Ints

Severity = Literal["problem", "warning", "note"]
Wanted = Literal["label", "tags"]
"""What rows are answered with, in a sentence: a label (or several), or tags (or the spans that they mark)."""
Verdict = Literal["ready", "trainable", "mend"]

_ORDER: tuple[Severity, ...] = ("problem", "warning", "note")
EXAMPLES = 3  # shown of a finding
_EXCERPT = 200  # characters of a text
_BEFORE = 15  # of them before the place that matters


class Spot(NamedTuple):
    """A row: the number of its split, and its own number there, both from 0."""

    split: int
    row: int


class Excerpt(NamedTuple):
    """A row as it is shown: where it stands (`unit` is what `line` counts), its labels, and a piece of its text."""

    path: str
    unit: str
    line: int
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found out.

    `title` is a sentence without its full stop, `details` and `remedy` are whole ones. An example is one row, or
    several that belong together; `place` says where in its text the thing stands.
    """

    severity: Severity
    code: str
    rows: int
    title: str
    details: tuple[str, ...]
    remedy: str
    examples: tuple[tuple[Spot, ...], ...] = ()
    place: Callable[[str], int | None] = lambda text: 0  # noqa: ARG005

    def excerpt(self, text: str) -> str:
        """The piece of an example's text that shows it."""
        start = max(0, (self.place(text) or 0) - _BEFORE)
        return ("..." if start else "") + text[start : start + _EXCERPT]


class Shown(NamedTuple):
    """A finding and its examples' rows."""

    finding: Finding
    examples: tuple[tuple[Excerpt, ...], ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a split is made of; lengths by their names: median, 90 %, 99 %, longest."""

    split: str
    rows: int
    unlabelled: int  # rows without a label, where rows may have several
    labels: Mapping[str, int]  # rows by label, most first
    unit: str
    characters: Mapping[str, int]
    tokens: Mapping[str, int]
    scripts: Mapping[str, float]  # share of the texts written mostly in it, largest first


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found out, gravest first."""

    facts: tuple[Facts, ...]
    findings: tuple[Shown, ...]

    @property
    def verdict(self) -> Verdict:
        """What a user should do: train, train knowing the warnings, or mend the data first."""
        if self.titles("problem"):
            return "mend"
        return "trainable" if self.titles("warning") else "ready"

    def titles(self, severity: Severity) -> list[str]:
        """The findings of one severity, in short."""
        return [finding.title for finding, _ in self.findings if finding.severity == severity]


def gravest(severities: Iterable[Severity]) -> Severity:
    """The gravest of them."""
    return min(severities, key=_ORDER.index)


def by_weight(findings: Iterable[Finding]) -> list[Finding]:
    """Gravest first; within a severity in the order found."""
    return sorted(findings, key=lambda finding: _ORDER.index(finding.severity))


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one split that a finding is about, the first few of them as examples."""

    split: str
    rows: int
    total: int
    examples: tuple[tuple[Spot, ...], ...]

    @property
    def share(self) -> float:
        """Of the split's rows."""
        return self.rows / self.total


def part(split: str, total: int, *columns: tuple[int, Ints]) -> Part:
    """Rows [N] of a split, each with those that belong to it: columns of (number of the split, rows [N])."""
    rows = zip(*([Spot(number, int(row)) for row in places[:EXAMPLES]] for number, places in columns), strict=True)
    return Part(split, len(columns[0][1]), total, tuple(rows))


def rows_of(parts: Sequence[Part]) -> int:
    """The rows of all splits."""
    return sum(each.rows for each in parts)


def examples_of(parts: Sequence[Part]) -> tuple[tuple[Spot, ...], ...]:
    """The first few examples of all splits."""
    return tuple(example for each in parts for example in each.examples)[:EXAMPLES]


def spread(parts: Sequence[Part], splits: int) -> str:
    """Say which share of which split it is."""
    if splits == 1:
        return f"{percent(parts[0].share)} of the rows"
    return ", ".join(f"{part.split}: {part.rows:,} of {part.total:,} ({percent(part.share)})" for part in parts)


def percent(share: float) -> str:
    """`3.5 %`; what is not nothing is never 0.0 %."""
    return "<0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
