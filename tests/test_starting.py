"""A classifier or tagger that begins with a language model: what it takes, how it learns, and what is refused."""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import cellgate.cli.train
from cellgate.bundle import Bundle, open_bundle
from cellgate.cli import run
from cellgate.codecs import TextCodec, read_known
from cellgate.codecs.units import UNKNOWN_ID
from cellgate.config import TextConfig
from cellgate.errors import UsageError
from cellgate.fit.events import Done, Event, Step
from cellgate.nets import Encoder
from cellgate.plan import Plan
from cellgate.starting import narrowed, start, started
from cellgate.task import find
from cellgate.training import is_trained, train, train_events
from tests.conftest import TINY

# Written for these tests: a made-up restaurant's guests, without and with a verdict.
_DISHES, _WORDS = ("soup", "rice", "pie", "tea"), ("warm", "cold", "salty", "sweet")
GUESTS = [
    f"The {dish} was {word} and the {other} was {_WORDS[place % 4]}."
    for place, (dish, word, other) in enumerate((d, w, o) for d in _DISHES for w in _WORDS for o in _DISHES)
]
_RARE = "The broth was bitter."  # of guests who never judged
JUDGED = [{"text": text, "label": "good" if "warm" in text or "sweet" in text else "bad"} for text in GUESTS[:40]]
LANGUAGE: dict[str, dict[str, Any]] = {
    "text": {"unit": "word", "words": "marks", "lowercase": True, "min_count": 1},
    "writer": {"embedding": 12, "hidden": 10, "layers": 2, "directions": 2},
    "train": {"max_steps": 30, "batch_rows": 4, "batch_tokens": 128, "threads": 2},
}


def texts(found: list[str]) -> list[dict[str, str]]:
    return [{"text": text} for text in found]


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("start") / "guests"
    return train("generate", texts([*GUESTS, *[_RARE] * 4]), folder=folder, config=LANGUAGE)


def started_net(language: Bundle, **start_settings: Any) -> tuple[Any, TextCodec, Any]:
    """An untrained classifier that begins with the language model, its codec and its settings."""
    task = find("classify")
    config: Any = started(task.config.parse({"start": {"language": str(language.folder), **start_settings}}, "test"))
    source = TextCodec.learn(config.text, [row["text"] for row in JUDGED], language=str(language.folder))
    target = task.target(config)([row["label"] for row in JUDGED])
    net: Any = task.net(config, source, target)
    start(net, source, str(language.folder))
    return net.eval(), source, config


def encoder_of(net: torch.nn.Module) -> Encoder:
    return next(module for module in net.modules() if isinstance(module, Encoder))


def as_tensors(source: TextCodec, text: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in source.collate(source.encode([text])).items()}


@torch.no_grad()
def test_it_reads_as_the_language_model_does(language: Bundle):
    net, source, config = started_net(language)
    assert (config.encoder.layers, config.encoder.hidden, config.encoder.embedding) == (2, 10, 12)
    encoder = encoder_of(net)
    text = "the soup was cold and the tea was sweet"
    y, _ = encoder(as_tensors(source, text), {})

    writer: Any = language.task.net(
        language.task.config.parse(dict(language.manifest["config"]), "test"), language.source, language.target
    )
    writer.load_state_dict(load_file(language.folder / "weights.safetensors"))
    codec: Any = language.source
    numbers = {name.strip(): number for number, name in reversed(list(enumerate(codec.names)))}
    tokens = torch.tensor([[numbers[word] for word in text.split()]])
    vectors, lengths = torch.nn.functional.embedding(tokens, writer.table.weight), torch.tensor([tokens.shape[1]])
    state = writer.initial_state(1)
    forward, *_ = writer.eval()._read(vectors, lengths, state)
    backward, *_ = writer._read(vectors, lengths, state, reverse=True)
    torch.testing.assert_close(y, torch.cat([forward, backward], 2))


