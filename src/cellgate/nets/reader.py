"""Reader: a recurrent and a linear half, or one of them. Reads a whole text or a stream, answers with scores."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cellgate.batch import Array, Floats
from cellgate.config import TrainConfig
from cellgate.nets.calibration import best_share
from cellgate.nets.half import Half
from cellgate.nets.net import Batches, Net, Tensors
from cellgate.nets.outputs import Output
from cellgate.nets.tables import Table
from cellgate.nets.vectors import AXES


class Reader(Net):
    """Batch -> loss, or batch and state -> log-probabilities [B, L] and state.

    Each half is taught by itself; their scores are mixed by `share` (the linear half's weight) and made probabilities
    by `output`; what dev decides of both is fitted by `calibrate`.
    """

    share: Tensor
    axes: Mapping[str, tuple[str, ...]] = AXES
    outputs: Mapping[str, tuple[str, ...]] = {"scores": ("batch", "labels")}

    def __init__(self, halves: Mapping[str, Half], output: Output) -> None:
        super().__init__()
        self._halves = dict(halves)  # the same modules as below, with their type
        self.each = nn.ModuleDict(self._halves)
        # Until dev decides, answers are those of the half that is taught, so that dev judges its epochs and no others.
        self.register_buffer("share", torch.tensor(0.0 if self._taught else 1.0))
        self.output = output

    @property
    def _taught(self) -> dict[str, Half]:
        """The halves that are taught step by step."""
        return {name: half for name, half in self._halves.items() if half.steps}

    @property
    def streams(self) -> bool:
        """Whether answers follow a text fed piece by piece."""
        return not self.whole

    @property
    def whole(self) -> tuple[str, ...]:
        """Why they do not, and what to do about it."""
        return tuple(reason for half in self._halves.values() for reason in half.whole)

    def prepare(self, batches: Batches) -> None:
        """Look at training rows before training begins."""

        def rows() -> Iterator[tuple[Mapping[str, Array], Array]]:
            for inputs, target in batches():
                yield inputs, self.output.present(target["label"])

        for half in self._halves.values():
            half.prepare(rows)

    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
        """Parameters with their peak learning rate and decay, for the optimiser."""
        return [group for half in self._taught.values() for group in half.parameter_groups(config)]

    @property
    def tables(self) -> list[Table]:
        """Those of which a batch reads few rows."""
        return [table for half in self._taught.values() for table in half.tables]

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """What is remembered before a text begins: the whole state, pooling and n-grams included."""
        state: dict[str, Tensor] = {}
        for half in self._halves.values():
            state |= half.initial_state(rows)
        return state

    def halves(self, inputs: Tensors, state: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Logits [B, L] of each half by name, and the state after the inputs."""
        found: dict[str, Tensor] = {}
        after: dict[str, Tensor] = {}
        for name, half in self._halves.items():
            found[name], read = half(inputs, state)
            after |= read
        return found, after

    def loss(self, inputs: Tensors, target: Tensors) -> Tensor:
        """Cross-entropy of the half that is taught step by step [nats], mean over the batch."""
        state = self.initial_state(inputs["lengths"].shape[0])
        losses = [
            self.output.loss(half(inputs, state)[0], target["label"], half.smoothing) for half in self._taught.values()
        ]
        return torch.stack(losses).sum()

    def continued(self, inputs: Tensors, target: Tensors, state: Tensors) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: ARG002
        """The loss; texts are read whole."""
        return self.loss(inputs, target), {}

    def forward(self, inputs: Tensors, state: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Log-probabilities [B, L] of all text so far, and the state after it (empty if it does not stream)."""
        halves, after = self.halves(inputs, state or self.initial_state(inputs["lengths"].shape[0]))
        scores = {name: self.output.comparable(logits) for name, logits in halves.items()}
        return {"scores": self.output(self._mixed(scores))}, after if self.streams else {}

    def _mixed(self, scores: Mapping[str, Tensor]) -> Tensor:
        """The halves' scores, averaged."""
        if len(scores) == 1:
            return next(iter(scores.values()))
        return scores["recurrent"] * (1.0 - self.share) + scores["linear"] * self.share

    def calibrate(
        self,
        batches: Iterator[tuple[Tensors, Tensors]],
        worth: Callable[[], float],  # noqa: ARG002  a mean of scores is judged without the net
    ) -> dict[str, float]:
        """Choose `share`, and the output's slope and offset, on dev batches of inputs and target.

        Returns what should be told: each half's own worth (accuracy, or F1 of several labels), and what was chosen.
        """
        halves, target = self._dev_scores(batches)
        for name, half in self._halves.items():
            if not half.steps:
                factor = self.output.sharpness(halves[name], target)
                half.sharpen(factor)
                halves[name] = self.output.comparable(torch.from_numpy(halves[name]) * factor).numpy()
        told = {f"{name}_alone": self.output.worth(scores, target) for name, scores in halves.items()}
        mixed = next(iter(halves.values()))
        if len(halves) > 1:
            share = best_share(lambda s: self.output.worth(s, target), halves["recurrent"], halves["linear"])
            self.share.fill_(share)
            mixed = (1.0 - share) * halves["recurrent"] + share * halves["linear"]
        told["together"] = self.output.worth(mixed, target)
        return told | {"linear_share": float(self.share)} | self.output.calibrate(mixed, target)

    @torch.no_grad()
    def _dev_scores(self, batches: Iterator[tuple[Tensors, Tensors]]) -> tuple[dict[str, Floats], Array]:
        """Scores [N, L] of each half and target [N] or [N, L], of rows of which anything can be right."""
        scores: dict[str, list[Floats]] = {}
        targets: list[Array] = []
        for inputs, target in batches:
            halves, _ = self.halves(inputs, self.initial_state(inputs["lengths"].shape[0]))
            for name, logits in halves.items():
                scores.setdefault(name, []).append(self.output.comparable(logits).numpy())
            targets.append(target["label"].numpy())
        label = np.concatenate(targets)
        known = self.output.known(label)
        return {name: np.concatenate(parts)[known] for name, parts in scores.items()}, label[known]
