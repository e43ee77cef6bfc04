"""The user's files as a task's records: flags, guessed columns, and a fingerprint of the data."""

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, make_dataclass
from itertools import islice
from typing import Annotated, Any, Literal, get_type_hints

from cyclopts import Parameter

from cellgate.cli.incoming import spool
from cellgate.cli.words import STANDARD_INPUT
from cellgate.data.columns import choose_columns
from cellgate.data.files import format_of
from cellgate.data.plain import Layout, PlainFile
from cellgate.data.readers import Cell, Problems, Table, open_table
from cellgate.data.records import Records, admits
from cellgate.data.wanted import Answers, Marks, cell_notes, refuse_measures
from cellgate.errors import UsageError, listed
from cellgate.spans import Span
from cellgate.task import Row, Task, find, names

FILES_HELP = (
    "Files or patterns: CSV, TSV, JSON lines, fastText lines, CoNLL, CoNLL-U (each also .gz), Parquet; a folder that "
    "holds a folder of texts for each label; for `generate` also plain text; `-`: standard input."
)
_ENDS_BYTES = 1 << 20
_SAMPLE_ROWS = 1000


@dataclass(frozen=True)
class Reading:
    """How files are read."""

    encoding: Annotated[
        str | None,
        Parameter(metavar="NAME", help="The files' encoding, such as gb18030.", show_default="told by bytes"),
    ] = None
    skip_bad_rows: Annotated[
        bool, Parameter(negative=(), help="Leave out rows that cannot be read, and count them.", show_default=False)
    ] = False
    overlaps: Annotated[
        Literal["refuse", "longest"],
        Parameter(help="Spans that share a character: refuse the row, or keep the longest of them."),
    ] = "refuse"
    label_separator: Annotated[
        str | None,
        Parameter(
            metavar="CHARS",
            help="What stands between the labels of a cell, such as `;`: a row may have several then, or none.",
            show_default="one label a cell",
            allow_leading_hyphen=True,
        ),
    ] = None
    layout: Annotated[
        Layout | None,
        Parameter(
            show_default="as trained",
            help="To a model that writes, what a file without columns (.txt and others) is: stream: one running text, "
            "such as a book or a log, line ends being part of it; lines: each line a document, such as a message; "
            "documents: what stands between empty lines, such as poems. Rows of tables are documents.",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.label_separator == "":
            raise UsageError("--label-separator is empty; give what stands between two labels, such as ';'")


def training_flags(task: Task, *, begins: bool) -> type:
    """Make a dataclass of what concerns the files that a task is trained on; `begins`: or texts of their language."""
    names = {"encoding", "skip_bad_rows"} | ({"layout"} if task.running or begins else set())
    if not task.running:
        names.add("overlaps" if _marks_spans(task) else "label_separator")
    return reading_flags(names, "stream" if task.running else "lines")


def reading_flags(names: Collection[str], usual: Layout | None = None) -> type:
    """Make a dataclass of those fields of `Reading` that mean something to a verb; `usual`: its layout, if any."""
    kinds = get_type_hints(Reading, include_extras=True)
    if usual:
        kind = kinds["layout"]
        kinds["layout"] = Annotated[kind, Parameter(show_default=usual)]
    chosen = [(each.name, kinds[each.name], each.default) for each in fields(Reading) if each.name in names]
    return make_dataclass("ReadingFlags", chosen, frozen=True, namespace={"__module__": __name__})


def read_as(flags: object) -> Reading:
    """What such flags say; what they do not tell is as usual."""
    return Reading(**vars(flags)) if flags else Reading()


@dataclass(frozen=True)
class Source:
    """Records of the user's files, sentences on what was found out or guessed, and labels of the first rows."""

    records: Records[Row]
    notes: tuple[str, ...]
    labels: frozenset[str]


def all_fields(*, wanted: bool) -> tuple[str, ...]:
    """The fields of every task's record, each once: flags must be known before the Bundle is."""
    tasks = [find(name) for name in names()]
    return tuple(dict.fromkeys(field for task in tasks for field in (task.fields if wanted else task.given)))


def named_columns(given: Mapping[str, str], fields: tuple[str, ...]) -> dict[str, str | None]:
    """The columns named by flags for `fields`; a flag of another field is an error."""
    for field in given:
        if field not in fields:
            known = listed(f"--{name}" for name in fields)
            raise UsageError(f"--{field} names a column that is not read here; columns are named by {known}")
    return {field: given.get(field) for field in fields}


def open_input(files: Sequence[str], encoding: str | None, plain: Layout | None = None) -> Table:
    """Open the user's files, those without columns in the layout `plain`, if any; standard input is copied first."""
    if STANDARD_INPUT not in files:
        return open_table(files, encoding, plain=plain)
    copy = spool()
    named = [copy if file == STANDARD_INPUT else file for file in files]
    return open_table(named, encoding, {copy: "standard input"}, plain)


def is_file(given: str) -> bool:
    """Whether an argument is a file or a folder: one that is there, or a single word that ends as files' names do."""
    if os.path.isfile(given) or os.path.isdir(given):
        return True
    named = format_of(given) is not None or given.lower().removesuffix(".gz").endswith(".txt")
    return named and " " not in given


def layout_of(task: Task, reading: Reading, trained: Mapping[str, Any]) -> Layout | None:
    """What files without columns are to a task: as a flag says, or as in training; None where it reads columns only."""
    return (reading.layout or trained.get("layout", "stream")) if task.running else None


def open_source(table: Table, task: Task, columns: Mapping[str, str | None], reading: Reading) -> Source:
    """Choose the columns of `table` to learn from; where the wanted one is among them it may not be blank."""
    answers = _answers(task, reading, reading.label_separator)
    source = _open(table, task, columns, skip=reading.skip_bad_rows, answers=answers)
    for field in source.records.required if isinstance(answers, Answers) else ():
        refuse_measures(source.labels, field, source.records.columns[field])
    return source


def open_as_trained(
    files: Sequence[str],
    task: Task,
    columns: Mapping[str, str | None],
    reading: Reading,
    trained: Mapping[str, Any],
) -> Source:
    """As `open_source`; what no flag says is as in training, whose `origin` is given.

    A column that no flag names is the one of the training files, where it is there.
    """
    table = open_input(files, reading.encoding, layout_of(task, reading, trained))
    present = {field: name for field, name in trained.get("columns", {}).items() if name in table.columns}
    chosen = {field: column or present.get(field) for field, column in columns.items()}
    answers = _answers(task, reading, reading.label_separator or trained.get("label_separator"))
    return _open(table, task, chosen, skip=reading.skip_bad_rows, answers=answers)


def _open(
    table: Table,
    task: Task,
    columns: Mapping[str, str | None],
    *,
    skip: bool,
    answers: Answers | Marks,
) -> Source:
    choice = choose_columns(table, {name: column for name, column in columns.items() if _is_read(task, name, column)})
    required = (task.wanted,) if task.wanted in columns else ()
    plain = all(isinstance(file, PlainFile) for file in table.files)
    documents = task.given if task.running and not plain else ()
    records = Records(table, choice.columns, task.record, required, skip, answers, documents)
    notes = [*table.notes, *choice.notes]
    labels: frozenset[str] = frozenset()
    for field in required:
        cells = _first_cells(records, field)
        labels = answers.labels(cells)
        if isinstance(answers, Answers):
            notes += cell_notes(cells, field, answers)
    return Source(records, tuple(notes), labels)


def _is_read(task: Task, name: str, column: str | None) -> bool:
    """Whether a field's column is looked for."""
    return column is not None or name not in task.optional


def _answers(task: Task, reading: Reading, separator: str | None) -> Answers | Marks:
    """How the wanted column is read: by what its field holds."""
    if _marks_spans(task):
        return Marks(longest=reading.overlaps == "longest")
    return Answers(separator)


def _marks_spans(task: Task) -> bool:
    return admits(task.record.model_fields[task.wanted].annotation, Span)


def _first_cells(records: Records[Row], field: str) -> list[Cell]:
    """The first cells of a column as they stand in the files; bad rows are left out."""
    rows = records.table.rows({field: records.columns[field]}, Problems(), records.lists)
    return [row.values[field] for row in islice(rows, _SAMPLE_ROWS)]


def origin(records: Records[Row]) -> dict[str, Any]:
    """Say which data these are, so that they can be told from others."""
    files = [
        {"name": os.path.basename(file.name), **_fingerprint(file.path), "encoding": file.encoding}
        for file in records.table.files
    ]
    separator = {"label_separator": records.answers.separator} if records.answers.separator else {}
    layouts = [file.layout for file in records.table.files if isinstance(file, PlainFile)]
    layout = {"layout": layouts[0]} if layouts else {}
    return {"files": files, "columns": dict(records.columns), **separator, **layout}


def _fingerprint(path: str) -> dict[str, Any]:
    """Size of a file, and a digest of it and of the first and last MiB; of a folder, of its files' names and sizes."""
    if os.path.isdir(path):
        sizes = sorted((entry.name, entry.stat().st_size) for entry in os.scandir(path) if entry.is_file())
        total = sum(size for _, size in sizes)
        return {"bytes": total, "sha256_of_sizes": hashlib.sha256(repr(sizes).encode()).hexdigest()}
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        digest.update(file.read(_ENDS_BYTES))
        file.seek(max(0, size - _ENDS_BYTES))
        digest.update(file.read(_ENDS_BYTES))
    return {"bytes": size, "sha256_of_ends": digest.hexdigest()}
