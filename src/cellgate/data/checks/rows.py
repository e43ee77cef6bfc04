"""The user's records as rows to check: each where it stands, with its labels; and the columns beside them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cellgate.data.checks.survey import PlacedRow
from cellgate.data.records import Records
from cellgate.data.rows import Problems
from cellgate.errors import DataError
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
        """The columns that are neither text nor label and hold text or numbers."""
        table, taken = self.records.table, self.records.columns
        numbers = tuple(str(number) for number in range(1, len(table.columns) + 1))
        names = table.columns if table.has_header(taken) else numbers
        free = [name for name in names if names.count(name) == 1 and name not in taken.values()]
        return tuple(name for name in free if self._is_readable(name))

    def _is_readable(self, column: str) -> bool:
        try:
            return next(self._beside((column,), None), None) is not None
        except DataError:  # a list, say, or a column that only some of the files have
            return False

    def cells(self, columns: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield (label, cells of these columns) of every row that has them all."""
        return self._beside(columns, Problems())

    def _beside(self, columns: tuple[str, ...], problems: Problems | None) -> Iterator[tuple[str, tuple[str, ...]]]:
        places = {f"column {number}": name for number, name in enumerate(columns)}
        chosen = {self.label: self.records.columns[self.label], **places}
        for row in self.records.table.rows(chosen, problems, (self.label,)):
            labels = labels_of(self.records.answers.read(row.values[self.label]))
            yield ", ".join(labels), tuple(str(row.values[place]) for place in places)
