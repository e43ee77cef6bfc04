"""Task: the frozen value that ties record, codecs, net and metrics. The folder `tasks/` is the registry."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from cellgate.config import TaskConfig
from cellgate.errors import DataError, UsageError, listed, nearest
from cellgate.metrics import Answer

if TYPE_CHECKING:
    from cellgate.nets import Net

_FOLDER = Path(__file__).with_name("tasks")


class Row(BaseModel):
    """Base of every task's record: frozen, typed, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


@dataclass(frozen=True, slots=True)
class Task:
    """What a trained model does: some fields of a record are given, one is wanted.

    `source` and `target` take the settings and return a function that learns a codec from a column's values.
    `net` takes the settings and both codecs and returns a torch module with the contract of `nets.Net`.
    The first of the target codec's metrics, each `(truth, answers) -> float`, chooses the checkpoint.

    `running`: rows are parts of a running text; what is wanted is each next token of it and stands in no column, the
    source codec learns from pieces of documents, the target codec from their tokens.
    """

    about: str
    record: type[Row]
    given: tuple[str, ...]
    wanted: str
    config: type[TaskConfig]
    source: Callable[[Any], Callable[[Any], Any]]
    target: Callable[[Any], Callable[..., Any]]
    net: "Callable[[Any, Any, Any], Net]"
    toy: tuple[Row, ...]
    example: str
    """What may stand behind `cellgate train NAME`: a file and a folder, for its help."""
    optional: tuple[str, ...] = ()
    """Fields that are read only where their column is named."""
    running: bool = False

    def __post_init__(self) -> None:
        if len(self.given) != 1:
            raise ValueError(f"a task has one given field so far, got {self.given}")

    def read(self, row: "Row | Mapping[str, Any] | str") -> Row:
        """Make a record of what a user gave; a plain string stands for the given field."""
        if isinstance(row, Row):
            return row
        values = {self.given[0]: row} if isinstance(row, str) else row
        try:
            return self.record.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = first["loc"][0] if first["loc"] else ""  # what follows tells which of several types it is not
            known = ", ".join(self.fields)
            raise DataError(f"row {row!r:.200}: field {name!r}: {first['msg'].lower()}; fields: {known}") from None

    def read_answered(self, row: "Row | Mapping[str, Any]") -> Row:
        """As `read`, of a row whose wanted field is known, where it is not part of the text itself."""
        record = self.read(row)
        if self.running:
            return record
        if getattr(record, self.wanted) in (None, ""):
            raise DataError(f"row {row!r:.200} has no {self.wanted}; every row to train or test on needs one")
        return record

    @property
    def fields(self) -> tuple[str, ...]:
        """The record's fields that stand in columns, the given ones first."""
        return (*self.given, *(() if self.running else (self.wanted,)), *self.optional)


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another answer and its probability, 0 to 1."""

    value: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A record with its blank filled in, how sure that is (calibrated, 0 to 1), and what else it could be.

    `value` is None where the Bundle does not know. Of a text that may have several labels, `value` holds them, and
    `alternatives` the most probable ones of all, each with its own probability.
    """

    record: Row
    value: Answer
    confidence: float
    alternatives: tuple[Alternative, ...]
    cut: bool  # whether the text was too long, and only its beginning was read


def names() -> list[str]:
    """Names of all tasks: the files of the folder `tasks`."""
    return sorted(module.name for module in pkgutil.iter_modules([str(_FOLDER)]))


def find(name: str) -> Task:
    """Load the task of that name; only a file of `tasks` can be meant, whatever a Bundle says."""
    if name not in names():
        raise UsageError(f"no task {name!r}{nearest(name, names()) or f'; tasks: {listed(names())}'}")
    task: Task = importlib.import_module(f"cellgate.tasks.{name}").TASK
    return task
