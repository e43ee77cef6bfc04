"""The task `generate`: texts to tokens and back, lanes, training that resumes, writing, scoring, bad input."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgate.adapting import evaluate_adapting
from cellgate.batch import Ragged
from cellgate.bundle import Bundle, open_bundle
from cellgate.cli import run
from cellgate.codecs.units import END_ID, UNKNOWN_ID, Piece, UnitsCodec, cut
from cellgate.config import TrainConfig, UnitsConfig, WriterConfig
from cellgate.data.plain import Layout
from cellgate.data.readers import open_table
from cellgate.data.streams import Stream
from cellgate.errors import DataError, UsageError, WorkError
from cellgate.fit.events import Note, Step
from cellgate.fit.feed import Batch, Course, EpochBatches, Feed, Verdict
from cellgate.fit.lanes import _SHORTEST, Lanes, _ends
from cellgate.fit.loop import fit
from cellgate.fit.prepare_text import load_prepared_text, prepare_text, text_notes
from cellgate.graph import Graph
from cellgate.language import Adapting, Language, Length, surprise
from cellgate.nets import Net, Writer
from cellgate.nets.sampled import Sample, sampled_loss
from cellgate.nets.tables import Table
from cellgate.plan import Plan
from cellgate.sampling import Chooser, Sampling, Verse, held_back
from cellgate.task import find
from cellgate.text.pieces import Tail
from cellgate.training import train, train_events

# Written for these tests: lines of a made-up ship's log, with enough sameness to be learned by a tiny net.
_WINDS = ("north", "south", "east", "west")
LOG = [f"Day {day}: wind from the {_WINDS[day % 4]}, {day % 7} knots.\n" for day in range(120)]
SMALL: dict[str, dict[str, Any]] = {
    "writer": {"embedding": 16, "hidden": 24, "layers": 2, "weight_dropout": 0.05, "layer_dropout": 0.05},
    "train": {"max_steps": 60, "batch_rows": 4, "batch_tokens": 128, "threads": 2, "learning_rate": 0.01},
}


def rows(texts: list[str]) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    config = {**SMALL, "train": {**SMALL["train"], "max_steps": 250, "epochs": 40}}
    return train("generate", rows(LOG), folder=tmp_path_factory.mktemp("generate") / "log", config=config)


@pytest.fixture(scope="module")
def language(log: Bundle) -> Language:
    return Language.of(log)


# Texts and tokens


class _Again:
    """Pieces as often as asked."""

    def __init__(self, texts: list[str], labels: list[str | None] | None = None) -> None:
        self.given = list(zip(texts, labels or [None] * len(texts), strict=True))

    def __iter__(self):
        return cut(self.given)


@pytest.mark.parametrize("unit", ["character", "subword"])
@given(text=st.text(min_size=1, max_size=60))
def test_a_text_of_known_tokens_comes_back_as_it_was(unit, text):
    codec = UnitsCodec.learn(UnitsConfig(unit=unit, min_count=1, max_vocabulary=400), _Again([text, "a"]))
    ids = [token for piece in codec.stream(cut([(text, None)])) for token in piece.tolist()]
    typing = codec.typing()
    written = "".join(map(typing.of, ids))
    assert written == text.encode("utf-8", "replace").decode() or any("\ud800" <= c <= "\udfff" for c in text)
    assert (ids[-1] == END_ID) == (not text.endswith("\n"))


@pytest.mark.parametrize(
    ("words", "text", "tokens"),
    [
        ("spaces", " The @-@ end , ok .\n next\n", ["The", "@-@", "end", ",", "ok", ".", "\n", "next", "\n"]),
        ("marks", "Don't stop, now!\n新年好", ["Don't", " stop", ",", " now", "!", "\n", "新", "年", "好"]),
    ],
)
def test_words_end_at_spaces_or_at_marks_too(words, text, tokens):
    codec = UnitsCodec.learn(UnitsConfig(unit="word", words=words, min_count=1), _Again([text]))
    assert list(codec.cells(text)) == tokens
    typing = codec.typing()
    assert "".join(map(typing.of, codec.ids(text))).split() == text.split()
    typing = codec.typing("behind a space ")
    assert not typing.of(codec.ids("next")[0]).startswith(" ") or words == "marks"


def test_texts_whose_marks_stand_alone_are_cut_at_spaces():
    assert UnitsCodec.learn(UnitsConfig(unit="word"), _Again(["a b , c . d ; e"])).words == "spaces"
    assert UnitsCodec.learn(UnitsConfig(unit="word"), _Again(["a b, c. d; e , f"])).words == "marks"


def test_a_line_end_joins_a_row_to_the_next_and_a_label_stands_before_its_document():
    found = list(cut([("one\n", "x"), ("two", "x"), ("three", None)]))
    assert found == [Piece("one\n", True, False, "x"), Piece("two", False, True, "x"), Piece("three", True, True, None)]
    codec = UnitsCodec.learn(UnitsConfig(unit="word", min_count=1), _Again(["one\n", "two", "three"], ["x", "x", None]))
    first, second, third = (ids.tolist() for ids in codec.stream(found))
    assert first[0] == codec.label_id("x")
    assert END_ID not in first
    assert second[-1] == third[-1] == END_ID
    with pytest.raises(DataError, match="no label 'y' was trained; labels: x"):
        codec.label_id("y")


def test_a_long_text_is_cut_into_pieces_that_join_to_it():
    text = "word " * 40_000 + "x" * 200_000
    found = list(cut([(text, None)]))
    assert "".join(piece.text for piece in found) == text
    assert max(len(piece.text) for piece in found) <= 8_192
    assert [piece.ends for piece in found] == [False] * (len(found) - 1) + [True]


@pytest.mark.parametrize(
    ("layout", "texts"),
    [
        ("stream", ["one\n", "two\n", "\n", "three"]),
        ("lines", ["one", "two", "three"]),
        ("documents", ["one\ntwo", "three"]),
    ],
)
def test_a_plain_file_is_a_stream_lines_or_documents(layout: Layout, texts, tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"one\r\ntwo\r\n\r\nthree")
    table = open_table([file], plain=layout)
    assert [row.values["text"] for row in table.rows({"text": "text"})] == texts


# Lanes


def test_lanes_read_every_token_once_and_each_step_goes_on_where_the_last_ended():
    tokens = np.arange(1, 1_001, dtype=np.int32)
    lanes = Lanes(Stream(tokens, np.array([0])), first=0)
    steps = lanes.course(TrainConfig(batch_rows=4, batch_tokens=80, epochs=1)).steps_of(0)
    batches = [steps.batch(place) for place in range(steps.count)]
    seen = torch.cat([batch.target["next"] for batch in batches], 1)
    assert seen.flatten().tolist() == tokens.tolist()
    for before, after in pairwise(batches):
        assert torch.equal(before.target["next"][:, -1], after.inputs["tokens"][:, 0])
        assert after.continues
    assert not batches[0].continues
    assert len({batch.tokens for batch in batches}) > 1


def test_documents_are_shuffled_whole_and_differently_each_epoch():
    begins = np.arange(0, 300, 3)
    stream = Stream(np.arange(300, dtype=np.int32), begins)
    first, second = stream.shuffled(0, 0), stream.shuffled(0, 1)
    assert sorted(first.tolist()) == list(range(300))
    assert first.tolist() != second.tolist()
    assert all((first[place : place + 3] - first[place]).tolist() == [0, 1, 2] for place in range(0, 300, 3))


# The net


def test_read_in_steps_the_loss_is_that_of_the_whole():
    torch.manual_seed(0)
    net = Writer(WriterConfig(embedding=8, hidden=12), [5] * 30).eval()
    tokens = torch.randint(0, 30, (3, 21))
    whole = net.loss({"tokens": tokens[:, :-1], "lengths": torch.full((3,), 20)}, {"next": tokens[:, 1:]})
    losses: list[torch.Tensor] = []
    state: dict[str, torch.Tensor] = {}
    for start in range(0, 20, 5):
        inputs = {"tokens": tokens[:, start : start + 5], "lengths": torch.full((3,), 5)}
        loss, state = net.continued(inputs, {"next": tokens[:, start + 1 : start + 6]}, state)
        losses.append(loss)
    torch.testing.assert_close(torch.stack(losses).mean(), whole)
    scores, _ = net({"tokens": tokens[:, :-1], "lengths": torch.full((3,), 20)}, {})
    found = -scores["scores"].gather(2, tokens[:, 1:, None]).mean()
    torch.testing.assert_close(found, whole)


def test_a_sampled_softmax_is_right_on_average():
    """Over many samples the loss and its gradient come close to those of all tokens; the draw is seeded."""
    torch.manual_seed(1)
    counts = 1000 / torch.arange(1, 401)
    target = torch.multinomial(counts, 64, replacement=True)
    scores = torch.randn(64, 400).requires_grad_()
    exact = torch.nn.functional.cross_entropy(scores, target)
    (wanted,) = torch.autograd.grad(exact, scores)
    losses, gradient = [], torch.zeros(64, 400)
    sample = Sample(counts, draws=100)
    for _ in range(300):
        tokens, chances = sample(target)
        loss = sampled_loss(scores[:, tokens] - chances, tokens, chances, target)
        gradient += torch.autograd.grad(loss, scores)[0] / 300
        losses.append(float(loss.detach()))
    assert abs(np.mean(losses) - float(exact.detach())) < 0.1
    assert torch.nn.functional.cosine_similarity(gradient.flatten(), wanted.flatten(), 0) > 0.98


def test_each_part_of_the_recipe_changes_the_loss_in_training_and_none_of_them_answers():
    torch.manual_seed(0)
    tokens = torch.randint(0, 30, (3, 21))
    inputs, target = {"tokens": tokens[:, :-1], "lengths": torch.full((3,), 20)}, {"next": tokens[:, 1:]}
    plain = {name: 0.0 for name in WriterConfig.model_fields if "dropout" in name or "penalty" in name}

    def losses(settings: dict[str, float]) -> tuple[float, float]:
        torch.manual_seed(7)
        net = Writer(WriterConfig.model_validate({"embedding": 8, "hidden": 12, **settings}), [5] * 30)
        with torch.no_grad():
            return float(net.train().loss(inputs, target)), float(net.eval().loss(inputs, target))

    usual = losses(plain)
    assert math.isclose(usual[0], usual[1], rel_tol=1e-6)
    for name in plain:
        changed = losses(plain | {name: 0.5})
        assert changed[0] != usual[0], name
        assert changed[1] == usual[1], name


# Training


_SCRIPT = """
import json, sys
from cellgate.training import train
rows, folder, config, resume = json.loads(sys.stdin.read())
train("generate", rows, folder=folder, config=config, resume=resume)
"""


@pytest.mark.parametrize("softmax", ["full", "sampled"])
def test_killed_at_random_moments_and_resumed_ends_in_the_same_bytes(softmax, tmp_path):
    """The state that lanes carry is part of a checkpoint."""
    course = {**SMALL["train"], "max_steps": 120, "epochs": 4, "checkpoint_seconds": 0.01}
    config = {"writer": {**SMALL["writer"], "softmax": softmax, "samples": 8}, "train": course}
    whole, folder, work = tmp_path / "whole", tmp_path / "killed", tmp_path / "killed.training"
    train("generate", rows(LOG), folder=whole, config=config)
    random = np.random.default_rng()  # truly random: a failure prints where it was killed
    waits: list[float] = []
    while not (folder / "bundle.json").exists():
        given = json.dumps([rows(LOG), str(folder), config, work.exists()]).encode()
        with subprocess.Popen(
            [sys.executable, "-c", _SCRIPT], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            process.stdin.write(given)
            process.stdin.close()
            while process.poll() is None and not (work / "checkpoint.safetensors").exists():
                time.sleep(0.01)
            waits.append(random.uniform(0, 2) if len(waits) < 3 else 600)
            try:
                process.wait(waits[-1])
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
    assert waits[1:], "no kill came in time"
    for name in ("weights.safetensors", "model.onnx"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), waits


def test_stopped_between_two_steps_and_resumed_ends_in_the_same_bytes(tmp_path):
    task = find("generate")
    config = task.config.parse(SMALL, "test")

    def plan(folder: Path) -> Plan:
        return Plan("generate", config, [task.read(row) for row in rows(LOG)], None, folder, {})

    for _ in train_events(plan(tmp_path / "whole")):
        pass
    events = train_events(plan(tmp_path / "stopped"))
    next(event for event in events if isinstance(event, Step) and event.step == 25)
    events.close()
    for _ in train_events(plan(tmp_path / "stopped"), resume=True):
        pass
    read = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert read[0] == read[1]


class _Fragile(Net):
    """One number, to be drawn to 0; its loss is no number where a batch says so."""

    axes: Mapping[str, tuple[str, ...]] = {}
    outputs: Mapping[str, tuple[str, ...]] = {}
    streams = True
    tables: ClassVar[list[Table]] = []

    def __init__(self) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.ones(1))

    def prepare(self, batches):
        pass

    def parameter_groups(self, config):
        return [{"params": [self.number], "lr": 0.1, "weight_decay": 0.0}]

    def initial_state(self, rows):
        return {}

    def loss(self, inputs, target):
        return (self.number**2).sum() * inputs["scale"]

    def continued(self, inputs, target, state):
        return (self.number**2).sum() * inputs["scale"], {"read": state.get("read", torch.zeros(1)) + 1}

    def forward(self, inputs, state):
        return {}, {}

    def calibrate(self, batches, worth):
        return {}


class _Poisoned(Feed):
    """Two epochs of ten steps, some of whose losses are NaN."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad

    def course(self, config):
        return Course(2, 20, 1, lambda epoch: EpochBatches(10, lambda place: self._batch(10 * epoch + place)))

    def _batch(self, number: int) -> Batch:
        return Batch({"scale": torch.tensor(math.nan if number in self.bad else 1.0)}, {}, 1, continues=True)

    def first_look(self, config):
        return iter(())


