"""The linear half of a tagger against a literal list of its features, and how a tagger mixes its halves."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import cellgate
from cellgate import task
from cellgate.bundle import open_bundle
from cellgate.codecs import SpanCodec, TextCodec
from cellgate.codecs.spellings import WORD_END, WORD_START
from cellgate.config import TextConfig, WindowConfig
from cellgate.errors import UsageError
from cellgate.nets import Crf, Tagger, Window, settle
from cellgate.nets.hashing import character_ngrams, chosen_hashes, feature_hashes, token_hashes
from cellgate.text.tokens import Unit

TAG = task.find("tag")
SPANS = SpanCodec(("person", "place"), (5, 5))
START = 1  # the hash of what stands outside a text
CLOSE = 1e-5
HALF = 2e-3
TEXTS: dict[Unit, list[str]] = {
    "word": ["Ada met Bob in Rome", "Zebra99 met ada", "in"],
    "character": ["小美二〇一九年去了北京", "他在北京 Rome", "去"],
}
TRAINED: dict[Unit, list[str]] = {
    "word": ["Ada met Bob in Rome", "Bob met Ada in Oslo", "Ada met Eve"],
    "character": ["小美去了北京", "小美在北京7日", "他三月去了上海"],
}
TOGETHER: dict[Unit, list[tuple[int, ...]]] = {
    "word": [(-1, 0), (0, 1), (-1, 1)],
    "character": [(-2, -1), (-1, 0), (0, 1), (1, 2), (-1, 1), (-2, -1, 0), (-1, 0, 1), (0, 1, 2)],
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Nets this small are slowed down a hundredfold by threads that wait for a busy neighbour."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def codec_of(unit: Unit) -> TextCodec:
    config = TextConfig(unit=unit, min_count=1, lowercase=False)
    return TextCodec.learn(config, TRAINED[unit], places=True)


CODECS: dict[Unit, TextCodec] = {"word": codec_of("word"), "character": codec_of("character")}


def inputs_of(unit: Unit, texts: list[str]) -> dict[str, Tensor]:
    codec = CODECS[unit]
    return {name: torch.from_numpy(array) for name, array in codec.collate(codec.encode(texts)).items()}


def window_of(unit: Unit, **settings: Any) -> Window:
    """Prepared by the training texts, every feature kept, with random scores."""
    torch.manual_seed(5)
    window = Window(WindowConfig(**settings), CODECS[unit].sizes, Crf(SPANS.forbidden, learned=True))
    inputs = {name: tensor.numpy() for name, tensor in inputs_of(unit, TRAINED[unit]).items()}
    window.prepare(lambda: [(inputs, {})])
    with torch.no_grad():
        window.rows.weight[1:].normal_()
    return window.eval()


def hash_of(points: list[int]) -> int:
    return int(token_hashes(torch.tensor([points]))[0])


def spelled(token: str) -> list[int]:
    return [WORD_START, *map(ord, token), WORD_END]


def single(kind: int, *parts: int) -> int:
    return int(feature_hashes(kind, [torch.tensor(part) for part in parts]))


def shape(token: str) -> str:
    def of(c: str) -> str:
        if c in "一二三四五六七八九十〇零百千万萬亿億两兩":
            return "〇"
        kinds = (("A", "Z"), ("a", "z"), ("0", "9"), ("一", "鿿"))
        return next((first for first, last in kinds if first <= c <= last), c)

    return "".join(map(of, token))


def literal(unit: Unit, tokens: list[str], place: int) -> list[int]:
    """Hashes of the features of one token, written down one by one."""

    def at(offset: int) -> str | None:
        return tokens[place + offset] if 0 <= place + offset < len(tokens) else None

    found = []
    for number, offset in enumerate(range(-2, 3)):
        token = at(offset)
        kinds = 4 if unit == "word" else 2
        views = [START] * kinds
        if token is not None:
            small = spelled(token.lower())
            end = [0] * (4 - len(small)) + small[-4:]
            views = [hash_of(points) for points in (spelled(token), spelled(shape(token)), small, end)][:kinds]
        found += [single(8 * number + kind, view) for kind, view in enumerate(views)]
    for number, offsets in enumerate(TOGETHER[unit], start=40):
        around = [at(offset) for offset in offsets]
        found.append(single(number, *(START if token is None else hash_of(spelled(token)) for token in around)))
    for number, offsets in enumerate([(-1, 0), (0, 1), (-1, 0, 1)], start=40 + len(TOGETHER[unit])):
        around = [at(offset) for offset in offsets]
        found.append(single(number, *(START if token is None else hash_of(spelled(shape(token))) for token in around)))
    if unit == "word":
        grams, exists = character_ngrams(torch.tensor([spelled(tokens[place])]), 1, 5)
        found += grams[exists].tolist()
    return found


@pytest.mark.parametrize("unit", CODECS)
@torch.no_grad()
def test_a_tokens_scores_are_the_sum_of_its_features(unit: Unit) -> None:
    window = window_of(unit, min_count=1)
    scores = window(inputs_of(unit, TEXTS[unit]))
    for row, text in enumerate(TEXTS[unit]):
        tokens = text.split() if unit == "word" else [c for c in text if c != " "]
        for place in range(len(tokens)):
            wanted = torch.zeros(SPANS.tags)
            for feature in literal(unit, tokens, place):
                wanted += window.rows.weight[window.index[feature % len(window.index)]] * bool(
                    window.index[feature % len(window.index)]
                )
            torch.testing.assert_close(scores[row, place], wanted, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("unit", CODECS)
def test_every_feature_of_the_training_texts_is_kept_and_no_other(unit: Unit) -> None:
    window = window_of(unit, min_count=1)
    wanted = set()
    for text in TRAINED[unit]:
        tokens = text.split() if unit == "word" else list(text)
        for place in range(len(tokens)):
            wanted |= {feature % len(window.index) for feature in literal(unit, tokens, place)}
    assert set(torch.nonzero(window.index).flatten().tolist()) == wanted
    assert len(window.rows) == len(wanted) + 1


@pytest.mark.parametrize("unit", CODECS)
@torch.no_grad()
def test_rare_features_are_left_out_and_room_is_kept_to(unit: Unit) -> None:
    assert len(window_of(unit, min_count=2).rows) < len(window_of(unit, min_count=1).rows)
    assert len(window_of(unit, min_count=1, max_weights=10 * SPANS.tags).rows) == 11
    nothing = window_of(unit, min_count=99)
    assert nothing(inputs_of(unit, TEXTS[unit])).eq(0).all()


@pytest.mark.parametrize("unit", CODECS)
@torch.no_grad()
def test_a_settled_half_scores_known_and_unknown_words_alike(unit: Unit) -> None:
    window = window_of(unit, min_count=1)
    batches = [inputs_of(unit, TEXTS[unit]), inputs_of(unit, TEXTS[unit][1:2]), inputs_of(unit, TRAINED[unit])]
    before = [window(batch) for batch in batches]
    settle(window, torch.from_numpy(CODECS[unit].spellings))
    assert (window.settled is not None) == (unit == "word")
    for batch, wanted in zip(batches, before, strict=True):
        inside = torch.arange(wanted.shape[1]) < batch["lengths"][:, None]
        torch.testing.assert_close(window(batch)[inside], wanted[inside], atol=5 * HALF, rtol=HALF)


@pytest.mark.parametrize("unit", CODECS)
@torch.no_grad()
def test_a_text_is_scored_in_a_batch_as_alone(unit: Unit) -> None:
    window = window_of(unit, min_count=1)
    together = window(inputs_of(unit, TEXTS[unit]))
    for row, text in enumerate(TEXTS[unit]):
        alone = window(inputs_of(unit, [text]))[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=CLOSE, rtol=CLOSE)


@torch.no_grad()
def test_features_are_dropped_in_training_alone() -> None:
    window = window_of("word", min_count=1, dropout=0.5)
    inputs = inputs_of("word", TRAINED["word"])
    assert window(inputs).equal(window(inputs))
    window.train()
    assert not window(inputs).equal(window(inputs))


@torch.no_grad()
def test_a_fresh_half_takes_its_sizes_from_what_is_loaded() -> None:
    trained = window_of("word", min_count=1)
    fresh = Window(WindowConfig(), CODECS["word"].sizes, Crf(SPANS.forbidden, learned=True)).eval()
    fresh.load_state_dict(copy.deepcopy(trained.state_dict()))
    inputs = inputs_of("word", TEXTS["word"])
    assert fresh(inputs).equal(trained(inputs))


def test_the_most_frequent_hashes_are_chosen_and_folded() -> None:
    counts = np.zeros(2**10, np.int64)
    counts[[3, 700, 41]] = 5, 9, 1
    best, width = chosen_hashes(counts, 2)
    assert width == 32  # eight for each of two, and the next power of two
    assert best.tolist() == sorted({3, 700 % 32})


def tagger_of(**settings: Any) -> Tagger:
    torch.manual_seed(1)
    config = TAG.config.parse({"encoder": {"embedding": 6, "hidden": 5, "buckets": 64, "spelling": 4}, **settings}, "")
    net = TAG.net(config, CODECS["word"], SPANS)
    assert isinstance(net, Tagger)
    inputs = {name: tensor.numpy() for name, tensor in inputs_of("word", TRAINED["word"]).items()}
    net.prepare(lambda: [(inputs, {})])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.5)
    return net.eval()


@torch.no_grad()
def test_scores_are_the_averages_of_both_halves() -> None:
    net, inputs = tagger_of(), inputs_of("word", TEXTS["word"])
    alone = []
    for share in (0.0, 1.0):
        net.share.fill_(share)
        alone.append(net(inputs, {})[0])
    net.share.fill_(0.25)
    net.slope.fill_(2.0)
    both = net(inputs, {})[0]
    for name, scores in both.items():
        torch.testing.assert_close(scores, 2 * (0.75 * alone[0][name] + 0.25 * alone[1][name]))


def test_each_half_is_taught_by_its_own_loss() -> None:
    net, inputs = tagger_of(), inputs_of("word", TEXTS["word"])
    tags = torch.zeros(inputs["tokens"].shape, dtype=torch.int64)
    wanted = sum(float(half.loss(inputs, tags).detach()) for half in net._halves.values()) / int(
        inputs["lengths"].sum()
    )
    loss = net.loss(inputs, {"tags": tags})
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    names = {name.split(".")[1] for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert names == {"recurrent", "linear"}


@pytest.mark.parametrize(("worths", "chosen"), [((1, 2, 4, 8, 9), 1.0), ((9, 9, 1, 1, 0), 0.0), ((1, 1, 1, 1, 1), 0.5)])
def test_dev_chooses_the_share(worths: tuple[float, ...], chosen: float) -> None:
    net, inputs = tagger_of(), inputs_of("word", TEXTS["word"])
    tags = torch.zeros(inputs["tokens"].shape, dtype=torch.int64)
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    told = net.calibrate(iter([(inputs, {"tags": tags})]), lambda: worths[shares.index(float(net.share))])
    assert (told["linear_share"], float(net.share)) == (chosen, chosen)
    assert (told["recurrent_alone"], told["linear_alone"]) == (worths[0], worths[-1])
    assert told["together"] == worths[shares.index(chosen)]
    left = {0.0: {"recurrent"}, 1.0: {"linear"}}.get(chosen, {"recurrent", "linear"})
    assert {name.split(".")[1] for name, _ in net.named_parameters()} == left
    again = tagger_of()
    again.load_state_dict(net.state_dict())
    assert again(inputs, {})[0]["scores"].equal(net(inputs, {})[0]["scores"])


ROWS = [
    {"text": f"{name} went to {place} again", "spans": [(0, len(name), "person")]}
    for name in ("Ada", "Bob", "Eve")
    for place in ("Rome", "Oslo", "Bonn", "Kiel")
]


@pytest.mark.parametrize("left_out", ["encoder", "linear"])
def test_one_half_is_a_tagger(left_out: str, tmp_path: Path) -> None:
    config = {
        left_out: {"enabled": False},
        "train": {"epochs": 20, "dev_fraction": 0.3, "batch_rows": 4, "learning_rate": 0.02},
    }
    bundle = cellgate.train("tag", ROWS, folder=tmp_path / "model", config=config)
    told = bundle.manifest["calibration"]
    assert ("recurrent_alone" in told, "linear_alone" in told) == (left_out == "linear", left_out == "encoder")
    assert (tmp_path / "model" / "model.int8.onnx").exists() == (left_out == "linear")
    (answer,) = open_bundle(tmp_path / "model").predict(["Ada went to Rome again"])
    assert [(span.text, span.label) for span in answer.value] == [("Ada", "person")]  # type: ignore[union-attr]


def test_no_half_is_refused(tmp_path: Path) -> None:
    config = {"encoder": {"enabled": False}, "linear": {"enabled": False}}
    with pytest.raises(UsageError, match="leave one of the halves"):
        cellgate.train("tag", ROWS, folder=tmp_path / "model", config=config)
