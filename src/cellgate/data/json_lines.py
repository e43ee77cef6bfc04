"""JSON lines: an object a line, its keys are the columns."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from cellgate.data import files
from cellgate.data.rows import Problems, RowFile, TableRow, bad_row, cell_of, check_names
from cellgate.errors import DataError, listed
from cellgate.metrics import labels_of

_KEY_ROWS = 1000  # a key that no object has by then is no column


@dataclass(frozen=True)
class JsonFile(RowFile):
    """A file of JSON lines."""

    newline: str

    named: ClassVar[bool] = True

    def check(self, columns: Mapping[str, str], *, header: bool) -> None:  # noqa: ARG002
        """Stop with DataError unless all `columns` are there."""
        check_names(self, columns)

    def rows(
        self,
        columns: Mapping[str, str],
        skipped: Problems | None,
        *,
        several: Collection[str],
        header: bool,  # noqa: ARG002
    ) -> Iterator[TableRow]:
        """Read from the start."""
        check_names(self, columns)
        for line, item in _objects(self, mark_bad=skipped is not None):
            complaint = item if isinstance(item, str) else ""
            row = TableRow({}, self.name, line)
            if isinstance(item, dict):
                for field, key in columns.items():
                    row.values[field], complaint = cell_of(item.get(key), key, several=field in several)
                    if key not in item:
                        complaint = f"no {key!r} among its keys ({listed(item)})"
                    if complaint:
                        break
            if complaint:
                bad_row(row.place, complaint, skipped)
            else:
                yield row

    def sample(self) -> Iterator[Sequence[str]]:
        """Yield the values of each object that are text; a list's texts are joined."""
        for _, item in _objects(self, mark_bad=True):
            if isinstance(item, dict):
                found = [cell_of(item.get(key), key, several=True) for key in self.heading]
                yield [cell if isinstance(cell, str) else ", ".join(labels_of(cell)) for cell, _ in found]


def open_json(path: str, name: str, sample: files.Sample, notes: tuple[str, ...]) -> JsonFile:
    """Collect the keys of the first objects."""
    file = JsonFile(path, name, sample.encoding, (), (*sample.notes, *notes), sample.newline)
    keys: dict[str, None] = {}
    wrong: DataError = files.is_empty(name)
    for line, item in islice(_objects(file, mark_bad=True), _KEY_ROWS):
        if isinstance(item, dict):
            keys.update(dict.fromkeys(item))
        elif not keys:
            wrong = DataError(f"{name} line {line}: {item}: mend this row, or --skip-bad-rows")
    if not keys:
        raise wrong
    return JsonFile(path, name, file.encoding, tuple(keys), file.notes, file.newline)


def _objects(file: JsonFile, *, mark_bad: bool) -> Iterator[tuple[int, dict[str, object] | str]]:
    """Yield (line, object) of each line; a sentence in place of what is no JSON object.

    Numbers come as they are written, as text.
    """
    source = files.lines(file.path, file.name, file.encoding, file.newline, mark_bad=mark_bad)
    decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)
    for number, line in enumerate(source, 1):
        if line.isspace():
            continue
        if mark_bad and not files.is_clean(line):
            yield number, f"a byte that is not {file.encoding}, or a NUL"
            continue
        try:
            value = decoder.decode(line)
        except json.JSONDecodeError as error:
            yield number, f"not valid JSON ({error.msg} at character {error.colno})"
        except (ValueError, RecursionError) as error:
            yield number, f"not valid JSON ({error})"
        else:
            is_object = isinstance(value, dict)
            yield number, value if is_object else f"{line.strip()[:40]!r} is JSON, but no object"


def _no_constant(name: str) -> str:
    raise ValueError(f"{name} is no JSON number")
