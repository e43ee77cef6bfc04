"""report.html of a Bundle: one file that opens offline and says how training went and where the model is wrong.

    Report -> tables (numbers and rows), plots (static SVG) -> page.html in frame.html -> str

Nothing is read or written here, and nothing is computed by a net.
"""

from cellgate.report.language import LanguageReport, language_html
from cellgate.report.page import report_html
from cellgate.report.tables import worst
from cellgate.report.values import Certainty, DevAnswers, Disagreement, LearningCurves, Report, Texts

__all__ = [
    "Certainty",
    "DevAnswers",
    "Disagreement",
    "LanguageReport",
    "LearningCurves",
    "Report",
    "Texts",
    "language_html",
    "report_html",
    "worst",
]
