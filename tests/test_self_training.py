"""Self-training: which answers are learned from, that dev is never among them, and that a stop loses nothing."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellgate.bundle import Bundle, open_bundle
from cellgate.cli import run
from cellgate.errors import DataError, UsageError
from cellgate.fit.events import Event, Note, Step
from cellgate.fit.prepare import Prepared, load_prepared, notes, prepare
from cellgate.metrics import spans_of
from cellgate.plan import Plan, SelfTraining
from cellgate.self_training import Answered, answers
from cellgate.spans import Span
from cellgate.task import Row, find
from cellgate.training import train, train_events
from tests.conftest import TINY

TASK = find("classify")


def rows(of: Iterable[dict[str, Any]]) -> list[Row]:
    return [TASK.read(row) for row in of]


def plan(reviews: list[dict[str, str]], folder: Path, teacher: Bundle, texts: Iterable[str], **course: Any) -> Plan:
    """A training on the first 60 reviews that learns from the teacher's answers to these texts."""
    config: Any = TASK.config.parse({**TINY, "train": {**TINY["train"], "sure": 0.5, **course}}, "test")
    told = SelfTraining(teacher.folder, [TASK.read(text) for text in texts])
    return Plan("classify", config, rows(reviews[:60]), None, folder, {"rows": 60}, told)


def prepared(folder: Path, own: list[Row], dev: list[Row] | None, also: list[Row]) -> Prepared:
    config: Any = TASK.config.parse({"text": {"min_count": 1}}, "test")
    for _ in prepare(TASK, config, own, dev, folder, also):
        pass
    return load_prepared(folder)


def marked(found: Prepared) -> list[int]:
    """The rows whose first word is "marked"."""
    (mark,) = found.source.encode(["marked"])["tokens"].values
    tokens = found.rows.columns["tokens"]
    return [row for row in range(len(tokens.lengths)) if tokens.values[tokens.lengths[:row].sum()] == mark]


def test_sure_answers_to_unknown_texts_are_kept(reviews: list[dict[str, str]], bundle: Bundle, tmp_path: Path):
    texts = [row["text"] for row in reviews]
    given = plan(reviews, tmp_path / "student", bundle, texts)
    assert given.self_training is not None
    by, made = given.self_training, list[Answered]()

    def answering() -> Iterator[Event]:
        made.append((yield from answers(given, by, 0.5, TASK, tmp_path)))

    told = list(answering())
    (kept,) = made
    known = {row["text"] for row in reviews[:60]}
    answered = zip(texts, bundle.predict(texts), strict=True)
    sure = [TASK.read({"text": t, "label": a.value}) for t, a in answered if a.confidence >= 0.5 and t not in known]
    assert list(kept) == sure
    assert list(kept) == sure  # read anew each time
    assert any(isinstance(event, Note) and f"{len(sure):,} of {len(texts):,} texts" in event.text for event in told)


@pytest.mark.parametrize("dev_given", [False, True])
def test_rows_answered_by_a_model_are_trained_on_and_never_held_out(
    reviews: list[dict[str, str]], tmp_path: Path, *, dev_given: bool
):
    own, dev = rows(reviews[:40]), rows(reviews[40:50]) if dev_given else None
    long = {0: " very" * 1_000, 7: " so" * 1_000}
    marks = [f"marked {place}{long.get(place, '')}" for place in range(20)]
    also = rows({"text": text, "label": row["label"]} for text, row in zip(marks, reviews[50:70], strict=True))
    alone, both = prepared(tmp_path / "alone", own, dev, []), prepared(tmp_path / "both", own, dev, also)
    assert np.array_equal(both.dev, alone.dev)
    assert np.array_equal(both.own, alone.train)
    assert len(both.train) == len(alone.train) + 20
    assert both.train[len(both.own) :].tolist() == marked(both)
    assert both.facts.rows == alone.facts.rows
    assert both.facts.self_trained_rows == 20
    assert both.facts.rows_by_label == alone.facts.rows_by_label
    assert len(both.groups) == len(both.train)
    said = [event.text for event in notes(both) if isinstance(event, Note)]
    assert any(f": 2 of {70 if dev_given else 60} texts" in text for text in said)


@pytest.mark.parametrize("name", ["classify", "tag"])
def test_dev_is_the_same_whatever_labels_a_model_answers_with(tmp_path: Path, name: str):
    """Rows with several labels are held out by their rarest one; which one that is, the user's rows say."""
    task = find(name)

    def row(place: int, *labels: str) -> Row:
        text = f"row {place} says that"
        if name == "classify":
            return task.read({"text": text, "label": list(labels)})
        spans = [{"start": 4 * number, "end": 4 * number + 3, "label": label} for number, label in enumerate(labels)]
        return task.read({"text": text, "spans": spans})

    own = [row(place, "much", "little") if place % 3 else row(place, "much") for place in range(60)]
    also = [row(100 + place, "little") for place in range(200)]
    config: Any = task.config.parse({"text": {"min_count": 1}}, "test")
    found = []
    for folder, more in ((tmp_path / "alone", []), (tmp_path / "both", also)):
        for _ in prepare(task, config, own, None, folder, more):
            pass
        found.append(load_prepared(folder))
    alone, both = found
    assert np.array_equal(both.dev, alone.dev)
    assert not np.array_equal(both.groups[: len(alone.groups)], alone.groups)  # rarity did turn around


