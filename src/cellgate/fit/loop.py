"""The training loop, top to bottom."""

import math
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from cellgate.config import TrainConfig, usable_cores
from cellgate.errors import WorkError
from cellgate.fit.checkpoint import Progress, load_checkpoint, save_checkpoint
from cellgate.fit.events import Done, Epoch, Event, Note, Saved, Step
from cellgate.fit.feed import Batch, Course, Feed, Verdict
from cellgate.fit.process import flushed_denormals, keep_freed_memory
from cellgate.fit.rowwise import RowwiseAdamW
from cellgate.nets.net import Net
from cellgate.ops.products import multiplying

_MOST_SKIPPED = 3  # steps whose loss was no number, after which training ends
_BY_ROW = 2**16  # weights of a table for each text of a step, from which stepping its rows read is quicker than all


def fit(
    net: Net, feed: Feed, config: TrainConfig, evaluate: Callable[[], Verdict], checkpoint: Path
) -> Generator[Event, None, Progress]:
    """Train `net` in place and leave it with the weights of its best epoch; returns how it went.

    `evaluate` judges the net on dev. A checkpoint that exists is gone on from. Every step seeds its own randomness
    (torch's global generator), so nothing random is saved. A step whose loss is no number is left out, and said; after
    three of them training ends with the best epoch so far, or is a WorkError where there is none.
    """
    torch.set_num_threads(config.threads or usable_cores())
    keep_freed_memory()
    course = feed.course(config)
    if not net.parameter_groups(config):
        _prepare(net, feed, config)
        net.eval()
        yield Done("solved at once, without steps", {"steps": 0, "kept_epoch": 0})
        return Progress()
    progress, optimizer = _begin(net, feed, config, course, checkpoint)
    peaks = [group["lr"] for group in optimizer.groups]
    saved_at = time.monotonic()
    reason = "all epochs done" if course.steps != config.max_steps else "all steps of --train.max-steps done"
    # An epoch that was cut short by the last step, or stopped after it, is still to be evaluated.
    while progress.epoch < course.epochs and (progress.step < course.steps or progress.place):
        started = time.monotonic()
        net.train()
        steps = course.steps_of(progress.epoch)
        while progress.place < steps.count and progress.step < course.steps and progress.skipped < _MOST_SKIPPED:
            began = time.monotonic()
            batch = steps.batch(progress.place)
            _set_rates(optimizer, peaks, batch.pace, min(1.0, progress.step / course.steps))
            _seed(config.seed, progress.step + 1)
            with multiplying(config.products):
                loss, carried = _learn(net, optimizer, batch, progress.carried, config.clip)
            progress, seconds = progress.after_step(loss, carried), time.monotonic() - began
            try:
                if not math.isfinite(loss):
                    yield Note(f"step {progress.step:,}: its loss is no number, so nothing was learned from it")
                yield Step(progress.step, course.steps, progress.epoch + 1, loss, batch.tokens, seconds)
            except GeneratorExit:  # asked to stop between two steps: keep what was learned
                save_checkpoint(checkpoint, net, optimizer, progress)
                raise
            if time.monotonic() - saved_at > config.checkpoint_seconds:
                save_checkpoint(checkpoint, net, optimizer, progress)
                saved_at = time.monotonic()
                yield Saved(progress.step)
        if progress.skipped == _MOST_SKIPPED:
            reason = _given_up(progress, checkpoint)
            break
        verdict = _judged(net, optimizer, evaluate)
        kept = verdict.score >= progress.best_score - verdict.tolerance
        progress = progress.after_epoch(verdict.score, net if kept else None)
        loss, told, seconds = progress.losses[-1], kept and verdict.tells, time.monotonic() - started
        yield Epoch(progress.epoch, course.epochs, loss, verdict.metrics, told, seconds)
        if progress.epoch - progress.kept_epoch >= config.patience:
            reason = f"no better dev metric for {config.patience} epochs"
            break
    _take_best(net, progress, checkpoint)
    yield Done(reason, {"steps": progress.step, "kept_epoch": progress.kept_epoch})
    return progress


def _judged(net: Net, optimizer: RowwiseAdamW, evaluate: Callable[[], Verdict]) -> Verdict:
    """Judge the net between two epochs."""
    with flushed_denormals():
        optimizer.catch_up()
    net.eval()
    return evaluate()


def _given_up(progress: Progress, checkpoint: Path) -> str:
    """Why training ends before its time: too many losses were no numbers. WorkError where no epoch was done before."""
    why = f"the loss of {progress.skipped} steps was no number"
    if not progress.kept_weights:
        raise WorkError(f"{why}, before any epoch was done: {_remedy(checkpoint)}")
    return f"{why}: training ends with the best epoch before (a lower --train.learning-rate may help)"


def _take_best(net: Net, progress: Progress, checkpoint: Path) -> None:
    """Leave the net with the weights of its best epoch; WorkError where there is none."""
    if not progress.kept_weights:
        raise WorkError(f"no epoch could be judged: what the net says of dev is no number; {_remedy(checkpoint)}")
    net.load_state_dict(progress.kept_weights)
    net.eval()


def _remedy(checkpoint: Path) -> str:
    return f"delete {checkpoint.parent} and train with a lower --train.learning-rate"


@flushed_denormals()
def _begin(
    net: Net, feed: Feed, config: TrainConfig, course: Course, checkpoint: Path
) -> tuple[Progress, RowwiseAdamW]:
    """Start from the checkpoint, or from nothing."""
    if checkpoint.exists():
        return load_checkpoint(checkpoint, net, lambda: _optimizer(net, config, course.rows))
    _prepare(net, feed, config)
    return Progress(), _optimizer(net, config, course.rows)


def _prepare(net: Net, feed: Feed, config: TrainConfig) -> None:
    _seed(config.seed, 0)
    net.prepare(lambda: feed.first_look(config))


@flushed_denormals()
def _learn(
    net: Net, optimizer: RowwiseAdamW, batch: Batch, carried: Mapping[str, Tensor], clip: float
) -> tuple[float, dict[str, Tensor]]:
    """One step on a batch, from what the step before left; its loss, and what it leaves to the next.

    Where the loss is no number, nothing is learned and nothing is left.
    """
    state = carried if batch.continues else {}
    with optimizer.reading():
        loss, after = net.continued(batch.inputs, batch.target, state)
    if not math.isfinite(loss.item()):
        return math.nan, {}
    torch.autograd.backward(loss)
    optimizer.clip(clip)
    optimizer.step()
    return loss.item(), {name: array.detach() for name, array in after.items()}


def _set_rates(optimizer: RowwiseAdamW, peaks: list[float], pace: float, done: float) -> None:
    """Set each group's learning rate after `done` (0 to 1) of training; of one that is not open yet, 0."""
    for group, peak in zip(optimizer.groups, peaks, strict=True):
        group["lr"] = peak * pace * one_cycle(done) if done >= group.get("opens", 0.0) else 0.0


def one_cycle(done: float) -> float:
    """Share of the peak learning rate after `done` (0 to 1) of training: up for a fifth, then down a cosine."""
    warm = 0.2
    if done < warm:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * done / warm)) / 2
    return max(1e-4, (1 + math.cos(math.pi * (done - warm) / (1 - warm))) / 2)


def _optimizer(net: Net, config: TrainConfig, rows: int) -> RowwiseAdamW:
    large = [table for table in net.tables if table.weight.numel() >= _BY_ROW * rows]
    return RowwiseAdamW(net.parameter_groups(config), large)


def _seed(seed: int, step: int) -> None:
    torch.manual_seed(seed * 1_000_003 + step)
