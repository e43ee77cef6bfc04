"""Standard input: its lines, as many at a time as have come; or all of it, copied to be read again."""

import atexit
import os
import select
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cellgate.cli.words import megabytes, say
from cellgate.data.files import ENCODING_REMEDY, flaw, marking_decoder
from cellgate.data.readers import Problems
from cellgate.errors import DataError

_READ_BYTES = 1 << 16
_LARGE_BYTES = 100_000_000


def batches(descriptor: int, encoding: str, most: int, skipped: Problems | None = None) -> Iterator[list[str]]:
    """Yield the lines of an open file in order, 1 to `most` at once; waits for input only where none is left over.

    A line that is no text is a DataError, after the lines before it; where `skipped` is given, it is counted there.
    """
    decoder = marking_decoder(encoding)
    rest, lines, number, more = "", list[str](), 0, True
    while more:
        data = os.read(descriptor, _READ_BYTES)
        more = bool(data)
        try:
            text = rest + decoder.decode(data, final=not more)
        except UnicodeError as error:  # bytes are marked, so this is of the whole: no byte order mark
            raise DataError(f"standard input: {error}; name its byte order, as in --encoding utf-16-le") from error
        if not number:
            text = text.removeprefix("\ufeff")
        *whole, rest = text.split("\n")
        if not more and rest:
            whole.append(rest)
        for line in whole:
            number += 1
            wrong = flaw(line, encoding)
            if not wrong:
                lines.append(line.removesuffix("\r"))
            elif skipped is not None:
                skipped.add(f"standard input line {number}: {wrong}")
            if lines and (len(lines) == most or (wrong and skipped is None)):
                yield lines
                lines = []
            if wrong and skipped is None:
                raise DataError(f"standard input line {number}: {wrong}: {ENCODING_REMEDY}")
        if lines and not (more and _waiting(descriptor)):
            yield lines
            lines = []


def spool() -> str:
    """Copy standard input to a file that goes when this program ends; returns its path.

    Where it is so large that the disk may feel it, say so.
    """
    if sys.stdin.isatty():
        say("type or paste the rows; Ctrl-D ends")
    folder = tempfile.TemporaryDirectory(prefix="cellgate-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "rows"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if zipped:
        path = path.rename(path.with_suffix(".gz"))  # a name that readers know
    if (size := path.stat().st_size) >= _LARGE_BYTES:
        say(
            f"standard input is kept in {path} until this program ends ({megabytes(size)}), for rows are read more "
            "than once; TMPDIR names another place"
        )
    return str(path)


def _waiting(descriptor: int) -> bool:
    """Whether there is something to read at once; where the system cannot tell (Windows pipes), no."""
    try:
        return bool(select.select([descriptor], [], [], 0)[0])
    except (OSError, ValueError):
        return False
