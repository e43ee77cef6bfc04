"""A text with its spans, cut into pieces that a page can mark: those that are right, and those that are not."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from cellgate.metrics import spans_of
from cellgate.report.tables import NOTHING
from cellgate.report.values import Disagreement
from cellgate.spans import Span

EXCERPT = 300  # characters of a text
_BEFORE = 60  # of them before the first thing that is wrong
UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")  # controls, also of direction


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text; `kind` is empty outside all spans."""

    text: str
    label: str = ""
    kind: Literal["", "right", "wrong"] = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A text by the spans of one side, `name`: the given ones, or those believed."""

    name: str
    pieces: tuple[Piece, ...]


def span_lines(each: Disagreement, given: str, believed: str) -> list[Line]:
    """The text twice: with the spans given and with those believed; `given` and `believed` name them."""
    true, found = spans_of(each.given), spans_of(each.believed)
    wrong = set(true) ^ set(found)
    window = _window(each.text, wrong)
    return [
        Line(name, _pieces(each.text, [(span, span.label, span in wrong) for span in spans], window))
        for name, spans in ((given, true), (believed, found))
    ]


def tag_lines(each: Disagreement) -> list[Line]:
    """The text once: tokens whose tags differ are marked with both, the one given first."""
    found = {(span.start, span.end): span.label for span in spans_of(each.believed)}
    pairs = [(span, found.get((span.start, span.end), NOTHING)) for span in spans_of(each.given)]
    wrong = [(span, f"{span.label} → {label}", True) for span, label in pairs if span.label != label]
    return [Line("", _pieces(each.text, wrong, _window(each.text, [span for span, _, _ in wrong])))]


def _window(text: str, wrong: Iterable[Span]) -> tuple[int, int]:
    first = min((span.start for span in wrong), default=0)
    start = max(0, min(first - _BEFORE, len(text) - EXCERPT))
    return start, min(len(text), start + EXCERPT)


def _pieces(text: str, marked: Sequence[tuple[Span, str, bool]], window: tuple[int, int]) -> tuple[Piece, ...]:
    start, end = window
    pieces = [Piece("…")] if start else []
    at = start
    for span, label, wrong in sorted(marked):
        first, last = max(span.start, at), min(span.end, end)
        if first < last:
            pieces += [
                Piece(plain(text[at:first])),
                Piece(plain(text[first:last]), label, "wrong" if wrong else "right"),
            ]
            at = last
    pieces.append(Piece(plain(text[at:end])))
    if end < len(text):
        pieces.append(Piece(f"… ({len(text):,} characters)"))
    return tuple(piece for piece in pieces if piece.text)


def plain(text: str) -> str:
    """The text in one line, without what a page cannot hold."""
    return re.sub(r"\s+", " ", UNFIT.sub(" ", text))
