"""Task: the frozen value that ties record, codecs, net and metrics. The folder `tasks/` is the registry."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from cellgate.codecs import LabelCodec, TextCodec
from cellgate.config import TaskConfig
from cellgate.errors import UsageError, listed, nearest

if TYPE_CHECKING:
    from cellgate.nets import Net

_FOLDER = Path(__file__).with_name("tasks")


class Row(BaseModel):
    """Base of every task's record: frozen, typed, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Task:
    """What a trained model does: some fields of a record are given, one is wanted.

    `source` and `target` take the settings and return a function that learns a codec from a column's values.
    `net` takes the settings and both codecs and returns a torch module with the contract of `nets.Reader`.
    The first of `metrics`, each `(truth, answers) -> float`, chooses the checkpoint.
    """

    about: str
    record: type[Row]
    given: tuple[str, ...]
    wanted: str
    config: type[TaskConfig]
    source: Callable[[Any], Callable[[Iterable[str]], TextCodec]]
    target: Callable[[Any], Callable[[Iterable[str]], LabelCodec]]
    net: "Callable[[Any, TextCodec, LabelCodec], Net]"
    metrics: tuple[Callable[[Sequence[str], Sequence[str]], float], ...]
    toy: tuple[Row, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The record's fields, the given ones first."""
        return (*self.given, self.wanted)


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another answer and its probability, 0 to 1."""

    value: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A record with its blank filled in, how sure that is (calibrated, 0 to 1), and what else it could be."""

    record: Row
    value: str
    confidence: float
    alternatives: tuple[Alternative, ...]


def names() -> list[str]:
    """Names of all tasks: the files of the folder `tasks`."""
    return sorted(module.name for module in pkgutil.iter_modules([str(_FOLDER)]))


def find(name: str) -> Task:
    """Load the task of that name; only a file of `tasks` can be meant, whatever a Bundle says."""
    if name not in names():
        raise UsageError(f"no task {name!r}{nearest(name, names()) or f'; tasks: {listed(names())}'}")
    task: Task = importlib.import_module(f"cellgate.tasks.{name}").TASK
    return task
