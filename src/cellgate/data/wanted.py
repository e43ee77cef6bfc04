"""What stands in the column that a task wants: several labels in a cell, numbers, labels that look alike."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from cellgate.data.rows import Cell
from cellgate.errors import DataError, listed
from cellgate.metrics import labels_of, plain_label, plain_labels, spans_of
from cellgate.spans import Span, longest

_BROKEN = re.compile(r"[+-]?\d*\.\d+(e[+-]?\d+)?", re.IGNORECASE)
_MOST_NUMBERS = 50  # distinct ones: above that they measure something and name nothing
_SEPARATORS = ",;|"


@dataclass(frozen=True, slots=True)
class Answers:
    """How the cells of a wanted column are read.

    Labels are made plain, as `plain_label` says. With `separator` a cell is cut into labels.
    """

    separator: str | None = None

    def cut(self, cell: Cell) -> tuple[str, ...]:
        """Return a cell's labels as they are written."""
        return tuple(cell.split(self.separator)) if isinstance(cell, str) and self.separator else labels_of(cell)

    def read(self, cell: Cell) -> Cell:
        """Return a cell's label; several as a sorted tuple, each once and none empty."""
        return plain_labels(cell if isinstance(cell, str) and not self.separator else self.cut(cell))

    def labels(self, cells: Iterable[Cell]) -> frozenset[str]:
        """Return the distinct labels of all cells."""
        return frozenset(label for cell in cells for label in labels_of(self.read(cell))) - {""}


@dataclass(frozen=True, slots=True)
class Marks:
    """How the cells of a column of spans are read: as they are, or without those that a longer one overlaps."""

    longest: bool = False

    separator: ClassVar[str | None] = None

    def read(self, cell: Cell) -> Cell:
        """Return a cell's spans, or its tags."""
        spans = spans_of(cell) if any(isinstance(part, Span) for part in cell) else ()
        return tuple(longest(spans)) if self.longest and spans else cell

    def labels(self, cells: Iterable[Cell]) -> frozenset[str]:
        """Return the distinct labels of all cells."""
        return frozenset(label for cell in cells for label in labels_of(cell))


def refuse_measures(labels: Collection[str], field: str, column: str) -> None:
    """Stop where labels are numbers such as 1.57 in great number: classes are a few names."""
    numbers = [label for label in sorted(labels) if _BROKEN.fullmatch(label)]
    if len(numbers) > _MOST_NUMBERS and len(numbers) * 2 > len(labels):
        raise DataError(
            f"the {field} (column {column!r}) holds {len(numbers)} different numbers in its first rows, "
            f"such as {listed(numbers[:3])}, where a few classes are learned: name another column, "
            "or write ranges in their place, such as low, middle, high"
        )


def cell_notes(cells: Sequence[Cell], field: str, answers: Answers) -> Iterator[str]:
    """Say what is dropped, and where cells seem to hold several labels or the separator given stands in none."""
    texts = [cell for cell in cells if isinstance(cell, str)]
    plain = {text for text in texts if text == text.strip()}
    if padded := sorted({text for text in texts if text not in plain and text.strip() in plain}):
        yield f"{field}: space around labels is dropped: {listed(map(repr, padded), 5)}"
    written = {label.strip() for cell in cells for label in answers.cut(cell)}
    if pointed := min((label for label in written if plain_label(label) != label), default=""):
        yield f"{field}: whole numbers lose their point: {pointed} is read as {plain_label(pointed)}"
    if answers.separator:
        if texts and not any(answers.separator in text for text in texts):
            rows = "row" if len(texts) == 1 else f"{len(texts):,} rows"
            yield f"{field}: no cell of the first {rows} holds {answers.separator!r} (--label-separator)"
        return
    distinct = {text.strip() for text in texts}
    for separator in _SEPARATORS:
        joined = sorted(text for text in distinct if separator in text)
        cells_by_part = Counter(part.strip() for text in distinct for part in set(text.split(separator)))
        parts = {part.strip() for text in joined for part in text.split(separator)} - {""}
        if len(joined) > 1 and sum(cells_by_part[part] > 1 for part in parts) * 2 > len(parts):
            example = min(joined, key=len)
            yield (
                f"{field}: cells such as {example!r} look like several labels and are read as one; "
                f"--label-separator '{separator}' takes them apart"
            )
            return


def alike(rows_by_label: Mapping[str, int]) -> str:
    """Name the labels that differ by case or inner space only; an empty text where there are none."""
    groups: dict[str, list[str]] = defaultdict(list)
    for label in rows_by_label:
        groups[" ".join(label.split()).casefold()].append(label)
    found = [
        " and ".join(f"{label!r} ({rows_by_label[label]:,})" for label in group)
        for group in groups.values()
        if len(group) > 1
    ]
    if not found:
        return ""
    return f"labels that differ by case or space only are kept apart: {listed(found, 5)}; write them alike to join them"
