"""What is to be trained, on what, and where it goes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellgate.config import TaskConfig
from cellgate.task import Row


@dataclass(frozen=True)
class SelfTraining:
    """Texts without answers, and a Bundle whose sure answers to them are learned from too (Scudder 1965)."""

    teacher: Path
    texts: Iterable[Row]


@dataclass(frozen=True)
class Plan:
    """A training that is to be done, or gone on with."""

    task: str
    config: TaskConfig
    train: Iterable[Row]  # iterated more than once
    dev: Iterable[Row] | None  # None: held out from `train`
    folder: Path
    origin: Mapping[str, Any]  # says which data these are; a resumed training must name the same
    self_training: SelfTraining | None = None
