"""The page of results: drawn from the records in a JSON lines file, targets beside figures, never edited by hand."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from cellgate.bench.figures import Group, Table
from cellgate.bench.machine import Record
from cellgate.bench.speed_tables import trained
from cellgate.bench.tables import ABOUT, grouped, tables
from cellgate.errors import DataError

_PREFACE = (
    "Drawn from `results.jsonl` by `cellgate bench ... --record docs/results.jsonl`, never edited by hand. "
    "MB is 10^6 bytes."
)


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
            if record["bench"] not in ABOUT or "machine" not in record:
                raise ValueError("no record of a benchmark we know")
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{path} line {number} is no record ({error}): delete that line") from None
        records.append(record)
    return records


def render(records: Iterable[Record]) -> str:
    """Draw the page, in Markdown: a section a bench, the newest record of each seed, medians over seeds."""
    groups = grouped(records)
    machines = list(dict.fromkeys(group.machine for group in groups))
    letters = {machine: _letter(place) for place, machine in enumerate(machines)}
    lines = ["# Results", "", _PREFACE]
    if not groups:
        lines += ["", "Nothing has been measured yet."]
    for bench, about in ABOUT.items():
        chosen = [group for group in groups if group.bench == bench]
        if chosen:
            lines += ["", f"## {bench}", "", about]
            for table in tables(chosen, letters.__getitem__):
                lines += ["", *_markdown(table)]
            if bench in ("train", "tagging"):
                lines += ["", *(f"- Trained: {words}" for words in trained(chosen))]
            lines += ["", "Commands:", "", *_commands(chosen)]
    if machines:
        lines += ["", "## Machines", ""]
        lines += [f"- {letter}: {machine}" for machine, letter in letters.items()]
    return "\n".join(lines) + "\n"


def _letter(place: int) -> str:
    return chr(ord("A") + place % 26) * (place // 26 + 1)


def _markdown(table: Table) -> list[str]:
    rows = (table.head, *table.rows)
    head, *body = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return [head, "|" + "---|" * len(table.head), *body]


def _commands(groups: Sequence[Group]) -> list[str]:
    return [f"- `{command}`" for command in dict.fromkeys(r["command"] for group in groups for r in group.records)]
