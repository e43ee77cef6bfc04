"""Parquet files, read a batch of rows at a time."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cellgate.data.files import readable
from cellgate.data.rows import Problems, RowFile, TableRow, bad_row, cell_of, check_names
from cellgate.errors import DataError, UsageError
from cellgate.metrics import labels_of

if TYPE_CHECKING:
    from arro3.core import RecordBatchReader

MAGIC = b"PAR1"
_BATCH_ROWS = 256  # in memory at once


@dataclass(frozen=True)
class ParquetFile(RowFile):
    """A Parquet file; rows are counted from 1."""

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
        number = 0
        for number, values in enumerate(self._values(tuple(columns.values())), 1):
            row = TableRow({}, self.name, number, "row")
            complaint = ""
            for (field, column), value in zip(columns.items(), values, strict=True):
                row.values[field], complaint = cell_of(value, column, several=field in several)
                if complaint:
                    break
            if complaint:
                bad_row(row.place, complaint, skipped)
            else:
                yield row
        if not number:
            raise DataError(f"{self.name} holds no rows: add rows, or leave it out")

    def sample(self) -> Iterator[Sequence[str]]:
        """Yield the values of each row that are text; a list's texts are joined."""
        for values in self._values(self.heading):
            found = [cell_of(value, name, several=True) for name, value in zip(self.heading, values, strict=True)]
            yield [cell if isinstance(cell, str) else ", ".join(labels_of(cell)) for cell, _ in found]

    def _values(self, names: Sequence[str]) -> Iterator[tuple[object, ...]]:
        with _reading(self.path, self.name) as batches:
            for batch in batches:
                yield from zip(*(batch[name].to_pylist() for name in names), strict=True)


def open_parquet(path: str, name: str) -> ParquetFile:
    """Read the names of the columns."""
    with _reading(path, name) as batches:
        return ParquetFile(path, name, "utf-8", tuple(batches.schema.names), ())


@contextmanager
def _reading(path: str, name: str) -> "Iterator[RecordBatchReader]":
    try:
        from arro3.io import read_parquet
    except ModuleNotFoundError:
        raise UsageError(
            f"{name} is a Parquet file, and what reads those is not installed; pip install 'cellgate[parquet]'"
        ) from None
    with readable(name):
        if not _is_whole(path):
            raise DataError(f"{name} is no Parquet file, or one cut short: copy or download it again")
        try:
            yield read_parquet(path, batch_size=_BATCH_ROWS)
        except Exception as error:
            raise DataError(f"{name} is damaged ({str(error)[:200]}): copy or download it again") from error


def _is_whole(path: str) -> bool:
    """Whether both ends are Parquet's: the reader prints a trace of its own where they are not."""
    with open(path, "rb") as file:
        first = file.read(len(MAGIC))
        file.seek(max(0, os.path.getsize(path) - len(MAGIC)))
        return first == file.read() == MAGIC
