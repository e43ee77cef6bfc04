"""Tagger: a recurrent and a linear half, or one of them. Batch -> loss, or batch -> scores of a chain of tags."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cellgate.config import TrainConfig
from cellgate.nets.crf import Crf
from cellgate.nets.emitter import Emitter
from cellgate.nets.net import Batches, Net, Tensors
from cellgate.nets.tables import Table
from cellgate.nets.vectors import AXES

_SLOPES = tuple(2.0 ** (step / 4) for step in range(-8, 9))  # of the scores, of which dev chooses one
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the linear half
_USUAL_SHARE = 0.5  # before dev has chosen


class Tagger(Net):
    """Scores of K tags at each token [B, T, K] and of tag after tag [K + 1, K + 1].

    Each half is taught by itself; their scores are mixed by `share` (the linear half's weight), then multiplied by
    `slope`, so that the probabilities of dev's true tags are the highest (Guo et al. 2017).
    """

    share: Tensor
    slope: Tensor
    axes: Mapping[str, tuple[str, ...]] = AXES
    outputs: Mapping[str, tuple[str, ...]] = {"scores": ("batch", "time", "tags"), "transitions": ("before", "after")}

    def __init__(self, halves: Mapping[str, Emitter]) -> None:
        super().__init__()
        self._halves = dict(halves)  # the same modules as below, with their type
        self.each = nn.ModuleDict(self._halves)
        self.register_buffer("share", torch.tensor(_USUAL_SHARE))
        self.register_buffer("slope", torch.ones(()))

    @property
    def streams(self) -> bool:
        """No: the best tags of a text's beginning depend on its end."""
        return False

    @property
    def whole(self) -> tuple[str, ...]:
        """Nothing can be done about it."""
        return ("the best tags of a text's beginning depend on its end, whatever the settings",)

    def prepare(self, batches: Batches) -> None:
        """Look at training rows before training begins."""
        for half in self._halves.values():
            half.prepare(batches)

    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
        """Parameters with their peak learning rate and decay, for the optimiser."""
        return [group for half in self._halves.values() for group in half.parameter_groups(config)]

    @property
    def tables(self) -> list[Table]:
        """Those of which a batch reads few rows."""
        return [table for half in self._halves.values() for table in half.tables]

    def initial_state(self, rows: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Nothing that could be handed on."""
        return {}

    def loss(self, inputs: Tensors, target: Tensors) -> Tensor:
        """Negative log-likelihood of the true tags [nats], mean over the tokens, summed over the halves."""
        losses = [half.loss(inputs, target["tags"]) for half in self._halves.values()]
        return torch.stack(losses).sum() / inputs["lengths"].sum()

    def continued(self, inputs: Tensors, target: Tensors, state: Tensors) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: ARG002
        """The loss; texts are read whole."""
        return self.loss(inputs, target), {}

    def forward(self, inputs: Tensors, state: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:  # noqa: ARG002
        """Scores of a linear chain."""
        scores, transitions = self._mixed({name: half(inputs) for name, half in self._halves.items()})
        return {"scores": scores * self.slope, "transitions": transitions * self.slope}, {}

    def _mixed(self, emissions: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The halves' scores of tags, and of tag after tag, averaged."""
        chains = {name: half.crf.transitions() for name, half in self._halves.items()}
        return self._average(emissions), self._average(chains)

    def _average(self, scores: Mapping[str, Tensor]) -> Tensor:
        if len(scores) == 1:
            return next(iter(scores.values()))
        return scores["recurrent"] * (1.0 - self.share) + scores["linear"] * self.share

    @torch.no_grad()
    def calibrate(self, batches: Iterator[tuple[Tensors, Tensors]], worth: Callable[[], float]) -> dict[str, float]:
        """Choose `share`, then `slope`, by dev; a half without a share goes. Tells each one's worth and both."""
        if len(self._halves) > 1:
            found = {share: self._worth_of(share, worth) for share in _SHARES}
            best = max(_SHARES, key=lambda share: (_voted(found, share), -abs(share - _USUAL_SHARE)))
            self.share.fill_(best)
            if best in (0.0, 1.0):
                self._leave("linear" if best else "recurrent")
            told = {"recurrent_alone": found[0.0], "linear_alone": found[1.0], "linear_share": best}
        else:
            told = {f"{name}_alone": worth() for name in self._halves}
        losses = torch.zeros(len(_SLOPES))
        for inputs, target in batches:
            known = (target["tags"] >= 0).all(1)
            if not known.any():
                continue
            emissions, transitions = self._mixed({name: half(inputs)[known] for name, half in self._halves.items()})
            lengths = inputs["lengths"][known]
            for place, slope in enumerate(_SLOPES):
                losses[place] += Crf.loss_of(emissions * slope, transitions * slope, target["tags"][known], lengths)
        self.slope.fill_(_SLOPES[int(losses.argmin())])
        return told | {"together": worth(), "temperature": 1 / float(self.slope)}

    def _leave(self, name: str) -> None:
        """Drop the other half, which has no say: what answers need not carry it."""
        self._halves = {name: self._halves[name]}
        self.each = nn.ModuleDict(self._halves)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        """Keep the halves that were kept: dev chose them, not the settings."""
        kept = [name for name in self._halves if any(key.startswith(f"{prefix}each.{name}.") for key in state_dict)]
        if len(kept) < len(self._halves):
            self._leave(*kept)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _worth_of(self, share: float, worth: Callable[[], float]) -> float:
        self.share.fill_(share)
        return worth()


def _voted(found: Mapping[float, float], share: float) -> float:
    """The worth of a share and of its neighbours, averaged: a single one's is in part chance."""
    near = [value for other, value in found.items() if abs(other - share) < 0.3]
    return sum(near) / len(near)
