"""The user's files: found by name or pattern, their encoding told, their lines read.

    patterns -> find_files -> read_sample -> lines

A file has a path, which is opened, and a name, which messages call it by: standard input is read from a copy.
Nothing here holds more of a file than a sample, or one row.
"""

import codecs
import glob
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from cellgate.errors import DataError, listed, nearest
from cellgate.text import detect

SAMPLE_BYTES = 1 << 20
_PIECE_CHARACTERS = 1 << 16
_NUL_MARK = "\udc00"
_MARK = "cellgate.mark"  # name of the error handler below, as codecs know it

Format = detect.Format | Literal["parquet", "conll", "conllu"]
_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".conll": "conll",
    ".bio": "conll",
    ".iob": "conll",
    ".bioes": "conll",
    ".bmes": "conll",
    ".conllu": "conllu",
}
ENCODING_REMEDY = (
    "mend the line, name the encoding with --encoding NAME (such as gb18030, utf-16 or cp1252), or --skip-bad-rows"
)


@dataclass(frozen=True)
class Sample:
    """The beginning of a file as whole lines of text, its encoding, and sentences about that.

    `newline` is the argument of `lines`.
    """

    text: str
    encoding: str
    newline: str
    notes: tuple[str, ...]


def _marked(error: UnicodeError) -> tuple[str, int]:
    """Decode bytes that are no text to lone surrogates, U+DC00 + byte, so that their line is told from the others."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(ord(_NUL_MARK) + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_MARK, _marked)


def marking_decoder(encoding: str) -> codecs.IncrementalDecoder:
    """A decoder that never fails: what is no text is found by `flaw`."""
    return codecs.getincrementaldecoder(text_encoding(encoding))(_MARK)


def text_encoding(name: str) -> str:
    """The name as Python writes it; what is no encoding of text is a DataError."""
    try:
        "".encode(name)  # refuses codecs that are no text encodings, such as hex
        return codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        known = ("utf-8", "utf-16", "gb18030", "big5", "cp1252", "cp1251", "shift_jis", "euc_kr", "latin-1")
        raise DataError(f"no encoding {name!r}{nearest(name, known) or ';'} for example: {listed(known)}") from error


def flaw(text: str, encoding: str) -> str:
    """What in a decoded text is none, as a phrase; empty: nothing."""
    if "\0" not in text and is_clean(text):
        return ""
    found = re.search("[\udc00-\udcff]{1,4}", text)
    if "\0" in text or (found and found.group() == _NUL_MARK):
        return "a NUL byte (0x00), which is no text"
    if not found:
        return "half of a surrogate pair, which is no character"
    bad = bytes(ord(mark) - ord(_NUL_MARK) for mark in found.group())
    return f"the bytes {bad.hex(' ')} are not {encoding}"


def format_of(path: str) -> Format | None:
    """The format that a file's name promises; None: it says nothing of columns."""
    return _FORMATS.get(os.path.splitext(path.lower().removesuffix(".gz"))[1])


def find_files(patterns: Sequence[str | Path]) -> list[str]:
    """Expand names and patterns to paths; each pattern's matches are sorted, a path is listed once."""
    paths: dict[str, None] = {}
    for given in patterns:
        pattern = os.path.expanduser(given)
        if os.path.exists(pattern) or not glob.has_magic(pattern):
            paths[_checked(pattern)] = None
            continue
        matches = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
        if not matches:
            raise DataError(f"no file matches {pattern!r}: check the pattern, or name the files")
        paths.update(dict.fromkeys(matches))
    if not paths:
        raise DataError("no data file was named: give one or more, such as reviews.csv")
    return list(paths)


def read_sample(path: str, name: str, encoding: str | None = None) -> Sample:
    """Read a file's first bytes and find its encoding, unless that is given."""
    with readable(name), _opened(path) as stream:
        data = stream.read(SAMPLE_BYTES)
    found, notes = find_encoding(name, data, encoding)
    text = detect.decode_sample(data, found)
    if len(data) == SAMPLE_BYTES:
        text = text[: text.rfind("\n") + 1] or text
    if not text.strip():
        raise is_empty(name)
    # A lone \r ends lines where it ends the first one; elsewhere it stands in a cell, and may not split it.
    newline = "" if re.match(r"[^\r\n]*\r(?!\n)", text) else "\n"
    return Sample(text, found, newline, notes)


def is_empty(name: str) -> DataError:
    """The error of a file without rows."""
    return DataError(f"{name} is empty: give a file with rows of text")


def lines(path: str, name: str, encoding: str, newline: str, *, mark_bad: bool = False) -> Iterator[str]:
    r"""Yield the lines with their ends: \n and \r\n where `newline` is "\n", \r as well where it is empty.

    A line with a byte that cannot be decoded or a NUL is an error, after the lines before it; with `mark_bad` each
    such byte comes as a lone surrogate.
    """
    for piece in pieces(path, name, encoding, newline, mark_bad=mark_bad):
        yield from io.StringIO(piece, newline)


