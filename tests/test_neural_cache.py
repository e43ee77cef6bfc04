"""The neural cache: its probabilities, its place in a session, and its figures beside those without it."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellgate.batch import Floats, Ids, Ints, Ragged
from cellgate.bundle import Bundle
from cellgate.cli import run
from cellgate.codecs.units import END_ID
from cellgate.errors import DataError, UsageError
from cellgate.language import Language
from cellgate.neural_cache import NeuralCache, mixed
from cellgate.training import train

# Written for these tests: orders at a made-up counter, learned a little, and a text of other words that repeats itself.
ORDERS = [f"Table {table}: {table % 5} teas, {table % 3} buns.\n" for table in range(120)]
STRANGE = "Quartz vex jumbo, waltz!\n" * 30
CLOSE = 1e-4  # of a log-probability


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    config = {
        "writer": {"embedding": 16, "hidden": 24, "layers": 2},
        "train": {"max_steps": 100, "batch_rows": 4, "batch_tokens": 128, "threads": 1, "learning_rate": 0.01},
    }
    rows = [{"text": text} for text in [*ORDERS, *STRANGE.splitlines(keepends=True)[:1]]]
    return train("generate", rows, folder=tmp_path_factory.mktemp("cache") / "orders", config=config)


def _direct(scores: Floats, hidden: Floats, tokens: Ids | Ints, how: NeuralCache) -> Any:
    """The cache as it is defined: a sum over all places before, for each place."""
    found = np.exp(scores.astype(np.float64))
    unit = hidden / np.linalg.norm(hidden.astype(np.float64), axis=1, keepdims=True)
    begins = len(tokens) - len(scores)
    for row in range(len(scores)):
        place = begins + row
        weights = {
            before: math.exp(how.strength * float(unit[place] @ unit[before]))
            for before in range(max(0, place - how.tokens), place)
        }
        if weights:
            found[row] *= 1 - how.share
        for before, weight in weights.items():
            found[row, tokens[before + 1]] += how.share * weight / sum(weights.values())
    return found


@given(
    read=st.integers(0, 12),
    more=st.integers(1, 9),
    size=st.integers(1, 15),
    strength=st.floats(0, 300),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_net_and_cache_are_mixed_as_a_direct_sum_mixes_them(read, more, size, strength, share, seed):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(more, 6)).astype(np.float32)
    scores -= np.log(np.exp(scores).sum(1, keepdims=True))
    hidden = random.normal(size=(read + more, 4)).astype(np.float32)
    tokens = random.integers(0, 6, read + more)
    how = NeuralCache(size, strength, share)
    found = np.exp(mixed(scores, hidden, tokens, how))
    np.testing.assert_allclose(found, _direct(scores, hidden, tokens, how), atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("size", [3, 50, 5_000])
def test_a_text_read_in_parts_is_foretold_as_the_direct_sum_foretells_it(orders: Bundle, size: int) -> None:
    """In whatever parts, shorter and longer than the cache."""
    how = NeuralCache(size, 8.0, 0.3)
    text = "".join(ORDERS[:30]) + STRANGE[:100]
    ids = np.array([END_ID, *orders.model.source.encode([text])["tokens"].values[1:]], np.int32)
    inputs = {"tokens": ids[None].astype(np.int64), "lengths": np.array([len(ids)])}
    outputs, _ = orders.graph.run(inputs, orders.model.begun.state, ("hidden",))
    wanted = np.log(_direct(outputs["scores"][0], outputs["hidden"][0], ids, how))
    cached = orders.recalling(how)
    for at_once in (1, 7, 0):
        runs = list(cached.model.read({"tokens": Ragged.of([ids])}, cached.model.begun, at_once))
        found = np.concatenate([foretold for _, foretold in runs])
        np.testing.assert_allclose(found, wanted[np.arange(len(ids) - 1), ids[1:]], atol=CLOSE)
        np.testing.assert_allclose(runs[-1][0].outputs["scores"][0], wanted[-1], atol=CLOSE)
    np.testing.assert_allclose(Language.of(cached).chances(ids[1:]), found, atol=CLOSE)
    assert set(orders.graph.run(inputs, orders.model.begun.state)[0]) == {"scores"}


def test_a_text_that_repeats_itself_is_foretold_better_and_its_beginning_as_before(orders: Bundle) -> None:
    text = [{"text": STRANGE}]
    static, cached = (Language.of(each).evaluate(text) for each in (orders, orders.recalling(NeuralCache())))
    assert cached["n"] == static["n"]
    assert cached["nats"] < 0.9 * static["nats"]
    first, same = (Language.of(each).score("Q") for each in (orders, orders.recalling(NeuralCache())))
    assert first.log_probabilities[0] == same.log_probabilities[0]


def test_a_saved_session_keeps_its_cache_and_no_more(orders: Bundle, tmp_path: Path) -> None:
    cached = orders.recalling(NeuralCache(40, 8.0, 0.3))
    text, saved = STRANGE * 4, tmp_path / "saved"
    whole = cached.session()
    wanted = whole.feed(text).foretold
    session, found, sizes = cached.session(), list[Floats](), list[int]()
    for start in range(0, len(text), 301):
        found.append(session.feed(text[start : start + 301]).foretold)
        session.save(saved)
        sizes.append(saved.stat().st_size)
        session = cached.session(saved)
    np.testing.assert_allclose(np.concatenate(found), wanted, atol=CLOSE)
    np.testing.assert_allclose(session.end().scores, whole.end().scores, atol=CLOSE)
    assert max(sizes) - min(sizes) < 20
    for other, sentence in (
        (orders, r"saved with NeuralCache\(tokens=40"),
        (orders.recalling(NeuralCache()), "the same"),
    ):
        with pytest.raises(DataError, match=sentence):
            other.session(saved)


# Refusals


def test_what_has_no_cache_says_so(bundle: Bundle, orders: Bundle) -> None:
    with pytest.raises(UsageError, match=r"a cache is for models that write, and .* answers \(classify\)"):
        bundle.recalling(NeuralCache())
    before = replace(orders, graph=replace(orders.graph, outputs={"scores": ["batch", "time", "vocabulary"]}))
    with pytest.raises(UsageError, match="does not tell what a cache keeps; train it again"):
        before.recalling(NeuralCache())
    for wrong in ({"tokens": 0}, {"strength": -1.0}, {"strength": math.nan}, {"share": 1.0}, {"share": 0.0}):
        with pytest.raises(UsageError, match="cache: tokens above 0"):
            NeuralCache(**wrong)


# The command line


def test_figures_with_a_cache_stand_beside_those_without(orders: Bundle, tmp_path: Path, capsys: Any) -> None:
    file, folder = tmp_path / "strange.txt", str(orders.folder)
    file.write_text(STRANGE, "utf-8")
    told = []
    for flags in ([], ["--cache", "500"], ["--cache", "500", "--cache-share", "0.5", "--cache-strength", "2"]):
        assert run(["evaluate", folder, str(file), "--json", *flags]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert "cached" not in told[0]
    assert told[0]["nats"] == told[1]["nats"] == told[2]["nats"]
    assert len({told[0]["nats"], told[1]["cached"]["nats"], told[2]["cached"]["nats"]}) == 3
    assert run(["evaluate", folder, str(file), "--cache", "500"]) == 0
    out = capsys.readouterr().out
    assert out.count("perplexity") == 2
    assert "With a cache of 500 tokens (strength 16, share 0.2), which is another figure:" in out
    assert run(["score", folder, str(file), "--cache", "500", "--format", "jsonl"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["cached"]["log_probability"] > scored["log_probability"]
    assert len(scored["cached"]["tokens"]) == len(scored["tokens"])
    for form in ([], ["--by", "token"], ["--by", "line"], ["--format", "html"]):
        assert run(["score", folder, str(file), *form]) == 0
        alone = capsys.readouterr().out
        assert run(["score", folder, str(file), "--cache", "500", *form]) == 0
        beside = capsys.readouterr().out
        assert len(beside) > len(alone)
        assert beside.count("\n") == alone.count("\n")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--cache", "0"], "cache: tokens above 0"),
        (["--cache-share", "0.2"], "--cache-share is a setting of a cache; give its size too: --cache TOKENS"),
        (["--adapt-rate", "0"], "adapting: rate and tokens above 0"),
    ],
)
def test_what_is_asked_wrongly_is_said_before_anything_is_judged(
    orders, flags, sentence, tmp_path, capsys, monkeypatch
):
    def judged(*_: object) -> None:
        raise AssertionError("judged before it was refused")

    monkeypatch.setattr(Language, "evaluate", judged)
    file = tmp_path / "strange.txt"
    file.write_text(STRANGE, "utf-8")
    assert run(["evaluate", str(orders.folder), str(file), *flags]) == 2
    assert sentence in capsys.readouterr().err
