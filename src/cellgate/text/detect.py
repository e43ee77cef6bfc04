"""Tell a file's encoding, and what separates its columns, from a sample of it."""

import codecs
import csv
import io
import json
import re
from dataclasses import dataclass
from typing import Literal

Format = Literal["csv", "tsv", "jsonl"]

_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_MAGIC = (
    (b"PK\x03\x04", "an Excel (.xlsx) or zip file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel (.xls) file"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip file whose name does not end in .gz"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"%PDF-", "a PDF file"),
    (b"SQLite format 3", "an SQLite file"),
)
_TWO_BYTES = ["gb18030", "big5", "cp932", "euc_jp", "cp949"]
_ONE_BYTE = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r"]
_TEXT_BYTES = bytes(set(range(256)) - set(range(32)) | set(b"\t\n\f\r\x1b"))
_BINARY_SHARE = 0.02  # of a text's bytes are control characters, at most
_GUESS_BYTES = 1 << 16
_HIRAGANA_SHARE = 0.3
_LONELY_SHARE = 0.9  # of the bytes above 127 stand alone between ASCII letters in Western text
_SNIFFED_ROWS = 50
_EVEN_SHARE = 0.9  # of the sniffed rows must be as wide as the first, where no file ending helps


@dataclass(frozen=True)
class Encoding:
    """A codec's name and how it was found."""

    name: str
    found: Literal["mark", "bytes", "guess"]


@dataclass(frozen=True)
class Layout:
    """How a file holds its cells; JSON lines have no delimiter and their own quotes."""

    format: Format
    delimiter: str
    quoted: bool


def foreign_kind(sample: bytes) -> str | None:
    """Say what kind of file this is where it is plainly no text, else None."""
    for magic, kind in _MAGIC:
        if sample.startswith(magic):
            return kind
    if marked_encoding(sample) or _utf16(sample) or _decodes(sample, "utf-8"):
        return None
    controls = len(sample.translate(None, delete=_TEXT_BYTES))
    return "a binary file" if b"\0" in sample or controls > _BINARY_SHARE * len(sample) else None


def marked_encoding(sample: bytes) -> str | None:
    """Return the encoding that a byte order mark at the start names."""
    return next((name for mark, name in _BOMS if sample.startswith(mark)), None)


def detect_encoding(sample: bytes) -> Encoding | None:
    """Find the encoding of a text from its first bytes (the last character may be cut), None if none fits."""
    if marked := marked_encoding(sample):
        return Encoding(marked, "mark")
    if wide := _utf16(sample):
        return Encoding(wide, "bytes")
    if _decodes(sample, "utf-8"):
        return Encoding("utf-8", "bytes")
    return next((Encoding(name, "guess") for name in _guesses(sample) if _decodes(sample, name)), None)


def decode_sample(sample: bytes, encoding: str) -> str:
    """Decode what can be decoded, without the mark at the start and without a character cut at the end."""
    return codecs.getincrementaldecoder(encoding)("replace").decode(sample).removeprefix("\ufeff")


def detect_delimiter(text: str) -> str:
    """Return the separator of a `.csv` by its first rows: a comma, a semicolon or a tab."""
    return max(",;\t", key=lambda delimiter: _evenness(text, delimiter, quoted=True))


def detect_layout(text: str) -> Layout | None:
    """Find the layout of a file whose ending says nothing; None where its lines show none."""
    if _is_json_object(text.lstrip().partition("\n")[0]):
        return Layout("jsonl", "", quoted=False)
    if _evenness(text, "\t", quoted=False) >= _EVEN_SHARE:
        return Layout("tsv", "\t", quotes_cells(text))
    delimiter = detect_delimiter(text)
    even = _evenness(text, delimiter, quoted=True) >= _EVEN_SHARE
    return Layout("csv", delimiter, quoted=True) if even else None


def quotes_cells(text: str) -> bool:
    """Whether tab-separated text wraps cells in quotes.

    Most TSV does not, and holds lone quotes. It does where a whole cell stands in quotes with doubled quotes inside, or
    with line ends that would leave uneven rows, and nothing in the sample breaks the rules of quoting.
    """
    inside = r'""' if _even_lines(text) else r'""|\n'
    if not re.search(rf'(?:^|[\t\n])"[^"\t]*(?:{inside})[^"]*(?:""[^"]*)*"(?=[\t\r\n])', text):
        return False
    try:
        for _ in csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True):
            pass
    except csv.Error as error:
        return "end of data" in str(error)  # the sample ends inside a cell
    return True


def _even_lines(text: str) -> bool:
    """Whether every line holds as many tabs as the first, the last one aside, which the sample may cut."""
    lines = text.split("\n")[:-1]
    return bool(lines) and all(line.count("\t") == lines[0].count("\t") for line in lines)


def _evenness(text: str, delimiter: str, *, quoted: bool) -> float:
    """Return which share of the first rows is as wide as the very first; 0 where that one is not split."""
    widths: list[int] = []
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
    try:
        for row in reader:
            if row:
                widths.append(len(row))
            if len(widths) == _SNIFFED_ROWS:
                break
    except csv.Error:  # a cell beyond csv's limit: judge by the rows before it
        pass
    return widths.count(widths[0]) / len(widths) if widths and widths[0] > 1 else 0.0


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _decodes(sample: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def _utf16(sample: bytes) -> str | None:
    """Recognise UTF-16 without a mark: the zero halves of its ASCII stand all on one side, at line ends too.

    A stray NUL in UTF-8 text must not be taken for it, hence the look at the line ends.
    """
    zeros = {"utf-16-le": sample[1::2].count(0), "utf-16-be": sample[0::2].count(0)}
    name = max(zeros, key=lambda side: zeros[side])
    if zeros[name] <= 10 * min(zeros.values()) or not _decodes(sample, name):
        return None
    text = codecs.getincrementaldecoder(name)().decode(sample)
    line_ends = sample.count(b"\n")
    if line_ends:
        return name if text.count("\n") * 2 > line_ends else None
    return name if zeros[name] * 4 > len(sample) else None


def _guesses(sample: bytes) -> list[str]:
    """Return the older encodings whose text looks most like a language, likeliest first."""
    from charset_normalizer import from_bytes

    telling = b"\n".join(line for line in sample.split(b"\n") if not line.isascii())[:_GUESS_BYTES]
    high = len(re.findall(rb"[\x80-\xff]", telling))
    lonely = len(re.findall(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])", telling))
    candidates = _ONE_BYTE if lonely > _LONELY_SHARE * high else _TWO_BYTES + _ONE_BYTE
    matches = from_bytes(telling, cp_isolation=candidates)
    names = [name for match in matches for name in match.could_be_from_charset]
    # Western letters are mostly the same bytes in cp1250, which is tried first; where both fit it is cp1252.
    if "cp1250" in names[:1]:
        names.sort(key=lambda name: name != "cp1252")
    names = _japanese(telling) + names
    return [*names, *(name for name in ("gb18030", "big5", "cp1252") if name in candidates)]


def _japanese(sample: bytes) -> list[str]:
    """Return the Japanese encoding that gives much hiragana, which hardly anything else is misread as."""
    for encoding in ("cp932", "euc_jp"):
        letters = re.sub(r"[\x00-\x7f]", "", sample.decode(encoding, "ignore"))
        if len(re.findall("[ぁ-ん]", letters)) > _HIRAGANA_SHARE * len(letters):
            return [encoding]
    return []
