"""A running text as a training's batches: in lanes that are read side by side, each step where the last one ended."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cellgate.batch import Array, Ids, Ints
from cellgate.config import TrainConfig
from cellgate.data.streams import Stream
from cellgate.fit.feed import Batch, Course, EpochBatches, Feed, Verdict
from cellgate.metrics import running_metrics
from cellgate.nets.net import Net

_USUAL_TOKENS = 5_000_000  # read in all epochs together, where their number is left to us
_SHORTEST = 8  # tokens of a lane's part
_SHORT = 0.05  # share of the steps that are half as long as the others
_SPREAD = 4  # tokens by which the lengths of steps differ, one standard deviation
_DEV_LANES, _DEV_STEP = 8, 64


@dataclass(frozen=True, slots=True)
class Lanes(Feed):
    """The text that trains, in `rows` lanes; what stands before its first token is `first`.

    Lengths of steps differ (variable BPTT: Merity et al. 2018), so that not always the same tokens are the first of a
    step and see no gradient from behind; the learning rate goes with a step's length.
    """

    stream: Stream
    first: int

    def course(self, config: TrainConfig) -> Course:
        """Epochs over the whole text, but for less than a token a lane."""
        tokens = len(self.stream.tokens)
        lanes = max(1, min(config.batch_rows, tokens // _SHORTEST))
        usual = max(1, config.batch_tokens // lanes)
        auto = max(2, min(40, round(_USUAL_TOKENS / tokens)))
        epochs = auto if config.epochs == "auto" else config.epochs

        def steps_of(epoch: int) -> EpochBatches:
            ends = _ends(tokens // lanes, usual, config.seed, epoch)
            text = np.append(np.int32(self.first), self.stream.shuffled(config.seed, epoch))
            return EpochBatches(len(ends) - 1, lambda place: _batch(text, lanes, ends, place, usual))

        counts = [len(_ends(tokens // lanes, usual, config.seed, epoch)) - 1 for epoch in range(epochs)]
        return Course(epochs, min(sum(counts), config.max_steps or sum(counts)), lanes, steps_of)

    def first_look(self, config: TrainConfig) -> Iterator[tuple[Mapping[str, Array], Mapping[str, Array]]]:  # noqa: ARG002
        """Nothing: a net that writes needs sizes alone."""
        return iter(())


def _ends(length: int, usual: int, seed: int, epoch: int) -> Ints:
    """Where each step begins in a lane of so many tokens, and where the last one ends; none has less than 8 tokens."""
    random = np.random.default_rng([seed, epoch, usual])
    ends = [0]
    while ends[-1] < length:
        base = usual / 2 if random.random() < _SHORT else usual
        length_of_step = random.normal(base, min(_SPREAD, usual / 8))
        ends.append(ends[-1] + max(_SHORTEST, round(length_of_step)))
    ends[-1] = length
    if len(ends) > 2 and length - ends[-2] < _SHORTEST:
        del ends[-2]
    return np.array(ends)


def _batch(text: Ids, lanes: int, ends: Ints, place: int, usual: int) -> Batch:
    """The tokens of one step, and those behind each; `text` has one token before the first that is learned."""
    start, end = int(ends[place]), int(ends[place + 1])
    starts = np.arange(lanes) * int(ends[-1]) + start
    window = torch.from_numpy(text[starts[:, None] + np.arange(end - start + 1)].astype(np.int64))
    inputs = {"tokens": window[:, :-1].contiguous(), "lengths": torch.full((lanes,), end - start)}
    target = {"next": window[:, 1:].contiguous()}
    return Batch(inputs, target, lanes * (end - start), place > 0, (end - start) / usual)


@dataclass(frozen=True, slots=True)
class DevText:
    """The text that judges a net: its tokens, what stands before the first, and the first number that is text's own.

    Numbers between the two are labels, which are given and not foretold.
    """

    tokens: Ids
    first: int
    text: int

    @torch.no_grad()
    def verdict(self, net: Net) -> Verdict:
        """How well the net foretells it, read in up to 8 lanes side by side: a little worse than as one text."""
        lanes = max(1, min(_DEV_LANES, len(self.tokens) // _DEV_STEP))
        length = len(self.tokens) // lanes
        text = np.append(np.int32(self.first), self.tokens)
        ends = np.append(np.arange(0, length, _DEV_STEP), length)
        state: dict[str, Tensor] = net.initial_state(lanes)
        total, count = 0.0, 0
        for place in range(len(ends) - 1):
            batch = _batch(text, lanes, ends, place, _DEV_STEP)
            outputs, state = net(batch.inputs, state)
            following = batch.target["next"].flatten()
            judged = (following <= self.first) | (following >= self.text)
            losses = F.nll_loss(outputs["scores"].flatten(0, 1)[judged], following[judged], reduction="sum")
            total, count = total + float(losses), count + int(judged.sum())
        metrics: dict[str, Any] = running_metrics(total, count)
        return Verdict(metrics, -metrics["nats"], 0.0)

    def example(self) -> dict[str, Tensor]:
        """A small batch for tracing."""
        text = np.resize(np.append(np.int32(self.first), self.tokens), 3 * 9)
        return dict(_batch(text, 3, np.array([0, 8]), 0, 8).inputs)
