"""Several labels a text, and "I don't know", from training to the answer."""

import json
from pathlib import Path

import pytest

import cellgate
from cellgate.bundle import Bundle
from cellgate.cli import run
from cellgate.cli.figures import label_rows
from cellgate.errors import DataError, UsageError
from cellgate.fit.events import Note
from cellgate.plan import Plan
from cellgate.task import find
from cellgate.training import train, train_events
from tests.conftest import TINY

_ABOUT = {"price": "cheap money paid euro", "size": "small large fits wide", "smell": "scent nose flowers stink"}


def _rows() -> list[dict[str, object]]:
    """Each combination of the three subjects, with words of each."""
    rows: list[dict[str, object]] = []
    for number in range(8):
        labels = [name for place, name in enumerate(_ABOUT) if number >> place & 1]
        for word in range(4):
            words = [_ABOUT[name].split()[word] for name in labels]
            rows.append({"text": " and ".join(["it", *words, "today"]), "label": labels})
    return rows


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    course = {"max_steps": 150, "epochs": 80, "batch_rows": 8, "learning_rate": 0.02, "patience": 100}
    config = {**TINY, "train": {**TINY["train"], **course}}
    rows = _rows()
    return train("classify", rows, dev=rows, folder=tmp_path_factory.mktemp("several") / "subjects", config=config)


def test_a_text_gets_all_its_labels_and_no_other(several: Bundle) -> None:
    result = several.evaluate(_rows())
    assert result["micro_f1"] > 0.97
    assert result["exact_match"] > 0.9
    assert set(result) >= {"micro_f1", "macro_f1", "exact_match", "calibration_error", "n"}
    both, none = several.predict(["it cheap and scent today", "it today"])
    assert both.value == ("price", "smell") == both.record.model_dump()["label"]
    assert none.value == ()
    chances = {other.value: other.confidence for other in both.alternatives}
    assert set(chances) == set(_ABOUT)
    assert chances["price"] > 0.5 > chances["size"]


def test_several_labels_survive_the_disk(several: Bundle) -> None:
    again = cellgate.open(several.folder)
    assert again.decision == several.decision
    assert len(again.decision.thresholds) == 3
    assert again.predict(["it small today"]) == several.predict(["it small today"])


def test_labels_never_seen_are_counted_each(several: Bundle) -> None:
    result = several.evaluate([{"text": "it cheap today", "label": ["price", "colour"]}, {"text": "it", "label": []}])
    assert result["unseen"] == {"colour": 1}
    with pytest.raises(DataError, match="'colour' was never seen"):
        several.evaluate([{"text": "it", "label": ["colour"]}])


def test_what_is_less_sure_than_asked_is_unknown(bundle: Bundle, reviews: list[dict[str, str]]) -> None:
    rows = reviews[:60]
    sure = [prediction.confidence for prediction in bundle.predict([row["text"] for row in rows])]
    middle = sorted(sure)[30]
    careful = bundle.abstaining_below(middle)
    answers = careful.predict([row["text"] for row in rows])
    assert [answer.value is None for answer in answers] == [each < middle for each in sure]
    result = careful.evaluate(rows)
    assert result["answered"] == sum(each >= middle for each in sure) / 60
    assert result["accuracy"] == pytest.approx(result["precision"] * result["answered"])
    assert "answered" not in bundle.evaluate(rows)
    with pytest.raises(UsageError, match="give a probability"):
        bundle.abstaining_below(1.5)


@pytest.mark.parametrize(("answer", "said"), [({"precision": 0.999}, "become"), ({"abstain_below": 0.9}, "on dev")])
def test_the_threshold_of_training_is_kept_and_said(
    reviews: list[dict[str, str]], tmp_path: Path, answer: dict[str, float], said: str
) -> None:
    task = find("classify")
    config = task.config.parse({**TINY, "answer": answer}, "test")
    plan = Plan("classify", config, [task.record(**row) for row in reviews], None, tmp_path / "bundle", {})
    notes = [event.text for event in train_events(plan) if isinstance(event, Note)]
    assert any(said in note and "texts get one" in note for note in notes)
    decision = cellgate.open(tmp_path / "bundle").decision
    assert decision.abstain_below == answer.get("abstain_below", decision.abstain_below)
    assert decision.abstain_below > 0


