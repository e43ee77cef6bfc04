"""A Report as one page of HTML: no script, nothing fetched."""

from typing import Any

import numpy as np

from cellgate.metrics import CALIBRATION_BINS, MISTAKES, TELLING_ROWS, Answer, calibration_error, parts_of
from cellgate.report import marks, plots, tables
from cellgate.report.templates import render
from cellgate.report.values import Certainty, DevAnswers, Disagreement, Report, Texts
from cellgate.spans import Span

_MATRIX_LABELS = 20
_FLAT = 40  # columns x characters of the longest label, up to which the heads of the matrix lie
_TABLE_LABELS = 200
_PAIRS = 15
_NAME = 60  # characters of a label
_ANSWERS = {"text": "answer", "span": "span", "tag": "tag"}  # what a report calls a part of an answer
_FAR = 2  # lengths are drawn up to so many times the one that 99 % of the texts keep under


def report_html(report: Report) -> str:
    """The page as text; to be written in UTF-8. Texts and labels are escaped, whatever they hold."""
    return render(
        "page.html",
        {
            "report": report,
            "result": _result(report),
            "labels": _labels(report),
            "mistakes": _mistakes(report.dev) if report.part == "span" else None,
            "answer": _ANSWERS[report.part],
            "certainty": _certainty(report.dev, _ANSWERS[report.part]),
            "course": _course(report),
            "texts": _texts(report.texts),
            "errors": [(each, _lines(report.part, each, "true", "found")) for each in report.errors],
            "suspects": [(each, _lines(report.part, each, "given", "believed")) for each in report.suspects],
        },
        {"percent": _percent, "words": _words, "text": _excerpt, "label": _named},
    )


def _result(report: Report) -> dict[str, Any]:
    dev = report.dev
    rows = len(dev.truth)
    hits = sum(_right(dev))
    low, high = tables.likely_share(hits, rows)
    return {
        "rows": rows,
        "hits": hits,
        "likely": (low, high),
        "unanswered": sum(answer is None for answer in dev.answers),
        "few": rows < TELLING_ROWS,
        "metrics": {name: value for name, value in report.metrics.items() if name != "n"},
    }


def _labels(report: Report) -> dict[str, Any]:
    """What stands in the tables of labels: scores, matrix, pairs."""
    dev, names = report.dev, list(report.rows_by_label)
    scores = tables.label_scores(dev.truth, dev.answers, names)
    pairs = tables.confused(dev.truth, dev.answers)
    mixed = tables.mixed_up(pairs)
    support = {score.label: score.support for score in scores}
    matrix = tables.matrix(pairs, names, _MATRIX_LABELS)
    return {
        "several": any(not isinstance(labels, str) for labels in dev.truth),
        "scores": scores[:_TABLE_LABELS],
        "of": len(scores),
        "matrix": matrix,
        "flat": len(matrix.names) * max(map(len, matrix.names)) <= _FLAT,
        "shares": (matrix.counts / np.maximum(1, matrix.totals)[:, None]).tolist(),
        "pairs": [(true, given, count, count / support.get(true, count)) for true, given, count in mixed[:_PAIRS]],
        "pairs_of": len(mixed),
        "nothing": tables.NOTHING,
    }


def _mistakes(dev: DevAnswers) -> dict[str, Any]:
    """Spans by label and kind of mistake, all labels together first."""
    rows = tables.mistakes_by_label(dev.truth, dev.answers)
    totals = {kind: sum(row.mistakes[kind] for row in rows) for kind in MISTAKES}
    return {
        "kinds": MISTAKES,
        "all": tables.MistakesOfLabel("all labels", sum(row.right for row in rows), totals),
        "rows": rows[:_TABLE_LABELS],
    }


def _lines(part: str, each: Disagreement, given: str, believed: str) -> list[marks.Line]:
    """How a text with spans is shown; nothing of other texts."""
    if part == "span":
        return marks.span_lines(each, given, believed)
    return marks.tag_lines(each) if part == "tag" else []


def _certainty(dev: DevAnswers, answer: str) -> dict[str, Any]:
    """Of what was answered: how sure it was and how often right, before calibration and after."""
    before, after = dev.uncalibrated, dev.calibrated
    if not len(after.right):
        return {"rows": 0}
    return {
        "rows": len(after.right),
        "before": None if before is None else _gap(before),
        "after": _gap(after),
        "drawing": plots.reliability(
            [] if before is None else tables.bins(before, CALIBRATION_BINS),
            tables.bins(after, CALIBRATION_BINS),
            f"{answer}s",
        ),
    }


def _gap(certainty: Certainty) -> float:
    return calibration_error(certainty.confidence, certainty.right.tolist(), CALIBRATION_BINS)


def _course(report: Report) -> dict[str, Any]:
    name, together = next(iter(report.metrics.items()))
    linear = report.halves.get("linear")
    summed = report.halves.get("together", together)  # judged as each half is
    return {
        "metric": name,
        "together": together,
        "drawing": plots.learning_curves(report.curves, _words(name)) if report.curves.loss else None,
        # Half a point is less than chance moves such figures by.
        "linear_suffices": linear is not None and linear > summed - 0.005 and len(report.dev.truth) >= TELLING_ROWS,
    }


def _texts(texts: Texts) -> dict[str, Any]:
    lengths = texts.lengths
    if not len(lengths):
        return {"drawing": None}
    median, most = (int(np.quantile(lengths, share, method="higher")) for share in (0.5, 0.95))
    longest = int(lengths.max())
    end = min(longest, _FAR * int(np.quantile(lengths, 0.99, method="higher")))
    cut_at = texts.max_tokens if texts.cut and texts.max_tokens <= end else None
    return {
        "drawing": plots.lengths(lengths, end, cut_at),
        "median": median,
        "most": most,
        "longest": longest,
        "beyond": int((lengths > end).sum()),
    }


def _right(dev: DevAnswers) -> list[bool]:
    return [t == a for t, a in zip(dev.truth, dev.answers, strict=True)]


def _percent(share: float | None) -> str:
    """A share as it is read; what is not quite all or nothing does not look so."""
    if share is None:
        return "–"
    if 0 < share < 0.0005:
        return "< 0.1%"
    return "> 99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def _words(name: str) -> str:
    return name.replace("_", " ").replace("f1", "F1")


def _named(answer: Answer) -> str:
    parts = (f"{part.text} [{part.label}]" if isinstance(part, Span) else part for part in parts_of(answer))
    return ", ".join(_cut(part, _NAME) for part in parts) or tables.NOTHING


def _excerpt(text: str) -> str:
    shown = _cut(text, marks.EXCERPT)
    return f"{shown} ({len(text):,} characters)" if len(text) > marks.EXCERPT else shown


def _cut(text: str, most: int) -> str:
    """The beginning of a text in one line, without what a page cannot hold."""
    shown = marks.plain(text[: 4 * most]).strip()
    return shown if len(shown) <= most and len(text) <= 4 * most else shown[:most].rstrip() + "…"
