"""Choosing the columns: named, guessed by name, guessed by what they hold, or asked for."""

import random
from pathlib import Path

import pytest

from cellgate.data.columns import Choice, choose_columns
from cellgate.data.readers import open_table
from cellgate.errors import DataError

PRAISE = "the room was small but clean and staff were kind we liked breakfast a lot"


def table_of(tmp_path: Path, header: str, rows: list[str], name: str = "reviews.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join([header, *rows] if header else rows) + "\n", encoding="utf-8")
    return path


def sentences(count: int = 30) -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(PRAISE.split(), k=12)) for _ in range(count)]


def choose(path: Path, text: str | None = None, label: str | None = None) -> Choice:
    return choose_columns(open_table([path]), {"text": text, "label": label})


def complaint(path: Path, text: str | None = None, label: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        choose(path, text, label)
    return str(caught.value)


@pytest.mark.parametrize(
    ("header", "text", "label"),
    [
        ("text,label", "text", "label"),
        ("label,text,sentiment", "text", "label"),
        ("Category, Review ", " Review ", "Category"),
        ("id,评论内容,类别", "评论内容", "类别"),
        ("stars,review_body", "review_body", "stars"),
    ],
)
def test_by_name(tmp_path: Path, header: str, text: str, label: str) -> None:
    path = table_of(tmp_path, header, [",".join("abc"[: header.count(",") + 1])] * 4)
    assert choose(path).columns == {"text": text, "label": label}


def test_only_a_guess_is_said(tmp_path: Path) -> None:
    path = table_of(tmp_path, "text,category", ["a,x", "b,y"])
    assert choose(path).notes == ("label: column 'category', by its name (--label COLUMN says otherwise)",)
    assert choose(path, label="category").notes == ()


def test_a_named_column_is_kept_from_the_guess(tmp_path: Path) -> None:
    path = table_of(tmp_path, "text,title,label", ["a,b,x"] * 4)
    assert choose(path, label="text").columns == {"text": "title", "label": "text"}


def test_by_content(tmp_path: Path) -> None:
    rows = [f"{number},{text},{'ab'[number % 2]}" for number, text in enumerate(sentences())]
    choice = choose(table_of(tmp_path, "nr,says,mark", rows))
    assert choice.columns == {"text": "says", "label": "mark"}
    assert choice.notes[1] == "label: column 'mark', by what it holds (--label COLUMN says otherwise)"


def test_by_content_in_json_lines(tmp_path: Path) -> None:
    rows = [f'{{"says": "{text}", "mark": {number % 3}}}' for number, text in enumerate(sentences())]
    assert choose(table_of(tmp_path, "", rows, "a.jsonl")).columns == {"text": "says", "label": "mark"}


def test_ambiguous_by_name(tmp_path: Path) -> None:
    path = table_of(tmp_path, "text,intent,category", ["a,x,y"] * 4)
    message = complaint(path)
    assert f"more than one column of {path} could be the label: intent, category" in message
    assert "name one: --label 'intent'" in message


def test_ambiguous_by_content(tmp_path: Path) -> None:
    rows = [f"{text},{text[::-1]},x" for text in sentences()]
    assert "could be the text: one, two; name one: --text 'one', or by number" in complaint(
        table_of(tmp_path, "one,two,label", rows)
    )


def test_nothing_looks_like_a_label(tmp_path: Path) -> None:
    rows = [f"{text},{number}x" for number, text in enumerate(sentences())]
    message = complaint(path := table_of(tmp_path, "text,key", rows))
    assert message == f"no column of {path} is plainly the label: name it with --label COLUMN; columns: text, key"


def test_no_header_is_noticed_and_the_command_told(tmp_path: Path) -> None:
    rows = [f"{text}\t{number % 2}" for number, text in enumerate(sentences())]
    message = complaint(table_of(tmp_path, "", rows, "dev.tsv"))
    assert "dev.tsv seems to have no header (its first line is '" in message
    assert message.endswith("name its columns by number: --text 1 --label 2")


def test_numbers_and_a_guess_in_a_file_without_a_header(tmp_path: Path) -> None:
    rows = [f"{text}\t{number % 2}" for number, text in enumerate(sentences())]
    choice = choose(table_of(tmp_path, "", rows, "dev.tsv"), text="1")
    assert choice.columns == {"text": "1", "label": "2"}
    assert "column '2'" in choice.notes[0]


def test_a_header_is_not_taken_for_a_row(tmp_path: Path) -> None:
    path = table_of(tmp_path, "text,category", ["a,x", "b,y"])
    message = complaint(path, text="1", label="2")
    assert message == f"{path} has a header (text, category): name its columns by it: --text text"


def test_misspelt(tmp_path: Path) -> None:
    message = complaint(table_of(tmp_path, "text,label", ["a,x"]), label="lable")
    assert "no column 'lable' in" in message
    assert "did you mean 'label'? columns: text, label" in message


def test_a_single_row_of_data_cannot_be_guessed_from(tmp_path: Path) -> None:
    assert "holds a header" not in (message := complaint(table_of(tmp_path, "", ["good,x"])))
    assert "has one row only (good, x): name its columns, by number if it is no header (--text 1)" in message


def test_a_field_without_synonyms_goes_by_its_own_name(tmp_path: Path) -> None:
    path = table_of(tmp_path, "Passage,answer", ["a,x"] * 3)
    choice = choose_columns(open_table([path]), {"passage": None, "answer": None})
    assert choice.columns == {"passage": "Passage", "answer": "answer"}
    with pytest.raises(DataError, match="--context COLUMN; columns: Passage, answer"):
        choose_columns(open_table([path]), {"context": None})
