"""The user's files: found by name or pattern, their encoding and layout told, their lines read.

    patterns -> find_files -> open_file -> TextFile -> cells (CSV, TSV) or objects (JSON lines)

Nothing here holds more of a file than a sample, or one row.
"""

import codecs
import csv
import glob
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cellgate.errors import DataError, listed, nearest
from cellgate.text import detect

SAMPLE_BYTES = 1 << 20
CELL_CHARACTERS = 64 << 20
_NUL_MARK = "\udc00"
_MARK = "cellgate.mark"  # name of the error handler below, as codecs know it

_FORMATS: dict[str, detect.Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_FORMAT_NAMES = {"csv": "CSV", "tsv": "TSV", "jsonl": "JSON lines"}
_DELIMITER_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
_ONE_JSON = "{path} holds one JSON document: write one object a line instead (JSON lines, .jsonl)"
_SWALLOWED_LINES = 8  # inside one cell that all look like rows: a lone quote ate them
ENCODING_REMEDY = (
    "mend the line, name the encoding with --encoding NAME (such as gb18030, utf-16 or cp1252), or --skip-bad-rows"
)
_QUOTE_REMEDY = (
    'close the quote, or write a quote that belongs to the text twice, inside quotes: """Wow"" he said",positive'
)


@dataclass(frozen=True)
class Sample:
    """The beginning of a file as whole lines of text, its encoding, and sentences about that."""

    text: str
    encoding: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TextFile:
    """A file of rows, ready to be read.

    `newline` is the argument of `lines`; `notes` are sentences worth telling the user.
    """

    path: str
    encoding: str
    newline: str
    layout: detect.Layout
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


def format_of(path: str) -> detect.Format | None:
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


def read_sample(path: str, encoding: str | None = None) -> Sample:
    """Read a file's first bytes and find its encoding, unless that is given."""
    with _readable(path), _opened(path) as stream:
        data = stream.read(SAMPLE_BYTES)
    name, notes = _encoding(path, data, encoding)
    text = detect.decode_sample(data, name)
    if len(data) == SAMPLE_BYTES:
        text = text[: text.rfind("\n") + 1] or text
    if not text.strip():
        raise DataError(f"{path} is empty: give a file with rows of text")
    return Sample(text, name, notes)


def open_file(path: str, encoding: str | None = None) -> TextFile:
    """Look at a file's first bytes for its encoding and its layout."""
    sample = read_sample(path, encoding)
    layout, notes = _layout(path, sample.text)
    # A lone \r ends lines where it ends the first one; elsewhere it stands in a cell, and may not split it.
    newline = "" if re.match(r"[^\r\n]*\r(?!\n)", sample.text) else "\n"
    return TextFile(path, sample.encoding, newline, layout, (*sample.notes, *notes))


def lines(path: str, encoding: str, newline: str, *, mark_bad: bool = False) -> Iterator[str]:
    r"""Yield the lines with their ends: \n and \r\n where `newline` is "\n", \r as well where it is empty.

    A line with a byte that cannot be decoded or a NUL is an error, after the lines before it; with `mark_bad` each
    such byte comes as a lone surrogate.
    """
    with _readable(path), _opened(path) as stream:
        yield from decoded(stream, path, encoding, newline, mark_bad=mark_bad)


def decoded(stream: BinaryIO, name: str, encoding: str, newline: str, *, mark_bad: bool = False) -> Iterator[str]:
    """Yield the lines of an open stream of bytes, as `lines` does; the stream stays open."""
    text = io.TextIOWrapper(stream, encoding, _MARK, newline)
    try:
        for number, line in enumerate(text, 1):
            if number == 1:
                line = line.removeprefix("\ufeff")
            if wrong := flaw(line, encoding):
                if not mark_bad:
                    raise DataError(f"{name} line {number}: {wrong}: {ENCODING_REMEDY}")
                line = line.replace("\0", _NUL_MARK)
            yield line
    finally:
        text.detach()


def cells(file: TextFile, *, mark_bad: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, cells) of each row of a CSV or TSV file, the header too; empty lines are no rows."""
    source = lines(file.path, file.encoding, file.newline, mark_bad=mark_bad)
    if file.layout.quoted:
        yield from _quoted_cells(file, source)
        return
    for number, line in enumerate(source, 1):
        text = line.removesuffix("\n").removesuffix("\r")
        if text:
            yield number, text.split(file.layout.delimiter)


def _quoted_cells(file: TextFile, source: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    # The limit is global to the csv module and 128 kB by default: a long document is a cell too.
    csv.field_size_limit(max(csv.field_size_limit(), CELL_CHARACTERS))
    delimiter = file.layout.delimiter
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            if row:
                if reader.line_num - line > _SWALLOWED_LINES and _swallowed(row, delimiter):
                    raise DataError(
                        f"{file.path} line {line}: a quote opens in this row and closes only on line "
                        f"{reader.line_num}, past lines that look like rows of their own: {_QUOTE_REMEDY}"
                    )
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(_broken_row(file.path, line, reader.line_num, str(error))) from error


def objects(file: TextFile, *, mark_bad: bool = False) -> Iterator[tuple[int, dict[str, object] | str]]:
    """Yield (line, object) of each line of a JSON lines file; a sentence in place of what is no JSON object.

    Numbers come as they are written, as text.
    """
    source = lines(file.path, file.encoding, file.newline, mark_bad=mark_bad)
    decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)
    for number, line in enumerate(source, 1):
        if line.isspace():
            continue
        if mark_bad and not is_clean(line):
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
        raise DataError(f"{path!r} is a folder: name its files, for example {os.path.join(path, '*.csv')!r}")
    if os.path.isfile(path):
        return path
    if os.path.exists(path):
        raise DataError(f"{path!r} is no regular file, and rows are read more than once: save it to a file first")
    if folder and not os.path.isdir(folder):
        raise DataError(f"no file {path!r}: there is no folder {folder!r}; check the path")
    with _readable(folder or "."):
        present = os.listdir(folder or ".")
    hint = nearest(name, present) or f"; the folder holds: {listed(sorted(present)) or 'nothing'}"
    raise DataError(f"no file {path!r}{hint}")


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Turn what the file system and gzip complain about into sentences."""
    try:
        yield
    except gzip.BadGzipFile as error:
        raise DataError(
            f"{path} is no gzip file, or a damaged one ({error}): rename it if it is not compressed, "
            "else copy or download it again"
        ) from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path} is cut short or damaged ({error}): copy or download it again") from error
    except PermissionError as error:
        raise DataError(f"{path} may not be read (permission denied): change its permissions (chmod u+r)") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): check the file and its disk") from error