def pieces(path: str, name: str, encoding: str, newline: str, *, mark_bad: bool = False) -> Iterator[str]:
    """Yield what `lines` does, many whole lines at a time: together they are searched for flaws much quicker."""
    first = 1  # number of the piece's first line
    with readable(name), _opened(path) as stream:
        text = io.TextIOWrapper(stream, encoding, _MARK, newline)
        while piece := text.read(_PIECE_CHARACTERS) + text.readline():
            if first == 1:
                piece = piece.removeprefix("\ufeff")
            if flaw(piece, encoding):
                yield from _checked_lines(io.StringIO(piece, newline), first, name, encoding, mark_bad=mark_bad)
            else:
                yield piece
            first += piece.count("\n") if newline else sum(1 for _ in io.StringIO(piece, newline))


def decoded(stream: BinaryIO, name: str, encoding: str, newline: str, *, mark_bad: bool = False) -> Iterator[str]:
    """Yield the lines of an open stream of bytes, as `lines` does but each as it comes; the stream stays open."""
    text = io.TextIOWrapper(stream, encoding, _MARK, newline)
    try:
        yield from _checked_lines(text, 1, name, encoding, mark_bad=mark_bad)
    finally:
        text.detach()


def _checked_lines(lines: Iterable[str], first: int, name: str, encoding: str, *, mark_bad: bool) -> Iterator[str]:
    for number, line in enumerate(lines, first):
        if number == 1:
            line = line.removeprefix("\ufeff")
        if wrong := flaw(line, encoding):
            if not mark_bad:
                raise DataError(f"{name} line {number}: {wrong}: {ENCODING_REMEDY}")
            line = line.replace("\0", _NUL_MARK)
        yield line


def is_clean(text: str) -> bool:
    """Whether all characters are characters: what could not be decoded is a lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _checked(path: str) -> str:
    folder, name = os.path.split(path)
    if os.path.isdir(path):
        raise no_files(path)
    if os.path.isfile(path):
        return path
    if os.path.exists(path):
        raise DataError(
            f"{path!r} is no regular file, and rows are read more than once: save it to a file first, or pipe it in (-)"
        )
    if folder and not os.path.isdir(folder):
        raise DataError(f"no file {path!r}: there is no folder {folder!r}; check the path")
    with readable(folder or "."):
        present = os.listdir(folder or ".")
    hint = nearest(name, present) or f"; the folder holds: {listed(sorted(present)) or 'nothing'}"
    raise DataError(f"no file {path!r}{hint}")


def no_files(folder: str) -> DataError:
    """The error of a folder that is named where files are wanted."""
    with readable(folder):
        table = next((name for name in sorted(os.listdir(folder)) if format_of(name)), "a.csv")
    zipped = ".gz" if table.lower().endswith(".gz") else ""
    ending = os.path.splitext(table[: len(table) - len(zipped)])[1] + zipped
    pattern = os.path.join(folder, f"*{ending}")
    return DataError(f"{folder!r} is a folder: name its files, for example {pattern!r}")


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what the file system and gzip complain about into sentences."""
    try:
        yield
    except gzip.BadGzipFile as error:
        raise DataError(
            f"{name} is no gzip file, or a damaged one ({error}): rename it if it is not compressed, "
            "else copy or download it again"
        ) from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{name} is cut short or damaged ({error}): copy or download it again") from error
    except PermissionError as error:
        raise DataError(f"{name} may not be read (permission denied): change its permissions (chmod u+r)") from error
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror or error}): check the file and its disk") from error


def _opened(path: str) -> BinaryIO:
    if path.lower().endswith(".gz"):
        return io.BufferedReader(gzip.open(path, "rb"))
    return open(path, "rb")


def find_encoding(name: str, sample: bytes, given: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the encoding to read with and what to say about it."""
    if not sample:
        raise is_empty(name)
    if given is not None:
        return _given_encoding(given, sample), ()
    if kind := detect.foreign_kind(sample):
        raise DataError(f"{name} is {kind}: save or convert it as CSV (UTF-8), TSV or JSON lines first")
    found = detect.detect_encoding(sample)
    if found is None:
        raise DataError(f"{name}: its encoding is none of those known here: name it with --encoding NAME")
    if found.name == "utf-8":
        return found.name, ()
    how = {"mark": "by its byte order mark", "bytes": "by its bytes", "guess": "a guess from its bytes"}[found.found]
    return found.name, (f"{name}: read as {found.name}, {how} (--encoding NAME says otherwise)",)


def _given_encoding(given: str, sample: bytes) -> str:
    name = text_encoding(given)
    if name not in ("utf-16", "utf-32"):
        return name.removesuffix("-sig")
    # Reading wants the byte order in the name, so that a bad byte's line can be told.
    marked = detect.marked_encoding(sample) or ""
    return marked if marked.startswith(name) else f"{name}-le"
