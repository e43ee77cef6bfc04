"""What is wrong with a file stops with a sentence: the thing, the value, the remedy."""

import csv
import gzip
import io
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellgate.data import cells, files
from cellgate.data.readers import decode_lines, open_lines, open_table
from cellgate.errors import DataError

BOTH = {"text": "text", "label": "label"}
QUOTE = "write a quote that belongs to the text twice"
SKIP = "--skip-bad-rows"


def complaint(path: Path, columns: dict[str, str] = BOTH, encoding: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        for _ in open_table([path], encoding).rows(columns):
            pass
    return str(caught.value)


def bad_file(tmp_path: Path, name: str, data: bytes | str) -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


CASES: dict[str, tuple[str, bytes | str, list[str]]] = {
    "empty": ("a.csv", "", ["a.csv is empty", "give a file with rows"]),
    "empty gzip": ("a.csv.gz", gzip.compress(b""), ["a.csv.gz is empty"]),
    "blank": ("a.csv", "\n\n", ["a.csv is empty"]),
    "header only": ("a.csv", "text,label\n", ["holds a header (text, label) and no rows", "add rows"]),
    "short row": (
        "a.csv",
        "text,label\na,x\nb\n",
        ["line 3: 1 cell where the header has 2 (text, label)", SKIP],
    ),
    "long row": (
        "a.csv",
        "text,label\nwell, yes,x\n",
        ["line 2: 3 cells where", "a cell that holds ',' must stand in quotes", SKIP],
    ),
    "long tsv row": ("a.tsv", "text\tlabel\nb\tc\tx\n", ["line 2: 3 cells", "write such text as CSV"]),
    "NUL": (
        "a.csv",
        "text,label\na,x\nb\0,y\n",
        ["line 3: a NUL byte (0x00)", "mend the line", "--encoding", SKIP],
    ),
    "quote to the end": (
        "a.csv",
        'text,label\na,x\n"b,y\nc,z\n',
        ["line 3: a quote opens here and never closes, to the last line, 4", QUOTE],
    ),
    "quote closed by another": (
        "a.csv",
        'text,label\n"b,y\nc,z\nd,"w"\n',
        ["line 2: a quote opens in this row and text follows where it closes on line 4", QUOTE],
    ),
    "quote not doubled": (
        "a.csv",
        'text,label\n"say "hi" now",x\n',
        ["line 2: a quote opens in this row", QUOTE],
    ),
    "rows swallowed": (
        "a.csv",
        'text,label\n"b,y\n' + "c,z\n" * 20 + 'a screen of 5",y\n',
        ["line 2: a quote opens in this row and closes only on line 23", "look like rows", QUOTE],
    ),
    "bare carriage return": (
        "a.csv",
        "label,text\na,x\npos,hello\rwell, world\n",
        ["line 3: a carriage return (\\r) stands in a cell without quotes", "put quotes around the cell"],
    ),
    "no such column": (
        "a.csv",
        "text,lable\na,x\n",
        ["no column 'label' in", "did you mean 'lable'? columns: text, lab"],
    ),
    "doubled column": (
        "a.csv",
        "text,label,text\na,x,b\n",
        ["has 2 columns 'text'", "rename one in its first line"],
    ),
    "bad JSON": (
        "a.jsonl",
        '{"text": "a", "label": "x"}\n{"text": "a" "label"}\n',
        ["line 2: not valid JSON (Expecting ',' delimiter at character 14)", SKIP],
    ),
    "NaN": (
        "a.jsonl",
        '{"text": NaN, "label": "x"}\n{"text":"","label":""}\n',
        ["line 1: not valid JSON (NaN", SKIP],
    ),
    "deep JSON": (
        "a.jsonl",
        '{"text": "a", "label": "x"}\n' + "[" * 100_000 + "\n",
        ["line 2: not valid JSON (maximum recursion", SKIP],
    ),
    "no JSON object": (
        "a.jsonl",
        '{"text": "a", "label": "x"}\n"hello"\n',
        ["line 2: '\"hello\"' is JSON, but no object", SKIP],
    ),
    "JSON list": ("a.jsonl", '[{"text": "a"}]\n', ["holds one JSON document", "write one object a line"]),
    "JSON document": (
        "a.json",
        '{\n  "text": [\n1]}\n',
        ["holds one JSON document", "write one object a line"],
    ),
    "missing key": (
        "a.jsonl",
        '{"text": "a", "label": "x"}\n{"text": "a"}\n',
        ["line 2: no 'label' among its keys (text)", SKIP],
    ),
    "null": (
        "a.jsonl",
        '{"text": "a", "label": null}\n',
        ["line 1: 'label' is null", 'write "" for an empty one', SKIP],
    ),
    "list for text": (
        "a.jsonl",
        '{"text": ["a"], "label": "x"}\n',
        ["line 1: 'text' is a list, where a text", SKIP],
    ),
    "object for text": ("a.jsonl", '{"text": {}, "label": "x"}\n', ["line 1: 'text' is an object", SKIP]),
    "half a character": (
        "a.jsonl",
        '{"text": "\\ud83d", "label": "x"}\n',
        ["line 1: 'text' holds half of a surrogate pair", SKIP],
    ),
    "no key at all": ("a.jsonl", "{}\n", ["a.jsonl is empty"]),
    "no JSON at all": ("a.jsonl", "hello\n", ["line 1: not valid JSON (Expecting value at character 1)"]),
    "no gzip": (
        "a.csv.gz",
        "text,label\na,x\n",
        ["a.csv.gz is no gzip file", "rename it if it is not compressed"],
    ),
    "hidden gzip": ("a.csv", gzip.compress(b"text"), ["is a gzip file whose name does not end in .gz"]),
    "Excel": (
        "a.csv",
        b"PK\x03\x04\x14\0\6\0",
        ["is an Excel (.xlsx) or zip file", "save or convert it as CSV"],
    ),
    "binary": ("a.csv", random.Random(0).randbytes(5000), ["is a binary file", "save or convert it as CSV"]),
    "binary without NUL": ("a.csv", bytes(range(1, 256)) * 9, ["is a binary file", "save or convert it"]),
    "no layout": (
        "a.txt",
        "One, two.\nThree.\n",
        ["what separates its columns cannot be told", "name the file .csv, .tsv"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_complaint(tmp_path: Path, case: str) -> None:
    name, data, parts = CASES[case]
    path = bad_file(tmp_path, name, data)
    message = complaint(path)
    assert str(path) in message
    for part in parts:
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("kept", [0.2, 0.9])
def test_truncated_gzip(tmp_path: Path, kept: float) -> None:
    rows = "".join(f"{random.Random(n).random()},x\n" for n in range(200_000))
    data = gzip.compress(f"text,label\n{rows}".encode(), 1)
    message = complaint(bad_file(tmp_path, "a.csv.gz", data[: int(len(data) * kept)]))
    assert "a.csv.gz is cut short or damaged" in message
    assert "copy or download it again" in message


def test_damaged_gzip(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"text,label\n" + b"a,x\n" * 1000))
    data[-6] ^= 1
    assert "a damaged one (CRC check failed" in complaint(bad_file(tmp_path, "a.csv.gz", bytes(data)))


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bad_file(tmp_path, "a.csv", "text,label\na,x\n")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "_opened", refuse)  # root may read all: no file mode denies it
    message = complaint(path)
    assert f"{path} may not be read (permission denied)" in message
    assert "chmod" in message


def test_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_file(tmp_path, "reviews.csv", "text,label\na,x\n")
    assert "no file" in (message := complaint(tmp_path / "reveiws.csv"))
    assert "did you mean 'reviews.csv'?" in message
    assert "the folder holds: reviews.csv" in complaint(tmp_path / "z.jsonl")
    assert f"there is no folder '{tmp_path / 'nowhere'}'" in complaint(tmp_path / "nowhere" / "a.csv")
    assert "is a folder: name its files, for example" in complaint(tmp_path)
    assert f"no file matches '{tmp_path}/*.tsv': check the pattern" in complaint(tmp_path / "*.tsv")
    with pytest.raises(DataError, match="no data file was named"):
        open_table([])
    os.mkfifo(tmp_path / "pipe")
    assert "save it to a file first" in complaint(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    assert complaint(Path("review.csv")) == "no file 'review.csv'; did you mean 'reviews.csv'?"


def test_misspelt_column_message_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_file(tmp_path, "reviews.csv", "text,label\na,x\n")
    monkeypatch.chdir(tmp_path)
    message = complaint(Path("reviews.csv"), {"text": "text", "label": "lable"})
    assert message == "no column 'lable' in reviews.csv; did you mean 'label'? columns: text, label"


def test_column_missing_in_the_second_file(tmp_path: Path) -> None:
    bad_file(tmp_path, "a.csv", "text,label\na,x\n")
    bad_file(tmp_path, "b.csv", "text,stars\na,x\n")
    assert "no column 'label' in" in (message := complaint(tmp_path / "*.csv"))
    assert "b.csv; columns: text, stars" in message


@pytest.mark.parametrize("number", ["0", "3"])
def test_column_number_out_of_range(tmp_path: Path, number: str) -> None:
    path = bad_file(tmp_path, "a.csv", "a,x\nb,y\n")
    message = complaint(path, {"text": "1", "label": number})
    assert message == f"no column {number} in {path}: its first line has 2 (a, x)"


def test_unknown_encoding(tmp_path: Path) -> None:
    path = bad_file(tmp_path, "a.csv", "text,label\na,x\n")
    assert "no encoding 'gb18003'; did you mean 'gb18030'?" in complaint(path, encoding="gb18003")
    assert "no encoding 'hex'; for example: utf-8" in complaint(path, encoding="hex")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    encoding=st.sampled_from(["utf-8", "gb18030", "big5", "utf-16-le"]),
    end=st.sampled_from(["\n", "\r\n"]),
    place=st.integers(2, 2999),
)
def test_undecodable_bytes_are_placed(tmp_path: Path, encoding: str, end: str, place: int) -> None:
    lines = [f"房間很乾淨 {'x' * (number % 11)},pos{end}".encode(encoding) for number in range(3000)]
    bad = b"\x00\xdc" if encoding == "utf-16-le" else b"\xff\xff"
    lines[place - 1] = bad + lines[place - 1]
    path = bad_file(tmp_path, "a.csv", f"text,label{end}".encode(encoding) + b"".join(lines))
    message = complaint(path, encoding=encoding)
    assert f"a.csv line {place + 1}: the bytes {bad[:1].hex()}" in message
    assert f"are not {encoding}: mend the line, name the encoding with --encoding NAME" in message
    assert SKIP in message


def test_wrong_encoding_that_only_shows_late(tmp_path: Path) -> None:
    data = "text,label\n" + "plain,x\n" * 200_000 + "très bon,x\n"
    path = bad_file(tmp_path, "a.csv", data.encode("cp1252"))
    assert "line 200002: the bytes e8 are not utf-8" in complaint(path)
    assert "such as gb18030, utf-16 or cp1252" in complaint(path)


def test_a_cell_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "CELL_CHARACTERS", 1 << 20)
    limit = csv.field_size_limit
    monkeypatch.setattr(csv, "field_size_limit", lambda new=0: limit(1 << 20))
    path = bad_file(tmp_path, "a.csv", 'text,label\na,x\n"b,y\n' + "c,z\n" * 400_000)
    message = complaint(path)
    assert "line 3: a cell goes on beyond 1 million characters" in message
    assert QUOTE in message


def test_undecodable_first_row_stops_even_where_bad_rows_are_skipped(tmp_path: Path) -> None:
    path = bad_file(tmp_path, "a.csv", b"t\xffxt,label\na,x\n")
    assert "line 1: the first row holds a byte that is not utf-8" in complaint(path, encoding="utf-8")


def test_plain_lines_name_the_line() -> None:
    with pytest.raises(DataError, match=r"input line 3: the bytes ff are not utf-8.*--encoding NAME"):
        list(decode_lines(io.BytesIO(b"a\r\nb\nc\xff\n")))


def test_empty_plain_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        open_lines(bad_file(tmp_path, "a.txt", ""))
