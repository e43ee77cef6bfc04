"""CSV and TSV: rows of cells, with or without a header."""

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from cellgate.data import files
from cellgate.data.rows import Problems, RowFile, TableRow, bad_row, no_column
from cellgate.errors import DataError, counted, listed
from cellgate.text.detect import Layout

CELL_CHARACTERS = 64 << 20
_SWALLOWED_LINES = 8  # inside one cell that all look like rows: a lone quote ate them
_QUOTE_REMEDY = (
    'close the quote, or write a quote that belongs to the text twice, inside quotes: """Wow"" he said",positive'
)


@dataclass(frozen=True)
class CellFile(RowFile):
    """A CSV or TSV file; columns have names, or numbers from 1 where the first line is a row."""

    newline: str
    layout: Layout

    named: ClassVar[bool] = False

    def check(self, columns: Mapping[str, str], *, header: bool) -> None:
        """Stop with DataError unless all `columns` are there."""
        self._positions(columns, header=header)

    def rows(
        self,
        columns: Mapping[str, str],
        skipped: Problems | None,
        *,
        several: Collection[str],  # noqa: ARG002  a cell is one text
        header: bool,
    ) -> Iterator[TableRow]:
        """Read from the start."""
        positions = tuple(zip(columns, self._positions(columns, header=header), strict=True))
        width, name = len(self.heading), self.name
        rows = cells(self, mark_bad=skipped is not None)
        if header:
            next(rows)
        empty = True
        for line, row in rows:
            empty = False
            if len(row) != width:
                complaint = self._ragged(row, header=header)
            elif skipped is not None and not all(map(files.is_clean, row)):
                complaint = f"a byte that is not {self.encoding}, or a NUL"
            else:
                yield TableRow({field: row[position] for field, position in positions}, name, line)
                continue
            bad_row(f"{name} line {line}", complaint, skipped)
        if empty:
            raise DataError(f"{name} holds a header ({listed(self.heading)}) and no rows: add rows, or leave it out")

    def sample(self) -> Iterator[Sequence[str]]:
        """Yield well-formed rows whole, the header not."""
        rows = cells(self, mark_bad=True)
        next(rows)
        return (row for _, row in rows if len(row) == len(self.heading) and all(map(files.is_clean, row)))

    def _ragged(self, row: list[str], *, header: bool) -> str:
        heading, delimiter = self.heading, self.layout.delimiter
        names = f" ({listed(heading)})" if header else ""
        first = "header" if header else "first line"
        found = counted(len(row), "cell")
        called = "a tab" if delimiter == "\t" else repr(delimiter)
        hint = f"; a cell that holds {called} must stand in quotes" if len(row) > len(heading) else ""
        if hint and not self.layout.quoted:
            hint = "; in TSV a cell holds no tab and quotes mean nothing: write such text as CSV"
        return f"{found} where the {first} has {len(heading)}{names}{hint}"

    def _positions(self, columns: Mapping[str, str], *, header: bool) -> list[int]:
        """Return where each column stands in the file's rows, from 0."""
        heading, file = self.heading, self.name
        positions = []
        for name in columns.values():
            if heading.count(name) > 1 and header:
                raise DataError(f"{file} has {heading.count(name)} columns {name!r}: rename one in its first line")
            place = self.place(name, header=header)
            if place is not None:
                positions.append(place)
            elif not name.isdecimal():
                raise no_column(self, name)
            else:
                raise DataError(f"no column {name} in {file}: its first line has {len(heading)} ({listed(heading)})")
        return positions


def open_cells(path: str, name: str, sample: files.Sample, layout: Layout, notes: tuple[str, ...]) -> CellFile:
    """Read the first row."""
    file = CellFile(path, name, sample.encoding, (), (*sample.notes, *notes), sample.newline, layout)
    for line, row in cells(file, mark_bad=True):
        if all(map(files.is_clean, row)):
            return CellFile(path, name, file.encoding, tuple(row), file.notes, file.newline, layout)
        raise DataError(
            f"{name} line {line}: the first row holds a byte that is not {file.encoding}, or a NUL: "
            "mend it, or name the encoding with --encoding NAME"
        )
    raise files.is_empty(name)


def cells(file: CellFile, *, mark_bad: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, cells) of each row, the header too; empty lines are no rows."""
    source = files.lines(file.path, file.name, file.encoding, file.newline, mark_bad=mark_bad)
    if file.layout.quoted:
        yield from _quoted_cells(file, source)
        return
    for number, line in enumerate(source, 1):
        text = line.removesuffix("\n").removesuffix("\r")
        if text:
            yield number, text.split(file.layout.delimiter)


def _quoted_cells(file: CellFile, source: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    # The limit is global to the csv module and 128 kB by default: a long document is a cell too.
    csv.field_size_limit(max(csv.field_size_limit(), CELL_CHARACTERS))
    delimiter = file.layout.delimiter
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            if row:
                if reader.line_num - line > _SWALLOWED_LINES and _swallowed(row, delimiter):
                    raise DataError(
                        f"{file.name} line {line}: a quote opens in this row and closes only on line "
                        f"{reader.line_num}, past lines that look like rows of their own: {_QUOTE_REMEDY}"
                    )
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(_broken_row(file.name, line, reader.line_num, str(error))) from error


def _swallowed(row: list[str], delimiter: str) -> bool:
    """Whether a cell's own lines look like rows as wide as its row."""
    inner = re.split(r"\r\n|\r|\n", max(row, key=len))[1:-1]
    wide = sum(len(cells) == len(row) for cells in csv.reader(inner, delimiter=delimiter))
    return len(row) > 1 and len(inner) >= _SWALLOWED_LINES and wide >= 0.9 * len(inner)


def _broken_row(name: str, line: int, last: int, complaint: str) -> str:
    place = f"{name} line {line}"
    if "expected after" in complaint:
        end = "" if last == line else f" on line {last}"
        return f"{place}: a quote opens in this row and text follows where it closes{end}: {_QUOTE_REMEDY}"
    if "end of data" in complaint:
        return f"{place}: a quote opens here and never closes, to the last line, {last}: {_QUOTE_REMEDY}"
    if "field limit" in complaint:
        size = f"{CELL_CHARACTERS >> 20} million characters (on line {last})"
        return f"{place}: a cell goes on beyond {size}, most often for a quote never closed: {_QUOTE_REMEDY}"
    return f"{place}: a carriage return (\\r) stands in a cell without quotes: put quotes around the cell"
