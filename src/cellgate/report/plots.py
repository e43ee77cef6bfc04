"""The three drawings of a report as static SVG. Colours are the page's own, so one drawing suits light, dark and paper.

Only numbers and our own words are drawn: labels and texts of any script stand in the page, where the browser has fonts.
"""

import io
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellgate.batch import Ints
from cellgate.report.tables import Bin
from cellgate.report.values import LearningCurves

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# matplotlib wants colours; the page has names for them. Each stands for one in the drawing and is replaced at the end.
_INK, _GRID, _BLUE, _GREY = "#000001", "#000002", "#000003", "#000004"
_NAMES = {_INK: "--ink-soft", _GRID: "--line", _BLUE: "--accent", _GREY: "--muted"}
_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",  # text stays text: to be searched, and in the page's font
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "font.size": 9,
    "text.color": _INK,
}
_LENGTH_BARS = 50


def learning_curves(curves: LearningCurves, metric: str) -> str:
    """Loss and dev metric by epoch, side by side; the epoch that was kept is marked."""

    def draw(figure: "Figure") -> None:
        kept = curves.kept_epoch
        panels = (("training loss (nats)", curves.loss, _GREY), (f"{metric} on dev", curves.metric, _BLUE))
        for axes, (title, values, colour) in zip(figure.subplots(1, 2), panels, strict=True):
            axes.plot(range(1, len(values) + 1), values, "o-", color=colour, markersize=3, linewidth=1.6)
            if 0 < kept <= len(values):
                axes.plot([kept], [values[kept - 1]], "o", markersize=8, markerfacecolor="none", markeredgecolor=_INK)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.set_xlim(0.5, len(values) + 0.5)
            axes.margins(y=0.15)
            _count(axes.xaxis)

    return _svg("curves", (7.2, 2.3), draw)


def reliability(before: Sequence[Bin], after: Sequence[Bin], what: str) -> str:
    """How often answers, called `what`, are right by how sure they are, and below how many there are of each."""

    def draw(figure: "Figure") -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        above.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1)
        for found, colour, name in ((before, _GREY, "before calibration"), (after, _BLUE, "after calibration")):
            if found:
                places = [each.confidence for each in found]
                heights = [each.right for each in found]
                most = max(each.rows for each in found)
                above.plot(places, heights, color=colour, linewidth=1, label=name)
                above.scatter(places, heights, [6 + 60 * each.rows / most for each in found], color=colour, zorder=3)
        above.set_ylabel("share that is right")
        above.set_ylim(-0.03, 1.03)
        above.legend(loc="upper left", frameon=False)
        below.bar([each.confidence for each in after], [each.rows for each in after], width=0.04, color=_BLUE)
        below.set_xlabel("confidence")
        below.set_ylabel(what)
        below.set_xlim(-0.03, 1.03)
        _count(below.yaxis, most=2)

    return _svg("reliability", (4.4, 4.2), draw)


def lengths(tokens: Ints, end: int, cut_at: int | None) -> str:
    """Texts by length [tokens], drawn from 0 to `end`; a line where texts were cut."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        width = math.ceil((end + 1) / _LENGTH_BARS)
        edges = np.arange(0, end + 1 + width, width)
        counts, _ = np.histogram(tokens, edges)
        axes.bar(edges[:-1] - 0.5, counts, width=width * 0.9, align="edge", color=_BLUE)
        if cut_at is not None:
            axes.axvline(cut_at, color=_INK, linestyle="--", linewidth=1)
            axes.text(cut_at, axes.get_ylim()[1], f"cut at {cut_at:,}  ", ha="right", va="top")
        axes.set_xlim(-0.5, edges[-1] - 0.5)
        axes.set_xlabel("tokens of a text")
        axes.set_ylabel("texts")
        axes.grid(axis="x", visible=False)
        _count(axes.xaxis)
        _count(axes.yaxis, most=4)

    return _svg("lengths", (7.2, 1.9), draw)


def _count(axis: "Axis", most: int = 8) -> None:
    """Mark an axis by whole numbers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=most, integer=True, min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _svg(name: str, inches: tuple[float, float], draw: "Callable[[Figure], None]") -> str:
    """What `draw` puts into a figure, as an element of a page: the same bytes each time."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it tells of its font cache on first use
    from matplotlib import style
    from matplotlib.figure import Figure

    file = io.StringIO()
    with style.context({**_STYLE, "svg.hashsalt": name}, after_reset=True):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _of_the_page(file.getvalue())


def _of_the_page(svg: str) -> str:
    """A drawing without what only a file of its own needs, in the page's colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)  # never referred to, and the same in every drawing of a page
    svg = re.sub(r"font-family: [^;\"]*; ", "", svg)
    for colour, own in _NAMES.items():
        svg = svg.replace(colour, f"var({own})")
    return svg
