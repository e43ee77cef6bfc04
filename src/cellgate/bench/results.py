"""The page of results: drawn from the records in a JSON lines file, targets beside figures, never edited by hand."""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellgate.bench.machine import Record
from cellgate.errors import DataError


@dataclass(frozen=True)
class _Figure:
    """A column: where a record holds it (`a.b`: inside a), its heading, and how it is written."""

    path: str
    heading: str
    written: Callable[[float], str]


@dataclass(frozen=True)
class _Target:
    limit: float
    at_least: bool

    def verdict(self, figure: _Figure, value: float) -> str:
        reached = value >= self.limit if self.at_least else value <= self.limit
        sign = "≥" if self.at_least else "≤"
        return f"target {sign} {figure.written(self.limit)}: {'reached' if reached else 'not reached'}"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _seconds(value: float) -> str:
    return f"{value / 60:.1f} min" if value >= 60 else f"{value:.3g} s"


def _mb(value: float) -> str:
    return f"{value:,.0f} MB" if value >= 100 else f"{value:.1f} MB"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _number(value: float) -> str:
    return f"{value:g}"


_FIGURES: dict[str, tuple[_Figure, ...]] = {
    "quality": (
        _Figure("accuracy", "accuracy", _percent),
        _Figure("macro_f1", "macro F1", _percent),
        _Figure("linear.sklearn_tokens.accuracy", "linear, scikit-learn's tokens", _percent),
        _Figure("linear.our_tokens.accuracy", "linear, our tokens", _percent),
        _Figure("train_seconds", "training", _seconds),
        _Figure("peak_mb", "peak memory", _mb),
        _Figure("bundle_mb", "Bundle", _mb),
        _Figure("n", "test rows", _count),
    ),
    "install": (_Figure("size_mb", "installed size", _mb),),
    "startup": (
        _Figure("help_seconds", "`--help`", _seconds),
        _Figure("predict_seconds", "`predict` of one text", _seconds),
    ),
    "stream": (
        _Figure("lines", "lines", _count),
        _Figure("lines_per_second", "lines a second", _count),
        _Figure("peak_mb", "peak memory", _mb),
        _Figure("mb_at_a_tenth", "memory after a tenth", _mb),
        _Figure("mb_at_the_end", "memory at the end", _mb),
    ),
    "large": (
        _Figure("gigabytes", "file [GB]", _number),
        _Figure("peak_mb", "peak memory", _mb),
        _Figure("peak_private_mb", "of it without mapped files", _mb),
        _Figure("peak_uss_mb", "unique (USS)", _mb),
        _Figure("peak_pss_mb", "proportional (PSS)", _mb),
        _Figure("seconds", "time", _seconds),
    ),
}

_PREFACE = (
    "Drawn from `results.jsonl` by `cellgate bench ... --record docs/results.jsonl`, never edited by hand. "
    "MB is 10^6 bytes."
)
_ABOUT = {
    "quality": "Answers on the test rows of public sets, trained with default settings by `cellgate train`; time and "
    "memory are of that whole process. Linear: TF-IDF and a linear SVM on the same rows.",
    "install": "What `pip install` without extras adds to a new environment.",
    "startup": "A new process in an environment without torch, median of several.",
    "stream": "Short lines piped through one `cellgate predict FOLDER -`.",
    "large": "A training on an invented CSV file, stopped after a set number of steps.",
}

_BUNDLE = _Target(60, at_least=False)
_TARGETS: dict[tuple[str, str, str], _Target] = {  # bench, data set or nothing, figure
    ("quality", "imdb", "accuracy"): _Target(0.905, at_least=True),
    ("quality", "imdb", "train_seconds"): _Target(20 * 60, at_least=False),
    ("quality", "imdb", "bundle_mb"): _Target(120, at_least=False),
    ("quality", "banking77", "accuracy"): _Target(0.92, at_least=True),
    ("quality", "banking77", "train_seconds"): _Target(6 * 60, at_least=False),
    ("quality", "chnsenticorp", "accuracy"): _Target(0.92, at_least=True),
    ("quality", "chnsenticorp", "train_seconds"): _Target(10 * 60, at_least=False),
    ("install", "", "size_mb"): _Target(230, at_least=False),
    ("startup", "", "help_seconds"): _Target(0.3, at_least=False),
    ("startup", "", "predict_seconds"): _Target(1.0, at_least=False),
    ("stream", "", "lines_per_second"): _Target(3_000, at_least=True),
    ("stream", "", "peak_mb"): _Target(400, at_least=False),
    ("large", "", "peak_mb"): _Target(2_000, at_least=False),
}


