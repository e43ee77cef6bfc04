"""cellgate check-data FILE...: what is wrong, odd or worth knowing about a data set, before training."""

import json
import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.cells import cell_len, set_cell_size
from rich.console import Console

from cellgate.cli.settings import field_flags, given
from cellgate.cli.sources import (
    FILES_HELP,
    Reading,
    Source,
    all_fields,
    named_columns,
    open_as_trained,
    open_input,
    open_source,
    origin,
    read_as,
    reading_flags,
)
from cellgate.cli.words import WIDTH, row, say
from cellgate.config import TextConfig
from cellgate.data.checks import (
    Excerpt,
    Facts,
    LabelledRows,
    Report,
    Split,
    TaggedRows,
    check_splits,
    column_findings,
    scheme_findings,
)
from cellgate.data.checks.findings import percent
from cellgate.data.readers import Table
from cellgate.errors import listed
from cellgate.task import Task, find

_EXAMPLE = "Example: cellgate check-data train.csv --test test.csv"
_USAGE = "Usage: cellgate check-data FILE... [--dev FILE] [--test FILE] [OPTIONS]"
_LABELS = 6  # named with their rows
_ROOM = 30  # columns of the screen that an example's text wants
_LABEL_CELLS = 24
APP = App(name="check-data", usage=_USAGE, help_epilogue=_EXAMPLE)


@dataclass(frozen=True)
class Others:
    """The other splits of the data set."""

    dev: Annotated[str | None, Parameter(metavar="FILE", help="Rows that training will judge and calibrate by.")] = None
    test: Annotated[str | None, Parameter(metavar="FILE", help="Rows that the model will be tested on.")] = None


@APP.default
def check_data(
    *files: Annotated[str, Parameter(name="FILE", help=FILES_HELP)],
    columns: object = None,
    others: Annotated[Others | None, Parameter(name="*")] = None,
    reading: object = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="Print one JSON object.", show_default=False)
    ] = False,
) -> int:
    """Look for what spoils a model of labelled or tagged texts; 1 if there is something to mend first, else 0."""
    how = read_as(reading)
    table, flags = open_input(files, how.encoding), given(columns)
    task = _task(table, flags)
    sources = _sources(table, others or Others(), task, named_columns(flags, task.fields), how)
    for note in (note for source in sources.values() for note in source.notes):
        say(note)
    report = _check(sources, task, skip=how.skip_bad_rows)
    used = sources["train"].records.columns
    if as_json:
        print(json.dumps(_as_json(report, used), ensure_ascii=False))
    else:
        print("\n".join(_in_words(report, used)))
    return 1 if report.verdict == "mend" else 0


_READ_BY = ("encoding", "skip_bad_rows", "overlaps", "label_separator")
check_data.__annotations__ |= {
    "columns": Annotated[field_flags(all_fields(wanted=True)) | None, Parameter(name="*")],
    "reading": Annotated[reading_flags(_READ_BY) | None, Parameter(name="*")],
}


def _task(table: Table, flags: Mapping[str, str]) -> Task:
    """Whether rows are to be labelled or tagged: by the flag of a column, else by what the columns are called."""
    tagged = "spans" in flags or (
        "label" not in flags and table.named and not {"spans", "tokens"}.isdisjoint(table.columns)
    )
    return find("tag" if tagged else "classify")


def _sources(
    table: Table, others: Others, task: Task, columns: Mapping[str, str | None], reading: Reading
) -> dict[str, Source]:
    """Open the files by the names of their splits; what no flag says of dev and test is as in train."""
    train = open_source(table, task, columns, reading)
    given_files = {"dev": others.dev, "test": others.test}
    facts = origin(train.records)
    rest = {name: open_as_trained([path], task, columns, reading, facts) for name, path in given_files.items() if path}
    return {"train": train, **rest}


def _check(sources: Mapping[str, Source], task: Task, *, skip: bool) -> Report:
    with Console(stderr=True).status("reading and comparing the rows"):
        if task.wanted == "spans":
            tagged = {name: TaggedRows(source.records, *task.fields) for name, source in sources.items()}
            splits = [Split(name, each.read, skip) for name, each in tagged.items()]
            broken = {name: source.records.table.broken_spans for name, source in sources.items()}
            return check_splits(splits, TextConfig(), list(scheme_findings(broken)), "tags")
        rows = {name: LabelledRows(source.records, *task.fields) for name, source in sources.items()}
        splits = [Split(name, each.read, skip) for name, each in rows.items()]
        beside = rows["train"].other_columns()
        return check_splits(splits, TextConfig(), list(column_findings(beside, rows["train"].cells(beside))))


