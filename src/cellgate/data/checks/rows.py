"""The user's records as rows to check: each where it stands, with its labels; and the columns beside them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from cellgate.data.checks.survey import PlacedRow
from cellgate.data.records import Records
from cellgate.data.rows import Problems
from cellgate.metrics import labels_of


@dataclass(frozen=True)
class LabelledRows:
    """The well-formed rows of `records`; the fields `text` and `label` are looked at."""

    records: Records[Any]
    text: str
    label: str

    def read(self, problems: Problems) -> Iterator[PlacedRow]:
        """Read all rows once; the bad ones are counted in `problems`, whatever `records` does with them."""
        columns, answers = self.records.columns, self.records.answers
        for row in self.records.table.rows(columns, problems, (self.label,)):
            label = answers.read(row.values[self.label])
            if label != "":
                yield PlacedRow(str(row.values[self.text]), labels_of(label), row.path, row.line, row.unit)
            else:
                problems.add(f"{row.place}: the {self.label} (column {columns[self.label]!r}) is empty")

    def other_columns(self) -> tuple[str, ...]:
        """The columns that are neither text nor label."""
        table, taken = self.records.table, self.records.columns
        numbers = tuple(str(number) for number in range(1, len(table.columns) + 1))
        names = table.columns if table.has_header(taken) else numbers
        return tuple(name for name in names if names.count(name) == 1 and name not in taken.values())

    def cells(self, columns: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield (label, cells of these columns) of every row that has a label; an absent cell is empty."""
        table, chosen = self.records.table, self.records.columns
        names = (chosen[self.label], *columns)
        for written, *cells in table.cells(names, header=table.has_header(chosen)):
            label = ", ".join(labels_of(self.records.answers.read(written)))
            if label:
                yield label, tuple(cells)


@dataclass(frozen=True)
class TaggedRows:
    """The well-formed rows of `records`: texts with spans, or tokens with a tag each."""

    records: Records[Any]
    text: str
    marks: str

    def read(self, problems: Problems) -> Iterator[PlacedRow]:
        """Read all rows once; the bad ones are counted in `problems`, whatever `records` does with them."""
        for row, record in replace(self.records, skip=True).placed(problems):
            text, marks = getattr(record, self.text), getattr(record, self.marks)
            if isinstance(text, str):
                yield PlacedRow(text, labels_of(marks), row.path, row.line, row.unit, marks)
            else:
                tags = tuple(zip(text, marks, strict=True))
                yield PlacedRow(" ".join(text), marks, row.path, row.line, row.unit, (), tags)
