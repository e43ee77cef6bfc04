"""The user's files as a task's records: flags, guessed columns, and a fingerprint of the data."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from cellgate.data.columns import choose_columns
from cellgate.data.readers import Table, open_table
from cellgate.data.records import Records
from cellgate.errors import UsageError, listed
from cellgate.task import Row, Task, find, names

_ENDS_BYTES = 1 << 20


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


@dataclass(frozen=True)
class Source:
    """Records of the user's files, and sentences on what was found out or guessed."""

    records: Records[Row]
    notes: tuple[str, ...]


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


def open_source(table: Table, task: Task, columns: Mapping[str, str | None], *, skip: bool) -> Source:
    """Choose the columns of `table`; where the wanted one is among them it may not be blank."""
    choice = choose_columns(table, columns)
    required = (task.wanted,) if task.wanted in columns else ()
    return Source(Records(table, choice.columns, task.record, required, skip), (*table.notes, *choice.notes))


def open_as_trained(
    files: tuple[str, ...], task: Task, columns: Mapping[str, str | None], reading: Reading, trained: Mapping[str, str]
) -> Source:
    """As `open_source`; a column that no flag names is the one of the training files, where it is there."""
    table = open_table(files, reading.encoding)
    known = {field: name for field, name in trained.items() if name in table.columns}
    chosen = {field: column or known.get(field) for field, column in columns.items()}
    return open_source(table, task, chosen, skip=reading.skip_bad_rows)


def origin(records: Records[Row]) -> dict[str, Any]:
    """Say which data these are, so that they can be told from others."""
    files = [{**_fingerprint(file.path), "encoding": file.encoding} for file in records.table.files]
    return {"files": files, "columns": dict(records.columns)}


def _fingerprint(path: str) -> dict[str, Any]:
    """Name and size of a file, and a digest of both and of its first and last MiB."""
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        digest.update(file.read(_ENDS_BYTES))
        file.seek(max(0, size - _ENDS_BYTES))
        digest.update(file.read(_ENDS_BYTES))
    return {"name": os.path.basename(path), "bytes": size, "sha256_of_ends": digest.hexdigest()}
