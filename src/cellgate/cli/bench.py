"""cellgate bench NAME...: measure, and show each record as it is made."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from cellgate.bench import Bench, cells_plot, names, results, run
from cellgate.bench.figures import Table
from cellgate.bench.sizes import Sizes
from cellgate.bench.tables import grouped, tables
from cellgate.cli.words import row
from cellgate.errors import UsageError, listed, nearest

_USAGE = "Usage: cellgate bench quality [SET...] | ablation [SET...] | cells [PART...] | NAME... [OPTIONS]"
_WIDTH = 120  # of tables where no terminal says how wide it is
_INDENT = 44
_WITH_PARTS: tuple[Bench, ...] = ("quality", "ablation", "cells")
_SPEED, _LIMITS = names("speed"), names("limits")

APP = App(name="bench", usage=_USAGE, help_epilogue="Example: cellgate bench kernels startup")


@APP.default
def bench(
    *chosen: Annotated[
        str,
        Parameter(
            name="NAME",
            help=f"quality and data sets ({listed(names('quality'))}; none: all), ablation and sets "
            f"({listed(names('ablation'))}; none: all), cells and parts of it "
            f"({listed(names('cells'))}; none: all), or any of {listed([*_SPEED, *_LIMITS])}.",
        ),
    ],
    seed: Annotated[
        tuple[int, ...],
        Parameter(
            metavar="NUMBER",
            negative=(),
            show_default="0; for train, adding and copy 0, 1, 2",
            help="Seed of a training of quality, train and cells; may be repeated.",
        ),
    ] = (),
    sizes: Annotated[Sizes | None, Parameter(name="*", negative=())] = None,
    record: Annotated[
        Path | None, Parameter(metavar="FILE", help="Append to this JSON lines file, and draw the page beside it.")
    ] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="Print one JSON line a record.", show_default=False)
    ] = False,
) -> None:
    """Measure quality and limits as a user meets them; kernels, train, tagging beside other libraries; cells."""
    known = [*_WITH_PARTS, *_SPEED, *_LIMITS]
    if not chosen:
        raise UsageError(f"nothing to measure; name one of {listed(known)}")
    for place, name in enumerate(chosen[:1] if chosen[0] in _WITH_PARTS else chosen):
        if place and name in _WITH_PARTS:
            raise UsageError(f"{name} has parts of its own and is measured alone: cellgate bench {name}")
        if name not in known:
            raise UsageError(f"no benchmark {name!r}{nearest(name, known) or f'; known: {listed(known)}'}")
    for each in _measured(chosen, seed, sizes):
        if as_json:
            print(json.dumps(each, ensure_ascii=False), flush=True)
        else:
            _show(each)
        if record is not None:
            results.append(each, record)
            if each["bench"] == "cells":
                cells_plot.draw(results.read(record), record.with_name("cells.svg"))


def _measured(chosen: Sequence[str], seed: Sequence[int], sizes: Sizes | None) -> Iterator[dict[str, Any]]:
    for bench in _WITH_PARTS:
        if chosen[0] == bench:
            yield from run(bench, chosen[1:], seed, sizes)
            return
    for name in chosen:
        yield from run("speed" if name in _SPEED else "limits", [name], seed, sizes)


def _show(record: dict[str, Any]) -> None:
    """Print a record as the page of results has it: a single row as facts, more rows as a table."""
    print(record["bench"])
    for table in tables(grouped([record])):
        if len(table.rows) == 1:
            for name, value in zip(table.head, table.rows[0], strict=True):
                print(row(name.replace("`", ""), value, indent=_INDENT))
        elif table.rows:
            _draw(table)
    print(flush=True)


def _draw(table: Table) -> None:
    # Imported here: --help and --json do without.
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawn

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDTH
    drawn = Drawn(box=box.SIMPLE_HEAD)
    for name in table.head:
        drawn.add_column(name)
    for cells in table.rows:
        drawn.add_row(*cells)
    console.print(drawn)
