"""The task `tag`: answers are characters of the text as it was given."""

import json
import unicodedata
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import regex

import cellgate
from cellgate import bundle as bundle_room
from cellgate.bundle import Bundle
from cellgate.cli import run
from cellgate.codecs import SpanCodec, TextCodec, TokenTagCodec
from cellgate.codecs.tags import covered
from cellgate.config import TextConfig
from cellgate.errors import DataError
from cellgate.metrics import Spans, spans_of
from cellgate.spans import Span
from cellgate.task import find

NAMES, PLACES = ("Ada", "Bob", "Eve", "Dan Brown"), ("Rome", "Oslo", "New York")
ROWS = [
    {
        "text": f"{name} {verb} {place} {when}.",
        "spans": [
            (0, len(name), "person"),
            (len(name) + len(verb) + 2, len(name) + len(verb) + 2 + len(place), "place"),
        ],
    }
    for name in NAMES
    for verb in ("saw", "left")
    for place in PLACES
    for when in ("today", "twice")
]
TINY = {"encoder": {"embedding": 24, "hidden": 16, "spelling": 8, "buckets": 512}}
COURSE = {"epochs": 12, "batch_rows": 8, "learning_rate": 0.02, "dev_fraction": 0.2}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("tag") / "names"
    return cellgate.train("tag", ROWS, folder=folder, config={**TINY, "train": COURSE})


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    words = {"the": "DET", "a": "DET", "cat": "NOUN", "dog": "NOUN", "sees": "VERB", "e.g.": "X"}
    rows = [
        {"tokens": [a, n, "sees", b, m, "e.g."], "tags": [words[w] for w in (a, n, "sees", b, m, "e.g.")]}
        for a in ("the", "a")
        for b in ("the", "a")
        for n in ("cat", "dog")
        for m in ("cat", "dog")
    ]
    folder = tmp_path_factory.mktemp("tag") / "parts"
    return cellgate.train("tag", rows * 3, folder=folder, config={**TINY, "train": COURSE})


def asked(bundle: Bundle, row: Any) -> Spans:
    return spans_of(bundle.predict([row])[0].value)


def test_spans_are_found_with_their_text_and_how_sure_they_are(names: Bundle) -> None:
    assert isinstance(names.target, SpanCodec)
    (found,) = names.predict(["Dan Brown saw Oslo today."])
    spans = spans_of(found.value)
    assert [(span.text, span.label) for span in spans] == [("Dan Brown", "person"), ("Oslo", "place")]
    assert found.record.model_dump()["spans"] == tuple(map(asdict, spans))
    assert all(0.5 < span.confidence <= 1 for span in spans)
    assert found.confidence <= min(span.confidence for span in spans) + 1e-6


def test_tokens_get_a_tag_each_whatever_they_hold(parts: Bundle) -> None:
    assert isinstance(parts.target, TokenTagCodec)
    assert parts.manifest["data"]["lost_spans"] == 0
    spans = asked(parts, {"tokens": ["the", "cat", "sees", "e.g."]})
    assert [span.label for span in spans] == ["DET", "NOUN", "VERB", "X"]
    assert [span.text for span in spans] == ["the", "cat", "sees", "e.g."]
    assert [(span.text, span.label) for span in asked(parts, "the cat sees")] == [
        ("the", "DET"),
        ("cat", "NOUN"),
        ("sees", "VERB"),
    ]


def test_answers_less_sure_are_left_out(names: Bundle) -> None:
    text = "Ada left the Dan Brown of New Oslo twice"  # unlike any text of the training
    sure = sorted(spans_of(names.predict([text])[0].value), key=lambda span: span.confidence)
    less, most = sure[0].confidence, sure[-1].confidence
    assert less < most
    assert spans_of(names.abstaining_below(most).predict([text])[0].value) == tuple(
        sorted(span for span in sure if span.confidence >= most)
    )


def test_metrics_count_a_label_never_trained_on_as_missed(names: Bundle) -> None:
    told = names.evaluate([*ROWS[:4], {"text": "Ada ran.", "spans": [(4, 7, "deed")]}])
    assert told["unseen"] == {"deed": 1}
    assert told["labels"]["deed"]["recall"] == 0
    assert told["span_recall"] < 1
    assert told["mistakes"]["missed"] == 1


def test_kinds_of_mistakes_on_dev_are_kept_for_spans_and_not_for_tags(names: Bundle, parts: Bundle) -> None:
    assert set(names.manifest["mistakes"]) == {"boundary", "type", "boundary_and_type", "missed", "invented"}
    assert "Kinds of mistakes" in (names.folder / "report.html").read_text("utf-8")
    assert "| missed |" in (names.folder / "README.md").read_text("utf-8")
    assert parts.manifest["mistakes"] == {}
    assert "mistakes" not in parts.evaluate([{"tokens": ["the", "cat"], "tags": ["DET", "X"]}])


