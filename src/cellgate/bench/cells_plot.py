"""The figure of `cells`: steps to solve each lag, a panel a problem; accuracy on test, a panel a set."""

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cellgate.bench.cells_tables import NAMES, points
from cellgate.bench.figures import Group
from cellgate.bench.machine import Record
from cellgate.bench.tables import grouped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL_INCHES = (5.0, 4.0)
_CELL_MARKERS = {"rnn": "o", "gru": "s", "lstm": "^", "peephole": "D"}
_MARKERS = {1: ("o", "reads one way"), 2: ("s", "reads both ways")}  # by directions
_LEGEND_ANCHOR = (0.5, -0.17)  # below the axes, so that it hides no point


def draw(records: Iterable[Record], path: Path) -> None:
    """Draw the newest measurement of each part as an SVG file, the same bytes from the same records."""
    # Heavy, and only this figure needs it.
    import matplotlib
    from matplotlib.figure import Figure

    newest: dict[str, Group] = {}
    for group in grouped(record for record in records if record["bench"] == "cells"):
        held = newest.get(group.item)
        if held is None or _date(held) < _date(group):
            newest[group.item] = group
    columns = min(2, len(newest))
    rows = -(-len(newest) // columns)
    with matplotlib.rc_context({"svg.hashsalt": "cellgate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure((_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows), layout="constrained")
        for place, group in enumerate(newest.values(), start=1):
            axes = figure.add_subplot(rows, columns, place)
            (_draw_lags if "lags" in group.records[-1] else _draw_set)(axes, group)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _date(group: Group) -> str:
    return max(str(record["date"]) for record in group.records)


def _draw_lags(axes: "Axes", group: Group) -> None:
    newest = group.records[-1]
    for number, (cell, words) in enumerate(NAMES.items()):
        found = points(group, cell)
        solved = [(point.lag, point.steps) for point in found if point.steps is not None]
        failed = [(point.lag, newest["steps"]) for point in found if point.steps is None]
        way = [*solved, *failed]
        axes.plot([x for x, _ in way], [y for _, y in way], color=f"C{number}", marker=_CELL_MARKERS[cell], label=words)
        axes.plot([x for x, _ in failed], [y for _, y in failed], "x", color=f"C{number}", markersize=12)
    axes.axhline(newest["steps"], color="grey", linestyle=":", label=f"fails (x): not in {newest['steps']:,} steps")
    axes.set(title=group.item, xlabel="lag", ylabel="steps until solved", xscale="log")
    axes.set_xticks(newest["lags"], [str(lag) for lag in newest["lags"]])
    axes.minorticks_off()
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=_LEGEND_ANCHOR, ncols=2)


def _draw_set(axes: "Axes", group: Group) -> None:
    trainings = group.records[-1]["trainings"]
    for directions, (marker, words) in _MARKERS.items():
        places = [place for place, each in enumerate(trainings) if each["directions"] == directions]
        accuracies = [
            100 * statistics.median(record["trainings"][place]["accuracy"] for record in group.records)
            for place in places
        ]
        cells = [NAMES[trainings[place]["cell"]].replace(" with ", "\nwith ") for place in places]
        axes.plot(cells, accuracies, marker, label=words)
    axes.set(title=group.item, ylabel="accuracy on test [%]")
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=_LEGEND_ANCHOR, ncols=2)
