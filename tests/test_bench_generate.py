"""The benchmarks of `generate`: the yardstick is a probability, sets are whole, contestants take the same steps."""

import json
from pathlib import Path

import numpy as np
import pytest

from cellgate.bench import generate, text_sets
from cellgate.bench.kneser_ney import KneserNey
from cellgate.bench.rounds import Kept, Round
from cellgate.bench.sizes import Sizes
from cellgate.bench.tables import grouped, tables
from cellgate.errors import UsageError

STAMP = {"machine": {"cpu": "x", "cores": 2, "memory_gb": 4}, "commit": "c", "date": "2026-01-01", "command": ""}


@pytest.mark.parametrize("longest", [1, 2, 5])
def test_the_yardstick_gives_probabilities_that_sum_to_one(longest: int) -> None:
    random = np.random.default_rng(0)
    text = random.choice(9, 3_000, p=np.arange(1, 10) / 45)
    text[1::3] = (text[:-1:3] + 1)[: len(text[1::3])] % 9  # every third token follows from the one before
    grams = KneserNey.learn(text, 11, longest)
    for context in ([], [3], [3, 4, 2], [10, 10], list(text[:8])):
        chances = [np.exp(grams.log_probabilities(np.array([*context, token]))[-1]) for token in range(11)]
        assert np.isclose(sum(chances), 1)
        assert min(chances) > 0


def test_longer_contexts_foretell_what_follows_from_them() -> None:
    text = np.tile([1, 2, 3, 1, 3, 2], 200)
    losses = [-KneserNey.learn(text, 5, longest).log_probabilities(text[:60]).mean() for longest in (1, 2, 3)]
    assert losses[0] > losses[1] > losses[2]


def test_texts_are_split_by_poem_and_by_place(tmp_path: Path) -> None:
    try:
        found = {name: text_sets.SETS.files(name, tmp_path) for name in text_sets.SETS.names}
    except UsageError as error:
        pytest.skip(str(error))
    plays = found["tiny_shakespeare"]
    assert len(plays.train.read_text("utf-8")) == 1_003_854
    assert len(plays.test.read_text("utf-8")) == 111_540
    poems = found["chinese_poetry"]
    assert poems.dev is not None
    parts = [
        {json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()}
        for path in (poems.train, poems.dev, poems.test)
    ]
    assert sum(map(len, parts)) == len(set.union(*parts))
    total = sum(map(len, parts))
    assert [len(part) for part in parts[1:]] == [total // 20] * 2
    assert total > 9_000


def test_contestants_take_turns_and_the_record_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "sgemm_gflops", lambda: 100.0)  # never slow
    monkeypatch.setattr(generate, "_LANES", 2)
    monkeypatch.setattr(generate, "_STEP", 4)
    small = {"embedding": 4, "hidden": 6, "samples": 8}
    for name, case in generate.CASES.items():
        net = case.net.model_copy(update=small | {"softmax": "sampled" if name == "words" else "full"})
        monkeypatch.setitem(generate.CASES, name, generate._Case(40, net))
    monkeypatch.setattr(generate, "_writing", lambda rounds: {"float_characters_per_second": 2_000})
    record = generate.generate(Sizes(threads=1, rounds=2))
    assert record["training"].keys() == {"characters", "words"}
    assert record["training"]["words"]["rounds_kept"] == 2
    assert record["training"]["words"]["ours_float32_tokens_per_second"] > 0
    trained, written = tables(grouped([record | STAMP]))
    assert [row[0] for row in trained.rows] == ["characters", "words"]
    assert "2,000 (target ≥ 1,700: reached)" in written.rows[0]


def test_how_quickly_a_bundle_writes_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    small = generate.CASES["characters"].net.model_copy(update={"embedding": 4, "hidden": 6})
    monkeypatch.setitem(generate.CASES, "characters", generate._Case(65, small))
    monkeypatch.setattr(generate, "_WRITTEN", 20)
    told = generate._writing(2)
    assert told.keys() == {"float_characters_per_second", "int8_characters_per_second"}
    assert all(pace > 0 for pace in told.values())


def test_a_ratio_is_ours_over_torchs() -> None:
    told = generate._told(Kept((Round(1, 1, {"ours": 300.0, "torch": 100.0}),), 0))
    assert told["ours_is_faster"] == 3


def test_poems_are_judged_beside_5_grams() -> None:
    record = {"bench": "quality", "task": "generate", "set": "chinese_poetry", "perplexity": 80.0, "seed": 0, **STAMP}
    (table,) = tables(grouped([record | {"kneser_ney": {"perplexity": 100.0}, "adapted": {"perplexity": 70.0}}]))
    cells = dict(zip(table.head, table.rows[0], strict=True))
    assert cells["below 5-grams"] == "20.00 % (target ≥ 15.00 %: reached)"
    assert cells["perplexity, adapting"] == "70"
