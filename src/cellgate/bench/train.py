"""Training a plain BiLSTM classifier: torch padded, torch packed, and ours, on the same batches from the same weights.

Rates are of short blocks of steps that the arms take in turn; accuracy is of trainings of their own, to the end.
"""

import itertools
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.optim import Adam

from cellgate.bench import reviews
from cellgate.bench.arms import ARMS, EMBEDDING, HIDDEN, Classifier, classifier
from cellgate.bench.child import CELLGATE
from cellgate.bench.machine import Record, stamp
from cellgate.bench.reviews import BATCH_ROWS, MAX_TOKENS, Batch, Reviews, Texts
from cellgate.bench.rounds import Kept, Round, checked_threads, gathered, sgemm_gflops, significant, torch_threads
from cellgate.bench.sizes import Sizes
from cellgate.ops import Weights, backends

SET = "imdb"
SEEDS = (0, 1, 2)
_BLOCK_STEPS = 5
_LEARNING_RATE = 1e-3


def train(sizes: Sizes, seeds: Sequence[int] = SEEDS) -> Record:
    """Measure, and return the record: tokens a second and accuracy on test of each arm, and ratios of rates.

    Only train rows are trained on; test rows are answered once at the end, and nothing is chosen by them.
    """
    threads = checked_threads(sizes.threads)
    command = ["bench", "train", "--threads", str(threads), "--rounds", str(sizes.rounds), "--steps", str(sizes.steps)]
    for seed in seeds:
        command += ["--seed", str(seed)]
    about = stamp([*CELLGATE, *command, *(["--packed-accuracy"] if sizes.packed_accuracy else [])])
    data = reviews.load(SET)
    with torch_threads(threads):
        kept = _rates(data, sizes.rounds, seeds[0])
        trained = [arm for arm in ARMS if arm != "packed" or sizes.packed_accuracy]
        found = {arm: [_accuracy(arm, data, sizes.steps, seed) for seed in seeds] for arm in trained}
    rates = {arm: kept.median(arm) for arm in ARMS}
    return {
        "bench": "train",
        "set": SET,
        "threads": threads,
        "gomp_spincount": os.environ.get("GOMP_SPINCOUNT", "default"),
        "backends": _verdicts(),
        "trained": _in_words(data, sizes.steps),
        "steps": sizes.steps,
        "seeds": list(seeds),
        "train_rows": len(data.train.rows),
        "test_rows": len(data.test.rows),
        "words": data.words,
        "rounds": sizes.rounds,
        "rounds_kept": len(kept.rounds),
        "rounds_thrown_away": kept.thrown_away,
        "sgemm_gflops": significant(kept.sgemm),
        "arms": {arm: _told(rate, rates["ours"], found.get(arm)) for arm, rate in rates.items()},
        **about,
    }


def _in_words(data: Reviews, steps: int) -> str:
    rows = len(data.train.rows)
    return (
        f"vectors of {EMBEDDING} for {data.words:,} words, BiLSTM of {HIDDEN} a direction, maximum and mean pooled, "
        f"linear; Adam {_LEARNING_RATE:g}, texts cut at {MAX_TOKENS} tokens, {steps:,} steps of {BATCH_ROWS} texts of "
        f"like length: {steps * BATCH_ROWS / rows:.2f} passes over {rows:,} rows"
    )


def _told(rate: float, ours: float, accuracies: Sequence[float] | None) -> dict[str, Any]:
    told: dict[str, Any] = {"tokens_per_second": round(rate), "ours_is_faster": significant(ours / rate)}
    if accuracies is not None:
        told |= {"accuracies": [round(each, 6) for each in accuracies]}
        told |= {"accuracy": round(statistics.mean(accuracies), 6)}
    return told


def _rates(data: Reviews, rounds: int, seed: int) -> Kept:
    """Let the arms take turns, each with the same next few batches, and count real tokens a second."""
    batches = reviews.training_batches(data.train, seed)
    trainings = {arm: _Training(arm, data, seed) for arm in ARMS}
    first = list(itertools.islice(batches, 2))
    for training in trainings.values():
        training.take(first)  # what is built once is built before anything is timed

    def measure(place: int) -> Mapping[str, Round]:
        block = list(itertools.islice(batches, _BLOCK_STEPS))
        tokens = sum(int(batch.lengths.sum()) for batch in block)
        names = list(ARMS)
        shift = place % len(names)
        before = sgemm_gflops()
        seconds = {arm: _seconds(trainings[arm], block) for arm in names[shift:] + names[:shift]}
        return {SET: Round(before, sgemm_gflops(), {arm: tokens / each for arm, each in seconds.items()})}

    return gathered(measure, rounds)[SET]


def _seconds(training: "_Training", block: Sequence[Batch]) -> float:
    began = time.perf_counter()
    training.take(block)
    return time.perf_counter() - began


class _Training:
    """A net, its optimiser, and how they take steps."""

    def __init__(self, arm: str, data: Reviews, seed: int) -> None:
        self.net = classifier(arm, data.words, data.kinds, seed)
        self.optimizer = Adam(self.net.parameters(), lr=_LEARNING_RATE)

    def take(self, batches: Sequence[Batch]) -> None:
        """Take a step a batch."""
        for batch in batches:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.net(batch.ids, batch.lengths), batch.labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()


def _accuracy(arm: str, data: Reviews, steps: int, seed: int) -> float:
    """Train from the beginning for so many steps, and answer the test rows."""
    training = _Training(arm, data, seed)
    for batch in itertools.islice(reviews.training_batches(data.train, seed), steps):
        training.take([batch])
    return _right(training.net, data.test)


@torch.no_grad()
def _right(net: Classifier, texts: Texts) -> float:
    """Share of rows that are answered right, 0 to 1."""
    right = sum(
        int((net(batch.ids, batch.lengths).argmax(1) == batch.labels).sum()) for batch in reviews.answer_batches(texts)
    )
    return right / len(texts.rows)


def _verdicts() -> list[dict[str, Any]]:
    """Who serves the recurrence of our arm, and why the others do not."""
    zeros = Weights(torch.zeros(4 * HIDDEN, EMBEDDING), torch.zeros(4 * HIDDEN, HIDDEN), torch.zeros(4 * HIDDEN))
    return [each._asdict() for each in backends("lstm", torch.zeros(BATCH_ROWS, MAX_TOKENS, EMBEDDING), zeros)]
