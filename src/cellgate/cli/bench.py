"""cellgate bench NAME...: measure, one JSON line a record."""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cellgate.bench import names, results, run
from cellgate.bench.limits import Sizes
from cellgate.errors import UsageError, listed, nearest

_USAGE = "Usage: cellgate bench quality [SET...] | LIMIT... [OPTIONS]"
APP = App(name="bench", usage=_USAGE, help_epilogue="Example: cellgate bench startup stream")


@APP.default
def bench(
    *chosen: Annotated[
        str,
        Parameter(
            name="NAME",
            help=f"quality and data sets ({listed(names('quality'))}; none: all), or limits "
            f"({listed(names('limits'))}).",
        ),
    ],
    seed: Annotated[
        tuple[int, ...],
        Parameter(
            metavar="NUMBER", negative=(), show_default="0", help="Seed of a training of quality; may be repeated."
        ),
    ] = (0,),
    sizes: Annotated[Sizes | None, Parameter(name="*")] = None,
    record: Annotated[
        Path | None, Parameter(metavar="FILE", help="Append to this JSON lines file, and draw the page beside it.")
    ] = None,
) -> None:
    """Measure what is named, each as a user meets it: the command line in a process of its own."""
    known = ["quality", *names("limits")]
    if not chosen:
        raise UsageError(f"nothing to measure; name one of {listed(known)}")
    if chosen[0] not in known:
        raise UsageError(f"no benchmark {chosen[0]!r}{nearest(chosen[0], known) or f'; known: {listed(known)}'}")
    made = run("quality", chosen[1:], seed) if chosen[0] == "quality" else run("limits", chosen, sizes=sizes)
    for each in made:
        print(json.dumps(each, ensure_ascii=False), flush=True)
        if record is not None:
            results.append(each, record)
