"""Parquet, fastText lines, folders of texts, standard input, and several labels a row."""

import gzip
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arro3.core import Array, DataType, RecordBatch, list_array
from arro3.io import write_parquet

from cellgate.bundle import Bundle, open_bundle
from cellgate.cli import run
from cellgate.cli.sources import Reading, open_as_trained, open_source, origin
from cellgate.cli.train import Order, _plan
from cellgate.data import parquet
from cellgate.data.readers import Cell, Problems, Table, is_table, open_table
from cellgate.data.wanted import Answers, alike, cell_notes
from cellgate.errors import CellgateError, DataError, UsageError
from cellgate.task import find

BOTH = {"text": "text", "label": "label"}
TASK = find("classify")
GUESSED: dict[str, str | None] = {"text": None, "label": None}
TINY = ["--encoder.embedding", "8", "--encoder.hidden", "8", "--encoder.buckets", "64", "--train.threads", "1"]


def read(table: Table, skipped: Problems | None = None) -> list[tuple[Cell, ...]]:
    return [tuple(row.values.values()) for row in table.rows(BOTH, skipped, ("label",))]


def complaint(*files: Path | str, columns: dict[str, str] = BOTH) -> str:
    with pytest.raises(CellgateError) as caught:
        for _ in open_table(files).rows(columns, None, ("label",)):
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_rows(path: Path, text: Sequence[Any], label: Sequence[Any]) -> Path:
    columns = {"id": range(len(text)), "text": text, "label": label}
    write_parquet(RecordBatch.from_pydict({name: column(values) for name, values in columns.items()}), path)
    return path


def column(values: Sequence[Any]) -> Array:
    """Python values as a column, of the type of the first."""
    if isinstance(values[0], list):
        ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
        return list_array(Array.from_numpy(ends), Array([part for each in values for part in each], DataType.utf8()))
    kinds = {str: DataType.utf8(), bool: DataType.bool(), int: DataType.int64(), float: DataType.float64()}
    return Array(list(values), kinds[type(values[0])])


# Parquet


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["x", "y", "x"], ["x", "y", "x"]),
        ([1, 2, 3], ["1", "2", "3"]),
        ([True, False, True], ["true", "false", "true"]),
        ([1.0, 2.5, 3.0], ["1.0", "2.5", "3.0"]),
        ([["a", "b"], [], ["c"]], [("a", "b"), (), ("c",)]),
    ],
)
def test_parquet_comes_back_as_written(tmp_path: Path, labels: list[Any], expected: list[Cell]) -> None:
    texts = ["one", "二,\n二", ""]
    table = open_table([write_rows(tmp_path / "a.parquet", texts, labels)])
    assert table.columns == ("id", "text", "label")
    assert read(table) == read(table) == list(zip(texts, expected, strict=True))


def test_parquet_is_read_in_batches_and_by_its_bytes(tmp_path: Path) -> None:
    count = 3 * parquet._BATCH_ROWS + 1
    path = write_rows(tmp_path / "a.parquet", [f"text {n}" for n in range(count)], [n % 2 for n in range(count)])
    plain = path.rename(tmp_path / "a")
    assert is_table(str(plain))
    rows = read(open_table([plain]))
    assert (len(rows), rows[-1]) == (count, (f"text {count - 1}", "0"))


def test_a_null_in_parquet_names_its_row_or_is_skipped(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.parquet", ["a", "b", "c"], ["x", None, "y"])
    assert f"{path} row 2: 'label' is null" in (message := complaint(path))
    assert "--skip-bad-rows" in message
    problems = Problems()
    assert read(open_table([path]), problems) == [("a", "x"), ("c", "y")]
    assert problems.count == 1


def test_a_list_is_several_labels_but_no_text(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.parquet", [["a"], ["b"]], ["x", "y"])
    assert "row 1: 'text' is a list, where a text is expected" in complaint(path)


def test_bad_parquet_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "a.parquet", ["a"] * 500, ["x"] * 500)
    assert "no column 'lable' in" in (message := complaint(path, columns={"text": "text", "label": "lable"}))
    assert "did you mean 'label'? columns: id, text, label" in message
    data = path.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[:-20])
    assert "cut.parquet is no Parquet file, or one cut short: copy or download it again" in complaint(
        tmp_path / "cut.parquet"
    )
    (tmp_path / "csv.parquet").write_text("text,label\na,x\n")
    assert "csv.parquet is no Parquet file" in complaint(tmp_path / "csv.parquet")
    monkeypatch.setitem(sys.modules, "arro3.io", None)
    with pytest.raises(UsageError, match=r"a.parquet is a Parquet file.*pip install 'cellgate\[parquet\]'"):
        open_table([path])


