"""Reading what is right: every format, encoding and ending comes back as it was written."""

import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellgate.data.readers import Cell, Problems, Table, decode_lines, open_lines, open_table

BOTH = {"text": "text", "label": "label"}
CHINESE = "房间很干净，服务员的态度也不错，下次还会再来。"
TRADITIONAL = "房間很乾淨，服務員的態度也不錯，下次還會再來。"
JAPANESE = "部屋はとてもきれいで、朝食も美味しかったです。また泊まりたい。"
KOREAN = "방이 깨끗하고 직원들이 친절했습니다. 다음에 또 올게요."
RUSSIAN = "Отличный фильм, всем советую посмотреть."
GERMAN = "Das Zimmer war schön, aber für “Luxus” viel zu laut."
FRENCH = "Très bon hôtel, le café était délicieux et l’accueil chaleureux."
POLISH = "Obsługa była niemiła, a łazienka brudna. Książka świetna, żałuję że tak krótka."

# All that may stand in a cell but lone surrogates and NUL; the strange line ends are drawn often.
cells = st.text(
    st.one_of(
        st.sampled_from(list("\n\r\t,;\"' \x85\u2028\u2029\x0b\x0c\x1c\ufeffé评👍")),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=12,
)
pairs = st.lists(st.tuples(cells, cells), min_size=1, max_size=6)
each_example = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=150,
    deadline=None,  # machines are shared
)


def read(table: Table, columns: dict[str, str] = BOTH) -> list[tuple[Cell, ...]]:
    return [tuple(row.values.values()) for row in table.rows(columns)]


def write_csv(
    path: Path,
    rows: Sequence[tuple[str, ...]],
    encoding: str = "utf-8",
    delimiter: str = ",",
    end: str = "\r\n",
) -> Path:
    # Python's writer leaves a lone \r bare where lines end in \n, and a lone \n where they end in \r.
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(
            file,
            delimiter=delimiter,
            lineterminator=end,
            quoting=csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL,
        )
        writer.writerows([("text", "label"), *rows])
    return path


