"""The tables of `cells`: a row a cell; what several seeds say of a lag."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cellgate.bench.figures import STAMP, Group, Table, count, listed_cells, percent, seconds
from cellgate.bench.machine import Record

NAMES = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM", "peephole": "LSTM with peepholes"}
_DIRECTIONS = {1: "one way", 2: "both ways"}


@dataclass(frozen=True)
class Point:
    """What the seeds of a cell say of one lag."""

    lag: int
    steps: float | None
    """Median of the seeds that solve it; None where less than half of them do."""
    error: float | None
    """Median of the seeds that tried and do not solve it; None where all of them do."""
    solved: int
    """Seeds that solve it."""


def points(group: Group, cell: str) -> list[Point]:
    """A cell's lags, from the shortest to the first at which it fails: less than half of the seeds solve it."""
    found: list[Point] = []
    for lag in group.records[-1]["lags"]:
        trials = [trial for record in group.records for trial in record["cells"][cell] if trial["lag"] == lag]
        steps = [trial["steps"] for trial in trials if trial["solved"]]
        errors = [trial["error"] for trial in trials if not trial["solved"]]
        median = statistics.median(steps) if 2 * len(steps) >= len(group.records) else None
        found.append(Point(lag, median, statistics.median(errors) if errors else None, len(steps)))
        if median is None:
            break
    return found


def tables(groups: Sequence[Group], named: Callable[[str], str]) -> list[Table]:
    """A row a part, with what was spent on it; then a table a part, with a row a cell."""
    head = ("part", "each cell is trained for", "seeds", "threads", *STAMP)
    rows = [
        (group.item, _spent(group), _seeds(group), count(group.records[-1]["threads"]), *group.stamp(named))
        for group in groups
    ]
    several = len({group.machine for group in groups}) > 1
    drawn = [Table(head, tuple(rows))]
    for group in groups:
        title = f"{group.item}, machine {named(group.machine)}" if several else group.item
        drawn.append((_lags if "lags" in group.records[-1] else _set)(title, group))
    return drawn


def _spent(group: Group) -> str:
    newest = group.records[-1]
    if "lags" in newest:
        return f"{newest['steps']:,} steps a lag at most"
    return f"{newest['epochs']} passes over {newest['train_rows']:,} rows"


def _set(title: str, group: Group) -> Table:
    rows = []
    for place, training in enumerate(group.records[-1]["trainings"]):
        same = [record["trainings"][place] for record in group.records]
        accuracies = (percent(_median(same, name)) for name in ("accuracy", "dev_accuracy"))
        reads = _DIRECTIONS[training["directions"]]
        rows.append((NAMES[training["cell"]], reads, *accuracies, seconds(_median(same, "train_seconds"))))
    return Table((title, "reads", "accuracy on test", "on dev", "training"), tuple(rows))


def _lags(title: str, group: Group) -> Table:
    lags = group.records[-1]["lags"]
    rows = []
    for cell, words in NAMES.items():
        found = points(group, cell)
        failed = next((str(point.lag) for point in found if point.steps is None), f"none up to {lags[-1]}")
        at = {point.lag: _written(point, len(group.records)) for point in found}
        spent = (sum(trial["seconds"] for trial in record["cells"][cell]) for record in group.records)
        rows.append((words, failed, *(at.get(lag, "-") for lag in lags), seconds(statistics.median(spent))))
    return Table((title, "fails at lag", *(f"lag {lag}" for lag in lags), "time"), tuple(rows))


def _written(point: Point, seeds: int) -> str:
    if point.steps is None:
        return f"fails, error {point.error:.2g}"
    return f"{point.steps:,.0f} steps" + (f" ({point.solved} of {seeds} seeds)" if point.solved < seeds else "")


def _seeds(group: Group) -> str:
    return listed_cells([record["seed"] for record in group.records])


def _median(records: Sequence[Record], name: str) -> float:
    return statistics.median(float(record[name]) for record in records)
