"""Encoded rows on disk, memory-mapped: a file larger than memory trains."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellgate.batch import Ints, Ragged

_MANIFEST = "cache.json"


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Named ragged columns of N rows."""

    columns: Mapping[str, Ragged]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, rows: Ints) -> dict[str, Ragged]:
        """Copy rows, in the order named."""
        return {name: column.take(rows) for name, column in self.columns.items()}


def write_rows(folder: Path, chunks: Iterable[Mapping[str, Ragged]]) -> EncodedRows:
    """Write chunks of rows one after the other; the manifest comes last, so a torn cache is no cache."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MANIFEST).unlink(missing_ok=True)
    files = {}
    ends: dict[str, int] = {}
    rows = 0
    try:
        for chunk in chunks:
            for name, column in chunk.items():
                if name not in files:
                    files[name] = (
                        (folder / f"{name}.values").open("wb"),
                        (folder / f"{name}.offsets").open("wb"),
                    )
                    files[name][1].write(np.zeros(1, np.int64).tobytes())
                    ends[name] = 0
                files[name][0].write(column.values.tobytes())
                files[name][1].write((column.offsets[1:] + ends[name]).astype(np.int64).tobytes())
                ends[name] += int(column.offsets[-1])
            rows += len(next(iter(chunk.values())))
    finally:
        for pair in files.values():
            for file in pair:
                file.close()
    staged = folder / (_MANIFEST + ".part")
    staged.write_text(json.dumps({"rows": rows, "columns": sorted(files)}))
    os.replace(staged, folder / _MANIFEST)
    return open_rows(folder)


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