@each_example
@given(rows=pairs, delimiter=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_csv_comes_back_as_written(tmp_path: Path, rows: list[tuple[str, str]], delimiter: str, end: str) -> None:
    path = write_csv(tmp_path / "a.csv", rows, delimiter=delimiter, end=end)
    assert read(open_table([path])) == rows


@each_example
@given(rows=pairs, escaped=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_json_lines_come_back_as_written(tmp_path: Path, rows: list[tuple[str, str]], escaped: bool, end: str) -> None:
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": t, "label": y}, ensure_ascii=escaped) + end for t, y in rows]
    path.write_text("".join(lines), encoding="utf-8", newline="")
    assert read(open_table([path])) == rows


def no_ends(cell: str) -> str:
    """A cell that TSV can hold, without the doubled quotes that make it look like quoted text."""
    cell = cell.replace("\t", "").replace("\n", "").rstrip("\r")
    while '""' in cell:
        cell = cell.replace('""', '"')
    return cell


@each_example
@given(rows=pairs, end=st.sampled_from(["\n", "\r\n"]))
def test_tsv_comes_back_as_written(tmp_path: Path, rows: list[tuple[str, str]], end: str) -> None:
    rows = [(no_ends(text), no_ends(label)) for text, label in rows]
    path = tmp_path / "a.tsv"
    path.write_text("".join("\t".join(row) + end for row in [("text", "label"), *rows]), "utf-8", newline="")
    assert read(open_table([path])) == rows


@each_example
@given(texts=st.lists(cells.map(lambda text: text.replace("\n", "").rstrip("\r")), min_size=1, max_size=8))
def test_plain_lines_come_back_as_written(tmp_path: Path, texts: list[str]) -> None:
    data = "".join(text + "\r\n" for text in texts).encode()
    assert list(decode_lines(io.BytesIO(data))) == [texts[0].removeprefix("\ufeff"), *texts[1:]]


def test_lone_quotes_in_tsv_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"Wow" she said\tpos\n"so so\tneg\n5" screen\tpos\n')
    assert [text for text, _ in read(open_table([path]))] == ['"Wow" she said', '"so so', '5" screen']


def test_tsv_that_quotes_its_cells_is_recognised_and_said(tmp_path: Path) -> None:
    rows = [('He said "hi"', "pos"), ("two\nlines\tand a tab", "neg")]
    table = open_table([write_csv(tmp_path / "a.tsv", rows, delimiter="\t")])
    assert read(table) == rows
    assert "cells in quotes are read as CSV quotes them" in table.notes[0]


def test_a_quote_inside_an_unquoted_csv_cell_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n5" screen,pos\n')
    assert read(open_table([path])) == [('5" screen', "pos")]


def test_places_are_physical_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,label\r\n"a\r\nb",x\r\n\r\nc,y\r\n')
    rows = list(open_table([path]).rows(BOTH))
    assert [row.line for row in rows] == [2, 5]
    assert rows[1].place == f"{path} line 5"


@pytest.mark.parametrize(
    ("sentence", "encoding", "found"),
    [
        (CHINESE, "gb18030", "gb18030"),
        (CHINESE, "gbk", "gb18030"),
        (TRADITIONAL, "big5", "big5"),
        (JAPANESE, "shift_jis", "cp932"),
        (JAPANESE, "euc_jp", "euc_jp"),
        (KOREAN, "euc_kr", "cp949"),
        (RUSSIAN, "cp1251", "cp1251"),
        (GERMAN, "cp1252", "cp1252"),
        (FRENCH, "cp1252", "cp1252"),
        (POLISH, "cp1250", "cp1250"),
        (CHINESE, "utf-16", "utf-16-le"),
        (CHINESE, "utf-16-be", "utf-16-be"),
        (GERMAN, "utf-16-le", "utf-16-le"),
        (FRENCH, "utf-32", "utf-32-le"),
        (CHINESE, "utf-8", "utf-8"),
        (CHINESE, "utf-8-sig", "utf-8"),
        ("plain", "ascii", "utf-8"),
    ],
)
@pytest.mark.parametrize("count", [2, 40])
def test_encoding_is_found_and_said(tmp_path: Path, sentence: str, encoding: str, found: str, count: int) -> None:
    rows = [(f"{sentence} {number}", "pos") for number in range(count)]
    table = open_table([write_csv(tmp_path / "a.csv", rows, encoding)])
    assert table.files[0].encoding == found
    assert table.columns == ("text", "label")
    assert read(table) == rows
    assert [f"read as {found}" in note for note in table.notes] == ([] if found == "utf-8" else [True])


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16-le"])
def test_a_character_cut_by_the_sample_does_not_mislead(tmp_path: Path, encoding: str) -> None:
    rows = [(CHINESE + "好" * (number % 7), "pos") for number in range(25_000)]
    table = open_table([write_csv(tmp_path / "a.csv", rows, encoding)])
    assert table.files[0].encoding == encoding
    assert read(table) == rows


@pytest.mark.parametrize("name", ["latin-1", "utf-8-sig", "utf-16", "UTF_16_LE", "GBK"])
def test_a_given_encoding_is_used(tmp_path: Path, name: str) -> None:
    text = CHINESE if name != "latin-1" else "Ñandú"
    path = write_csv(tmp_path / "a.csv", [(text, "x")], name)
    assert read(open_table([path], encoding=name)) == [(text, "x")]


def test_files_and_patterns_are_read_in_order_and_again(tmp_path: Path) -> None:
    for name in "cab":
        write_csv(tmp_path / f"{name}.csv", [(name, "x")])
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(b'{"label": "x", "text": "d"}\n'))
    table = open_table([tmp_path / "c.csv", str(tmp_path / "[ab].csv"), tmp_path / "c.csv", tmp_path / "d.jsonl.gz"])
    expected = [("c", "x"), ("a", "x"), ("b", "x"), ("d", "x")]
    assert read(table) == read(table) == expected


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    assert read(open_table([write_csv(tmp_path / "a[1].csv", [("t", "x")])])) == [("t", "x")]


def test_columns_are_found_in_each_file_by_its_own_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nt1,x\n")
    (tmp_path / "b.csv").write_text("id,label,text\n7,y,t2\n")
    assert read(open_table([tmp_path / "*.csv"])) == [("t1", "x"), ("t2", "y")]


def test_columns_by_number_make_the_first_line_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("good film\t1\nbad film\t0\n")
    assert read(open_table([path]), {"text": "1", "label": "2"}) == [("good film", "1"), ("bad film", "0")]


def test_a_label_1_on_the_first_line_is_no_name(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("good film\t1\nbad film\t0\n")
    assert read(open_table([path]), {"text": "1"}) == [("good film",), ("bad film",)]


def test_a_column_called_1_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("2,1\na,b\n")
    assert read(open_table([path]), {"text": "1", "label": "2"}) == [("b", "a")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("text\tlabel\na, b\tx\n", "read as TSV, split by tabs"),
        ("text;label\na, b;x\n", "read as CSV, split by semicolons"),
        ('text,label\n"a, b",x\n', "read as CSV, split by commas"),
        ('{"text": "a, b", "label": "x"}\n', "read as JSON lines"),
    ],
)
def test_an_unknown_ending_is_sniffed_and_said(tmp_path: Path, data: str, said: str) -> None:
    path = tmp_path / "a.data"
    path.write_text(data)
    table = open_table([path])
    assert read(table) == [("a, b", "x")]
    assert said in table.notes[0]


def test_json_numbers_and_truths_become_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    digits = "9" * 5000  # beyond what int() takes
    path.write_text(f'{{"text": {digits}, "label": true}}\n{{"text": 1.50, "label": 2}}\n')
    assert read(open_table([path])) == [(digits, "true"), ("1.50", "2")]


def test_a_cell_of_ten_megabytes(tmp_path: Path) -> None:
    text = "long, " * 1_700_000
    assert read(open_table([write_csv(tmp_path / "a.csv", [(text, "x")])])) == [(text, "x")]


def test_long_cells_of_many_lines_are_no_swallowed_rows(tmp_path: Path) -> None:
    letter = "Dear sir, madam,\n" + "the parcel, as told, came late\nand broken\n" * 20
    assert read(open_table([write_csv(tmp_path / "a.csv", [(letter, "x")] * 3)])) == [(letter, "x")] * 3


@pytest.mark.parametrize(("ending", "megabytes"), [("csv", 30), ("tsv", 8), ("jsonl", 8)])
def test_memory_is_constant(tmp_path: Path, ending: str, megabytes: int) -> None:
    lines = {
        "csv": '"%d, a sentence of some length, and more of it",x\n',
        "tsv": "%d a sentence of some length\tx\n",
    }
    line = lines.get(ending, '{"text": "%d a sentence of some length", "label": "x"}\n')
    path = tmp_path / f"a.{ending}"
    with path.open("w") as file:
        file.write({"csv": "text,label\n", "tsv": "text\tlabel\n"}.get(ending, ""))
        block = "".join(line % number for number in range(20_000))
        for _ in range(megabytes * 1_000_000 // len(block)):
            file.write(block)
    table = open_table([path])
    tracemalloc.start()
    count = sum(1 for _ in table.rows(BOTH))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count > 100_000
    assert peak < 2_000_000


def test_bad_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\nr1,x\nr2\nr\xff3,x\nr\x004,x\n" + "rö5,x\n".encode() + b"r6,x,z\n" * 5)
    problems = Problems()
    table = open_table([path], encoding="utf-8")
    assert [row.values["text"] for row in table.rows(BOTH, problems)] == ["r1", "rö5"]
    assert problems.count == 8
    assert "line 3: 1 cell where the header has 2 (text, label)" in problems.first[0]
    assert "line 4: a byte that is not utf-8, or a NUL" in problems.first[1]
    assert str(problems).startswith("8 bad rows were skipped: ")
    assert str(problems).endswith("and 3 more")


def test_bad_json_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = b'{"text": "r1", "label": "x"}\n'
    path.write_bytes(good + b'{"text"\n[1]\n{"text": "\xff", "label": "x"}\n{"text": null, "label": "x"}\n\n' + good)
    problems = Problems()
    assert len(list(open_table([path], encoding="utf-8").rows(BOTH, problems))) == 2
    assert problems.count == 4


def test_plain_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"{CHINESE}\r\n\r\n{CHINESE}\u2028\r{CHINESE}".encode("gb18030"))
    lines = open_lines(path)
    assert list(lines.read()) == list(lines.read()) == [CHINESE, "", f"{CHINESE}\u2028\r{CHINESE}"]
    assert "read as gb18030, a guess from its bytes" in lines.notes[0]


def test_a_stream_stays_open_and_gives_lines_as_they_come() -> None:
    stream = io.BytesIO(b"\xef\xbb\xbfone\ntwo\x00")
    texts = decode_lines(stream)
    assert next(texts) == "one"
    assert not stream.closed
