"""Benchmarks: what Cellgate reaches and what it takes, each measurement one JSON record with machine and commit.

for record in run("quality", ["trec"], seeds=(0, 1)):       data sets lie under the folder CELLGATE_DATA
    results.append(record, Path("docs/results.jsonl"))      and draws docs/results.md anew
for record in run("speed", ["kernels"], sizes=Sizes(threads=2)):
    ...
for record in run("cells", ["adding"]):
    ...
for record in run("limits", ["startup", "lines"]):
    ...

Nothing here prints. What `quality` and `limits` measure runs as a user runs it: the command line, in a process of its
own. `speed` runs here, so that contestants can take turns.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from cellgate.errors import UsageError, listed, nearest

if TYPE_CHECKING:
    from cellgate.bench.sizes import Sizes

Bench = Literal["quality", "ablation", "speed", "cells", "limits"]
SPEED = ("kernels", "train", "tagging", "generate")


def names(bench: Bench) -> list[str]:
    """Names of what can be measured: data sets of `quality`, parts of `cells`, measurements of the others."""
    from cellgate.bench import cells, limits, quality, sets, tag_sets, text_sets

    known = {
        "quality": lambda: sorted([*sets.names(), *tag_sets.SETS.names, *text_sets.SETS.names]),
        "ablation": lambda: list(quality.ABLATION_SETS),
        "speed": lambda: list(SPEED),
        "cells": cells.names,
        "limits": limits.names,
    }
    return known[bench]()


def run(
    bench: Bench, chosen: Sequence[str] = (), seeds: Sequence[int] = (), sizes: "Sizes | None" = None
) -> Iterator[dict[str, Any]]:
    """Measure what was chosen (nothing: all), yielding each record as it is made; UsageError for a wrong name.

    seeds: of the trainings of `quality`, `train` and `cells` (nothing: their own). sizes: of all but `quality`.
    """
    from cellgate.bench import cells, limits, quality

    chosen = chosen or names(bench)
    if bench == "ablation":
        return quality.ablation(chosen, seeds or quality.SEEDS)
    if bench == "cells":
        return cells.cells(chosen, seeds, sizes)
    if bench == "speed":
        return _speed(chosen, seeds, sizes)
    return quality.quality(chosen, seeds or quality.SEEDS) if bench == "quality" else limits.limits(chosen, sizes)


def _speed(chosen: Sequence[str], seeds: Sequence[int], sizes: "Sizes | None") -> Iterator[dict[str, Any]]:
    from cellgate.bench.machine import require_extra
    from cellgate.bench.sizes import Sizes

    for name in chosen:
        if name not in SPEED:
            raise UsageError(f"no measurement {name!r}{nearest(name, SPEED) or f'; of speed: {listed(SPEED)}'}")
    require_extra(("torch", "onnx"))
    from cellgate.bench import generate, kernels, tagging, train

    for name in chosen:
        if name == "kernels":
            yield kernels.kernels(sizes or Sizes())
        elif name == "tagging":
            yield from tagging.tagging(sizes or Sizes())
        elif name == "generate":
            yield generate.generate(sizes or Sizes())
        else:
            yield train.train(sizes or Sizes(), seeds or train.SEEDS)