def test_a_long_text_is_answered_whole_and_as_in_one_piece(names: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(str(row["text"]) for row in ROWS * 4) + " Zed saw Rome."
    wanted = asked(names, text)
    monkeypatch.setattr(bundle_room, "_WINDOW", 90)
    monkeypatch.setattr(bundle_room, "_MARGIN", 40)
    found = asked(names, text)
    assert found == wanted
    np.testing.assert_allclose([s.confidence for s in found], [s.confidence for s in wanted], atol=1e-3)
    assert len(found) > 2 * len(ROWS) * 4 - 5


@pytest.mark.parametrize("text", ["", " ", "\0", "👩‍👩‍👧", "e\u0301", "ＡＤＡ", "\u200d", "x" * 1_000_000])
def test_odd_texts_are_answered(names: Bundle, parts: Bundle, text: str) -> None:
    for bundle in (names, parts):
        assert all(text[span.start : span.end] == span.text for span in asked(bundle, text))


def fuzzed(count: int) -> list[str]:
    """Strings of every plane of Unicode, with combining marks, emoji and forms that NFKC takes apart among them."""
    random = np.random.default_rng(0)
    planes = [chr(p * 0x10000 + low) for p in range(17) for low in range(0x20, 0xFFFE, 0x101)]
    planes = [c for c in planes if unicodedata.category(c) != "Cs"]
    odd = list("e\u0301\u0323\u200d👩🏽‍👧ﬁ½㈱ＡǅΣςİ한\u1100\u1161\u11a8\u0b47\u0b3eक्षि🇩🇪 \t\n\r\u3000ab.,")
    return [
        "".join(random.choice(odd if random.random() < 0.6 else planes) for _ in range(random.integers(1, 16)))
        for _ in range(count)
    ]


@pytest.mark.parametrize(("unit", "lowercase"), [("word", False), ("character", True)])
def test_places_survive_any_string(unit: str, lowercase: bool) -> None:
    config = TextConfig.parse({"unit": unit, "lowercase": lowercase, "min_count": 1}, "the test")
    codec = TextCodec.learn(config, ["a few words 的话"], places=True)
    plain = replace(codec, places=False)
    texts = fuzzed(10_000)
    columns = codec.encode(texts)
    assert columns["tokens"].values.tolist() == plain.encode(texts)["tokens"].values.tolist()
    for row, text in enumerate(texts):
        starts, ends = columns["starts"][row], columns["ends"][row]
        borders = {0, *(match.end() for match in regex.finditer(r"\X", text))}
        assert set(starts.tolist()) <= borders or not text.strip(), text
        assert set(ends.tolist()) <= borders, text
        assert (np.diff(starts) >= 0).all()
        assert (np.diff(ends) >= 0).all()
        inside = {place for start, end in zip(starts, ends, strict=True) for place in range(start, end)}
        assert all(place in inside or character.isspace() for place, character in enumerate(text)), text


def test_a_span_covers_the_tokens_it_touches() -> None:
    starts, ends = np.array([0, 4, 8], np.int32), np.array([3, 7, 9], np.int32)
    assert covered(Span(0, 3, "x"), starts, ends) == (0, 1)
    assert covered(Span(2, 5, "x"), starts, ends) == (0, 2)
    assert covered(Span(3, 4, "x"), starts, ends) == (1, 1)
    assert covered(Span(8, 9, "x"), starts, ends) == (2, 3)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "Ada", "spans": [[0, 9, "x"]]}, "lies outside its text of 3 characters"),
        ({"text": "Ada Bob", "spans": [[0, 5, "x"], [4, 7, "y"]]}, "overlap"),
        ({"tokens": ["Ada"], "tags": ["X", "Y"]}, "1 tokens, 2 tags"),
        ({"text": "Ada", "spans": [[0, "z", "x"]]}, "'z' is no place in a text"),
        ({"text": "Ada", "spans": [{"start": 0, "end": 3, "label": None}]}, "null is no label of a span; give a name"),
    ],
)
def test_rows_that_do_not_fit_are_refused_in_memory_and_in_files(
    row: dict[str, object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=said):
        find("tag").read_answered(row)
    file = tmp_path / "a.jsonl"
    lines = [json.dumps(each) for each in (*ROWS[:3], row)]
    text = next(name for name in ("text", "tokens") if name in row)
    if text == "tokens":
        lines = [json.dumps({"tokens": ["Ada", "ran"], "tags": ["N", "V"]})] * 3 + [json.dumps(row)]
    file.write_text("\n".join(lines), "utf-8")
    assert run(["train", "tag", str(file), "-o", str(tmp_path / "b")]) == 2
    err = capsys.readouterr().err
    assert "line 4" in err
    assert "--skip-bad-rows" in err


def test_of_overlapping_spans_the_longest_is_kept_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.jsonl"
    rows = [*ROWS[:20], {"text": "Ada Bob ran", "spans": [[0, 3, "person"], [0, 7, "person"]]}]
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    flags = ["--overlaps", "longest", "--train.max-steps", "2", "--encoder.hidden", "4", "--encoder.spelling", "2"]
    assert run(["train", "tag", str(file), "-o", str(tmp_path / "b"), *flags]) == 0
    assert cellgate.open(tmp_path / "b").manifest["data"]["rows_by_label"]["person"] == 21


def test_every_format_tells_spans(names: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> str:
        assert run(["predict", str(names.folder), "Ada saw New York today.", *words]) == 0
        return capsys.readouterr().out

    assert told().startswith("[Ada person ")
    line = json.loads(told("--format", "jsonl"))
    assert [(s["start"], s["end"], s["label"], s["text"]) for s in line["spans"]] == [
        (0, 3, "person", "Ada"),
        (8, 16, "place", "New York"),
    ]
    conll = told("--format", "conll").splitlines()
    assert conll[:4] == ["Ada\tS-person", "saw\tO", "New\tB-place", "York\tE-place"]
    page = told("--format", "html")
    assert page.startswith("<!doctype html>")
    assert ">New York<small>place" in page
    assert run(["predict", str(names.folder), "Ada", "--format", "csv"]) == 2


def test_the_command_line_trains_and_judges_on_columns(
    parts: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.conll"
    file.write_text("the DET\ncat NOUN\n\na DET\ndog NOUN\nsees VERB\n", "utf-8")
    assert run(["evaluate", str(parts.folder), str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], told["token_accuracy"]) == (2, 1.0)
    assert run(["predict", str(parts.folder), str(file), "--format", "conll"]) == 0
    assert capsys.readouterr().out == "the\tDET\ncat\tNOUN\n\na\tDET\ndog\tNOUN\nsees\tVERB\n\n"
