"""Rows of the user's own files, one at a time, as often as asked.

    table = open_table(["reviews-*.csv"])
    for row in table.rows({"text": "review", "label": "stars"}):
        row.values["text"], row.values["label"], row.place

A row that cannot be read as it should stops with its place, or is counted where bad rows are to be skipped.
Each format is a module of its own with the doors of `rows.RowFile`; here it is told which one a file has.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from cellgate.data import files
from cellgate.data.cells import open_cells
from cellgate.data.conll import is_conll, open_conll
from cellgate.data.fasttext import is_fasttext, open_fasttext
from cellgate.data.folders import open_folders
from cellgate.data.json_lines import open_json
from cellgate.data.parquet import MAGIC, open_parquet
from cellgate.data.plain import Layout, open_plain
from cellgate.data.rows import Cell, Problems, RowFile, TableRow
from cellgate.errors import DataError
from cellgate.text import detect

__all__ = ["Cell", "Lines", "Problems", "Table", "TableRow", "decode_lines", "is_table", "open_lines", "open_table"]

_FORMAT_NAMES = {"csv": "CSV", "tsv": "TSV", "jsonl": "JSON lines"}
_DELIMITER_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True)
class Table:
    """One or more files read as one."""

    files: tuple[RowFile, ...]

    @property
    def name(self) -> str:
        """What messages call the first file."""
        return self.files[0].name

    @property
    def columns(self) -> tuple[str, ...]:
        """The first row of the first file: its header, where it has one."""
        return self.files[0].heading

    @property
    def named(self) -> bool:
        """Whether the first file's format names its columns, so that no row can be taken for a header."""
        return self.files[0].named

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to tell the user: what was found out about the files."""
        return tuple(note for file in self.files for note in file.notes)

    @property
    def broken_spans(self) -> int:
        """How many spans are written as no scheme of tags has them, and read all the same."""
        return sum(file.broken_spans for file in self.files)

    def has_header(self, columns: Mapping[str, str]) -> bool:
        """Whether the first lines are headers: not where all of `columns` are numbers.

        Numbers are names where the whole heading is numbers; in `good film,1` the 1 is a label.
        """
        if self.named or not all(name.isdecimal() for name in columns.values()):
            return True
        numbered = all(name.isdecimal() for name in self.columns)
        return numbered and all(name in self.columns for name in columns.values())

    def rows(
        self, columns: Mapping[str, str], skipped: Problems | None = None, several: Collection[str] = ()
    ) -> Iterator[TableRow]:
        """Read all files from the start, yielding for each row `columns`' fields.

        `columns` maps a field to a column's name, or to its number from 1 in files without a header. The fields in
        `several` may hold more than one text, as a tuple. A bad row raises DataError; where `skipped` is given, it is
        counted there instead.
        """
        header = self.has_header(columns)
        return chain.from_iterable(file.rows(columns, skipped, several=several, header=header) for file in self.files)

    def check(self, columns: Mapping[str, str]) -> None:
        """Stop with DataError unless every file has these columns."""
        header = self.has_header(columns)
        for file in self.files:
            file.check(columns, header=header)

    def first_rows(self, limit: int) -> Iterator[Sequence[str]]:
        """Yield the first file's first well-formed rows whole, its header not; for guessing."""
        return islice(self.files[0].sample(), limit)

    def cells(self, names: Sequence[str], *, header: bool) -> Iterator[tuple[str, ...]]:
        """Yield these columns of all files' well-formed rows, the first lines not; for guessing.

        What is no text is empty there, and so is what a file has no column for.
        """
        for file in self.files:
            places = [file.place(name, header=header) for name in names]
            for row in file.sample():
                yield tuple("" if place is None else row[place] for place in places)


@dataclass(frozen=True)
class Lines:
    """A file of one text a line."""

    path: str
    encoding: str
    notes: tuple[str, ...]

    def read(self, skipped: Problems | None = None) -> Iterator[str]:
        """Read from the start. A line that is no text is a DataError; where `skipped` is given, counted there."""
        found = files.lines(self.path, self.path, self.encoding, "\n", mark_bad=skipped is not None)
        for number, line in enumerate(found, 1):
            if skipped is not None and (wrong := files.flaw(line, self.encoding)):
                skipped.add(f"{self.path} line {number}: {wrong}")
            else:
                yield _without_end(line)


