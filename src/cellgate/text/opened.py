"""Files that settings name, plain or gzipped."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from cellgate.errors import DataError, UsageError


@contextmanager
def opened(path: str, what: str) -> Iterator[BinaryIO]:
    """A file's bytes, unpacked where its name ends in .gz; `what` tells in a UsageError what it should hold."""
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"no file {path!r} of {what}")
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            yield cast(BinaryIO, stream)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no whole gzip file ({error}); copy it again") from None
