"""Rows of a table as a task's records, read again at each iteration."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from cellgate.data.readers import Problems, Table, TableRow
from cellgate.errors import DataError

Record = TypeVar("Record", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Records(Generic[Record]):
    """The rows of `table` as values of `record`, whose fields stand in `columns`.

    A `required` field's value is taken without the white space around it, so that "good" and "good " are one label; a
    row where nothing is left is a bad one. Bad rows are errors; with `skip` they are left out.
    """

    table: Table
    columns: Mapping[str, str]  # field to column, as `Table.rows` takes them
    record: type[Record]
    required: tuple[str, ...] = ()
    skip: bool = False

    def __iter__(self) -> Iterator[Record]:
        return self.read(Problems())

    def read(self, problems: Problems) -> Iterator[Record]:
        """Read all rows once; with `skip` the bad ones are counted in `problems`."""
        for row in self.table.rows(self.columns, problems if self.skip else None):
            complaint = self._blank(row)
            if not complaint:
                try:
                    record = self.record.model_validate(row.values | self._stripped(row))
                except ValidationError as error:
                    complaint = self._misfit(error)
                else:
                    yield record
                    continue
            if not self.skip:
                raise DataError(f"{row.place}: {complaint}: mend this row, or --skip-bad-rows")
            problems.add(f"{row.place}: {complaint}")

    def problems(self) -> Problems:
        """Read all rows for their problems only."""
        found = Problems()
        for _ in self.read(found):
            pass
        return found

    def _stripped(self, row: TableRow) -> dict[str, str]:
        return {field: row.values[field].strip() for field in self.required}

    def _blank(self, row: TableRow) -> str:
        for field, value in self._stripped(row).items():
            if not value:
                return f"the {field} (column {self.columns[field]!r}) is empty"
        return ""

    def _misfit(self, error: ValidationError) -> str:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        return f"the {field} (column {self.columns[field]!r}): {first['msg'].lower()}, got {first['input']!r:.60}"