def test_words_of_the_language_model_have_vectors(language: Bundle):
    _, source, _ = started_net(language)
    judged = " ".join(row["text"] for row in JUDGED)
    for word in ("broth", "bitter"):
        assert word not in judged
        assert source.tokenizer.token_to_id(word) is not None
    assert source.tokenizer.token_to_id("stew") is None
    assert source.coverage is not None
    assert source.coverage.tokens == 1.0


def test_capitals_and_spaces_are_mapped(tmp_path: Path):
    """To a word that folds case: the one written so, though others are more frequent, else the most frequent."""
    cased = {**LANGUAGE, "text": {**LANGUAGE["text"], "lowercase": False}}
    told = ["Soup Soup Soup soup Tea Tea TEA rice\n"] * 80
    folder = train("generate", texts(told), folder=tmp_path / "cased", config=cased).folder
    known = read_known(str(folder))
    source = TextCodec.learn(TextConfig(min_count=1), ["soup tea rice unheard"], language=str(folder))
    numbers = source.numbers_of(known)
    written = {word: numbers[source.tokenizer.token_to_id(word)] for word in ("soup", "tea", "rice", "unheard")}
    assert [known.names[written[word]].strip() for word in ("soup", "tea", "rice")] == ["soup", "Tea", "rice"]
    assert written["unheard"] == UNKNOWN_ID


def test_layers_learn_slower_and_later_the_deeper_they_are(language: Bundle):
    net, _, config = started_net(language, slower=0.5, unfreeze=0.2)
    groups = net.parameter_groups(config.train)
    rate = config.train.learning_rate
    assert [(group["lr"], group.get("opens")) for group in groups] == [
        (rate, None), (rate / 2, 0.2), (rate / 4, 0.4), (rate / 8, pytest.approx(0.6))
    ]  # fmt: skip
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters() if p.requires_grad)


def layers_in(folder: Path) -> dict[str, Tensor]:
    weights = load_file(folder / "weights.safetensors")
    return {name: weight for name, weight in weights.items() if ".encoder.weights." in name}


def test_frozen_layers_stay_as_they_were(language: Bundle, tmp_path: Path):
    begin: dict[str, Any] = {"language": str(language.folder)}
    config = {"train": {"max_steps": 20, "threads": 2}, "start": begin}
    frozen = {**config, "start": {**begin, "freeze": True}}
    train("classify", JUDGED, folder=tmp_path / "frozen", config=frozen)
    train("classify", JUDGED, folder=tmp_path / "tuned", config=config)
    net, *_ = started_net(language)
    begun = {name: weight for name, weight in net.state_dict().items() if ".encoder.weights." in name}
    frozen_layers, tuned_layers = layers_in(tmp_path / "frozen"), layers_in(tmp_path / "tuned")
    assert frozen_layers.keys() == begun.keys() == tuned_layers.keys()
    assert all(weight.equal(begun[name]) for name, weight in frozen_layers.items())
    assert any(not weight.equal(begun[name]) for name, weight in tuned_layers.items())


def test_a_layer_that_has_not_opened_does_not_move(language: Bundle, tmp_path: Path):
    start_late = {"language": str(language.folder), "unfreeze": 0.9}
    config = {"train": {"max_steps": 10, "threads": 2}, "start": start_late}
    bundle = train("classify", JUDGED, folder=tmp_path / "late", config=config)
    net, *_ = started_net(language)
    begun = {name: weight for name, weight in net.state_dict().items() if ".encoder.weights." in name}
    moved = {name for name, weight in layers_in(bundle.folder).items() if not weight.equal(begun[name])}
    # Of two layers with two directions each the last one opens after nine tenths, the first one never.
    assert {int(name.split(".weights.")[1].split(".")[0]) for name in moved} == {2, 3}


