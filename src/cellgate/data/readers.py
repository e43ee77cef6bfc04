"""Rows of the user's own files, one at a time, as often as asked.

    table = open_table(["reviews-*.csv"])
    for row in table.rows({"text": "review", "label": "stars"}):
        row.values["text"], row.values["label"], row.place

A row that cannot be read as it should stops with its place, or is counted where bad rows are to be skipped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cellgate.data import files
from cellgate.data.files import TextFile
from cellgate.errors import DataError, listed, nearest

_FIRST_PROBLEMS = 5
_KEY_ROWS = 1000  # a key that no JSON object has by then is no column


class TableRow(NamedTuple):
    """The chosen columns of one row, by field, and where it stands."""

    values: dict[str, str]
    path: str
    line: int

    @property
    def place(self) -> str:
        """Say where the row begins, for a message."""
        return f"{self.path} line {self.line}"


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
        rows = "1 bad row was" if self.count == 1 else f"{self.count:,} bad rows were"
        return f"{rows} skipped: " + "; ".join(self.first) + (f"; and {more:,} more" if more else "")


@dataclass(frozen=True)
class Table:
    """One or more files read as one; `headings[i]` is the first row (or the JSON keys) of `files[i]`."""

    files: tuple[TextFile, ...]
    headings: tuple[tuple[str, ...], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The first row of the first file: its header, where it has one."""
        return self.headings[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to tell the user: what was found out about the files."""
        return tuple(note for file in self.files for note in file.notes)

    def has_header(self, columns: Mapping[str, str]) -> bool:
        """Whether the first lines are headers: not where all of `columns` are numbers.

        Numbers are names where the whole heading is numbers; in `good film,1` the 1 is a label.
        """
        if self.files[0].layout.format == "jsonl" or not all(name.isdecimal() for name in columns.values()):
            return True
        numbered = all(name.isdecimal() for name in self.columns)
        return numbered and all(name in self.columns for name in columns.values())

    def rows(self, columns: Mapping[str, str], skipped: Problems | None = None) -> Iterator[TableRow]:
        """Read all files from the start, yielding for each row `columns`' fields.

        `columns` maps a field to a column's name, or to its number from 1 in files without a header. A bad
        row raises DataError; where `skipped` is given, it is counted there instead.
        """
        header = self.has_header(columns)
        pairs = zip(self.files, self.headings, strict=True)
        return chain.from_iterable(_rows(*pair, columns, skipped, header=header) for pair in pairs)

    def check(self, columns: Mapping[str, str]) -> None:
        """Stop with DataError unless every file has these columns."""
        header = self.has_header(columns)
        for file, heading in zip(self.files, self.headings, strict=True):
            if file.layout.format == "jsonl":
                _known_keys(file, heading, columns)
            else:
                _positions(file, heading, columns, header=header)

    def first_rows(self, limit: int) -> Iterator[tuple[str, ...]]:
        """Yield the first file's first well-formed rows whole, its header not; for guessing."""
        file, heading = self.files[0], self.headings[0]
        columns = {str(number): str(number) for number in range(1, len(heading) + 1)}
        if file.layout.format == "jsonl":
            pairs = zip(range(limit), files.objects(file, mark_bad=True), strict=False)
            for _, (_, item) in pairs:
                if isinstance(item, dict):
                    yield tuple(value if isinstance(value := item.get(key), str) else "" for key in heading)
            return
        rows = _cell_rows(file, heading, columns, Problems(), header=False)
        for number, row in zip(range(limit + 1), rows, strict=False):
            if number:
                yield tuple(row.values.values())


@dataclass(frozen=True)
class Lines:
    """A file of one text a line."""

    path: str
    encoding: str
    notes: tuple[str, ...]

    def read(self, skipped: Problems | None = None) -> Iterator[str]:
        """Read from the start. A line that is no text is a DataError; where `skipped` is given, counted there."""
        found = files.lines(self.path, self.encoding, "\n", mark_bad=skipped is not None)
        for number, line in enumerate(found, 1):
            if skipped is not None and (wrong := files.flaw(line, self.encoding)):
                skipped.add(f"{self.path} line {number}: {wrong}")
            else:
                yield _without_end(line)


def open_table(patterns: Sequence[str | Path], encoding: str | None = None) -> Table:
    """Open CSV, TSV and JSON lines files, each also with .gz, by names and patterns such as `data/*.csv`."""
    opened = tuple(files.open_file(path, encoding) for path in files.find_files(patterns))
    return Table(opened, tuple(_heading(file) for file in opened))


def open_lines(path: str | Path, encoding: str | None = None) -> Lines:
    r"""Open a file of one text a line; lines end at \n or \r\n, an empty line is an empty text."""
    (found,) = files.find_files([path])
    sample = files.read_sample(found, encoding)
    return Lines(found, sample.encoding, sample.notes)


def decode_lines(stream: BinaryIO, name: str = "standard input", encoding: str = "utf-8") -> Iterator[str]:
    """Yield the texts of a stream of bytes, one a line, as they come; the stream stays open."""
    return map(_without_end, files.decoded(stream, name, encoding, "\n"))


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _heading(file: TextFile) -> tuple[str, ...]:
    if file.layout.format != "jsonl":
        for line, row in files.cells(file, mark_bad=True):
            if all(map(files.is_clean, row)):
                return tuple(row)
            raise DataError(
                f"{file.path} line {line}: the first row holds a byte that is not {file.encoding}, or a NUL: "
                "mend it, or name the encoding with --encoding NAME"
            )
        raise DataError(f"{file.path} is empty: give a file with rows of text")
    keys: dict[str, None] = {}
    complaint = f"{file.path} is empty: give a file with rows of text"
    for _, (line, item) in zip(range(_KEY_ROWS), files.objects(file, mark_bad=True), strict=False):
        if isinstance(item, dict):
            keys.update(dict.fromkeys(item))
        elif not keys:
            complaint = _bad_row(file, line, item)
    if not keys:
        raise DataError(complaint)
    return tuple(keys)


def _rows(
    file: TextFile,
    heading: tuple[str, ...],
    columns: Mapping[str, str],
    skipped: Problems | None,
    *,
    header: bool,
) -> Iterator[TableRow]:
    if file.layout.format == "jsonl":
        return _json_rows(file, heading, columns, skipped)
    return _cell_rows(file, heading, columns, skipped, header=header)


def _cell_rows(
    file: TextFile,
    heading: tuple[str, ...],
    columns: Mapping[str, str],
    skipped: Problems | None,
    *,
    header: bool,
) -> Iterator[TableRow]:
    """Yield the rows of a CSV or TSV file."""
    positions = tuple(zip(columns, _positions(file, heading, columns, header=header), strict=True))
    width, path = len(heading), file.path
    rows = files.cells(file, mark_bad=skipped is not None)
    if header:
        next(rows)
    empty = True
    for line, row in rows:
        empty = False
        if len(row) != width:
            complaint = _ragged(file, heading, row, header=header)
        elif skipped is not None and not all(map(files.is_clean, row)):
            complaint = f"a byte that is not {file.encoding}, or a NUL"
        else:
            yield TableRow({name: row[position] for name, position in positions}, path, line)
            continue
        if skipped is None:
            raise DataError(_bad_row(file, line, complaint))
        skipped.add(f"{path} line {line}: {complaint}")
    if empty:
        raise DataError(f"{path} holds a header ({listed(heading)}) and no rows: add rows, or leave it out")


def _json_rows(
    file: TextFile, heading: tuple[str, ...], columns: Mapping[str, str], skipped: Problems | None
) -> Iterator[TableRow]:
    """Yield the rows of a JSON lines file."""
    _known_keys(file, heading, columns)
    for line, item in files.objects(file, mark_bad=skipped is not None):
        complaint = item if isinstance(item, str) else ""
        values: dict[str, str] = {}
        if isinstance(item, dict):
            for name, key in columns.items():
                value, complaint = _json_text(item, key)
                if complaint:
                    break
                values[name] = value
        if not complaint:
            yield TableRow(values, file.path, line)
        elif skipped is None:
            raise DataError(_bad_row(file, line, complaint))
        else:
            skipped.add(f"{file.path} line {line}: {complaint}")


def _json_text(item: dict[str, object], key: str) -> tuple[str, str]:
    """Return the value as text and an empty complaint, or the complaint."""
    value = item.get(key)
    match value:
        case str():
            return value, "" if files.is_clean(value) else f"{key!r} holds half of a surrogate pair, no character"
        case bool():
            return str(value).lower(), ""
        case None if key not in item:
            return "", f"no {key!r} among its keys ({listed(item)})"
        case None:
            return "", f'{key!r} is null, which is no text (write "" for an empty one)'
    return "", f"{key!r} is {'a list' if isinstance(value, list) else 'an object'}, where a text is expected"


def _bad_row(file: TextFile, line: int, complaint: str) -> str:
    return f"{file.path} line {line}: {complaint}: mend this row, or --skip-bad-rows"


def _ragged(file: TextFile, heading: tuple[str, ...], row: list[str], *, header: bool) -> str:
    names = f" ({listed(heading)})" if header else ""
    first = "header" if header else "first line"
    cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
    delimiter = "a tab" if file.layout.delimiter == "\t" else repr(file.layout.delimiter)
    hint = f"; a cell that holds {delimiter} must stand in quotes" if len(row) > len(heading) else ""
    if hint and not file.layout.quoted:
        hint = "; in TSV a cell holds no tab and quotes mean nothing: write such text as CSV"
    return f"{cells} where the {first} has {len(heading)}{names}{hint}"


def _positions(file: TextFile, heading: tuple[str, ...], columns: Mapping[str, str], *, header: bool) -> list[int]:
    """Return where each column stands in the file's rows, from 0."""
    positions = []
    for name in columns.values():
        if heading.count(name) > 1 and header:
            raise DataError(f"{file.path} has {heading.count(name)} columns {name!r}: rename one in its first line")
        if name in heading and header:
            positions.append(heading.index(name))
        elif not name.isdecimal():
            raise DataError(_no_column(file, heading, name))
        elif not 1 <= int(name) <= len(heading):
            raise DataError(f"no column {name} in {file.path}: its first line has {len(heading)} ({listed(heading)})")
        else:
            positions.append(int(name) - 1)
    return positions


def _known_keys(file: TextFile, heading: tuple[str, ...], columns: Mapping[str, str]) -> None:
    for name in columns.values():
        if name not in heading:
            raise DataError(_no_column(file, heading, name))


def _no_column(file: TextFile, heading: tuple[str, ...], name: str) -> str:
    return f"no column {name!r} in {file.path}{nearest(name, heading) or ';'} columns: {listed(heading)}"
