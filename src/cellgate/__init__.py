"""Cellgate: train, explain and ship LSTM models for text, on the machine you have.

bundle = cellgate.train("classify", [{"text": "where is my parcel", "label": "delivery"}, ...], folder="intents")
cellgate.open("intents").predict(["has it left yet?"])
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cellgate.version import __version__

if TYPE_CHECKING:
    from cellgate.bundle import Bundle
    from cellgate.config import TaskConfig
    from cellgate.task import Row

__all__ = ["__version__", "open", "train"]


def open(folder: str | Path, precision: Literal["float", "int8"] = "float") -> "Bundle":  # noqa: A001
    """Open the Bundle in `folder`; needs no torch. A damaged, foreign or newer one is a BundleError."""
    from cellgate.bundle import open_bundle

    return open_bundle(folder, precision)


def train(
    task: str,
    rows: "Sequence[Row | Mapping[str, Any]]",
    *,
    dev: "Sequence[Row | Mapping[str, Any]] | None" = None,
    folder: str | Path | None = None,
    config: "TaskConfig | Mapping[str, Any] | None" = None,
    resume: bool = False,
) -> "Bundle":
    """Train a task on rows with its fields, e.g. {"text": ..., "label": ...}; return the open Bundle.

    folder: where the Bundle is kept (None: a temporary folder). config: settings as a value or a nested mapping.
    resume: go on from the unfinished training of `folder`. Needs the extra `train`.
    """
    from cellgate.training import train

    return train(task, rows, dev=dev, folder=folder, config=config, resume=resume)