def test_it_answers_without_the_language_model(language: Bundle, tmp_path: Path):
    gone = tmp_path / "gone"
    train("generate", texts(GUESTS), folder=gone, config=LANGUAGE)
    config = {"train": TINY["train"], "start": {"language": str(gone)}}
    bundle = train("classify", JUDGED, folder=tmp_path / "judge", config=config)
    before = bundle.predict(["The soup was warm."])[0].confidence
    for path in gone.iterdir():
        path.unlink()
    assert open_bundle(tmp_path / "judge").predict(["The soup was warm."])[0].confidence == before


def test_a_tagger_starts_too(language: Bundle, tmp_path: Path):
    rows = [{"text": text, "spans": [{"start": 4, "end": text.index(" was"), "label": "dish"}]} for text in GUESTS[:40]]
    config = {"text": {"lowercase": True}, "train": {"max_steps": 10}, "start": {"language": str(language.folder)}}
    bundle = train("tag", rows, folder=tmp_path / "dishes", config=config)
    assert bundle.manifest["config"]["encoder"]["hidden"] == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"start": {"language": "nowhere"}}, "no Bundle is there"),
        ({"start": {"freeze": True}}, "name one with --from"),
        ({"encoder": {"enabled": False}}, "is false, and .* has true: leave it out"),
        ({"encoder": {"cell": "gru"}}, "is gru, and .* has lstm: leave it out"),
        ({"encoder": {"hidden": 64}}, "is 64, and .* has 10: leave it out"),
        ({"encoder": {"word_dropout": 0.3}}, r"is 0\.3, and .* has 0\.1: give start\.dropout instead"),
        ({"text": {"unit": "character"}}, "it reads words, these texts are read by character"),
    ],
)
def test_what_does_not_fit_is_refused(language: Bundle, tmp_path: Path, change: dict[str, Any], said: str):
    config = {"train": TINY["train"], "start": {"language": str(language.folder)}, **change}
    with pytest.raises(UsageError, match=said):
        train("classify", JUDGED, folder=tmp_path / "no", config=config)


def test_other_bundles_are_refused(bundle: Bundle, tmp_path: Path):
    with pytest.raises(UsageError, match="it is no language model"):
        train("classify", JUDGED, folder=tmp_path / "no", config={"start": {"language": str(bundle.folder)}})
    subwords = {**LANGUAGE, "text": {"unit": "subword", "max_vocabulary": 300}}
    train("generate", texts(GUESTS), folder=tmp_path / "subwords", config=subwords)
    with pytest.raises(UsageError, match="it reads subwords"):
        train("classify", JUDGED, folder=tmp_path / "no", config={"start": {"language": str(tmp_path / "subwords")}})


def test_pretrain_does_both_steps_and_takes_a_finished_one_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("guests.txt").write_text("".join(f"{text}\n" for text in GUESTS), "utf-8")
    lines = [f"{row['text']},{row['label']}\n" for row in JUDGED]
    Path("judged.csv").write_text("text,label\n" + "".join(lines), "utf-8")
    command = ["train", "classify", "judged.csv", "-o", "judge", "--pretrain", "guests.txt", "--train.max-steps", "8"]
    assert run(command) == 0
    said = capsys.readouterr()
    assert "judge.language comes first: a language model, of the texts without answers" in said.err
    assert "begins with judge.language" in said.err
    language = open_bundle(Path("judge.language"))
    assert language.manifest["task"] == "generate"
    made = (language.folder / "bundle.json").read_bytes()
    again = [*command[:4], "again", "--from", "judge.language"]
    assert run([*again, "--freeze", "--train.max-steps", "8"]) == 0
    assert run([*again, "--start.freeze", "true", "--print-config"]) == 0
    assert run(command) == 0
    assert "judge.language is there" in capsys.readouterr().err
    assert (language.folder / "bundle.json").read_bytes() == made
    assert run([*command, "--train.seed", "1"]) == 2
    assert "judge.language holds another Bundle (config.train.seed was 0, is 1)" in capsys.readouterr().err
    for what in (("--encoder.cell", "gru"), ("--encoder.hidden", "64"), ("--text.unit", "subword")):
        assert run([*command[:3], "-o", "no", *command[5:], *what]) == 2  # before a language model is trained in vain
    assert not list(Path().glob("no*"))


