"""Benchmarks: what Cellgate reaches and what it takes, each measurement one JSON record with machine and commit.

for record in run("quality", ["trec"], seeds=(0, 1)):       data sets lie under the folder CELLGATE_DATA
    results.append(record, Path("docs/results.jsonl"))      and draws docs/results.md anew
for record in run("limits", ["startup", "stream"]):
    ...

Nothing here prints. What is measured runs as a user runs it: the command line, in a process of its own.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from cellgate.bench.limits import Sizes

Bench = Literal["quality", "limits"]


def names(bench: Bench) -> list[str]:
    """Names of what can be measured: data sets of `quality`, or the `limits`."""
    from cellgate.bench import limits, sets

    return sets.names() if bench == "quality" else limits.names()


def run(
    bench: Bench, chosen: Sequence[str] = (), seeds: Sequence[int] = (0,), sizes: "Sizes | None" = None
) -> Iterator[dict[str, Any]]:
    """Measure what was chosen (nothing: all), yielding each record as it is made; UsageError for a wrong name.

    seeds: of the trainings of `quality`. sizes: of the `limits`.
    """
    from cellgate.bench import limits, quality

    chosen = chosen or names(bench)
    return quality.quality(chosen, seeds) if bench == "quality" else limits.limits(chosen, sizes)