@dataclass(frozen=True)
class _Group:
    """The newest record of each seed, of one bench and set on one machine."""

    bench: str
    item: str
    machine: str
    records: tuple[Record, ...]


def append(record: Record, path: Path) -> None:
    """Add a record to a JSON lines file and draw the page beside it anew (`results.jsonl`: `results.md`)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
    path.with_suffix(".md").write_text(render(read(path)), "utf-8")


def read(path: Path) -> list[Record]:
    """Read the records of a JSON lines file, oldest first; a file that does not exist yet has none."""
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), start=1):
        if not line:
            continue
        try:
            record = json.loads(line)
            if record["bench"] not in _FIGURES or "machine" not in record:
                raise ValueError("no record of a benchmark we know")
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{path} line {number} is no record ({error}): delete that line") from None
        records.append(record)
    return records


def render(records: Iterable[Record]) -> str:
    """Draw the page, in Markdown: a table a bench, the newest record of each seed, medians over seeds."""
    groups = _grouped(records)
    machines = list(dict.fromkeys(group.machine for group in groups))
    lines = ["# Results", "", _PREFACE]
    if not groups:
        lines += ["", "Nothing has been measured yet."]
    for bench in _FIGURES:
        chosen = [group for group in groups if group.bench == bench]
        if chosen:
            lines += ["", f"## {bench}", "", _ABOUT[bench], "", *_table(bench, chosen, machines)]
            lines += ["", "Commands:", "", *_commands(chosen)]
    if machines:
        lines += ["", "## Machines", ""]
        lines += [f"- {_letter(place)}: {machine}" for place, machine in enumerate(machines)]
    return "\n".join(lines) + "\n"


def _grouped(records: Iterable[Record]) -> list[_Group]:
    newest: dict[tuple[str, str, str], dict[int, Record]] = {}
    for record in records:
        key = (record["bench"], record.get("set", ""), _machine(record["machine"]))
        newest.setdefault(key, {})[record.get("seed", 0)] = record
    return [_Group(*key, tuple(seeds[seed] for seed in sorted(seeds))) for key, seeds in sorted(newest.items())]


def _machine(machine: Mapping[str, Any]) -> str:
    """Say which machine; its Python and kernel change without it being another."""
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB"


def _letter(place: int) -> str:
    return chr(ord("A") + place % 26) * (place // 26 + 1)


def _table(bench: str, groups: Sequence[_Group], machines: Sequence[str]) -> list[str]:
    figures = _FIGURES[bench]
    sets = bench == "quality"
    first = ["set", "seeds"] if sets else []
    rows = [[*first, *(figure.heading for figure in figures), *(["against linear"] if sets else [])]]
    rows[0] += ["machine", "commit", "date"]
    for group in groups:
        row = [group.item, ", ".join(str(record["seed"]) for record in group.records)] if sets else []
        row += [_cell(group, figure) for figure in figures]
        row += [_against_linear(group)] if sets else []
        row += [_letter(machines.index(group.machine)), _distinct(group, "commit"), _newest_date(group)]
        rows.append(row)
    head, *body = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return [head, "|" + "---|" * len(rows[0]), *body]


def _value(group: _Group, figure: _Figure) -> float | None:
    """Median of a figure over the seeds; None where no record has it."""
    found = []
    for record in group.records:
        value: Any = record
        for key in figure.path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            found.append(float(value))
    return statistics.median(found) if found else None


def _cell(group: _Group, figure: _Figure) -> str:
    value = _value(group, figure)
    if value is None:
        return "-"
    target = _TARGETS.get((group.bench, group.item, figure.path))
    if target is None and figure.path == "bundle_mb":
        target = _BUNDLE
    return figure.written(value) + (f" ({target.verdict(figure, value)})" if target else "")


def _against_linear(group: _Group) -> str:
    """Points of accuracy above or below the better linear model."""
    ours, *yardsticks = (_value(group, figure) for figure in _FIGURES["quality"] if figure.path.endswith("accuracy"))
    known = [value for value in yardsticks if value is not None]
    return f"{100 * (ours - max(known)):+.2f}" if ours is not None and known else "-"


def _distinct(group: _Group, key: str) -> str:
    return ", ".join(dict.fromkeys(str(record[key]) for record in group.records))


def _newest_date(group: _Group) -> str:
    return max(str(record["date"])[:10] for record in group.records)


def _commands(groups: Sequence[_Group]) -> list[str]:
    return [f"- `{command}`" for command in dict.fromkeys(r["command"] for group in groups for r in group.records)]
