"""What a tagger asks of each of its halves; and the half that reads tokens in their order."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from cellgate.config import TaggerConfig, TrainConfig
from cellgate.nets.crf import Crf
from cellgate.nets.dropout import locked
from cellgate.nets.encoder import Encoder
from cellgate.nets.net import Batches, Tensors
from cellgate.nets.tables import Table


class Emitter(nn.Module, ABC):
    """Tokens to scores of K tags at each [B, T, K], and a chain over the tags of its own."""

    crf: Crf
    rate = 1.0
    """Its peak learning rate, as a multiple of the one set."""

    @property
    @abstractmethod
    def tables(self) -> list[Table]:
        """Those of which a batch reads few rows."""

    @abstractmethod
    def prepare(self, batches: Batches) -> None:
        """Look at training rows before training begins."""

    @abstractmethod
    def forward(self, inputs: Tensors) -> Tensor:
        """Scores of the tags at each token [B, T, K]."""

    def loss(self, inputs: Tensors, tags: Tensor) -> Tensor:
        """Negative log-likelihood of the true tags [B, T] by this half alone [nats], summed over the texts."""
        return self.crf.loss(self(inputs), tags, inputs["lengths"])

    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
        """Parameters with their peak learning rate and decay; the scores of tag after tag are not drawn to 0."""
        groups = self.emitting(config)
        if self.crf.learned:
            moves = list(self.crf.parameters())
            groups.append({"params": moves, "lr": config.learning_rate * self.rate, "weight_decay": 0.0})
        return groups

    @abstractmethod
    def emitting(self, config: TrainConfig) -> list[dict[str, Any]]:
        """As `parameter_groups`, of all but the chain."""


class RecurrentEmitter(Emitter):
    """An encoder, and a linear map of its outputs."""

    def __init__(self, config: TaggerConfig, encoder: Encoder, crf: Crf) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.encoder = encoder
        self.linear = nn.Linear(encoder.width, crf.tags)
        self.crf = crf

    @property
    def tables(self) -> list[Table]:
        """Those of the tokens' vectors."""
        return self.encoder.vectors.tables

    def prepare(self, batches: Batches) -> None:
        """Look at nothing: sizes are all it needs."""

    def emitting(self, config: TrainConfig) -> list[dict[str, Any]]:
        """Those of the encoder and of the map."""
        return self.encoder.groups_below(list(self.linear.parameters()), config)

    def forward(self, inputs: Tensors) -> Tensor:
        """Scores of the tags at each token [B, T, K]."""
        y, _ = self.encoder(inputs, self.encoder.initial_state(inputs["lengths"].shape[0]))
        emissions: Tensor = self.linear(locked(y, self.dropout) if self.training else y)
        return emissions