def test_a_training_goes_on_with_the_language_model_it_began_with_alone(language: Bundle, tmp_path: Path):
    """A language model that another one replaced is told, by a resumed training and by one that is done."""

    def plan(name: str) -> Plan:
        config = find("classify").config.parse(
            {"train": TINY["train"], "start": {"language": str(tmp_path / "guests")}}, "test"
        )
        rows = [find("classify").read(row) for row in JUDGED]
        return Plan("classify", config, rows, None, tmp_path / name, {"rows": 40})

    shutil.copytree(language.folder, tmp_path / "guests")
    events = train_events(plan("stopped"))
    next(event for event in events if isinstance(event, Step))
    events.close()
    for _ in train_events(plan("done")):
        pass
    assert is_trained(plan("done"))
    shutil.rmtree(tmp_path / "guests")
    train("generate", texts(GUESTS[::-1]), folder=tmp_path / "guests", config=LANGUAGE)
    with pytest.raises(
        UsageError, match=r"data differs from the unfinished training in .*: language was '\w+', is '\w+'"
    ):
        list(train_events(plan("stopped"), resume=True))
    with pytest.raises(UsageError, match=r"holds another Bundle \(data\.language was"):
        is_trained(plan("done"))


def test_a_stop_while_a_first_model_is_written_stops_what_comes_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("guests.txt").write_text("".join(f"{text}\n" for text in GUESTS), "utf-8")
    Path("judged.csv").write_text("text,label\nwarm,good\ncold,bad\n" * 10, "utf-8")
    trained: list[Path] = []

    def stopped_late(plan: Plan, *, resume: bool) -> Iterator[Event]:
        assert not resume
        trained.append(plan.folder)
        plan.folder.mkdir()
        plan.folder.with_name(f"{plan.folder}.training").mkdir()
        yield Step(1, 1, 1, 0.5, 10, 0.1)
        os.kill(os.getpid(), signal.SIGINT)
        yield Done("all epochs done", {})

    monkeypatch.setattr(cellgate.cli.train, "train_events", stopped_late)
    assert run(["train", "classify", "judged.csv", "-o", "judge", "--pretrain", "guests.txt"]) == 130
    assert trained == [Path("judge.language")]
    assert "stopped with judge.language done; go on with --resume" in capsys.readouterr().err


@pytest.mark.parametrize(("directions", "asked", "told"), [(1, 2, True), (1, 1, False), (2, 2, False), (2, 1, False)])
def test_an_encoder_that_reads_forward_only_for_its_language_model_says_so(
    tmp_path: Path, directions: int, asked: int, *, told: bool
):
    config = {**LANGUAGE, "writer": {**LANGUAGE["writer"], "directions": directions}, "train": {"max_steps": 1}}
    folder = train("generate", texts(GUESTS), folder=tmp_path / "guests", config=config).folder
    wanted = find("classify").config.parse(
        {"start": {"language": str(folder)}, "encoder": {"directions": asked}}, "test"
    )
    said = narrowed(wanted, started(wanted))
    assert ("reads forward only, and so does this net; `train generate --writer.directions 2`" in said) is told
    assert bool(said) is told


def test_what_it_takes_is_said(language: Bundle):
    net, source, _ = started_net(language)
    assert "its 2 layers of 10 units, and its vectors" in start(net, source, str(language.folder))


def test_a_language_model_may_be_older_than_the_settings_of_training(language: Bundle):
    manifest: dict[str, Any] = dict(language.manifest)
    train_settings = {**manifest["config"]["train"], "gone_since": 0.6}
    older = replace(language, manifest={**manifest, "config": {**manifest["config"], "train": train_settings}})
    assert older.settings == language.settings