def test_a_stopped_one_goes_on_to_the_same_bytes(reviews: list[dict[str, str]], bundle: Bundle, tmp_path: Path):
    texts = [row["text"] for row in reviews[60:]]

    def wanted(name: str) -> Plan:
        return plan(reviews, tmp_path / name, bundle, texts, checkpoint_seconds=0.01)

    for _ in train_events(wanted("whole")):
        pass
    events = train_events(wanted("stopped"))
    for event in events:
        if isinstance(event, Step) and event.step == 12:
            events.close()
            break
    assert (tmp_path / "stopped.training" / "answers.jsonl").exists()
    unread = SelfTraining(bundle.folder, [])  # prepared once, its texts are not needed again
    for _ in train_events(replace(wanted("stopped"), self_training=unread), resume=True):
        pass
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert weights[0] == weights[1]
    assert not (tmp_path / "stopped.training").exists()


def test_what_cannot_teach_is_refused(reviews: list[dict[str, str]], bundle: Bundle, tmp_path: Path):
    with pytest.raises(DataError, match=r"is sure of none of 2 texts: lower --train\.sure, which is 0\.999"):
        list(train_events(plan(reviews, tmp_path / "s", bundle, ["a", "b"], sure=0.999)))
    assert not (tmp_path / "s.training").exists()
    writer = train(
        "generate", [{"text": "one two three. " * 40}] * 20, folder=tmp_path / "w", config={"train": {"max_steps": 2}}
    )
    with pytest.raises(UsageError, match="no teacher: it was trained to generate, not classify"):
        list(train_events(plan(reviews, tmp_path / "t", writer, ["a"])))


def test_the_flag_trains_a_teacher_first(
    reviews: list[dict[str, str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reviews[:60]), "utf-8")
    Path("texts.txt").write_text("".join(f"{row['text']}\n" for row in reviews), "utf-8")
    command = ["train", "classify", "rows.jsonl", "-o", "judge", "--self-train", "texts.txt", "--train.sure", "0.5"]
    command += ["--train.max-steps", "40", "--encoder.hidden", "12", "--encoder.embedding", "16"]
    assert run([*command[:8], "0.9999", *command[9:]]) == 2
    said = capsys.readouterr().err
    assert "judge.teacher comes first: a first model, of the rows with answers" in said
    assert "lower --train.sure" in said
    assert run(command) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "judge.teacher is there: a first model" in said  # what is sure is no matter of its training
    student, teacher = open_bundle(Path("judge")), open_bundle(Path("judge.teacher"))
    learned = student.manifest["data"]["self_trained_rows"]
    assert f"learns from {learned:,} of {len(reviews):,} texts too" in said
    assert 0 < learned <= len(reviews) - 60
    assert student.manifest["data"]["self_trained"]["files"][0]["name"] == "texts.txt"
    assert teacher.manifest["data"]["self_trained_rows"] == 0
    assert [each.manifest["data"]["dev_rows"] for each in (student, teacher)] == [6, 6]
    assert f"learned from {learned:,} texts without answers" in (student.folder / "README.md").read_text("utf-8")
    assert run(["train", "classify", "rows.jsonl", "-o", "other", "--self-train", "nowhere.txt"]) == 2
    assert "nowhere.txt" in capsys.readouterr().err
    assert not Path("other.teacher").exists()  # nothing was trained in vain


def test_a_tagger_teaches_itself_too(tmp_path: Path):
    dishes = ("soup", "rice", "pie", "tea", "stew", "salad")
    texts = [f"The {dish} was {word} again." for dish in dishes for word in ("warm", "cold", "salty", "sweet", "fine")]
    given = [{"text": text, "spans": [{"start": 4, "end": text.index(" was"), "label": "dish"}]} for text in texts]
    task, config = find("tag"), {"train": {"max_steps": 60, "sure": 0.01}}
    teacher = train("tag", given[:20], folder=tmp_path / "teacher", config=config)
    told = SelfTraining(teacher.folder, [task.read(text) for text in texts[20:]])
    records = [task.read_answered(row) for row in given[:20]]
    for _ in train_events(
        Plan("tag", task.config.parse(config, "test"), records, None, tmp_path / "student", {}, told)
    ):
        pass
    student = open_bundle(tmp_path / "student")
    assert student.manifest["data"]["self_trained_rows"] > 0
    (answer,) = student.predict(["The soup was warm again."])
    assert answer.value == (Span(4, 8, "dish", "soup"),)


def test_a_tagger_of_tokens_learns_from_texts_that_come_without_them(tmp_path: Path):
    dishes = ("soup", "rice", "pie", "tea", "stew", "salad")
    texts = [f"The {dish} was {word}." for dish in dishes for word in ("warm", "cold", "salty", "sweet", "fine")]
    own = [
        {"text": (*text.rstrip(".").split(), "."), "spans": ["DET", "NOUN", "VERB", "ADJ", "PUNCT"]}
        for text in texts[:20]
    ]
    task, config = find("tag"), {"train": {"max_steps": 60, "sure": 0.01}}
    teacher = train("tag", own, folder=tmp_path / "teacher", config=config)
    told = SelfTraining(teacher.folder, [task.read(text) for text in texts])
    records = [task.read_answered(row) for row in own]
    parsed: Any = task.config.parse(config, "test")
    for _ in train_events(Plan("tag", parsed, records, None, tmp_path / "student", {}, told)):
        pass
    student = open_bundle(tmp_path / "student")
    assert student.manifest["data"]["self_trained_rows"] == 10  # a row's own text is known, though it came as tokens
    (answer,) = student.predict(["The salad was sweet."])
    assert [span.label for span in spans_of(answer.value)] == ["DET", "NOUN", "VERB", "ADJ", "PUNCT"]
