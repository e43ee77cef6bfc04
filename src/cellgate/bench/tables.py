"""Records as tables, targets beside figures: what the page of results and the command line both show."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cellgate.bench import speed_tables
from cellgate.bench.figures import (
    STAMP,
    Figure,
    Group,
    Table,
    Target,
    cell,
    count,
    listed_cells,
    mb,
    number,
    percent,
    seconds,
)
from cellgate.bench.machine import Record

ABOUT = {
    "quality": "Answers on the test rows of public sets, trained with default settings by `cellgate train`; time and "
    "memory are of that whole process. Linear: TF-IDF and a linear SVM on the same rows.",
    "kernels": "One LSTM layer in one direction over rows of uneven length, float32: medians of rounds in which all "
    "take turns, and how many times as long as ours each other takes. torch padded (oneDNN) computes the padding too; "
    "torch packed and onnxruntime know lengths. Work counts real tokens only; sgemm is torch's matrix product on the "
    "same threads. Ratios over the shapes are geometric means.",
    "train": "A BiLSTM classifier as a plain torch user writes it: the same net, initial weights and batches, only the "
    "recurrence differs. Rates are medians of short blocks of steps that take turns; accuracy is the mean over seeds "
    "after the same number of steps.",
    "install": "What `pip install` without extras adds to a new environment.",
    "startup": "A new process in an environment without torch, median of several.",
    "stream": "Short lines piped through one `cellgate predict FOLDER -`.",
    "large": "A training on an invented CSV file, stopped after a set number of steps.",
}

_QUALITY = (
    Figure("accuracy", "accuracy", percent),
    Figure("macro_f1", "macro F1", percent),
    Figure("linear.sklearn_tokens.accuracy", "linear, scikit-learn's tokens", percent),
    Figure("linear.our_tokens.accuracy", "linear, our tokens", percent),
    Figure("train_seconds", "training", seconds),
    Figure("peak_mb", "peak memory", mb),
    Figure("bundle_mb", "Bundle", mb),
    Figure("n", "test rows", count),
)
_LIMITS: dict[str, tuple[Figure, ...]] = {
    "install": (Figure("size_mb", "installed size", mb),),
    "startup": (
        Figure("help_seconds", "`--help`", seconds),
        Figure("predict_seconds", "`predict` of one text", seconds),
    ),
    "stream": (
        Figure("lines", "lines", count),
        Figure("lines_per_second", "lines a second", count),
        Figure("peak_mb", "peak memory", mb),
        Figure("mb_at_a_tenth", "memory after a tenth", mb),
        Figure("mb_at_the_end", "memory at the end", mb),
    ),
    "large": (
        Figure("gigabytes", "file [GB]", number),
        Figure("peak_mb", "peak memory", mb),
        Figure("peak_private_mb", "of it without mapped files", mb),
        Figure("peak_uss_mb", "unique (USS)", mb),
        Figure("peak_pss_mb", "proportional (PSS)", mb),
        Figure("seconds", "time", seconds),
    ),
}

_BUNDLE = Target(60, at_least=False)
_TARGETS: dict[tuple[str, str, str], Target] = {  # bench, data set or nothing, figure
    ("quality", "imdb", "accuracy"): Target(0.905, at_least=True),
    ("quality", "imdb", "train_seconds"): Target(20 * 60, at_least=False),
    ("quality", "imdb", "bundle_mb"): Target(120, at_least=False),
    ("quality", "banking77", "accuracy"): Target(0.92, at_least=True),
    ("quality", "banking77", "train_seconds"): Target(6 * 60, at_least=False),
    ("quality", "chnsenticorp", "accuracy"): Target(0.92, at_least=True),
    ("quality", "chnsenticorp", "train_seconds"): Target(10 * 60, at_least=False),
    ("install", "", "size_mb"): Target(230, at_least=False),
    ("startup", "", "help_seconds"): Target(0.3, at_least=False),
    ("startup", "", "predict_seconds"): Target(1.0, at_least=False),
    ("stream", "", "lines_per_second"): Target(3_000, at_least=True),
    ("stream", "", "peak_mb"): Target(400, at_least=False),
    ("large", "", "peak_mb"): Target(2_000, at_least=False),
}


def grouped(records: Iterable[Record]) -> list[Group]:
    """Gather the newest record of each seed, by bench, set and machine."""
    newest: dict[tuple[str, str, str], dict[int, Record]] = {}
    for record in records:
        key = (record["bench"], record.get("set", ""), _machine(record["machine"]))
        newest.setdefault(key, {})[record.get("seed", 0)] = record
    return [Group(*key, tuple(seeds[seed] for seed in sorted(seeds))) for key, seeds in sorted(newest.items())]


def tables(groups: Sequence[Group], named: Callable[[str], str] = str) -> list[Table]:
    """Draw the groups of one bench; `named` is how a machine is written."""
    bench = groups[0].bench
    if bench == "kernels":
        return speed_tables.kernels(groups, named)
    if bench == "train":
        return speed_tables.train(groups, named)
    return [_quality(groups, named) if bench == "quality" else _limit(groups, named)]


def _quality(groups: Sequence[Group], named: Callable[[str], str]) -> Table:
    def seeds(group: Group) -> str:
        return listed_cells([record["seed"] for record in group.records])

    head = ("set", "seeds", *(figure.heading for figure in _QUALITY), "against linear", *STAMP)
    rows = [
        (group.item, seeds(group), *_cells(group, _QUALITY), _against_linear(group), *group.stamp(named))
        for group in groups
    ]
    return Table(head, tuple(rows))


def _limit(groups: Sequence[Group], named: Callable[[str], str]) -> Table:
    figures = _LIMITS[groups[0].bench]
    rows = [(*_cells(group, figures), *group.stamp(named)) for group in groups]
    return Table((*(figure.heading for figure in figures), *STAMP), tuple(rows))


def _cells(group: Group, figures: Sequence[Figure]) -> list[str]:
    def target(figure: Figure) -> Target | None:
        return _TARGETS.get((group.bench, group.item, figure.path), _BUNDLE if figure.path == "bundle_mb" else None)

    return [cell(group, figure, target(figure)) for figure in figures]


def _machine(machine: Mapping[str, Any]) -> str:
    """Say which machine; its Python and kernel change without it being another."""
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB"


def _against_linear(group: Group) -> str:
    """Points of accuracy above or below the better linear model."""
    ours, *yardsticks = (group.value(figure.path) for figure in _QUALITY if figure.path.endswith("accuracy"))
    known = [value for value in yardsticks if value is not None]
    return f"{100 * (ours - max(known)):+.2f}" if ours is not None and known else "-"
