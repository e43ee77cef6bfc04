"""`cellgate check-data`: every trap laid in a small file is found, with its lines; clean data are called so."""

import csv
import json
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cellgate.cli import run
from cellgate.config import TextConfig
from cellgate.data.checks import PlacedRow, Split, check_splits
from cellgate.data.rows import Problems
from tests.conftest import SAMPLES

WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"] + [f"sort{n}" for n in range(8)]


def plain(count: int, labels: Sequence[str] = ("up", "down")) -> list[tuple[str, str]]:
    """Rows without a trap: all texts differ."""
    return [
        (f"{WORDS[n % 16]} {WORDS[n // 16 % 16]} {n // 256} is said", labels[n % len(labels)]) for n in range(count)
    ]


def written(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("text", "label")) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


class Checked:
    """The command's JSON, its findings by code, and its exit code."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        self.code = run(["check-data", *words, "--json"])
        out, self.err = capsys.readouterr()
        self.report: dict[str, Any] = json.loads(out)
        self.found: dict[str, dict[str, Any]] = {each["code"]: each for each in self.report["findings"]}

    def lines(self, code: str) -> list[list[int]]:
        return [[row["line"] for row in example] for example in self.found[code]["examples"]]


def checked(capsys: pytest.CaptureFixture[str], tmp_path: Path, rows: Sequence[Sequence[str]]) -> Checked:
    return Checked(capsys, written(tmp_path / "t.csv", rows))


def test_clean_data_are_ready_to_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "t.csv", plain(100))
    assert run(["check-data", file]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "Verdict: ready to train."
    assert "NOTE" not in out
    assert "'up' 50, 'down' 50" in out
    assert "100.0 %" in next(line for line in out.splitlines() if line.startswith("texts in Latin"))


def test_repeats_are_told_by_kind_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*plain(50), ("Alpha, ALPHA 0 is said!", "up"), ("bravo alpha 0 is said", "down")]
    found = checked(capsys, tmp_path, rows)
    assert found.code == 0
    assert found.report["verdict"] == "trainable"
    assert found.found["repeated_rows"]["rows"] == 2
    assert "1 equal to the letter, 1 equal but for case" in found.found["repeated_rows"]["details"][0]
    assert found.lines("repeated_rows") == [[52, 2], [53, 3]]
    assert "conflicting_labels" not in found.found


def test_equal_texts_with_different_labels_conflict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(capsys, tmp_path, [*plain(50), ("alpha alpha 0 is said", "down")])
    conflict = found.found["conflicting_labels"]
    assert (conflict["severity"], conflict["rows"]) == ("warning", 2)
    assert [(row["line"], row["label"]) for row in conflict["examples"][0]] == [(2, "up"), (52, "down")]
    assert "repeated_rows" not in found.found


def test_many_conflicts_are_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(capsys, tmp_path, [*plain(40), *((text, "down") for text, label in plain(10) if label == "up")])
    assert found.found["conflicting_labels"]["severity"] == "problem"
    assert found.code == 1


def test_test_rows_that_stand_in_train_are_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = written(tmp_path / "train.csv", plain(60))
    rows = plain(120)[60:]
    test = written(tmp_path / "test.csv", [*rows, ("ALPHA alpha 0 is said", "up"), ("bravo alpha 0 is said", "up")])
    found = Checked(capsys, train, "--dev", train, "--test", test)
    assert found.code == 1
    assert found.found["test_in_train"]["severity"] == "problem"
    assert found.found["test_in_train"]["rows"] == 2
    assert "1 with another label" in found.found["test_in_train"]["details"][0]
    assert found.lines("test_in_train") == [[62, 2], [63, 3]]
    assert {Path(row["path"]).name for row in found.found["test_in_train"]["examples"][0]} == {"test.csv", "train.csv"}
    assert found.found["dev_in_train"]["rows"] == 60
    assert run(["check-data", train, "--test", test]) == 1
    out = capsys.readouterr().out
    assert "test.csv line 62 = train.csv line 2 [up]: ALPHA alpha 0 is said" in out
    assert out.splitlines()[-1] == "Verdict: mend first: 2 test rows stand in train too."


def test_labels_in_two_spellings_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(capsys, tmp_path, [*plain(40, ["on sale", "sold"]), *plain(60, ["On  Sale", "sold"])[40:]])
    alike = found.found["labels_alike"]
    assert (alike["severity"], alike["rows"], found.code) == ("problem", 10, 1)
    assert alike["details"] == ["'on sale' (20) = 'On  Sale' (10)."]


def test_rare_labels_are_counted_by_how_rare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = plain(60)
    found = checked(capsys, tmp_path, [*rows, *((f"text number {n}", "one of four") for n in range(4)), ("z", "lone")])
    assert "1 in one row only; 'lone' (1)" in found.found["labels_too_rare"]["details"][0]
    assert "'one of four' (4)" in found.found["labels_rare"]["details"][0]
    assert found.found["labels_rare"]["severity"] == "note"


def test_labels_of_free_text_and_a_lone_label_are_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(text, f"ticket {number}") for number, (text, _) in enumerate(plain(2000))]
    found = checked(capsys, tmp_path, rows)
    assert "2,000 different labels" in found.found["labels_are_free_text"]["title"]
    assert "labels_too_rare" not in found.found
    found = checked(capsys, tmp_path, plain(20, ["same"]))
    assert found.found["one_label"]["title"] == "every row has the label 'same'"
    assert found.code == 1


def test_imbalance_is_weighed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [text for text, _ in plain(200)]
    for rare, severity in ((10, "warning"), (30, "note")):
        found = checked(capsys, tmp_path, [(text, "no" if n >= rare else "yes") for n, text in enumerate(texts)])
        assert found.found["labels_uneven"]["severity"] == severity
    found = checked(capsys, tmp_path, [(text, "no" if n >= 60 else "yes") for n, text in enumerate(texts)])
    assert "labels_uneven" not in found.found


def test_unseen_labels_of_test_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = written(tmp_path / "train.csv", plain(40))
    test = written(tmp_path / "test.csv", [("new one", "up"), ("new two", "sideways")])
    found = Checked(capsys, train, "--test", test)
    assert found.found["labels_of_test_unseen"]["rows"] == 1
    assert found.lines("labels_of_test_unseen") == [[3]]
    assert found.found["labels_of_test_unseen"]["severity"] == "warning"


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [
        ("", "empty_texts", ""),
        ("caf\ufffd is lost", "characters_lost", "caf\ufffd is lost"),
        ("nothing to see here but the cafÃ© is misread", "misread_encoding", "...ere but the cafÃ©"),
        ("æ\x88\x91å¾\x88å¥½", "misread_encoding", "æ\x88\x91å¾\x88å¥½"),
        ("杩欎釜閿熸枻鎷烽敓锟斤拷", "misread_encoding", "杩"),
        ("it\x92s a quote", "control_characters", "it\x92s a quote"),
        ("one line<br />two lines", "html", "one line<br />"),
        ("this &amp; that", "html", "this &amp; that"),
    ],
)
def test_damaged_texts_are_found_and_shown(
    text: str, code: str, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = checked(capsys, tmp_path, [*plain(50), (text, "up")])
    assert found.lines(code) == [[52]]
    assert found.found[code]["examples"][0][0]["text"].startswith(shown)


@pytest.mark.parametrize(
    "text",
    ["naïve café, œuvre, Größe", "AT&T; a < b > c", "這個房間很好，五星級", "«Где?» — здесь…", "\U0001f600\U0001f600"],
)
def test_sound_texts_are_not_called_damaged(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(capsys, tmp_path, [*plain(50), (text, "up")])
    assert not {"empty_texts", "characters_lost", "misread_encoding", "control_characters", "html"} & set(found.found)


def test_long_texts_are_counted_in_training_s_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    most = TextConfig().max_tokens
    found = checked(capsys, tmp_path, [*plain(200), ("ab " * most, "up"), ("ab " * (most + 1), "up")])
    assert (found.found["long_texts"]["rows"], found.found["long_texts"]["severity"]) == (1, "note")
    assert found.lines("long_texts") == [[203]]
    assert found.report["splits"][0]["tokens"]["longest"] == most + 1
    assert found.report["splits"][0]["tokens"]["median"] == 5


def test_scripts_are_shared_out_and_characters_are_the_tokens_of_chinese(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(f"第{number}間房間很好住得舒服", label) for number, (_, label) in enumerate(plain(60))]
    found = checked(capsys, tmp_path, [*rows, *plain(20), ("12345", "up")])
    split = found.report["splits"][0]
    assert list(split["scripts"]) == ["Han", "Latin", "no letters"]
    assert split["scripts"]["Han"] == pytest.approx(60 / 81)
    assert split["unit"] == "character"
    assert "Latin 24.7 %" in found.found["scripts_mixed"]["details"][0]


def test_texts_that_name_their_label_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"[{label}] {text}", label) for text, label in plain(100, ["billing", "refund_please"])]
    found = checked(capsys, tmp_path, [(text.replace("_", " "), label) for text, label in rows])
    assert found.found["text_names_label"]["rows"] == 100
    rows = [(f"{text} {label}" if label == "weather" else text, label) for text, label in plain(100, ["weather", "x"])]
    found = checked(capsys, tmp_path, rows)
    assert "text_names_label" not in found.found
    assert found.found["text_names_some_labels"]["details"] == ["'weather' (50)."]


def test_other_columns_that_tell_the_label_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        (text, label, str(1000 * (label == "up") + number), label, "same", f"c{number % 3}", f"{label}{number % 4}")
        for number, (text, label) in enumerate(plain(200))
    ]
    file = written(tmp_path / "t.csv", rows, ["text", "label", "id", "copy", "flat", "other", "group"])
    found = Checked(capsys, file)
    titles = sorted(each["title"] for each in found.report["findings"])
    assert [title.split("'")[1] for title in titles] == ["copy", "group", "id"]
    assert "is a copy of the label" in titles[0]
    assert "by its value" in titles[1]
    assert "by its range" in titles[2]
    assert found.report["verdict"] == "ready"


def test_a_row_counts_for_each_column_whatever_the_others_lack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.jsonl"
    rows: list[dict[str, object]] = [
        {"text": text, "label": label, "copy": label, "note": None if n % 9 else "seen", "list": [{}], "n": n}
        for n, (text, label) in enumerate(plain(100))
    ]
    rows += [{"text": "refunded", "label": "up", "paid": paid} for paid in ("yes", "no")]
    rows += [{"text": "refunded", "label": "up", "copy": "up", "n": [1]}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    title = "the column 'copy' tells the label by its value in 100.0 % of the rows"
    found = Checked(capsys, str(file)).found["column_tells_label"]
    assert (found["rows"], found["title"]) == (103, title)


def test_columns_of_some_of_the_files_are_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(text, label, label) for text, label in plain(100)]
    files = [
        written(tmp_path / "a.csv", rows, ["text", "label", "copy"]),
        written(tmp_path / "b.csv", [("one more", "up")]),
    ]
    assert Checked(capsys, *files).found["column_tells_label"]["rows"] == 101


def test_rows_sorted_by_label_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = plain(100)
    assert "sorted_by_label" not in checked(capsys, tmp_path, [rows[n * 37 % 100] for n in range(100)]).found
    assert "sorted_by_label" in checked(capsys, tmp_path, sorted(rows, key=lambda row: row[1])).found


def test_bad_rows_are_all_counted_and_the_rest_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.csv"
    written(file, plain(50))
    with file.open("a", encoding="utf-8") as stream:
        stream.write("one cell\nno label,\n")
    found = Checked(capsys, str(file))
    bad = found.found["bad_rows_in_train"]
    assert (bad["severity"], bad["rows"], found.code) == ("problem", 2, 1)
    assert "line 52" in bad["details"][1]
    assert "line 53: the label (column 'label') is empty" in bad["details"][2]
    assert found.report["splits"][0]["rows"] == 50
    found = Checked(capsys, str(file), "--skip-bad-rows")
    assert (found.found["bad_rows_in_train"]["severity"], found.code) == ("warning", 0)


def test_several_labels_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.jsonl"
    rows: list[dict[str, object]] = [{"text": text, "label": [label, "all"], "n": [1]} for text, label in plain(40)]
    rows += [{"text": "alpha alpha 0 is said", "label": ["all", "up"]}, {"text": "no label", "label": []}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = Checked(capsys, str(file))
    split = found.report["splits"][0]
    assert split["labels"] == {"all": 41, "up": 21, "down": 20}
    assert split["unlabelled"] == 1
    assert found.lines("repeated_rows") == [[41, 1]]
    assert "conflicting_labels" not in found.found


def test_the_encoding_and_the_columns_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.csv"
    lines = ["review,stars"] + [f"第{number}間房間很好，住得舒服，服務也好,{number % 2}" for number in range(60)]
    file.write_bytes("\n".join(lines).encode("gb18030"))
    found = Checked(capsys, str(file))
    assert "gb18030" in found.err
    assert found.report["columns"] == {"text": "review", "label": "stars"}
    assert found.code == 0


def test_the_words_fit_the_screen_and_files_are_named_where_there_are_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = plain(30) * 2
    first, second = written(tmp_path / "first.csv", rows), written(tmp_path / "second.csv", [*rows, ("x\x07y", "up")])
    assert run(["check-data", first, second]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "second.csv line 62 [up]: x\\x07y" in out
    assert "first.csv line 32 = line 2 [up]" in out


def test_a_file_without_a_good_row_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "t.csv", [("a", ""), ("b", " ")])
    assert run(["check-data", file, "--text", "text", "--label", "label"]) == 2
    assert "train has no row with a text and a label; 2 bad rows" in capsys.readouterr().err


def test_the_shipped_samples_have_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    for train, test in (("questions.csv", "questions_test.csv"), ("reviews.csv", "reviews_test.csv")):
        found = Checked(capsys, str(SAMPLES / train), "--test", str(SAMPLES / test))
        assert found.code == 0, found.report["findings"]


def test_texts_are_read_row_by_row_and_not_kept() -> None:
    def read(problems: Problems) -> Iterator[PlacedRow]:
        for number in range(2_000):
            yield PlacedRow(f"{number} " + "x" * 10_000, (str(number % 2),), "f", number + 1)

    tracemalloc.start()
    report = check_splits([Split("train", read)], TextConfig(max_tokens=10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.facts[0].rows == 2_000
    assert peak < 5e6  # bytes; the texts have 20 million


def tagged(path: Path, rows: Sequence[Any]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def spanned(count: int) -> list[dict[str, Any]]:
    """Texts that all differ, each with a span."""
    return [{"text": f"Ada {text}", "spans": [[0, 3, label]]} for text, label in plain(count, ["person", "place"])]


def test_tagged_data_without_a_trap_are_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check-data", tagged(tmp_path / "a.jsonl", spanned(60))]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "Verdict: ready to train."
    assert "text 'text', spans 'spans'" in out
    assert "NOTE" not in out
    tokens = [{"tokens": str(row["text"]).split(), "tags": ["X"] * 6} for row in spanned(60)]
    found = Checked(capsys, tagged(tmp_path / "b.jsonl", tokens))
    assert (found.code, found.found, found.report["splits"][0]["labels"]) == (0, {}, {"X": 60})


def test_equal_texts_with_other_spans_conflict_and_shifted_ones_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        *spanned(50),
        {"text": "(ada alpha alpha 0 is said)", "spans": [[1, 4, "person"]]},  # as row 1, but for places
        {"text": "Ada bravo alpha 0 is said", "spans": [[0, 9, "place"]]},
        {"text": "Ada charlie alpha 0 is said", "spans": []},
    ]
    found = Checked(capsys, tagged(tmp_path / "a.jsonl", rows))
    assert found.lines("repeated_rows") == [[51, 1]]
    assert found.lines("conflicting_tags") == [[2, 52], [3, 53]]
    tokens = [
        {"tokens": ["Take", "care", "."], "tags": ["VERB", "NOUN", "PUNCT"]},
        {"tokens": ["take", "care"], "tags": ["VERB", "NOUN"]},
        {"tokens": ["Take", "care"], "tags": ["VERB", "VERB"]},
    ]
    found = Checked(capsys, tagged(tmp_path / "b.jsonl", tokens))
    assert (found.lines("repeated_rows"), found.lines("conflicting_tags")) == ([[2, 1]], [[1, 3]])


def test_tags_of_test_that_train_lacks_and_rows_in_both_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = tagged(tmp_path / "train.jsonl", [*spanned(60), {"text": "Rome", "spans": [[0, 4, "PLACE"]]}])
    test = tagged(tmp_path / "test.jsonl", [spanned(1)[0], {"text": "by Bob", "spans": [[3, 6, "author"]]}])
    found = Checked(capsys, train, "--test", test)
    assert found.found["test_in_train"]["severity"] == "problem"
    assert "'author' (1)" in found.found["labels_of_test_unseen"]["details"][0]
    assert found.found["labels_alike"]["details"] == ["'place' (30) = 'PLACE' (1)."]
    assert "'PLACE' (1)" in found.found["labels_too_rare"]["details"][0]


def test_spans_that_overlap_or_lie_outside_are_bad_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overlapping = {"text": "Ada B. Smith", "spans": [[0, 6, "person"], [4, 12, "person"]]}
    outside = {"text": "Ada", "spans": [[0, 4, "person"]]}
    file = tagged(tmp_path / "a.jsonl", [*spanned(20), overlapping, outside])
    found = Checked(capsys, file)
    _, first, second = found.found["bad_rows_in_train"]["details"]
    assert (found.code, found.found["bad_rows_in_train"]["rows"]) == (1, 2)
    assert "line 21: the spans 0 to 6 (person) and 4 to 12 (person) overlap" in first
    assert "line 22: the span 0 to 4 (person) lies outside its text of 3 characters" in second
    assert Checked(capsys, file, "--overlaps", "longest").found["bad_rows_in_train"]["rows"] == 1


def test_padded_spans_long_texts_and_broken_tags_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[Any] = [
        *spanned(40),
        {"text": "Bob ran", "spans": [[0, 4, "person"]]},
        {"text": "so " * 1001, "spans": []},
    ]
    found = Checked(capsys, tagged(tmp_path / "a.jsonl", rows))
    assert (found.lines("spans_padded"), found.lines("long_texts")) == ([[41]], [[42]])
    (tmp_path / "b.conll").write_text("Ada B-X\nSmith I-Y\n\nBob B-X\n", "utf-8")
    assert Checked(capsys, str(tmp_path / "b.conll")).found["tags_broken"]["rows"] == 1
    (tmp_path / "c.conll").write_text("Ada O\nslept O\n\nBob O\n", "utf-8")
    assert Checked(capsys, str(tmp_path / "c.conll")).found["no_tags"]["severity"] == "problem"


def test_forms_marked_here_and_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [
        {"text": f"{n} in New York", "spans": [[len(str(n)) + 4, len(str(n)) + 12, "place"]]} for n in range(20)
    ]
    rows += [{"text": "back to New York, York", "spans": []}]  # New York alone is marked elsewhere
    rows += [{"text": f"{n}为北京人", "spans": [[len(str(n)) + 1, len(str(n)) + 3, "place"]]} for n in range(2)]
    rows += [{"text": f"{n}去了北京，又回北京", "spans": []} for n in range(2)]
    found = Checked(capsys, tagged(tmp_path / "a.jsonl", rows))
    assert found.found["forms_seldom_bare"]["details"] == ["Marked and not: 'New York' (20 to 1)."]
    assert found.lines("forms_seldom_bare") == [[21, 1]]
    assert found.found["forms_mostly_bare"]["details"] == ["Marked and not: '北京' (2 to 4)."]
    assert found.lines("forms_mostly_bare") == [[24, 22]]


def test_a_row_without_spans_says_so_with_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Checked(capsys, tagged(tmp_path / "a.jsonl", [*spanned(20), {"text": "Ada", "spans": None}]))
    assert "line 21: 'spans' is null (write [] where there is none)" in found.found["bad_rows_in_train"]["details"][1]
