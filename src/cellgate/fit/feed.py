"""Where a training's batches come from, and how a net is judged between its epochs: what the loop asks for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cellgate.batch import Array
from cellgate.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from."""

    inputs: Mapping[str, Tensor]
    target: Mapping[str, Tensor]
    tokens: int
    continues: bool = False  # each row goes on where the same row of the batch before ended
    pace: float = 1.0  # of the learning rate


@dataclass(frozen=True, slots=True)
class EpochBatches:
    """The batches of an epoch, each made when it is asked for by its place, from 0."""

    count: int
    batch: Callable[[int], Batch]


@dataclass(frozen=True, slots=True)
class Course:
    """How long a training is, and the steps of each epoch by its number, from 0."""

    epochs: int
    steps: int
    rows: int  # a step, at most
    steps_of: Callable[[int], EpochBatches]


class Feed(ABC):
    """Gives a training its batches: rows, each read by itself, or a running text."""

    @abstractmethod
    def course(self, config: TrainConfig) -> Course:
        """The whole course; the same settings give the same batches."""

    @abstractmethod
    def first_look(self, config: TrainConfig) -> Iterable[tuple[Mapping[str, Array], Mapping[str, Array]]]:
        """Inputs and target of training rows, for a net to look at before training."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Metrics on dev, and the score to raise: a later epoch is preferred if it is not more than `tolerance` below."""

    metrics: Mapping[str, float]
    score: float
    tolerance: float

    @property
    def tells(self) -> bool:
        """Whether dev is large enough to choose an epoch; a tolerance of 1, the whole of a share, takes the last."""
        return self.tolerance < 1


def as_tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Share the memory of numpy arrays."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
