"""What a page of results is made of: figures of records, written with their targets, in tables."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cellgate.bench.machine import Record


@dataclass(frozen=True)
class Figure:
    """A column: where a record holds it (`a.b`: inside a), its heading, and how it is written."""

    path: str
    heading: str
    written: Callable[[float], str]


@dataclass(frozen=True)
class Target:
    """What a figure should reach."""

    limit: float
    at_least: bool

    def beside(self, value: float, written: Callable[[float], str]) -> str:
        """Write a value, and whether it reaches this."""
        reached = value >= self.limit if self.at_least else value <= self.limit
        sign = "≥" if self.at_least else "≤"
        return f"{written(value)} (target {sign} {written(self.limit)}: {'reached' if reached else 'not reached'})"


@dataclass(frozen=True)
class Table:
    """Cells as they are read."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Group:
    """The newest record of each seed, of one bench and set on one machine."""

    bench: str
    item: str
    machine: str
    records: tuple[Record, ...]

    def value(self, path: str) -> float | None:
        """Median of a figure over the seeds; None where no record has it."""
        found = [float(value) for record in self.records if (value := held(record, path)) is not None]
        return statistics.median(found) if found else None

    def stamp(self, named: Callable[[str], str]) -> tuple[str, str, str]:
        """Write on which machine, at which commit and when it was measured, as `STAMP` heads it."""
        commits = ", ".join(dict.fromkeys(str(record["commit"]) for record in self.records))
        return named(self.machine), commits, max(str(record["date"])[:10] for record in self.records)


STAMP = ("machine", "commit", "date")


def held(record: Record, path: str) -> Any:  # noqa: ANN401  whatever JSON holds
    """What a record holds at a path; None where it holds nothing there."""
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def cell(group: Group, figure: Figure, target: Target | None) -> str:
    """Write a figure of a group, beside its target if it has one."""
    value = group.value(figure.path)
    if value is None:
        return "-"
    return target.beside(value, figure.written) if target else figure.written(value)


def listed_cells(values: Sequence[object]) -> str:
    """Write several values in one cell."""
    return ", ".join(map(str, values))


def percent(value: float) -> str:
    """Write a share of 1."""
    return f"{100 * value:.2f} %"


def seconds(value: float) -> str:
    """Write a stretch of time [s]."""
    return f"{value / 60:.1f} min" if value >= 60 else f"{value:.3g} s"


def mb(value: float) -> str:
    """Write a size [MB]."""
    return f"{value:,.0f} MB" if value >= 100 else f"{value:.1f} MB"


def count(value: float) -> str:
    """Write a whole number."""
    return f"{value:,.0f}"


def number(value: float) -> str:
    """Write a number as it is."""
    return f"{value:.5g}"


def times(value: float) -> str:
    """Write a ratio."""
    return f"{value:.2f} x"