def open_table(
    patterns: Sequence[str | Path],
    encoding: str | None = None,
    called: Mapping[str, str] | None = None,
    plain: Layout | None = None,
) -> Table:
    """Open files and folders by names and patterns such as `data/*.csv`.

    Formats: CSV, TSV, JSON lines, fastText lines, CoNLL columns and CoNLL-U, each also with .gz; Parquet; a folder of
    texts for each label.
    `called` gives the names for messages of paths that the user does not know. `plain`: a file whose name says nothing
    of columns is plain text, in that layout; else its columns are looked for.
    """
    opened: dict[str, RowFile] = {}
    for given in patterns:
        path = os.path.expanduser(given)
        if os.path.isdir(path):
            opened.update((folder.path, folder) for folder in open_folders(path, encoding))
            continue
        for found in files.find_files([given]):
            if found not in opened:
                opened[found] = _open_file(found, (called or {}).get(found, found), encoding, plain)
    if not opened:
        files.find_files(patterns)
    return Table(tuple(opened.values()))


def is_table(path: str, encoding: str | None = None) -> bool:
    """Whether a file is read by column; else it holds one text a line."""
    if os.path.isdir(path) or files.format_of(path) is not None:
        return True
    sample = "" if _is_parquet(path) else files.read_sample(path, path, encoding).text
    return not sample or is_fasttext(sample) or is_conll(sample)


def open_lines(path: str | Path, encoding: str | None = None) -> Lines:
    r"""Open a file of one text a line; lines end at \n or \r\n, an empty line is an empty text."""
    (found,) = files.find_files([path])
    sample = files.read_sample(found, found, encoding)
    return Lines(found, sample.encoding, sample.notes)


def decode_lines(stream: BinaryIO, name: str = "standard input", encoding: str = "utf-8") -> Iterator[str]:
    """Yield the texts of a stream of bytes, one a line, as they come; the stream stays open."""
    return map(_without_end, files.decoded(stream, name, encoding, "\n"))


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _is_parquet(path: str) -> bool:
    with files.readable(path), open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _open_file(path: str, name: str, encoding: str | None, plain: Layout | None) -> RowFile:
    """Tell a file's format, by its name's ending or by its beginning, and open it."""
    form = files.format_of(path)
    if form == "parquet" or _is_parquet(path):
        return open_parquet(path, name)
    sample = files.read_sample(path, name, encoding)
    text = sample.text
    if form is None and plain is not None:
        return open_plain(path, name, sample, plain)
    if form is None and is_fasttext(text):
        return open_fasttext(path, name, sample)
    if form in ("conll", "conllu"):
        return open_conll(path, name, sample, form)
    if form in ("tsv", None) and is_conll(text):
        return open_conll(path, name, sample, "conll")
    if form in ("jsonl", None) and text.lstrip().startswith("["):
        raise _one_json(name)
    if form == "jsonl":
        return open_json(path, name, sample, ())
    if form == "tsv":
        quoted = detect.quotes_cells(text)
        note = (f"{name}: cells in quotes are read as CSV quotes them",) if quoted else ()
        return open_cells(path, name, sample, detect.Layout("tsv", "\t", quoted), note)
    if form == "csv":
        delimiter = detect.detect_delimiter(text)
        note = () if delimiter == "," else (f"{name}: its cells are separated by {_DELIMITER_NAMES[delimiter]}",)
        return open_cells(path, name, sample, detect.Layout("csv", delimiter, quoted=True), note)
    return _open_sniffed(path, name, sample)


def _open_sniffed(path: str, name: str, sample: files.Sample) -> RowFile:
    layout = detect.detect_layout(sample.text)
    if layout is None and sample.text.lstrip().startswith("{"):
        raise _one_json(name)
    if layout is None:
        raise DataError(
            f"{name}: what separates its columns cannot be told (no tab, comma or semicolon splits its lines "
            "evenly): name the file .csv, .tsv or .jsonl"
        )
    by = f", split by {_DELIMITER_NAMES[layout.delimiter]}" if layout.delimiter else ""
    note = f"{name}: read as {_FORMAT_NAMES[layout.format]}{by}, by its first lines"
    if layout.format == "jsonl":
        return open_json(path, name, sample, (note,))
    return open_cells(path, name, sample, layout, (note,))


def _one_json(name: str) -> DataError:
    return DataError(f"{name} holds one JSON document: write one object a line instead (JSON lines, .jsonl)")
