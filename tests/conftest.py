"""What several test files share."""

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from cellgate.bundle import Bundle
from cellgate.training import train

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # before any test file imports torch


def _keep_to_own_cores() -> None:
    """Of several processes that test side by side (pytest-xdist), each takes its share of the cores."""
    number, count = os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:], os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[int(number) :: int(count)] or cores)


if hasattr(os, "sched_setaffinity"):
    _keep_to_own_cores()

SAMPLES = Path(__file__).parents[1] / "src" / "cellgate" / "samples"
TINY: dict[str, dict[str, Any]] = {
    "encoder": {"embedding": 16, "hidden": 12, "buckets": 256},
    "train": {"max_steps": 30, "threads": 2},
}


def sample_rows(name: str, label: str) -> list[dict[str, str]]:
    """Rows of a file of `samples/` with the fields of `classify`."""
    with (SAMPLES / name).open(encoding="utf-8", newline="") as file:
        return [{"text": row["text"], "label": row[label]} for row in csv.DictReader(file)]


@pytest.fixture(scope="session")
def reviews() -> list[dict[str, str]]:
    """Labelled rows to train on."""
    return sample_rows("reviews.csv", "sentiment")


@pytest.fixture(scope="session")
def bundle(reviews: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small trained Bundle; not to be changed."""
    return train("classify", reviews, folder=tmp_path_factory.mktemp("shared") / "reviews", config=TINY)