def _fitted(bad: set[int], folder: Path) -> tuple[_Fragile, list[Any]]:
    net = _Fragile()
    verdict = Verdict({"n": 1}, 0.0, 1.0)
    return net, list(fit(net, _Poisoned(bad), TrainConfig(threads=1), lambda: verdict, folder / "checkpoint"))


def test_a_step_whose_loss_is_no_number_is_left_out_and_said(tmp_path):
    net, events = _fitted({3, 15}, tmp_path)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes == [f"step {step}: its loss is no number, so nothing was learned from it" for step in (4, 16)]
    assert torch.isfinite(net.number).all()
    assert sum(isinstance(event, Step) for event in events) == 20


def test_after_three_of_them_training_ends_with_the_best_epoch(tmp_path):
    net, events = _fitted({12, 14, 16}, tmp_path)
    assert sum(isinstance(event, Step) for event in events) == 17
    assert events[-1].reason.startswith("the loss of 3 steps was no number")
    assert events[-1].facts["kept_epoch"] == 1
    assert torch.isfinite(net.number).all()
    with pytest.raises(WorkError, match=r"before any epoch was done: delete .* lower --train.learning-rate"):
        _fitted({0, 1, 2}, tmp_path / "other")


@pytest.mark.parametrize(
    ("limit", "cause"),
    [
        ({"min_count": 2}, "they stand fewer than 2 times in training; lower --text.min-count"),
        (
            {"min_count": 1, "max_vocabulary": 3},
            "they are beyond the 3 most frequent ones; raise --text.max-vocabulary",
        ),
    ],
)
def test_why_tokens_are_unknown_is_said(limit: dict[str, int], cause: str, tmp_path):
    task = find("generate")
    config = task.config.parse({"text": {"unit": "character", **limit}}, "test")
    texts = [task.read(row) for row in rows([f"{chr(0x4E00 + place)}春夏秋冬" for place in range(80)])]
    for _ in prepare_text(task, config, texts, None, tmp_path):
        pass
    notes = [event.text for event in text_notes(load_prepared_text(tmp_path), config) if isinstance(event, Note)]
    assert any(cause in note for note in notes), notes