def _as_json(report: Report, columns: Mapping[str, str]) -> dict[str, Any]:
    findings = [
        {
            "severity": finding.severity,
            "code": finding.code,
            "rows": finding.rows,
            "title": finding.title,
            "details": finding.details,
            "remedy": finding.remedy,
            "examples": [[excerpt._asdict() for excerpt in example] for example in examples],
        }
        for finding, examples in report.findings
    ]
    splits = [asdict(facts) for facts in report.facts]
    return {"verdict": report.verdict, "columns": dict(columns), "splits": splits, "findings": findings}


def _in_words(report: Report, columns: Mapping[str, str]) -> Iterator[str]:
    yield row("columns", ", ".join(f"{field} {column!r}" for field, column in columns.items()))
    yield from _table(report.facts)
    labels = report.facts[0].labels
    named = listed((f"{label!r} {count:,}" for label, count in labels.items()), _LABELS)
    yield row("labels of train", named or "none")
    lone = len({excerpt.path for _, examples in report.findings for example in examples for excerpt in example}) == 1
    for finding, examples in report.findings:
        yield ""
        yield _filled(f"{finding.severity.upper()}: {finding.title}.", after="  ")
        yield from (_filled(detail, before="  ", after="  ") for detail in finding.details)
        yield from (_example(example, name_files=not lone) for example in examples)
        yield _filled(finding.remedy, before="  -> ", after="     ")
    yield ""
    yield _filled(_verdict(report))


def _table(facts: Sequence[Facts]) -> Iterator[str]:
    """A column for each split: what it is made of."""
    yield _line("", [each.split for each in facts])
    yield _line("rows", [f"{each.rows:,}" for each in facts])
    yield _line("labels", [f"{len(each.labels):,}" for each in facts])
    if any(each.unlabelled for each in facts):
        yield _line("rows without a label", [f"{each.unlabelled:,}" for each in facts])
    for name in facts[0].characters:
        yield _line(f"characters, {name}", [f"{each.characters[name]:,}" for each in facts])
    for name in facts[0].tokens:
        yield _line(f"tokens ({facts[0].unit}s), {name}", [f"{each.tokens[name]:,}" for each in facts])
    for script in dict.fromkeys(script for each in facts for script in each.scripts):
        shares = [each.scripts.get(script, 0.0) for each in facts]
        yield _line(f"texts in {script}" if script != "no letters" else "texts without letters", map(percent, shares))


def _line(name: str, values: Iterable[str]) -> str:
    return f"{name:<30}" + "".join(f"{value:>12}" for value in values)


def _example(rows: Sequence[Excerpt], *, name_files: bool) -> str:
    """The rows of an example and how the first one's text begins, below them where they leave no room."""
    places = "    " + " = ".join(_places(rows, name_files=name_files))
    text = _cut(rows[0].text, WIDTH - 6)
    if cell_len(places) > WIDTH:
        places = "    " + " =\n    ".join(_places(rows, name_files=name_files))
    elif WIDTH - cell_len(places) - 2 >= min(_ROOM, cell_len(text)):
        return f"{places}: {_cut(text, WIDTH - cell_len(places) - 2)}" if text else places
    return f"{places}:\n      {text}"


def _places(rows: Sequence[Excerpt], *, name_files: bool) -> Iterator[str]:
    """`a.csv line 3`, `b.csv line 8 [spam]`: a file and labels that all rows share stand once."""
    one_file, one_label = len({row.path for row in rows}) == 1, len({row.label for row in rows}) == 1
    for number, each in enumerate(rows):
        file = f"{os.path.basename(each.path)} " if name_files and not (number and one_file) else ""
        label = f" [{_cut(each.label, _LABEL_CELLS) or 'no label'}]" if number + 1 == len(rows) or not one_label else ""
        yield f"{file}{each.unit} {each.line}{label}"


def _cut(text: str, cells: int) -> str:
    """The beginning of a text on one line of so many columns; a Chinese character takes two."""
    flat = " ".join(text.split())
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in flat)
    return shown if cell_len(shown) <= cells else f"{set_cell_size(shown, cells - 3).rstrip()}..."


def _verdict(report: Report) -> str:
    problems, warnings = report.titles("problem"), report.titles("warning")
    if problems:
        return f"Verdict: mend first: {'; '.join(problems)}."
    if warnings:
        return f"Verdict: trainable, but {'; '.join(warnings)}."
    return "Verdict: ready to train."


def _filled(sentence: str, before: str = "", after: str = "") -> str:
    """Wrap a sentence; a number and its percent sign stay together."""
    kept = sentence.replace(" %", "\u00a0%")
    lines = textwrap.fill(kept, WIDTH, initial_indent=before, subsequent_indent=after, break_on_hyphens=False)
    return lines.replace("\u00a0%", " %")
