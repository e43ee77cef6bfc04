"""What happens in training, as values. Progress, logs and reports are drawn from these."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should be told in a sentence: what was guessed, cut or left out."""

    text: str


@dataclass(frozen=True, slots=True)
class Work:
    """A step of the preparation or the ending: what is being done, and how far (rows, of all if known)."""

    name: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """A training step was made."""

    step: int
    steps: int
    epoch: int
    loss: float
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Epoch:
    """The data were gone through once; metrics are on dev."""

    epoch: int
    epochs: int
    loss: float
    metrics: Mapping[str, float]
    kept: bool  # dev chose these weights, for now; never of dev rows too few to choose
    seconds: float


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint stands on disk: a kill after this moment loses nothing before `step`."""

    step: int


@dataclass(frozen=True, slots=True)
class Done:
    """Training ended; why, and what is told of the result."""

    reason: str
    facts: Mapping[str, float]


Event = Note | Work | Step | Epoch | Saved | Done
