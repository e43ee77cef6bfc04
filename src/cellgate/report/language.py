"""A LanguageReport as one page of HTML: no script, nothing fetched."""

from collections.abc import Mapping
from dataclasses import dataclass

from cellgate.report import plots
from cellgate.report.templates import render
from cellgate.report.values import LearningCurves


@dataclass(frozen=True, slots=True)
class LanguageReport:
    """All that report.html tells of a Bundle that writes."""

    name: str  # what the Bundle's folder is called
    task: str
    unit: str  # what a token is
    tokens: int  # trained on
    metrics: Mapping[str, float]  # on dev
    curves: LearningCurves  # its metric is perplexity
    judged: tuple[tuple[str, int], ...]  # tokens of dev, and how much each surprises, 0 to 3
    written: tuple[str, ...]


def language_html(report: LanguageReport) -> str:
    """The page as text; to be written in UTF-8. Texts are escaped, whatever they hold."""
    drawing = plots.learning_curves(report.curves, "perplexity") if report.curves.loss else None
    return render("language.html", {"report": report, "drawing": drawing}, {})
