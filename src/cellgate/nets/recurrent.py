"""Recurrent: the half of a classifier that reads words in their order."""

from typing import Any

from torch import Tensor

from cellgate.config import TrainConfig
from cellgate.nets.encoder import Encoder
from cellgate.nets.half import Half, LabelledBatches
from cellgate.nets.head import Head
from cellgate.nets.net import Tensors
from cellgate.nets.tables import Table


class Recurrent(Half):
    """An encoder, and a head on its outputs."""

    steps = True

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.smoothing = head.config.label_smoothing

    @property
    def whole(self) -> tuple[str, ...]:
        """Why it does not read forward only."""
        return self.encoder.whole

    @property
    def tables(self) -> list[Table]:
        """Those of which a batch reads few rows."""
        return self.encoder.vectors.tables

    def prepare(self, rows: LabelledBatches) -> None:
        """Look at nothing: sizes are all it needs."""

    def sharpen(self, factor: float) -> None:
        """Nothing: its scores are log-probabilities already."""

    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
        """Its parameters with their peak learning rate and decay."""
        return self.encoder.groups_below(list(self.head.parameters()), config)

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """What it remembers before a text begins, pooling included."""
        return self.encoder.initial_state(rows) | self.head.initial_state(rows)

    def forward(self, inputs: Tensors, state: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits [B, L] of all text read so far, and the state after it."""
        y, after = self.encoder(inputs, state)
        logits, pooled = self.head(y, inputs["lengths"], state)
        return logits, after | pooled
