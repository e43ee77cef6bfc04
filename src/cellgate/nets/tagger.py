"""Tagger: a recurrent encoder and a linear chain on its outputs. Batch -> loss, or batch -> scores of tags."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cellgate.config import TaggerConfig, TrainConfig
from cellgate.nets.crf import Crf
from cellgate.nets.dropout import locked
from cellgate.nets.encoder import Encoder
from cellgate.nets.net import Batches, Net, Tensors
from cellgate.nets.tables import Table
from cellgate.nets.vectors import AXES

_TRIED = tuple(2.0 ** (step / 4) for step in range(-8, 9))  # slopes of the scores, of which dev chooses one


class Tagger(Net):
    """Scores of K tags at each token [B, T, K] and of tag after tag [K + 1, K + 1].

    Both are multiplied by `slope`, so that the probabilities of dev's true tags are the highest (Guo et al. 2017).
    """

    slope: Tensor
    axes: Mapping[str, tuple[str, ...]] = AXES
    outputs: Mapping[str, tuple[str, ...]] = {"scores": ("batch", "time", "tags"), "transitions": ("before", "after")}

    def __init__(self, config: TaggerConfig, encoder: Encoder, crf: Crf) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.linear = nn.Linear(encoder.width, len(crf.moves) - 1)
        self.crf = crf
        self.register_buffer("slope", torch.ones(()))

    @property
    def streams(self) -> bool:
        """No: the best tags of a text's beginning depend on its end."""
        return False

    def prepare(self, batches: Batches) -> None:
        """Look at nothing: sizes are all it needs."""

    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
        """Parameters with their peak learning rate and decay; the scores of tag after tag are not drawn to 0."""
        moves = [parameter for parameter in self.crf.parameters() if parameter.requires_grad]
        others = [p for p in (*self.encoder.parameters(), *self.linear.parameters()) if p.requires_grad]
        groups = [{"params": others, "lr": config.learning_rate, "weight_decay": config.weight_decay}]
        return [*groups, {"params": moves, "lr": config.learning_rate, "weight_decay": 0.0}] if moves else groups

    @property
    def tables(self) -> list[Table]:
        """Those of which a batch reads few rows."""
        return self.encoder.vectors.tables

    def initial_state(self, rows: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Nothing that could be handed on."""
        return {}

    def _emissions(self, inputs: Tensors) -> Tensor:
        y, _ = self.encoder(inputs, self.encoder.initial_state(inputs["lengths"].shape[0]))
        emissions: Tensor = self.linear(locked(y, self.config.dropout) if self.training else y)
        return emissions

    def loss(self, inputs: Tensors, target: Tensors) -> Tensor:
        """Negative log-likelihood of the true tags [nats], mean over the tokens."""
        lengths = inputs["lengths"]
        return self.crf.loss(self._emissions(inputs), target["tags"], lengths) / lengths.sum()

    def forward(self, inputs: Tensors, state: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:  # noqa: ARG002
        """Scores of a linear chain."""
        scores = self._emissions(inputs) * self.slope
        return {"scores": scores, "transitions": self.crf.transitions() * self.slope}, {}

    @torch.no_grad()
    def calibrate(self, batches: Iterator[tuple[Tensors, Tensors]]) -> dict[str, float]:
        """Choose the slope by dev; tells the temperature, its inverse."""
        losses = torch.zeros(len(_TRIED))
        transitions = self.crf.transitions()
        for inputs, target in batches:
            known = (target["tags"] >= 0).all(1)
            if not known.any():
                continue
            emissions, lengths = self._emissions(inputs)[known], inputs["lengths"][known]
            for place, slope in enumerate(_TRIED):
                losses[place] += Crf.loss_of(emissions * slope, transitions * slope, target["tags"][known], lengths)
        self.slope.fill_(_TRIED[int(losses.argmin())])
        return {"temperature": 1 / float(self.slope)}