def _opened(path: str) -> BinaryIO:
    if path.lower().endswith(".gz"):
        return io.BufferedReader(gzip.open(path, "rb"))
    return open(path, "rb")


def _encoding(path: str, sample: bytes, given: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the encoding to read with and what to say about it."""
    if not sample:
        raise DataError(f"{path} is empty: give a file with rows of text")
    if given is not None:
        return _given_encoding(given, sample), ()
    if kind := detect.foreign_kind(sample):
        raise DataError(f"{path} is {kind}: save or convert it as CSV (UTF-8), TSV or JSON lines first")
    found = detect.detect_encoding(sample)
    if found is None:
        raise DataError(f"{path}: its encoding is none of those known here: name it with --encoding NAME")
    if found.name == "utf-8":
        return found.name, ()
    how = {"mark": "by its byte order mark", "bytes": "by its bytes", "guess": "a guess from its bytes"}[found.found]
    return found.name, (f"{path}: read as {found.name}, {how} (--encoding NAME says otherwise)",)


def _given_encoding(given: str, sample: bytes) -> str:
    name = text_encoding(given)
    if name not in ("utf-16", "utf-32"):
        return name.removesuffix("-sig")
    # Reading wants the byte order in the name, so that a bad byte's line can be told.
    marked = detect.marked_encoding(sample) or ""
    return marked if marked.startswith(name) else f"{name}-le"


def _layout(path: str, text: str) -> tuple[detect.Layout, tuple[str, ...]]:
    """Return how the file holds its cells and what to say about it."""
    kind = format_of(path)
    if kind in ("jsonl", None) and text.lstrip().startswith("["):
        raise DataError(_ONE_JSON.format(path=path))
    if kind == "jsonl":
        return detect.Layout("jsonl", "", quoted=False), ()
    if kind == "tsv":
        quoted = detect.quotes_cells(text)
        note = (f"{path}: cells in quotes are read as CSV quotes them",) if quoted else ()
        return detect.Layout("tsv", "\t", quoted), note
    if kind == "csv":
        delimiter = detect.detect_delimiter(text)
        note = () if delimiter == "," else (f"{path}: its cells are separated by {_DELIMITER_NAMES[delimiter]}",)
        return detect.Layout("csv", delimiter, quoted=True), note
    layout = detect.detect_layout(text)
    if layout is None and text.lstrip().startswith("{"):
        raise DataError(_ONE_JSON.format(path=path))
    if layout is None:
        raise DataError(
            f"{path}: what separates its columns cannot be told (no tab, comma or semicolon splits its lines "
            "evenly): name it .csv, .tsv or .jsonl"
        )
    by = f", split by {_DELIMITER_NAMES[layout.delimiter]}" if layout.delimiter else ""
    return layout, (f"{path}: read as {_FORMAT_NAMES[layout.format]}{by}, by its first lines",)


def _swallowed(row: list[str], delimiter: str) -> bool:
    """Whether a cell's own lines look like rows as wide as its row."""
    inner = re.split(r"\r\n|\r|\n", max(row, key=len))[1:-1]
    wide = sum(len(cells) == len(row) for cells in csv.reader(inner, delimiter=delimiter))
    return len(row) > 1 and len(inner) >= _SWALLOWED_LINES and wide >= 0.9 * len(inner)


def _broken_row(path: str, line: int, last: int, complaint: str) -> str:
    place = f"{path} line {line}"
    if "expected after" in complaint:
        end = "" if last == line else f" on line {last}"
        return f"{place}: a quote opens in this row and text follows where it closes{end}: {_QUOTE_REMEDY}"
    if "end of data" in complaint:
        return f"{place}: a quote opens here and never closes, to the last line, {last}: {_QUOTE_REMEDY}"
    if "field limit" in complaint:
        size = f"{CELL_CHARACTERS >> 20} million characters (on line {last})"
        return f"{place}: a cell goes on beyond {size}, most often for a quote never closed: {_QUOTE_REMEDY}"
    return f"{place}: a carriage return (\\r) stands in a cell without quotes: put quotes around the cell"


def _no_constant(name: str) -> str:
    raise ValueError(f"{name} is no JSON number")
