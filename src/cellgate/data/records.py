"""Rows of a table as a task's records, read again at each iteration."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cellgate.data.readers import Table
from cellgate.data.rows import Cell, Problems, TableRow, bad_row
from cellgate.data.wanted import Answers, Marks

Record = TypeVar("Record", bound=BaseModel)


def admits(annotation: object, kind: type) -> bool:
    """Whether a field of such a type may hold a value of that kind, itself or inside a tuple."""
    return kind in (annotation, get_origin(annotation)) or any(admits(part, kind) for part in get_args(annotation))


@dataclass(frozen=True, slots=True)
class Records(Generic[Record]):
    """The rows of `table` as values of `record`, whose fields stand in `columns`.

    A `required` field's value is taken as `answers` says, without the white space around it, so that "good" and "good "
    are one label; a row where nothing is left is a bad one, unless it may have several and has none. Bad rows are
    errors; with `skip` they are left out. `documents`: fields whose text ends with its row, and has no line end there.
    """

    table: Table
    columns: Mapping[str, str]  # field to column, as `Table.rows` takes them
    record: type[Record]
    required: tuple[str, ...] = ()
    skip: bool = False
    answers: Answers | Marks = field(default_factory=Answers)
    documents: tuple[str, ...] = ()

    @property
    def lists(self) -> list[str]:
        """The fields whose value may be a list."""
        return [name for name, field in self.record.model_fields.items() if admits(field.annotation, tuple)]

    def __iter__(self) -> Iterator[Record]:
        return self.read(Problems())

    def read(self, problems: Problems) -> Iterator[Record]:
        """Read all rows once; with `skip` the bad ones are counted in `problems`."""
        return (record for _, record in self.placed(problems))

    def placed(self, problems: Problems) -> Iterator[tuple[TableRow, Record]]:
        """As `read`, each with its row in the table."""
        skipped = problems if self.skip else None
        for row in self.table.rows(self.columns, skipped, self.lists):
            answers = {name: self.answers.read(row.values[name]) for name in self.required}
            complaint = self._blank(answers)
            if not complaint:
                try:
                    record = self.record.model_validate(row.values | answers | self._ended(row.values))
                except ValidationError as error:
                    complaint = self._misfit(error)
                else:
                    yield row, record
                    continue
            bad_row(row.place, complaint, skipped)

    def _ended(self, values: Mapping[str, Cell]) -> dict[str, Cell]:
        texts = {name: values[name] for name in self.documents}
        return {name: text.rstrip("\n") for name, text in texts.items() if isinstance(text, str)}

    def problems(self) -> Problems:
        """Read all rows for their problems only."""
        found = Problems()
        for _ in self.read(found):
            pass
        return found

    def _blank(self, answers: Mapping[str, Cell]) -> str:
        for name, value in answers.items():
            if value == "":
                return f"the {name} (column {self.columns[name]!r}) is empty"
        return ""

    def _misfit(self, error: ValidationError) -> str:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:  # its fields do not fit together
            return first["msg"].removeprefix("Value error, ")
        field = str(first["loc"][0])
        return f"the {field} (column {self.columns[field]!r}): {first['msg'].lower()}, got {first['input']!r:.60}"
