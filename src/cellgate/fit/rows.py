"""Rows as a training's batches: those of like length together, in an order of its own each epoch."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cellgate.batch import Array, Ints, Ragged
from cellgate.config import TrainConfig
from cellgate.data.batching import epoch_order
from cellgate.data.cache import EncodedRows
from cellgate.fit.feed import Batch, Course, EpochBatches, Feed, Verdict, as_tensors
from cellgate.metrics import TELLING_ROWS

_TAGGED_TOKENS = 12_000_000  # read in all epochs together, where each is tagged
_PREPARE_ROWS = 200_000  # rows a net looks at before training: enough to count n-grams by


@dataclass(frozen=True, slots=True)
class RowFeed(Feed):
    """Encoded rows, which of them train, how long each is, and how rows become a net's tensors."""

    rows: EncodedRows
    train: Ints
    lengths: Ints  # of every row, in tokens
    inputs: Callable[[Mapping[str, Ragged]], Mapping[str, Array]]
    target: Callable[[Mapping[str, Ragged]], Mapping[str, Array]]
    chances: npt.NDArray[np.float64] | None = None
    """Of each training row to be drawn [train]; None: an epoch takes each once."""
    by_token: bool = False  # whether each token has an answer of its own

    def tensors(self, rows: Ints) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Inputs and target of the named rows."""
        taken = self.rows.take(rows)
        return as_tensors(self.inputs(taken)), as_tensors(self.target(taken))

    def course(self, config: TrainConfig) -> Course:
        """Epochs over all rows (drawn epochs differ in their steps)."""
        rows = len(self.train)
        together = rows_a_step(rows, config, by_token=self.by_token)
        lengths = self.lengths[self.train]

        def steps_of(epoch: int) -> EpochBatches:
            order = epoch_order(
                lengths,
                rows=together,
                tokens=config.batch_tokens,
                seed=config.seed,
                epoch=epoch,
                chances=self.chances,
            )
            return EpochBatches(len(order), lambda place: self._batch(self.train[order[place]]))

        steps_each = steps_of(0).count
        epochs = config.epochs
        if epochs == "auto":
            epochs = automatic_epochs(rows, int(lengths.sum()), steps_each, by_token=self.by_token)
        return Course(epochs, min(steps_each * epochs, config.max_steps or steps_each * epochs), together, steps_of)

    def _batch(self, rows: Ints) -> Batch:
        inputs, target = self.tensors(rows)
        return Batch(inputs, target, int(self.lengths[rows].sum()))

    def first_look(self, config: TrainConfig) -> Iterator[tuple[Mapping[str, Array], Mapping[str, Array]]]:
        """Training rows in order, at most 200,000 of them in batches spread over all."""
        rows = rows_a_step(len(self.train), config, by_token=self.by_token)
        every = max(1, math.ceil(len(self.train) / _PREPARE_ROWS))
        for start in range(0, len(self.train), rows * every):
            taken = self.rows.take(self.train[start : start + rows])
            yield self.inputs(taken), self.target(taken)


def verdict(metrics: Mapping[str, float]) -> Verdict:
    """The first metric, a share of dev rows, is the one to raise.

    Half its standard error is tolerated, for a later epoch was taught with a lower rate; and anything where dev is too
    small to tell epochs apart.
    """
    score, rows = next(iter(metrics.values())), int(metrics["n"])
    return Verdict(metrics, score, 0.5 * math.sqrt(score * (1 - score) / rows) if rows >= TELLING_ROWS else 1.0)


def rows_a_step(rows: int, config: TrainConfig, *, by_token: bool) -> int:
    """How many of so many rows make a batch: few rows want small ones, or there are too few steps to learn in.

    Where each token has an answer of its own, a row teaches more: half as many do until rows are tens of thousands.
    """
    most = max(16, rows // 1_000) if by_token else config.batch_rows
    return min(config.batch_rows, max(8, rows // 40), most)


def automatic_epochs(rows: int, tokens: int, steps: int, *, by_token: bool) -> int:
    """Passes over data of so many rows, tokens and steps.

    12 for thousands of rows, 4 for tens of thousands or for millions of tokens, more where there are few steps. Where
    each token has an answer of its own, 12 up to a million tokens: it is learned longer before it is learned by heart.
    """
    usual = round(_TAGGED_TOKENS / tokens) if by_token else min(round(140_000 / rows), round(25_000_000 / tokens))
    return max(4, min(12, usual), min(40, math.ceil(400 / steps)))
