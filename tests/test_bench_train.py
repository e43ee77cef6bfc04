"""The benchmark of training: arms are the same net, batches the same, its record is drawn. No timings."""

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cellgate import bench
from cellgate.batch import Ragged
from cellgate.bench import results, reviews, rounds, train
from cellgate.bench.arms import ARMS, Classifier, classifier
from cellgate.bench.reviews import Batch
from cellgate.bench.sizes import Sizes
from cellgate.cli import run
from cellgate.errors import UsageError, WorkError

GOOD, BAD = "a good film , truly good and fine", "a bad film"
TRAIN = [(GOOD, "pos"), (BAD, "neg")] * 40
TEST = [("good , fine", "pos"), ("bad unseen film", "neg"), ("\x1c", "neg")]


def write_set(folder: Path) -> None:
    folder.mkdir(parents=True)
    for part, rows in (("train", TRAIN), ("test", TEST)):
        lines = ["label\trating\tid\ttext", *(f"{label}\t1\t1\t{text}" for text, label in rows)]
        (folder / f"{part}.tsv.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> reviews.Reviews:
    write_set(tmp_path / "imdb")
    monkeypatch.setenv("CELLGATE_DATA", str(tmp_path))
    return reviews.load("imdb")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix product that is never slow."""
    monkeypatch.setattr(train, "sgemm_gflops", lambda: 100.0)


def batch(*lengths: int) -> Batch:
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 50, (len(lengths), max(lengths)), generator=random)
    sizes = torch.tensor(lengths)
    return Batch(
        ids.masked_fill(torch.arange(max(lengths)) >= sizes[:, None], 0), sizes, torch.arange(len(lengths)) % 2
    )


# what is trained


def test_words_are_learned_from_train_and_padding_is_none_of_them(data: reviews.Reviews) -> None:
    assert (len(data.train.rows), len(data.test.rows), data.kinds) == (80, 3, 2)
    # padding, the unknown word and the empty text, and 8 words
    assert data.words == 3 + len(set(f"{GOOD} {BAD}".split()))
    assert sorted(data.test.rows.lengths) == [1, 3, 3]
    assert int(data.test.rows.values.min()) == 1  # the unknown word
    assert [len(each) for each in (data.train.labels, data.test.labels)] == [80, 3]


def test_long_texts_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "MAX_TOKENS", 4)
    write_set(tmp_path / "imdb")
    monkeypatch.setenv("CELLGATE_DATA", str(tmp_path))
    assert reviews.load("imdb").train.rows.lengths.max() == 4


def test_batches_are_the_same_for_a_seed_and_hold_every_row() -> None:
    rows = Ragged.of([np.full(1 + place % 9, place, np.int32) for place in range(150)])
    texts = reviews.Texts(rows, np.arange(150))
    first, again, other = (list(itertools.islice(reviews.training_batches(texts, seed), 6)) for seed in (0, 0, 1))
    answered = list(reviews.answer_batches(texts))
    for epoch in (first[:3], first[3:], other[:3]):
        assert sorted(len(each.ids) for each in epoch) == [22, 64, 64]
    assert all(len(each.ids) <= 64 and each.lengths.max() <= 1.25 * each.lengths.min() + 2 for each in answered)
    for epoch in (first[:3], first[3:], other[:3], answered):
        assert sorted(label for each in epoch for label in each.labels.tolist()) == list(range(150))
    assert all(torch.equal(one.labels, two.labels) for one, two in zip(first, again, strict=True))
    assert not all(
        len(one.ids) == len(two.ids) and torch.equal(one.labels, two.labels)
        for one, two in zip(first[:3], other[:3], strict=True)
    )
    for ids, lengths, labels in first:
        inside = torch.arange(ids.shape[1]) < lengths[:, None]
        assert torch.equal(ids, torch.where(inside, labels[:, None], 0))


# the arms


def test_arms_begin_with_the_same_weights_and_leave_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    nets = [classifier(arm, 50, 2, seed=3) for arm in ARMS]
    assert torch.equal(state, torch.get_rng_state())
    names = [[name for name, _ in net.named_parameters()] for net in nets]
    assert names[0] == names[1] == names[2]
    for parameters in zip(*(net.parameters() for net in nets), strict=True):
        assert all(torch.equal(parameters[0], each) for each in parameters)
    assert not torch.equal(nets[0].linear.weight, classifier("ours", 50, 2, seed=4).linear.weight)


def gradients(net: Classifier, given: Batch) -> list[torch.Tensor]:
    net.zero_grad()
    F.cross_entropy(net(given.ids, given.lengths), given.labels).backward()  # type: ignore[no-untyped-call]
    return [parameter.grad for parameter in net.parameters() if parameter.grad is not None]


@pytest.mark.parametrize(("lengths", "same"), [((7, 3, 5, 1), ["packed"]), ((6, 6), ["packed", "padded"])])
def test_ours_is_packed_and_without_padding_padded_too(lengths: tuple[int, ...], same: list[str]) -> None:
    given = batch(*lengths)
    ours = classifier("ours", 50, 2, seed=0)
    for arm in same:
        net = classifier(arm, 50, 2, seed=0)
        torch.testing.assert_close(net(*given[:2]), ours(*given[:2]), atol=1e-5, rtol=1e-5)
        for theirs, wanted in zip(gradients(net, given), gradients(ours, given), strict=True):
            torch.testing.assert_close(theirs, wanted, atol=1e-5, rtol=1e-4)


def test_what_padding_holds_changes_nothing_but_in_padded() -> None:
    ids, lengths, _ = batch(7, 3)
    dirty = torch.where(ids == 0, 9, ids)
    changed = {}
    for arm in ARMS:
        net = classifier(arm, 50, 2, seed=0)
        changed[arm] = not torch.allclose(net(ids, lengths), net(dirty, lengths), atol=1e-6)
    assert changed == {"ours": False, "packed": False, "padded": True}


# the record


def test_a_record_says_what_was_trained(data: reviews.Reviews, quick: None) -> None:
    told = json.loads(json.dumps(train.train(Sizes(threads=1, rounds=2, steps=6), seeds=(0, 5))))
    assert (told["bench"], told["set"], told["threads"], told["steps"]) == ("train", "imdb", 1, 6)
    assert told["seeds"] == [0, 5]
    assert "seed" not in told  # one record for all of them
    assert (told["rounds_kept"], told["rounds_thrown_away"], told["sgemm_gflops"]) == (2, 0, 100)
    assert "6 steps of 64 texts of like length: 4.80 passes over 80 rows" in told["trained"]
    assert "--threads 1 --rounds 2 --steps 6 --seed 0 --seed 5" in told["command"]
    assert list(told["arms"]) == ["ours", "padded", "packed"]
    assert told["arms"]["ours"]["ours_is_faster"] == 1
    for arm in ("padded", "packed"):
        ratio = told["arms"]["ours"]["tokens_per_second"] / told["arms"][arm]["tokens_per_second"]
        assert told["arms"][arm]["ours_is_faster"] == pytest.approx(ratio, rel=1e-2)
    for arm in ("ours", "padded"):
        assert len(told["arms"][arm]["accuracies"]) == 2
        assert 0 <= told["arms"][arm]["accuracy"] <= 1
    assert "accuracy" not in told["arms"]["packed"]
    assert sum(verdict["serves"] for verdict in told["backends"]) == 1


def test_packed_is_trained_to_the_end_where_asked(data: reviews.Reviews, quick: None) -> None:
    told = train.train(Sizes(threads=1, rounds=1, steps=4, packed_accuracy=True), seeds=(0,))
    assert told["arms"]["packed"]["accuracies"] == told["arms"]["ours"]["accuracies"]
    assert told["command"].endswith("--packed-accuracy")


def test_it_learns(data: reviews.Reviews) -> None:
    assert train._accuracy("ours", data, steps=30, seed=0) >= 2 / 3  # the third test row has no word


def test_blocks_during_noise_are_thrown_away(data: reviews.Reviews, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([100.0, 100, 84, 100, 100, 86])  # before and after each of three blocks
    monkeypatch.setattr(train, "sgemm_gflops", lambda: next(told))
    kept = train._rates(data, rounds=2, seed=0)
    assert (len(kept.rounds), kept.thrown_away) == (2, 1)
    assert list(kept.rounds[0].figures) == ["ours", "padded", "packed"]
    slower = iter([100.0, 80.0] * 3)
    monkeypatch.setattr(train, "sgemm_gflops", lambda: next(slower))
    with pytest.raises(WorkError, match="too noisy to measure imdb"):
        train._rates(data, rounds=1, seed=0)


def test_rates_count_real_tokens(data: reviews.Reviews, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "_seconds", lambda training, block: float(sum(int(b.lengths.sum()) for b in block)))
    kept = train._rates(data, rounds=2, seed=0)
    assert all(each.figures == dict.fromkeys(ARMS, 1.0) for each in kept.rounds)


def test_a_record_is_drawn_with_targets() -> None:
    machine = {"cpu": "Abacus 3000", "cores": 2, "memory_gb": 24}
    stamp = {"machine": machine, "commit": "abc1234", "date": "2026-01-02T03:04:05+00:00", "command": "cellgate bench"}
    arms = {
        "ours": {"tokens_per_second": 101_000, "ours_is_faster": 1.0, "accuracies": [0.85, 0.87], "accuracy": 0.86},
        "padded": {"tokens_per_second": 34_000, "ours_is_faster": 2.97, "accuracies": [0.85, 0.86], "accuracy": 0.855},
        "packed": {"tokens_per_second": 5_900, "ours_is_faster": 17.1},
    }
    record = {"bench": "train", "set": "imdb", "threads": 2, "seeds": [0, 1], "steps": 800, "arms": arms, **stamp}
    page = results.render([{**record, "trained": "BiLSTM, 800 steps"}])
    stamped = "2 | A | abc1234 | 2026-01-02 |"
    assert f"| ours | 101,000 | - | 86.00 % | 0, 1 | 800 steps | {stamped}" in page
    faster = "2.97 x (target ≥ 3.00 x: not reached)"
    assert f"| torch padded | 34,000 | {faster} | 85.50 % | 0, 1 | 800 steps | {stamped}" in page
    assert f"| torch packed | 5,900 | 17.10 x (target ≥ 15.00 x: reached) | - | - | - | {stamped}" in page
    assert "- Trained: BiLSTM, 800 steps" in page


# the command


def test_the_command_passes_seeds_and_sizes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Sizes, tuple[int, ...]]] = []

    def measured(sizes: Sizes, seeds: tuple[int, ...]) -> dict[str, object]:
        asked.append((sizes, tuple(seeds)))
        return {"bench": "train"}

    monkeypatch.setattr(train, "train", measured)
    assert run(["bench", "train", "--steps", "7", "--packed-accuracy", "--json"]) == 0
    assert run(["bench", "train", "--seed", "4", "--json"]) == 0
    assert asked == [(Sizes(steps=7, packed_accuracy=True), (0, 1, 2)), (Sizes(), (4,))]
    assert capsys.readouterr().out == '{"bench": "train"}\n' * 2


def test_a_set_that_is_not_here_stops_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELLGATE_DATA", raising=False)
    with pytest.raises(UsageError, match="CELLGATE_DATA is not set"):
        next(bench.run("speed", ["train"], sizes=Sizes(rounds=1)))
    assert rounds.checked_threads(1) == 1