@pytest.mark.parametrize("documents", [1, 100, 20])
def test_little_is_held_out_of_a_long_text(documents: int, tmp_path):
    task = find("generate")
    config = task.config.parse({"text": {"unit": "character"}}, "test")
    texts = [task.read(row) for row in rows(["rain falls on the lake. " * (600_000 // documents)] * documents)]
    for _ in prepare_text(task, config, texts, None, tmp_path):
        pass
    facts = load_prepared_text(tmp_path).facts
    assert facts.characters == 24 * 600_000
    assert 140_000 < facts.dev_tokens < max(220_000, 25 * 600_000 // documents)  # whole pieces, whole documents


# Answers


def test_what_a_bundle_says_is_what_the_net_says_and_pieces_are_as_good_as_the_whole(language: Language):
    parity = json.loads((language.bundle.folder / "parity.json").read_text("utf-8"))
    assert parity["torch_float_difference"] < 1e-5
    assert abs(parity["int8"]["nats"] - parity["float"]["nats"]) < 0.05
    whole = language.evaluate([{"text": "".join(LOG)}])
    lines = language.evaluate(rows(LOG))
    assert lines["n"] == whole["n"] == sum(map(len, LOG))
    assert math.isclose(lines["nats"], whole["nats"], rel_tol=1e-4)
    assert math.isclose(whole["perplexity"], math.exp(whole["nats"]))
    assert whole["bits_per_character"] == pytest.approx(whole["bits"])


def test_a_score_is_the_sum_of_its_tokens_and_strange_texts_are_less_probable(language: Language):
    known, strange = language.score("Day 8: wind from the north"), language.score("North day from wind: 8")
    assert known.tokens == (*"Day 8: wind from the north", "[END]")
    assert known.log_probabilities.sum() > strange.log_probabilities.sum()
    assert known.metrics["n"] == 27
    unseen = language.score("Day ☃ 1\n")
    assert unseen.tokens == tuple("Day ☃ 1\n")
    assert unseen.unknown.tolist() == [False] * 4 + [True] + [False] * 3


def test_the_next_token_is_a_prediction(log: Bundle):
    (prediction,) = log.predict(["Day 8: win"])
    assert prediction.value == "d"
    assert prediction.confidence > prediction.alternatives[0].confidence
    with pytest.raises(UsageError, match=r"Language\.of"):
        log.evaluate(rows(LOG))


def test_writing_is_seeded_and_the_likeliest_needs_no_seed(language: Language):
    def write(number: int = 0, **how: Any) -> str:
        return "".join(language.write("Day ", Sampling(**how), Length(40), number=number))

    assert write(seed=3) == write(seed=3)
    assert write(seed=3) != write(seed=4)
    assert write(seed=3) != write(seed=3, number=1)
    assert write(temperature=0, seed=1) == write(temperature=0, seed=2) == write(top_k=1, seed=3)
    assert write(min_p=0.999) == write(temperature=0) == write(top_p=1e-6)


def test_writing_in_pieces_reads_the_prompt_as_scoring_does(language: Language):
    """Each written token is the likeliest of those that `predict` ranks behind the same text."""
    text = "Day 11: wind"
    for _ in range(5):
        (written,) = islice(language.write(text, Sampling(temperature=0), Length(1)), 1)
        assert language.bundle.predict([text])[0].value == written
        text += written


@given(text=st.text("abc", max_size=12), stops=st.lists(st.text("abc", min_size=1, max_size=3), max_size=3))
def test_a_text_shown_piece_by_piece_ends_before_the_first_stop_string(text, stops):
    shown, pending = "", ""
    for character in text:
        piece, pending, met = held_back(pending + character, stops)
        shown += piece
        if met:
            break
    else:
        shown += pending
    places = [text.find(stop) for stop in stops if stop in text]
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not places:
        assert shown == text
    else:
        assert len(shown) <= min(ends)
        assert text.startswith(shown)
        assert not any(stop in shown for stop in stops)


def test_how_tokens_are_truncated():
    scores = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))
    nothing = np.zeros(4, np.bool_)

    def seen(banned: Any = nothing, **how: Any) -> set[int]:
        chooser = Chooser(Sampling(temperature=1.0, **how), banned)
        return {chooser.choose(scores) for _ in range(400)}

    assert seen() == {0, 1, 2, 3}
    assert seen(top_k=2) == {0, 1}
    assert seen(top_p=0.7) == {0, 1}
    assert seen(min_p=0.25) == {0, 1, 2}
    assert seen(banned=np.array([True, False, False, False])) == {1, 2, 3}
    chooser = Chooser(Sampling(temperature=0, repetition=3.0), nothing)
    assert [chooser.choose(scores) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UsageError, match="top_p 0"):
        Sampling(top_p=0)


def test_draws_follow_the_probabilities():
    chooser = Chooser(Sampling(temperature=1.0), np.zeros(3, np.bool_))
    scores = np.log(np.array([0.6, 0.3, 0.1], np.float32))
    counts = np.bincount([chooser.choose(scores) for _ in range(6_000)], minlength=3) / 6_000
    np.testing.assert_allclose(counts, [0.6, 0.3, 0.1], atol=0.03)


def test_a_verse_has_its_characters_a_line_and_its_acrostic(tmp_path):
    poems = ["山中有雨，林外无风。", "春来花发，秋去叶空。", "夏日长长，冬夜沉沉。"] * 12
    config = {**SMALL, "text": {"min_count": 1}}
    language = Language.of(train("generate", rows(poems), folder=tmp_path / "poems", config=config))
    for seed in range(8):
        verse = "".join(language.write("", Sampling(seed=seed), Length(verse=Verse(4, "春夏秋冬"))))
        lines = verse.split("\n")
        assert [line[0] for line in lines] == list("春夏秋冬")
        assert all(re.fullmatch(r"\w{4}[，。]", line) for line in lines)
        assert verse.endswith("。")
    with pytest.raises(UsageError, match="'雪' is unknown"):
        language.write("", None, Length(verse=Verse(4, "雪")))
    begun = verse[:2]
    for prompt in (begun, "山中有雨，"):
        rest = "".join(language.write(prompt, Sampling(seed=2), Length(verse=Verse(4, lines=1 + (prompt == begun)))))
        assert re.fullmatch(r"\w{4}[，。]\n\w{4}。", prompt + rest)
    for prompt, wrong in ((verse[:4] * 2, Verse(4)), (begun, Verse(4, "春"))):
        with pytest.raises(UsageError, match="the prompt's last line has"):
            language.write(prompt, None, Length(verse=wrong))
    for characters, count in ((0, 1), (4, -1)):
        with pytest.raises(UsageError, match="give counts from 1 on"):
            Verse(characters, lines=count)


def test_labels_are_written_like(tmp_path):
    texts = [{"text": "aaaa", "label": "low"}, {"text": "ZZZZ", "label": "high"}] * 40
    config = {**SMALL, "train": {**SMALL["train"], "max_steps": 200, "epochs": 200}}
    language = Language.of(train("generate", texts, folder=tmp_path / "b", config=config))
    for label, letter in (("low", "a"), ("high", "Z")):
        assert "".join(language.write("", Sampling(seed=1), Length(3), label)) == letter * 3
    assert language.score("aaaa", "low").metrics["nats"] < language.score("aaaa", "high").metrics["nats"]
    judged = language.evaluate(texts)
    assert judged["n"] == 80 * 5
    with pytest.raises(DataError, match="labels: high, low"):
        language.write("", label="middle")


def test_a_label_of_one_document_is_never_held_out_and_a_blank_one_is_none(tmp_path):
    texts = [{"text": f"line {number}", "label": f"author {number}" if number < 15 else " "} for number in range(40)]
    config = {**SMALL, "train": {**SMALL["train"], "max_steps": 2, "dev_fraction": 0.4}}
    bundle = train("generate", texts, folder=tmp_path / "b", config=config)
    assert Language.of(bundle).codec.labels == tuple(sorted(f"author {number}" for number in range(15)))


def test_rows_and_files_are_documents_of_their_own_whatever_they_end_with(tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": line, "label": "log"}) + "\n" for line in LOG), "utf-8")
    settings = ["--train.max-steps", "2", "--writer.hidden", "8", "--writer.embedding", "8", "--train.threads", "1"]
    out = str(tmp_path / "of_rows")
    assert run(["train", "generate", str(rows), "--label", "label", "-o", out, *settings]) == 0
    assert open_bundle(out).manifest["data"]["rows"] == len(LOG)
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("".join(LOG), "utf-8")
    out = str(tmp_path / "of_files")
    assert run(["train", "generate", str(tmp_path / "a.txt"), str(tmp_path / "b.txt"), "-o", out, *settings]) == 0
    assert open_bundle(out).manifest["data"]["rows"] == 2


def test_the_layout_of_the_training_is_that_of_what_is_judged(tmp_path, capsys):
    text = tmp_path / "poems.txt"
    text.write_text("".join(line + "\n" * (place % 2) for place, line in enumerate(LOG)), "utf-8")
    settings = ["--train.max-steps", "2", "--writer.hidden", "8", "--writer.embedding", "8", "--train.threads", "1"]
    out = str(tmp_path / "poems")
    assert run(["train", "generate", str(text), "--layout", "documents", "-o", out, *settings]) == 0
    told = []
    for flags in ([], ["--layout", "documents"], ["--layout", "stream"]):
        capsys.readouterr()
        assert run(["evaluate", out, str(text), "--json", *flags]) == 0
        told.append(json.loads(capsys.readouterr().out)["nats"])
    assert told[0] == told[1] != told[2]


# Bad input


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty: give a file with rows of text"),
        (b"\n\n", "is empty"),
        (bytes(range(256)) * 20, "is a binary file"),
        (b"ab", "too short to hold some of it out|too few"),
    ],
)
def test_a_file_that_nothing_can_be_learned_from_is_said(content, complaint, tmp_path, capsys):
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    assert run(["train", "generate", str(file), "-o", str(tmp_path / "b")]) == 2
    assert re.search(complaint, capsys.readouterr().err)
    assert not (tmp_path / "b.training").exists()


def test_one_line_of_50_mb_is_read_in_bounded_pieces(tmp_path):
    """Encoding takes a fixed piece at a time; here the line is only read and cut, which is what grows with it."""
    file = tmp_path / "long.txt"
    file.write_text("the same old words " * 2_700_000, "utf-8")
    table = open_table([file], plain="stream")
    pieces = cut((str(row.values["text"]), None) for row in table.rows({"text": "text"}))
    sizes = [len(piece.text) for piece in pieces]
    assert sum(sizes) == file.stat().st_size
    assert max(sizes) <= 8_192


def test_the_verbs_as_a_user_types_them(log: Bundle, tmp_path, capsys, monkeypatch):
    folder = str(log.folder)
    test = tmp_path / "test.txt"
    test.write_text("".join(LOG[:5]), "utf-8")
    assert run(["evaluate", folder, str(test), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == len("".join(LOG[:5]))
    strange = tmp_path / "strange.txt"
    strange.write_text("☃☄★\n" * 9, "utf-8")
    assert run(["evaluate", folder, str(strange)]) == 0
    out, err = capsys.readouterr()
    assert "On 36 tokens" in out
    assert "Tokens rare in training or not there: 75.0%" in " ".join(out.split())
    assert "warning: 75.0% of the tokens are unknown to the model (of those it was trained on 0.0%)" in err
    assert run(["write", folder, "Day ☃", "--length", "9", "--stop", "never there", "--samples", "2"]) == 0
    out, err = capsys.readouterr()
    assert out.count("Day ☃") == 2
    assert "1 token of the prompt unknown, rare in training or not there, so telling little: '☃'" in err
    assert "none of the stop strings came before the text's last token" in err
    assert run(["predict", folder, "".join(LOG[:1]).rstrip()]) == 0
    assert capsys.readouterr().out.startswith("'\\n'\t")  # a line end is no line of its own
    assert run(["score", folder, "Day 1", "Dag 1", "--by", "token"]) == 0
    assert capsys.readouterr().out.count("\n") == 1 + 12
    assert run(["score", folder, "Day ☃☄, 1 knots"]) == 0
    out, err = capsys.readouterr()
    heading, line = out.splitlines()
    assert heading.split()[:3] == ["log-prob.", "perplexity", "text"]
    assert line[heading.index("text") :] == "Day [UNK ☃☄], 1 knots[END]"
    assert "[UNK x]: x is unknown" in err
    assert run(["score", folder, "Day ☃", "--format", "jsonl"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert ("".join(token for token, _ in told["tokens"]), told["unknown"]) == ("Day ☃[END]", [4])
    assert run(["score", folder, "Day 1", str(tmp_path / "none.txt")]) == 2
    assert "no file" in capsys.readouterr().err
    assert run(["score", folder, str(test), "--format", "html"]) == 0
    assert "<!doctype html>" in capsys.readouterr().out
    assert run(["score", folder, str(test), "--format", "jsonl", "--by", "line"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["".join(token for token, _ in line["tokens"]) for line in lines] == [*LOG[:4], f"{LOG[4].strip()}[END]"]
    assert run(["inspect", folder]) == 0
    assert "perplexity" in capsys.readouterr().out
    assert run(["write", folder, "--as", "x"]) == 2
    assert run(["write", folder, "--temperature", "-1"]) == 2


def test_a_classifier_writes_nothing(bundle: Bundle):
    with pytest.raises(UsageError, match="is a Bundle of the task classify, which writes nothing"):
        Language.of(bundle)


def test_settings_of_what_writes_are_none_of_what_answers(tmp_path):
    plan = Plan("classify", find("generate").config(), [], None, tmp_path / "b", {})
    with pytest.raises(UsageError, match="settings of another task than 'classify': give a mapping"):
        list(train_events(plan))
    assert not list(tmp_path.iterdir())


def test_an_epoch_is_kept_however_few_tokens_judge_it(tmp_path, capsys):
    """Unlike rows, of which few choose no epoch."""
    (tmp_path / "log.txt").write_text("".join(LOG[:12]), "utf-8")
    words = ["train", "generate", str(tmp_path / "log.txt"), "-o", str(tmp_path / "b"), "--writer.hidden", "8"]
    assert run([*words, "--writer.embedding", "8", "--train.epochs", "2", "--train.threads", "1"]) == 0
    epochs = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert epochs
    assert epochs[0].endswith("kept")


def test_what_is_said_of_a_written_text_stands_on_its_own_line(log: Bundle):
    words = ["write", str(log.folder), "Day", "--length", "5", "--stop", "never there"]
    done = subprocess.run(
        [sys.executable, "-m", "cellgate", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
    )
    assert b"\nnone of the stop strings" in done.stdout


def test_a_language_answers_without_torch(log: Bundle):
    script = f"""
import sys
sys.modules["torch"] = None
import cellgate
from cellgate.language import Language
language = Language.of(cellgate.open({str(log.folder)!r}))
assert "".join(language.write("Day"))
assert language.evaluate([{{"text": "Day 1"}}])["n"] == 6
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_unknown_token_is_never_written(tmp_path):
    """Though of this model it is the likeliest: all its characters but two stand once."""
    strange = "".join(map(chr, range(0x4E00, 0x4E00 + 600)))
    texts = [f"ab{strange[place : place + 10]}\n" for place in range(0, 600, 10)]
    config = {**SMALL, "text": {"unit": "character", "min_count": 2}}
    language = Language.of(train("generate", rows(texts), folder=tmp_path / "b", config=config))
    bundle = language.bundle
    scores = bundle.scores(["ab"]).rows[0]
    assert scores.argmax() == UNKNOWN_ID
    written = "".join(language.write("ab", Sampling(temperature=0), Length(30)))
    assert written
    assert set(written) <= set("ab\n")


def test_a_model_that_goes_on_learning_foretells_a_text_that_repeats_itself_better(language: Language):
    """Its first tokens are foretold as before, and the Bundle stays as it is."""
    text = [{"text": "Zebra quiz, jumbo waltz.\n" * 40}]
    before = (language.bundle.folder / "weights.safetensors").read_bytes()
    static, adapted = language.evaluate(text), evaluate_adapting(language, text, Adapting(rate=3e-3))
    with pytest.raises(DataError, match="no text to evaluate"):
        evaluate_adapting(language, [])
    assert adapted["n"] == static["n"]
    assert adapted["bits_per_character"] == pytest.approx(adapted["bits"])
    assert adapted["nats"] < 0.8 * static["nats"]
    few = [{"text": "Zebra quiz"}]
    first = evaluate_adapting(language, few)
    assert math.isclose(first["nats"], language.evaluate(few)["nats"], rel_tol=1e-4)
    assert (language.bundle.folder / "weights.safetensors").read_bytes() == before


def test_the_report_shows_what_surprises_and_what_is_written_whatever_a_text_holds(tmp_path):
    texts = ["<b>bold</b> & plain\n"] * 60
    train("generate", rows(texts), folder=tmp_path / "b", config=SMALL)
    page = (tmp_path / "b" / "report.html").read_text("utf-8")
    assert "perplexity" in page
    assert "<svg" in page
    assert "<b>bold" not in page
    assert "&lt;" in page
    card = (tmp_path / "b" / "README.md").read_text("utf-8")
    assert "nats a token" in card


def test_how_much_a_token_surprises():
    assert [surprise(math.log(share)) for share in (0.5, 0.05, 0.005, 0.0005)] == [0, 1, 2, 3]


# A text that comes in pieces

PIECED = "The kettle  hums\r\n at seven.\x0c\n\nNobody's up, but the cat \t asks\u3000 为什么水还没开\x1c ok"
UNITS = [("character", "auto"), ("word", "spaces"), ("word", "marks"), ("subword", "auto")]


@pytest.mark.parametrize(("unit", "words"), UNITS)
@given(cuts=st.lists(st.integers(0, len(PIECED)), max_size=12))
def test_tokens_of_pieces_are_those_of_the_whole(unit, words, cuts):
    config = UnitsConfig(unit=unit, words=words, min_count=1, max_vocabulary=300)
    codec = UnitsCodec.learn(config, _Again([PIECED]))
    tail, found = Tail(), []
    for start, end in pairwise([0, *sorted(cuts), len(PIECED)]):
        columns, tail = codec.certain(tail, PIECED[start:end], last=False)
        found += columns["tokens"].values.tolist()
    columns, tail = codec.certain(tail, "", last=True)
    assert [*found, *columns["tokens"].values.tolist()] == codec.encode([PIECED])["tokens"].values.tolist()
    assert not tail.word


@pytest.mark.parametrize("characters", [2_000, 9_000, 16_300, 70_000])
def test_of_one_long_line_a_tenth_is_held_out(tmp_path, characters):
    text = " ".join(f"the {number} winds" for number in range(characters // 12))[:characters]
    task = find("generate")
    for _ in prepare_text(
        task, task.config.parse({"text": {"unit": "character"}}, "test"), [task.read(text)], None, tmp_path
    ):
        pass
    facts = load_prepared_text(tmp_path).facts
    assert 0.09 < facts.dev_tokens / (facts.dev_tokens + facts.tokens) < (0.17 if characters == 2_000 else 0.115)


def test_what_has_no_space_is_not_held_back_for_ever():
    codec = UnitsCodec.learn(UnitsConfig(unit="subword", max_vocabulary=300), _Again(["abc"]))
    tail = Tail()
    for _ in range(20):
        _, tail = codec.certain(tail, "ab" * 5_000, last=False)
        assert len(tail.word) <= 10_000


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(0, 1_500), max_size=12), held=st.integers(0, 9))
def test_a_session_tells_of_pieces_what_the_whole_tells_and_goes_on_in_another(log, language, cuts, held):
    """Of pieces cut anywhere, some longer than what is read at once; saved and restored behind one of them."""
    text = "".join(LOG)[:1_500]
    ids = np.array(language.codec.ids(text), np.int32)
    session, foretold = log.session(), []
    for place, (start, end) in enumerate(pairwise([0, *sorted(cuts), len(text)])):
        foretold.append(session.feed(text[start:end].encode()).foretold)
        if place == held:
            with tempfile.TemporaryDirectory() as folder:
                session.save(Path(folder) / "saved")
                session = log.session(Path(folder) / "saved")
    last = session.end()
    np.testing.assert_allclose(np.concatenate([*foretold, last.foretold]), language.chances(ids), atol=1e-5)
    np.testing.assert_allclose(last.scores, log.scores([text]).rows[0], atol=1e-5)
    assert session.answer().value == log.predict([text])[0].value
    assert session.tokens == len(ids) + 1


def test_what_is_read_at_once_changes_no_figure(log, language):
    """Runs of a few tokens, the state carried from one to the next, tell what one run of all tells."""
    text = "".join(LOG)
    ids = np.array([END_ID, *language.codec.ids(text)], np.int32)
    outputs, _ = log.graph.run(
        {"tokens": ids[None].astype(np.int64), "lengths": np.array([len(ids)])}, log.model.begun.state
    )
    whole = outputs["scores"][0]
    assert len(ids) > 3 * log.model.at_once
    np.testing.assert_allclose(language.chances(ids[1:]), whole[np.arange(len(ids) - 1), ids[1:]], atol=1e-5)
    np.testing.assert_allclose(log.scores([text]).rows[0], whole[-1], atol=1e-5)
    few = [foretold for _, foretold in log.model.read({"tokens": Ragged.of([ids])}, log.model.begun, 7)]
    np.testing.assert_allclose(np.concatenate(few), language.chances(ids[1:]), atol=1e-5)


def test_no_run_makes_more_scores_than_memory_is_meant_for(log, language, monkeypatch):
    """However many tokens there are to choose from, and whoever asks; here as if memory were for 10 tokens' scores."""
    lengths: list[int] = []
    run_graph = Graph.run

    def watched(graph: Graph, inputs: Any, state: Any, also: Any = ()) -> Any:
        lengths.append(inputs["tokens"].shape[1])
        return run_graph(graph, inputs, state, also)

    monkeypatch.setattr(Graph, "run", watched)
    monkeypatch.setattr("cellgate.stream._SCORES", 10 * len(log.target))
    text = "".join(LOG[:20])
    log.predict([text])
    fed = log.session().feed(text)
    language.score(text)
    language.evaluate([{"text": text}])
    assert (len(fed.foretold), len(fed.scores)) == (len(text), len(log.target))
    assert max(lengths) == 10
    assert sum(lengths) > 4 * len(text)


@given(length=st.integers(8, 3_000), usual=st.integers(1, 300), seed=st.integers(0, 50))
def test_no_step_of_a_lane_is_too_short_to_learn_from(length, usual, seed):
    ends = _ends(length, usual, seed, epoch=0)
    assert (ends[0], ends[-1]) == (0, length)
    assert np.diff(ends).min() >= _SHORTEST