def test_a_folder_of_parquet_files_is_no_folder_of_texts(tmp_path: Path) -> None:
    write_rows(tmp_path / "part-0.parquet", ["a"], ["x"])
    assert f"is a folder: name its files, for example '{tmp_path}/*.parquet'" in complaint(tmp_path)


# fastText


def test_fasttext_with_one_label_a_line(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes("__label__good It is 好,\tgood.\r\n\n  __label__bad  __label_ no\n__label__bad\n".encode())
    table = open_table([path])
    assert read(table) == [("It is 好,\tgood.", "good"), ("__label_ no", "bad"), ("", "bad")]
    assert "read as fastText lines" in table.notes[0]
    assert "one label a line" in table.notes[0]
    assert is_table(str(path))


def test_fasttext_with_several_labels_a_line(tmp_path: Path) -> None:
    path = tmp_path / "train.gz"
    path.write_bytes(gzip.compress(b"__label__a one\n__label__b __label__a two\nnone at all\n"))
    table = open_table([path])
    assert read(table) == [("one", ("a",)), ("two", ("b", "a")), ("none at all", ())]
    assert "several labels a line" in table.notes[0]


def test_fasttext_without_a_label_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(b"__label__a one\ntwo\n__label__a th\xffree\n__label__b four\n")
    problems = Problems()
    assert read(open_table([path], "utf-8"), problems) == [("one", "a"), ("four", "b")]
    assert problems.first[0] == f"{path} line 2: no labels (__label__...) at its beginning"
    path.write_bytes(b"__label__a one\ntwo\n")
    assert "line 2: no labels" in (message := complaint(path))
    assert "--skip-bad-rows" in message


def test_plain_lines_are_no_table(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("first __label__x\nsecond\n")
    assert not is_table(str(path))


# folders


@pytest.fixture
def mails(tmp_path: Path) -> Path:
    for name, text in {"pos/2": "fine\n", "pos/10": "二", "neg/1": "line\nline\n", "neg/.hidden": "x"}.items():
        path = tmp_path / "mails" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path / "mails"


def test_a_folder_for_each_label(mails: Path) -> None:
    (mails / "urls.dat").write_text("x")
    (mails / "empty").mkdir()
    table = open_table([mails])
    assert read(table) == read(table) == [("line\nline", "neg"), ("二", "pos"), ("fine", "pos")]
    assert table.notes == (
        f"{mails}: a folder for each label: neg (1 text), pos (2 texts); not read: empty/, urls.dat",
    )
    assert origin(open_source(table, TASK, GUESSED, Reading()).records)["files"][1]["bytes"] == 8


def test_folders_of_texts_by_name_and_files_without_an_ending(mails: Path) -> None:
    (mails / "odd").mkdir()
    (mails / "odd" / "51060").write_text("odd one")
    assert read(open_table([mails / "odd", f"{mails}/neg/"])) == [("odd one", "odd"), ("line\nline", "neg")]


def test_a_folder_of_train_and_test_is_refused(mails: Path) -> None:
    os.makedirs(mails / "whole")
    (mails / "pos").rename(mails / "whole" / "test")
    (mails / "neg").rename(mails / "whole" / "train")
    message = complaint(mails / "whole")
    assert "holds test, train, which are parts of a data set and no labels" in message
    assert f"name one, such as '{mails / 'whole' / 'train'}'" in message


def test_a_folder_without_texts_asks_for_files(mails: Path) -> None:
    (mails / "none").mkdir()
    assert "is a folder: name its files, for example" in complaint(mails / "none")
    (mails / "none" / "inner").mkdir()
    (mails / "none" / "rows.tsv.gz").write_bytes(b"")
    assert f"for example '{mails}/none/*.tsv.gz'" in complaint(mails / "none")


def test_a_text_that_cannot_be_decoded_names_its_file(mails: Path) -> None:
    (mails / "pos" / "2.txt").write_bytes(b"f\xffne")
    table = open_table([mails], "utf-8")
    with pytest.raises(DataError, match=r"pos/2.txt: the bytes ff are not utf-8.*--encoding NAME"):
        read(table)
    problems = Problems()
    assert len(read(table, problems)) == 2
    assert problems.count == 1


# the wanted column


def test_cells_are_cut_into_labels() -> None:
    answers = Answers(";")
    assert answers.read(" b; a;;b ") == ("a", "b")
    assert answers.read(" ; ") == ()
    assert answers.read((" x", "x ", "")) == ("x",)
    assert Answers().read(" a;b ") == "a;b"


@pytest.mark.parametrize(
    ("written", "read"), [("1.0", "1"), (" -3.00", "-3"), ("v3.0", "v3.0"), ("2.50", "2.50"), ("1.0.0", "1.0.0")]
)
def test_whole_numbers_lose_their_point_wherever_they_stand(written: str, read: str) -> None:
    assert Answers().read(written) == read
    assert Answers(";").read(f"{written};b") == tuple(sorted((read, "b")))
    assert TASK.read({"text": "a", "label": written}).model_dump()["label"] == read
    assert TASK.read({"text": "a", "label": 1.0}) == TASK.read({"text": "a", "label": 1})


def test_floats_that_pandas_wrote_are_the_labels_of_training(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,1.0\nb,\nc,2.0\n")
    source = open_source(open_table([path]), TASK, GUESSED, Reading(skip_bad_rows=True))
    assert [record.model_dump()["label"] for record in source.records] == ["1", "2"]
    assert source.notes == ("label: whole numbers lose their point: 1.0 is read as 1",)
    path.write_text("text,label\na,1\nb,1.0\nc,2.5\nd,good\n")
    mixed = open_as_trained([str(path)], TASK, GUESSED, Reading(), {})
    assert [record.model_dump()["label"] for record in mixed.records] == ["1", "1", "2.5", "good"]


def test_measures_are_refused_to_train_on_and_ratings_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"text {n},{n % 400 / 8}\n" for n in range(900)))
    with pytest.raises(DataError, match=r"label \(column 'label'\) holds 350 different numbers.*ranges in their place"):
        open_source(open_table([path]), TASK, GUESSED, Reading())
    path.write_text("text,label\n" + "".join(f"text {n},{n % 10 / 2}\n" for n in range(900)))
    assert len(open_source(open_table([path]), TASK, GUESSED, Reading()).labels) == 10


@pytest.mark.parametrize(
    ("cells", "separator", "said"),
    [
        (
            ["corn,wheat", "corn", "oat, wheat", "oat"],
            None,
            ["'corn,wheat' look like several", "--label-separator ','"],
        ),
        (["Home, Garden", "Books, Films", "Food"], None, []),
        (["a;b", "b"], ";", []),
        (["a,b", "b"], ";", ["no cell of the first 2 rows holds ';' (--label-separator)"]),
        (["spam", "spam ", "ham"], None, ["space around labels is dropped: 'spam '"]),
        ([" spam", " ham"], None, []),
        ([("a", "b"), ()], None, []),
        (["1;2.0", "2"], ";", ["whole numbers lose their point: 2.0 is read as 2"]),
        (["1.5", "v2.0"], None, []),
    ],
)
def test_what_is_said_of_the_cells(cells: list[Cell], separator: str | None, said: list[str]) -> None:
    notes = " ".join(cell_notes(cells, "label", Answers(separator)))
    assert bool(notes) == bool(said)
    for part in said:
        assert part in notes


def test_labels_alike_are_named() -> None:
    assert alike({"Spam": 12, "ham": 3, "spam": 1}) == (
        "labels that differ by case or space only are kept apart: 'Spam' (12) and 'spam' (1); "
        "write them alike to join them"
    )
    assert alike({"spam": 1, "ham": 3}) == ""


def test_json_lists_are_several_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": ["x", 2, true]}\n{"text": "b", "label": []}\n{"text": "c", "label": "x"}\n')
    assert read(open_table([path])) == [("a", ("x", "2", "true")), ("b", ()), ("c", "x")]
    path.write_text('{"text": "a", "label": ["x", null]}\n')
    assert "line 1: in a list, 'label' is null" in complaint(path)
    with pytest.raises(DataError, match="'label' is a list"):
        list(open_table([path]).rows(BOTH))


def test_a_dev_file_of_another_format_has_its_own_columns(tmp_path: Path) -> None:
    (tmp_path / "dev.txt").write_text("__label__x a\n__label__y b\n")
    trained = {"columns": {"text": "review", "label": "stars"}}
    source = open_as_trained([str(tmp_path / "dev.txt")], TASK, GUESSED, Reading(), trained)
    assert source.records.columns == BOTH


def test_a_dev_file_without_a_header_has_the_numbers_of_training(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("".join(f"{'ab'[n % 2]}\ta text of many words {n}\n" for n in range(40)))
    (tmp_path / "dev.tsv").write_text("a\tone\nb\ttwo\n")
    order = Order(out=str(tmp_path / "b"), dev=str(tmp_path / "dev.tsv"))
    plan = _plan("classify", TASK.config(), (str(path),), order, Reading(), {"text": "2"})
    assert [record.model_dump() for record in plan.dev or ()] == [
        {"text": "one", "label": "a"},
        {"text": "two", "label": "b"},
    ]


# standard input


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Trained on standard input, several labels a cell."""
    rows = "".join(f"a text of corn {n};corn\noil and corn {n};oil|corn\nnothing here {n};\n" for n in range(20))
    folder = tmp_path_factory.mktemp("formats") / "topics"
    with pytest.MonkeyPatch.context() as patch:
        give(patch, f"text;topics\n{rows}".encode())
        words = ["train", "classify", "-", "-o", str(folder), "--label-separator", "|", "--train.max-steps", "3"]
        assert run([*words, *TINY]) == 0
    return open_bundle(folder)


def test_training_on_standard_input_is_remembered(topics: Bundle) -> None:
    data = topics.manifest["data"]
    assert data["files"][0]["name"] == "standard input"
    assert data["rows"] == 60
    assert data["label_separator"] == "|"
    assert topics.target.labels == ("corn", "oil")


def test_evaluating_cuts_cells_as_training_did(
    topics: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,topics\noil,oil|corn\nnone,\ncorn,corn\n")
    assert run(["evaluate", str(topics.folder), str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["n"], facts["unseen"]) == (3, {})


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_evaluating_standard_input(
    topics: Bundle, zipped: bool, large: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is copied, which is said where that takes room."""
    if large:
        monkeypatch.setattr("cellgate.cli.incoming._LARGE_BYTES", 10)
    data = b'{"text": "oil", "topics": ["oil", "corn"]}\n{"text": "none", "topics": []}\n'
    give(monkeypatch, gzip.compress(data) if zipped else data)
    assert run(["evaluate", str(topics.folder), "-", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["n"] == 2
    assert ("standard input is kept in" in err) == large
    assert "standard input: read as JSON lines" in err


def test_a_bad_row_of_standard_input_is_named_so(
    topics: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, b"text,topics\na,corn\n" + b"b,corn\n" * 30 + b"c\n")
    assert run(["evaluate", str(topics.folder), "-"]) == 2
    assert "cellgate: standard input line 33: 1 cell where the header has 2" in capsys.readouterr().err
    give(monkeypatch, b"")
    assert run(["evaluate", str(topics.folder), "-"]) == 2
    assert "cellgate: standard input is empty" in capsys.readouterr().err


@pytest.mark.parametrize("twice", [("-", "--dev", "-"), ("x.csv", "--pretrain", "-", "--self-train", "-")])
def test_standard_input_is_not_given_twice(
    twice: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["train", "classify", *twice, "-o", str(tmp_path / "b")]) == 2
    assert "standard input (-) can be read only once" in capsys.readouterr().err


def test_a_label_separator_is_not_empty(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["train", "classify", "x.csv", "-o", str(tmp_path / "b"), "--label-separator", ""]) == 2
    assert "--label-separator is empty" in capsys.readouterr().err


def test_predicting_files_by_column_and_folders(
    topics: Bundle, mails: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("__label__corn corn it is\n__label__oil oil\n")
    rows = write_rows(tmp_path / "b.parquet", ["from a batch"], ["x"])
    assert (
        run(["predict", str(topics.folder), str(tmp_path / "a.txt"), str(mails), str(rows), "--format", "jsonl"]) == 0
    )
    texts = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert texts == ["corn it is", "oil", "line\nline", "二", "fine", "from a batch"]


def test_class_folders_larger_than_the_sample_are_still_utf8(tmp_path: Path) -> None:
    for name, shift in (("neg", ""), ("pos", "a")):  # the sample ends inside a character of one of them at least
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text(shift + "这家店的服务很好，下次还来。" * 40_000, "utf-8")
    table = open_table([str(tmp_path)])
    assert not any("gb18030" in note or "1252" in note for note in table.notes), table.notes
