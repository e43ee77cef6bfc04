"""What every format gives: rows with their places, by the columns asked for."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from cellgate.data.files import is_clean
from cellgate.errors import DataError, counted, listed, nearest
from cellgate.spans import Span, read_span

Cell = str | tuple[str, ...] | tuple[Span, ...]
"""A text; or several, where a row may have several answers or comes as its tokens; or the spans of a text."""

_FIRST_PROBLEMS = 5


class TableRow(NamedTuple):
    """The chosen columns of one row, by field, and where it stands; `unit` is what `line` counts."""

    values: dict[str, Cell]
    path: str
    line: int
    unit: str = "line"

    @property
    def place(self) -> str:
        """Say where the row begins, for a message."""
        return f"{self.path} {self.unit} {self.line}"


@dataclass
class Problems:
    """Counts the rows that were skipped and keeps the first few sentences about them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < _FIRST_PROBLEMS:
            self.first.append(sentence)

    def __str__(self) -> str:
        more = self.count - len(self.first)
        rows = counted(self.count, "bad row was", "bad rows were")
        return f"{rows} skipped: " + "; ".join(self.first) + (f"; and {more:,} more" if more else "")


def bad_row(place: str, complaint: str, skipped: Problems | None) -> None:
    """Stop at a row that cannot be read; where `skipped` is given, count it."""
    if skipped is None:
        raise DataError(f"{place}: {complaint}: mend this row, or --skip-bad-rows")
    skipped.add(f"{place}: {complaint}")


@dataclass(frozen=True)
class RowFile(ABC):
    """A file of rows, ready to be read as often as asked.

    `path` is opened, `name` stands in messages; `heading` is the first row, or the names of the columns; `notes` are
    sentences worth telling the user.
    """

    path: str
    name: str
    encoding: str
    heading: tuple[str, ...]
    notes: tuple[str, ...]

    named: ClassVar[bool]
    """Whether the format names its columns; else the heading is a header only if the user means it so."""

    @property
    def broken_spans(self) -> int:
        """How many spans are written as no scheme of tags has them, and read all the same."""
        return 0

    @abstractmethod
    def check(self, columns: Mapping[str, str], *, header: bool) -> None:
        """Stop with DataError unless all `columns` (field to column) are there."""

    @abstractmethod
    def rows(
        self, columns: Mapping[str, str], skipped: Problems | None, *, several: Collection[str], header: bool
    ) -> Iterator[TableRow]:
        """Read from the start; the fields in `several` may hold more than one text, as a tuple."""

    def place(self, name: str, *, header: bool) -> int | None:
        """Where a column stands in the heading, from 0, by its name or its number; None where it does not."""
        if header and name in self.heading:
            return self.heading.index(name)
        return int(name) - 1 if name.isdecimal() and 1 <= int(name) <= len(self.heading) else None

    @abstractmethod
    def sample(self) -> Iterator[Sequence[str]]:
        """Yield well-formed rows whole, the header not, for guessing what the columns hold."""


def check_names(file: RowFile, columns: Mapping[str, str]) -> None:
    """Stop with DataError where a column is none of the file's."""
    for name in columns.values():
        if name not in file.heading:
            raise no_column(file, name)


def no_column(file: RowFile, name: str) -> DataError:
    """The error of a name that no column has."""
    hint = nearest(name, file.heading) or ";"
    return DataError(f"no column {name!r} in {file.name}{hint} columns: {listed(file.heading)}")


def cell_of(value: object, column: str, *, several: bool) -> tuple[Cell, str]:
    """Return a value of JSON or Parquet as a cell and an empty complaint, or the complaint."""
    match value:
        case str():
            return value, "" if is_clean(value) else f"{column!r} holds half of a surrogate pair, no character"
        case bool():
            return str(value).lower(), ""
        case float() if value != value:
            return "", f"{column!r} is NaN, which is no text"
        case None if several:
            return "", f"{column!r} is null (write [] where there is none)"
        case None:
            return "", f'{column!r} is null, which is no text (write "" for an empty one)'
        case list() if several and any(isinstance(part, dict | list) for part in value):
            try:
                return tuple(map(read_span, value)), ""
            except ValueError as error:
                return "", f"{column!r}: {error}"
        case list() if several:
            parts = [cell_of(part, column, several=False) for part in value]
            wrong = next((complaint for _, complaint in parts if complaint), "")
            return tuple(str(part) for part, _ in parts), wrong and f"in a list, {wrong}"
        case list() | dict() | bytes():
            kind = {list: "a list", dict: "an object"}.get(type(value), "bytes")
            return "", f"{column!r} is {kind}, where a text is expected"
    return str(value), ""
