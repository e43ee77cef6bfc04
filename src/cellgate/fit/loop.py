"""The training loop, top to bottom."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cellgate.batch import Array, Ints, Ragged
from cellgate.config import TrainConfig, usable_cores
from cellgate.data.batching import epoch_order
from cellgate.data.cache import EncodedRows
from cellgate.fit.checkpoint import Progress, load_checkpoint, save_checkpoint
from cellgate.fit.events import Done, Epoch, Event, Saved, Step
from cellgate.fit.process import flushed_denormals, keep_freed_memory
from cellgate.fit.rowwise import RowwiseAdamW
from cellgate.metrics import TELLING_ROWS
from cellgate.nets.net import Net, Tensors

_PREPARE_ROWS = 200_000  # rows a net looks at before training: enough to count n-grams by
_BY_ROW = 2**23  # weights of a table; below, a dense step takes no longer (at twice as many, three times as long)


@dataclass(frozen=True, slots=True)
class Data:
    """Encoded rows, which of them train, how long each is, and how rows become a net's tensors."""

    rows: EncodedRows
    train: Ints
    lengths: Ints  # of every row, in tokens
    inputs: Callable[[Mapping[str, Ragged]], Mapping[str, Array]]
    target: Callable[[Mapping[str, Ragged]], Mapping[str, Array]]
    chances: npt.NDArray[np.float64] | None = None
    """Of each training row to be drawn [train]; None: an epoch takes each once."""

    def tensors(self, rows: Ints) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Inputs and target of the named rows."""
        taken = self.rows.take(rows)
        return as_tensors(self.inputs(taken)), as_tensors(self.target(taken))


def as_tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Share the memory of numpy arrays."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def fit(
    net: Net, data: Data, config: TrainConfig, evaluate: Callable[[], Mapping[str, float]], checkpoint: Path
) -> Generator[Event, None, Progress]:
    """Train `net` in place and leave it with the weights of its best epoch; returns how it went.

    `evaluate` scores the net on dev; the first of its metrics is the one to raise. A checkpoint that exists is
    gone on from. Every step seeds its own randomness (torch's global generator), so nothing random is saved.
    """
    torch.set_num_threads(config.threads or usable_cores())
    keep_freed_memory()
    course = _course(data, config)
    if not net.parameter_groups(config):
        _prepare(net, data, config, course)
        net.eval()
        yield Done("solved at once, without steps", {"steps": 0, "kept_epoch": 0})
        return Progress()
    progress, optimizer = _begin(net, data, config, course, checkpoint)
    peaks = [group["lr"] for group in optimizer.groups]
    saved_at = time.monotonic()
    reason = "all epochs done"
    # An epoch that was cut short by the last step, or stopped after it, is still to be evaluated.
    while progress.epoch < course.epochs and (progress.step < course.steps or progress.place):
        started = time.monotonic()
        net.train()
        order = course.order(progress.epoch)
        while progress.place < len(order) and progress.step < course.steps:
            began = time.monotonic()
            rows = data.train[order[progress.place]]
            for group, peak in zip(optimizer.groups, peaks, strict=True):
                group["lr"] = peak * one_cycle(min(1.0, progress.step / course.steps))
            _seed(config.seed, progress.step + 1)
            loss = _learn(net, optimizer, data.tensors(rows), config.clip)
            progress = progress.after_step(loss)
            tokens, seconds = int(data.lengths[rows].sum()), time.monotonic() - began
            try:
                yield Step(progress.step, course.steps, progress.epoch + 1, loss, tokens, seconds)
            except GeneratorExit:  # asked to stop between two steps: keep what was learned
                save_checkpoint(checkpoint, net, optimizer, progress)
                raise
            if time.monotonic() - saved_at > config.checkpoint_seconds:
                save_checkpoint(checkpoint, net, optimizer, progress)
                saved_at = time.monotonic()
                yield Saved(progress.step)
        with flushed_denormals():
            optimizer.catch_up()
        net.eval()
        metrics = evaluate()
        score = next(iter(metrics.values()))
        kept = score >= progress.best_score - _tolerance(score, int(metrics["n"]))
        progress = progress.after_epoch(score, net if kept else None)
        yield Epoch(progress.epoch, course.epochs, progress.losses[-1], metrics, kept, time.monotonic() - started)
        if progress.epoch - progress.kept_epoch >= config.patience:
            reason = f"no better dev metric for {config.patience} epochs"
            break
    net.load_state_dict(progress.kept_weights)
    net.eval()
    yield Done(reason, {"steps": progress.step, "kept_epoch": progress.kept_epoch})
    return progress


def _tolerance(score: float, dev_rows: int) -> float:
    """How far below the best dev metric a later epoch is still preferred: it was taught with a lower rate.

    Half the metric's standard error; and anything where dev is too small to tell epochs apart.
    """
    return 0.5 * math.sqrt(score * (1 - score) / dev_rows) if dev_rows >= TELLING_ROWS else 1.0


@flushed_denormals()
def _begin(
    net: Net, data: Data, config: TrainConfig, course: "_Course", checkpoint: Path
) -> tuple[Progress, RowwiseAdamW]:
    """Start from the checkpoint, or from nothing."""
    if checkpoint.exists():
        return load_checkpoint(checkpoint, net, lambda: _optimizer(net, config))
    _prepare(net, data, config, course)
    return Progress(), _optimizer(net, config)


def _prepare(net: Net, data: Data, config: TrainConfig, course: "_Course") -> None:
    _seed(config.seed, 0)
    net.prepare(lambda: _prepare_batches(data, course.batch_rows))


@flushed_denormals()
def _learn(net: Net, optimizer: RowwiseAdamW, batch: tuple[Tensors, Tensors], clip: float) -> float:
    """One step on a batch of inputs and target; returns its loss."""
    with optimizer.reading():
        loss = net.loss(*batch)
    torch.autograd.backward(loss)
    optimizer.clip(clip)
    optimizer.step()
    return loss.item()


def one_cycle(done: float) -> float:
    """Share of the peak learning rate after `done` (0 to 1) of training: up for a fifth, then down a cosine."""
    warm = 0.2
    if done < warm:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * done / warm)) / 2
    return max(1e-4, (1 + math.cos(math.pi * (done - warm) / (1 - warm))) / 2)


def _optimizer(net: Net, config: TrainConfig) -> RowwiseAdamW:
    large = [table for table in net.tables if table.weight.numel() >= _BY_ROW]
    return RowwiseAdamW(net.parameter_groups(config), large)


def _seed(seed: int, step: int) -> None:
    torch.manual_seed(seed * 1_000_003 + step)


def _prepare_batches(data: Data, rows: int) -> Iterator[tuple[Mapping[str, Array], Mapping[str, Array]]]:
    """Inputs and target of training rows in order, at most _PREPARE_ROWS rows in batches spread over all of them."""
    every = max(1, math.ceil(len(data.train) / _PREPARE_ROWS))
    for start in range(0, len(data.train), rows * every):
        taken = data.rows.take(data.train[start : start + rows])
        yield data.inputs(taken), data.target(taken)


@dataclass(frozen=True, slots=True)
class _Course:
    """How long training is: rows a batch, epochs, steps in all (drawn epochs differ in theirs)."""

    batch_rows: int
    epochs: int
    steps: int
    order: Callable[[int], list[Ints]]
    """The batches of an epoch."""


def _course(data: Data, config: TrainConfig) -> _Course:
    rows = len(data.train)
    lengths = data.lengths[data.train]
    batch_rows = rows_a_step(rows, config)

    def order(epoch: int) -> list[Ints]:
        return epoch_order(
            lengths,
            rows=batch_rows,
            tokens=config.batch_tokens,
            seed=config.seed,
            epoch=epoch,
            chances=data.chances,
        )

    steps_each = len(order(0))
    epochs = config.epochs
    if epochs == "auto":
        epochs = automatic_epochs(rows, int(lengths.sum()), steps_each)
    steps = min(steps_each * epochs, config.max_steps or steps_each * epochs)
    return _Course(batch_rows, epochs, steps, order)


def rows_a_step(rows: int, config: TrainConfig) -> int:
    """How many of so many rows make a batch: few rows want small ones, or there are too few steps to learn in."""
    return min(config.batch_rows, max(8, rows // 40))


def automatic_epochs(rows: int, tokens: int, steps: int) -> int:
    """Passes over data of so many rows, tokens and steps.

    12 for thousands of rows, 4 for tens of thousands or for millions of tokens, more where there are few steps.
    """
    usual = min(12, round(140_000 / rows), round(25_000_000 / tokens))
    return max(4, usual, min(40, math.ceil(400 / steps)))
