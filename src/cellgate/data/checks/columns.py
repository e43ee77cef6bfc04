"""Columns beside the text that tell the label by themselves."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cellgate.batch import Ids, Ints
from cellgate.data.checks.findings import Finding, percent
from cellgate.metrics import plain_label

_SPARED = 0.05  # of the errors that the most frequent label makes: a column that leaves no more tells the label
_ENOUGH = 50  # rows
_NUMERIC = 0.99  # share of a column's cells


@dataclass
class _Column:
    """What is kept of a column: of each cell its hash, and its value if it is a number."""

    name: str
    hashes: "array[int]" = field(default_factory=lambda: array("q"))
    numbers: "array[float]" = field(default_factory=lambda: array("d"))
    copies: int = 0  # rows where it is the label, letter by letter

    def add(self, cell: str, label: str) -> None:
        self.hashes.append(hash(cell))
        self.numbers.append(_number(cell))
        self.copies += plain_label(cell) == label


def column_findings(names: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> Iterator[Finding]:
    """Which columns of the training rows tell the label; `rows` are (label, cells of the other columns)."""
    if not names:
        return  # nothing to read the rows for
    columns = [_Column(name) for name in names]
    numbers: dict[str, int] = {}
    labels = array("i")
    for label, cells in rows:
        labels.append(numbers.setdefault(label, len(numbers)))
        for column, cell in zip(columns, cells, strict=True):
            column.add(cell, label)
    found = np.frombuffer(labels, np.int32).astype(np.int64)
    if len(found) < _ENOUGH or len(numbers) < 2:
        return
    for column in columns:
        how = _how_it_tells(column, found)
        if how:
            yield Finding(
                "note",
                "column_tells_label",
                len(found),
                f"the column {column.name!r} {how}",
                (),
                "Training reads the text only. See to it that the texts do not hold it too, and that the column named "
                "as the label is the one you mean.",
            )


def _how_it_tells(column: _Column, labels: Ints) -> str:
    """Say how a column tells the label; empty where it does not."""
    hashes, numbers = np.frombuffer(column.hashes, np.int64), np.frombuffer(column.numbers, np.float64)
    if column.copies == len(labels):
        return "is a copy of the label"
    needed = telling(labels)
    _, values = np.unique(hashes, return_inverse=True)
    right = _right(values, labels)
    if right >= needed:
        return f"tells the label by its value in {percent(right)} of the rows"
    numeric = ~np.isnan(numbers)
    if numeric.mean() < _NUMERIC:
        return ""
    right = _neighbours(np.where(numeric, numbers, -np.inf), labels)
    if right >= needed:
        return f"tells the label by its range in {percent(right)} of the rows"
    return ""


def telling(labels: Ints | Ids) -> float:
    """The share of right answers from which a column tells the label."""
    most = float(np.bincount(labels).max() / len(labels))
    return 1 - _SPARED * (1 - most)


def _right(values: Ints, labels: Ints) -> float:
    """How often the label of a row is the commonest one that other rows with its value have.

    One half of the rows, drawn at random, answers for the other; values [N] and labels [N] count from 0.
    """
    teaches = np.random.default_rng(0).random(len(labels)) < 0.5
    kinds = int(labels.max()) + 1
    seen, count = np.unique(values[teaches] * kinds + labels[teaches], return_counts=True)
    seen = seen[np.argsort(count, kind="stable")]  # the commonest comes last, and stays
    answer = np.full(int(values.max()) + 1, np.bincount(labels[teaches]).argmax())
    answer[seen // kinds] = seen % kinds
    return float(np.mean(answer[values[~teaches]] == labels[~teaches]))


def _neighbours(numbers: npt.NDArray[np.float64], labels: Ints) -> float:
    """How often rows that follow one another by their numbers [N] have the same label; equal numbers are shuffled."""
    ranked = labels[np.lexsort((np.random.default_rng(0).random(len(labels)), numbers))]
    return float(np.mean(ranked[1:] == ranked[:-1]))


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
