"""Lines of a pipe or a terminal, as many at a time as have come: none waits for the next."""

import codecs
import os
import select
from collections.abc import Iterator

from cellgate.errors import DataError

_READ_BYTES = 1 << 16


def batches(descriptor: int, encoding: str, most: int) -> Iterator[list[str]]:
    """Yield the lines of an open file in order, 1 to `most` at once; waits for input only where none is left over.

    A line that cannot be decoded is a DataError, after the lines before it.
    """
    decoder = _decoder(encoding)
    rest, lines, number, more = "", list[str](), 0, True
    while more:
        data = os.read(descriptor, _READ_BYTES)
        more, complaint = bool(data), ""
        try:
            text = rest + decoder.decode(data, final=not more)
        except UnicodeDecodeError as error:
            text = rest + error.object[: error.start].decode(error.encoding, "replace")
            bad = error.object[error.start : min(error.end, error.start + 4)].hex(" ")
            complaint = f"the bytes {bad} are not {encoding}"
        if not number and not lines:
            text = text.removeprefix("\ufeff")
        *whole, rest = text.split("\n")
        if not more and rest and not complaint:
            whole.append(rest)
        for line in whole:
            number += 1
            if "\0" in line:
                complaint, number = "a NUL byte (0x00), which is no text", number - 1
                break
            lines.append(line.removesuffix("\r"))
            if len(lines) == most:
                yield lines
                lines = []
        if lines and (complaint or not more or not _waiting(descriptor)):
            yield lines
            lines = []
        if complaint:
            raise DataError(
                f"standard input line {number + 1}: {complaint}; name its encoding with --encoding NAME "
                "(such as gb18030, utf-16 or cp1252)"
            )


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        "".encode(encoding)  # refuses codecs that are no text encodings, such as hex
        return codecs.getincrementaldecoder(encoding)("strict")
    except (LookupError, ValueError):
        raise DataError(f"no encoding {encoding!r}; for example: utf-8, gb18030, big5, cp1252, utf-16") from None


def _waiting(descriptor: int) -> bool:
    """Whether there is something to read at once; where the system cannot tell (Windows pipes), no."""
    try:
        return bool(select.select([descriptor], [], [], 0)[0])
    except (OSError, ValueError):
        return False
