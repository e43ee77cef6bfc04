"""What a reader asks of each of its halves."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from cellgate.batch import Array
from cellgate.config import TrainConfig
from cellgate.nets.net import Tensors
from cellgate.nets.tables import Table

LabelledBatches = Callable[[], Iterable[tuple[Mapping[str, Array], Array]]]
"""Gives inputs and which labels the texts have [B, L], 0 or 1, in batches, as often as it is called."""


class Half(nn.Module, ABC):
    """Inputs and state to logits [B, L] of all text read so far, and the state after it."""

    steps: bool
    """Whether it is taught step by step; else `prepare` leaves it done."""
    smoothing: float
    """Share of the target that its loss spreads over all labels."""

    @property
    @abstractmethod
    def whole(self) -> tuple[str, ...]:
        """Why answers cannot follow a text fed piece by piece, and what to do about it; none: they can."""

    @property
    @abstractmethod
    def tables(self) -> list[Table]:
        """Those of which a batch reads few rows."""

    @abstractmethod
    def prepare(self, rows: LabelledBatches) -> None:
        """Look at training rows before training begins."""

    @abstractmethod
    def sharpen(self, factor: float) -> None:
        """Multiply the scores by a factor that dev chose."""

    @abstractmethod
    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
        """Its parameters as those of a net; of one that is not taught step by step none."""

    @abstractmethod
    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """What it remembers before a text begins; axis 0 is the batch."""

    @abstractmethod
    def forward(self, inputs: Tensors, state: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits [B, L] and the state after the inputs."""