def test_texts_out_of_scope_are_learned_from_dev_alone(reviews: list[dict[str, str]], tmp_path: Path) -> None:
    task = find("classify")
    config = task.config.parse({**TINY, "answer": {"out_of_scope": "strange"}}, "test")
    dev = [*reviews[:40], *({"text": f"qua {n} zim bor {n * n}", "label": "strange"} for n in range(20))]
    dev += [{"text": "lovely", "label": "positiv"}] * 5
    plan = Plan(
        "classify",
        config,
        [task.record(**row) for row in reviews],
        [task.record(**row) for row in dev],
        tmp_path / "bundle",
        {},
    )
    notes = [event.text for event in train_events(plan) if isinstance(event, Note)]
    assert any("'strange' from a probability of" in note and "of its 20 rows are found" in note for note in notes)
    bundle = cellgate.open(tmp_path / "bundle")
    told = bundle.evaluate(dev)
    assert f"{told['labels']['strange']['recall']:.1%} of its 20 rows" in " ".join(notes)
    wrong = "5 of 65 dev rows count as wrong: label 'positiv' was never seen in training; did you mean 'positive'?"
    assert wrong in notes
    assert (told["unseen"], told["unseen_rows"]) == ({"positiv": 5}, 5)
    measured = bundle.manifest["metrics"]["dev"]
    assert {name: told[name] for name in measured} == pytest.approx(measured)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": f"t{n}", "label": "ab"[n % 2]} for n in range(40)], "no row has the label 'c'; labels: a, b"),
        ([{"text": f"t{n}", "label": ["a", "b"][: n % 3]} for n in range(40)], "may have several labels"),
    ],
)
def test_a_label_out_of_scope_that_no_row_has_is_refused(
    rows: list[dict[str, object]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        train("classify", rows, folder=tmp_path / "bundle", config={**TINY, "answer": {"out_of_scope": "c"}})
    assert not list(tmp_path.iterdir()), "what was mended needs no --resume"


def test_a_list_of_one_label_is_that_label_and_one_label_a_list_of_one(bundle: Bundle, several: Bundle) -> None:
    rows = [{"text": "lovely", "label": "positive"}, {"text": "awful", "label": "negative"}]
    assert bundle.evaluate([{**row, "label": [row["label"]]} for row in rows]) == bundle.evaluate(rows)
    alone = {"text": "it cheap today", "label": "price"}
    assert several.evaluate([alone]) == several.evaluate([{**alone, "label": ["price"]}])


def test_a_threshold_named_and_one_chosen_are_not_both_wanted() -> None:
    with pytest.raises(UsageError, match="choose the same threshold"):
        find("classify").config.parse({"answer": {"precision": 0.9, "abstain_below": 0.5}}, "my.yaml")


def test_answers_on_the_command_line(several: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(several.folder)

    def told(*words: str) -> str:
        assert run(list(words)) == 0
        return capsys.readouterr().out

    assert told("predict", folder, "it cheap and scent today").startswith("price, smell\t")
    assert told("predict", folder, "it today").startswith("(none)\t")
    assert told("predict", folder, "it today", "--abstain-below", "1").startswith("(unknown)\t")
    line = json.loads(told("predict", folder, "it cheap and scent today", "--format", "jsonl"))
    assert line["label"] == ["price", "smell"]
    unknown = json.loads(told("predict", folder, "it today", "--abstain-below", "1", "--format", "jsonl"))
    assert unknown["label"] is None
    assert "price;smell" in told("predict", folder, "it cheap and scent today", "--format", "csv")
    assert ",," in told("predict", folder, "it today", "--format", "csv")
    assert ",(unknown)," in told("predict", folder, "it today", "--abstain-below", "1", "--format", "csv")
    file = tmp_path / "t.jsonl"
    file.write_text('{"text": "it cheap today", "label": ["price", "new"]}\n{"text": "it", "label": []}\n', "utf-8")
    out = told("evaluate", folder, str(file))
    assert "micro F1" in out
    assert out.splitlines()[-1].split() == ["1.0000", "1.0000", "1.0000", "1", "price"]
    assert "0.0000     0.0000  0.0000      1  new" in out


def test_of_many_labels_the_worst_are_shown() -> None:
    scores = {f"label {n:02}": {"precision": n / 50, "recall": n / 50, "f1": n / 50, "rows": n} for n in range(50)}
    rows = label_rows(scores)
    assert len(rows) == 22
    assert rows[1].endswith("label 00")
    assert rows[-1] == "These are the worst 20 of 50 labels; --json has all."
