"""The training loop, top to bottom."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cellgate.batch import Array, Ints, Ragged
from cellgate.config import TrainConfig
from cellgate.data.batching import epoch_order
from cellgate.data.cache import EncodedRows
from cellgate.fit.checkpoint import Progress, load_checkpoint, save_checkpoint
from cellgate.fit.events import Done, Epoch, Event, Saved, Step

_PREPARE_ROWS = 200_000  # rows a net looks at before training: enough to count n-grams by


@dataclass(frozen=True, slots=True)
class Data:
    """Encoded rows, which of them train, how long each is, and how rows become a net's tensors."""

    rows: EncodedRows
    train: Ints
    lengths: Ints  # of every row, in tokens
    inputs: Callable[[Mapping[str, Ragged]], dict[str, Array]]
    target: Callable[[Mapping[str, Ragged]], dict[str, Array]]

    def tensors(self, rows: Ints) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Inputs and target of the named rows."""
        taken = self.rows.take(rows)
        return as_tensors(self.inputs(taken)), as_tensors(self.target(taken))


def as_tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Share the memory of numpy arrays."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def fit(
    net: nn.Module,
    data: Data,
    config: TrainConfig,
    evaluate: Callable[[], Mapping[str, float]],
    checkpoint: Path,
) -> Iterator[Event]:
    """Train `net` in place and leave it with the weights of its best epoch.

    `evaluate` scores the net on dev; the first of its metrics is the one to raise. A checkpoint that exists is
    gone on from. Every step seeds its own randomness, so nothing random has to be saved.
    """
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    torch.set_flush_denormal(True)  # Adam's moments of rows seldom seen decay to denormals, 100 times slower
    net.train()
    batch_rows, steps, epochs = _length_of_training(data, config)
    progress = Progress()
    if not checkpoint.exists():
        _seed(config.seed, 0)
        net.prepare(_prepare_batches(data, batch_rows))  # type: ignore[operator]
    optimizer = None
    if checkpoint.exists():
        progress, optimizer = load_checkpoint(checkpoint, net, lambda: _optimizer(net, config))
    optimizer = optimizer or _optimizer(net, config)
    peaks = [group["lr"] for group in optimizer.param_groups]
    saved_at = time.monotonic()
    reason = "all epochs done"
    while progress.epoch < epochs and progress.step < steps:
        epoch = progress.epoch
        order = epoch_order(
            data.lengths[data.train],
            rows=batch_rows,
            tokens=config.batch_tokens,
            seed=config.seed,
            epoch=epoch,
        )
        started = time.monotonic()
        for place in range(progress.place, len(order)):
            began = time.monotonic()
            rows = data.train[order[place]]
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * one_cycle(min(1.0, progress.step / steps))
            _seed(config.seed, progress.step + 1)
            inputs, target = data.tensors(rows)
            loss = net.loss(inputs, target)  # type: ignore[operator]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for group in optimizer.param_groups:  # each half on its own: they share no weights
                nn.utils.clip_grad_norm_(group["params"], config.clip)
            optimizer.step()
            progress = progress.after_step(loss.item())
            seconds = time.monotonic() - began
            try:
                yield Step(
                    progress.step, steps, epoch + 1, loss.item(), int(data.lengths[rows].sum()), seconds
                )
            except GeneratorExit:  # asked to stop between two steps: keep what was learned
                save_checkpoint(checkpoint, net, optimizer, progress)
                raise
            if time.monotonic() - saved_at > config.checkpoint_seconds:
                save_checkpoint(checkpoint, net, optimizer, progress)
                saved_at = time.monotonic()
                yield Saved(progress.step)
            if progress.step >= steps:
                break
        net.eval()
        metrics = evaluate()
        net.train()
        score = next(iter(metrics.values()))
        better = score >= progress.best_score  # of equals the later one: it was taught with a lower rate
        loss_mean = progress.loss_sum / max(1, progress.place)
        progress = progress.after_epoch(score, net if better else None)
        yield Epoch(epoch + 1, epochs, loss_mean, metrics, better, time.monotonic() - started)
        if progress.epoch - progress.best_epoch >= config.patience:
            reason = f"no better dev metric for {config.patience} epochs"
            break
    if progress.best_weights:
        net.load_state_dict(progress.best_weights)
    net.eval()
    yield Done(reason, {"steps": progress.step, "best_epoch": progress.best_epoch})


def one_cycle(done: float) -> float:
    """Share of the peak learning rate after `done` (0 to 1) of training: up for a fifth, then down a cosine."""
    warm = 0.2
    if done < warm:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * done / warm)) / 2
    return max(1e-4, (1 + math.cos(math.pi * (done - warm) / (1 - warm))) / 2)


def _optimizer(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = net.parameter_groups(config)  # type: ignore[operator]
    return torch.optim.AdamW(groups, fused=True)


def _seed(seed: int, step: int) -> None:
    torch.manual_seed(seed * 1_000_003 + step)


def _prepare_batches(data: Data, rows: int) -> Iterator[dict[str, Array]]:
    """Training inputs in order, at most _PREPARE_ROWS rows spread over all of them."""
    stride = max(1, math.ceil(len(data.train) / _PREPARE_ROWS))
    chosen = data.train[::stride]
    for start in range(0, len(chosen), rows):
        yield data.inputs(data.rows.take(chosen[start : start + rows]))


def _length_of_training(data: Data, config: TrainConfig) -> tuple[int, int, int]:
    """Rows a batch, steps in all, epochs."""
    rows = len(data.train)
    # Few rows want small batches, or there are too few steps to learn in.
    batch_rows = min(config.batch_rows, max(8, rows // 40))
    steps_each = len(
        epoch_order(
            data.lengths[data.train], rows=batch_rows, tokens=config.batch_tokens, seed=config.seed, epoch=0
        )
    )
    epochs = config.epochs if config.epochs != "auto" else automatic_epochs(rows, steps_each)
    steps = steps_each * epochs
    return batch_rows, min(steps, config.max_steps or steps), epochs


def automatic_epochs(rows: int, steps: int) -> int:
    """Passes over `rows` rows: 12 for thousands, 4 for tens of thousands, more where there are few steps."""
    return max(4, min(12, round(140_000 / rows)), min(40, math.ceil(400 / steps)))
