"""Encoded rows on disk, memory-mapped: a file larger than memory trains."""

import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cellgate.atomic import replace_file
from cellgate.batch import Ids, Ints, Ragged

_MANIFEST = "cache.json"
_LARGE = 2**28  # bytes of a column from which its pages are given back after use


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Named ragged columns of N rows."""

    columns: Mapping[str, Ragged]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, rows: Ints) -> dict[str, Ragged]:
        """Copy rows, in the order named."""
        taken = {name: column.take(rows) for name, column in self.columns.items()}
        for column in self.columns.values():
            _release(column.values)
        return taken


def _release(values: Ids) -> None:
    """Give the pages of a large mapped file back: they count as ours until we do, though they are only cached."""
    if isinstance(values, np.memmap) and values.nbytes > _LARGE and hasattr(mmap, "MADV_DONTNEED"):
        values._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class RowWriter:
    """Writes chunks of rows one after the other; the manifest comes last, so a torn cache is no cache."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MANIFEST).unlink(missing_ok=True)
        self._folder = folder
        self._files: dict[str, tuple[BinaryIO, BinaryIO]] = {}
        self._ends: dict[str, int] = {}
        self.rows = 0

    def add(self, chunk: Mapping[str, Ragged]) -> None:
        """Append rows; every chunk has the same columns."""
        for name, column in chunk.items():
            if name not in self._files:
                self._files[name] = (self._open(name, "values"), self._open(name, "offsets"))
                self._files[name][1].write(np.zeros(1, np.int64).tobytes())
                self._ends[name] = 0
            values, offsets = self._files[name]
            values.write(column.values.tobytes())
            offsets.write((column.offsets[1:] + self._ends[name]).astype(np.int64).tobytes())
            self._ends[name] += int(column.offsets[-1])
        self.rows += len(next(iter(chunk.values())))

    def _open(self, name: str, part: str) -> BinaryIO:
        return (self._folder / f"{name}.{part}").open("wb")

    def close(self) -> None:
        """Close the files without declaring the cache finished."""
        for pair in self._files.values():
            for file in pair:
                file.close()

    def finish(self) -> None:
        """Close the files and write the manifest: from now on the cache is whole."""
        self.close()
        manifest = {"rows": self.rows, "columns": sorted(self._files)}
        replace_file(self._folder / _MANIFEST, json.dumps(manifest).encode())


def has_rows(folder: Path) -> bool:
    """Whether `folder` holds a cache that was written to its end."""
    return (folder / _MANIFEST).is_file()


def open_rows(folder: Path) -> EncodedRows:
    """Map a finished cache into memory."""
    manifest = json.loads((folder / _MANIFEST).read_text())
    columns = {}
    for name in manifest["columns"]:
        offsets = np.fromfile(folder / f"{name}.offsets", np.int64)
        path = folder / f"{name}.values"
        # An empty file cannot be mapped.
        values = np.memmap(path, np.int32, "r") if path.stat().st_size else np.empty(0, np.int32)
        columns[name] = Ragged(values, offsets)
    return EncodedRows(columns)
