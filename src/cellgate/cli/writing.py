"""Predictions as text, JSON lines, CSV, CoNLL or a page: by what an answer holds, whatever the task."""

import csv
import html
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cellgate.codecs import ChainCodec, TargetCodec, text_of
from cellgate.codecs.target import MOST
from cellgate.errors import UsageError
from cellgate.metrics import Answer, labels_of, spans_of
from cellgate.spans import Run, Span, bioes
from cellgate.task import Prediction, Task

Format = Literal["text", "jsonl", "csv", "conll", "html"]
_UNKNOWN = "(unknown)"  # "I don't know", where an answer is written as words


@dataclass(frozen=True, slots=True)
class Writer:
    """How predictions are written: what comes before them, and each of them."""

    line: Callable[[Prediction], str]
    head: str = ""


def writer(form: Format, task: Task, target: TargetCodec, top: int | None) -> Writer:
    """The writer of a format, with the `top` best answers; UsageError where answers cannot be written so."""
    if isinstance(target, ChainCodec):
        return _span_writer(form, task)
    if form in ("conll", "html"):
        raise UsageError(f"--format {form} is for spans, and {task.wanted}s are answered here: text, jsonl or csv")
    if form == "csv":
        return Writer(lambda made: _csv_line(_cells(made, task, top or 1)), _csv_line(_header(task, top or 1)))
    if form == "jsonl":
        return Writer(lambda made: _json_line(_answers(made, task, top or MOST)))
    return Writer(lambda made: _text_line(made, top or 1))


def _text_line(prediction: Prediction, top: int) -> str:
    answers = [(answer_in_words(prediction.value), prediction.confidence)]
    answers += [(_on_one_line(other.value), other.confidence) for other in prediction.alternatives[: top - 1]]
    return "\t".join(f"{value}\t{chance:.4f}" for value, chance in answers) + "\n"


def answer_in_words(value: Answer) -> str:
    """An answer on one line; brackets mark what is no label."""
    if value is None:
        return _UNKNOWN
    return ", ".join(map(_on_one_line, labels_of(value))) or "(none)"


def _on_one_line(label: str) -> str:
    """As words between single spaces; what is white space alone, as a language model's answer may be, is quoted."""
    return " ".join(label.split()) or repr(label)


def _answers(prediction: Prediction, task: Task, top: int) -> dict[str, Any]:
    others = prediction.alternatives[: top - 1]
    return {
        **{name: getattr(prediction.record, name) for name in task.given},
        task.wanted: prediction.value,
        "confidence": round(prediction.confidence, 6),
        "alternatives": [{task.wanted: o.value, "confidence": round(o.confidence, 6)} for o in others],
    }


def _json_line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def _header(task: Task, top: int) -> list[str]:
    answers = [f"{name}_{place}" for place in range(2, top + 1) for name in (task.wanted, "confidence")]
    return [*task.given, task.wanted, "confidence", *answers]


def _cells(prediction: Prediction, task: Task, top: int) -> list[str]:
    cells: list[str] = [getattr(prediction.record, name) for name in task.given]
    answer = _UNKNOWN if prediction.value is None else ";".join(labels_of(prediction.value))
    cells += [answer, f"{prediction.confidence:.6f}"]
    for other in prediction.alternatives[: top - 1]:
        cells += [other.value, f"{other.confidence:.6f}"]
    return cells + [""] * (len(_header(task, top)) - len(cells))


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


# Spans


def _span_writer(form: Format, task: Task) -> Writer:
    (given,) = task.given

    def parts(prediction: Prediction) -> tuple[str, tuple[Span, ...]]:
        return text_of(getattr(prediction.record, given)), spans_of(prediction.value)

    if form == "csv":
        raise UsageError("--format csv has no room for spans; write them as text, jsonl, conll or html")
    if form == "jsonl":
        return Writer(lambda made: _json_line(_spans(made, given, task.wanted)))
    if form == "conll":
        return Writer(lambda made: _columns(*parts(made), tokens=getattr(made.record, given)))
    if form == "html":
        return Writer(lambda made: f"<p>{_page_line(*parts(made))}</p>\n", _PAGE_HEAD)
    return Writer(lambda made: _marked(*parts(made)))


def _spans(prediction: Prediction, given: str, wanted: str) -> dict[str, Any]:
    text, spans = getattr(prediction.record, given), spans_of(prediction.value)
    told = [
        {"start": s.start, "end": s.end, "label": s.label, "text": s.text, "confidence": round(s.confidence, 6)}
        for s in spans
    ]
    answer = {given: text, wanted: told, "confidence": round(prediction.confidence, 6)}
    if isinstance(text, str):
        return answer
    return {"tokens": text, "tags": labels_of(spans), **answer, given: text_of(text)}


def _pieces(text: str, spans: Sequence[Span]) -> Iterator[tuple[str, Span | None]]:
    """The text from its beginning to its end, in spans and what is between."""
    end = 0
    for span in spans:
        if text[end : span.start]:
            yield text[end : span.start], None
        yield text[span.start : span.end], span
        end = span.end
    if text[end:]:
        yield text[end:], None


def _marked(text: str, spans: Sequence[Span]) -> str:
    shown = [f"[{piece} {span.label} {span.confidence:.2f}]" if span else piece for piece, span in _pieces(text, spans)]
    return " ".join("".join(shown).split()) + "\n"


def _columns(text: str, spans: Sequence[Span], tokens: str | Sequence[str]) -> str:
    """A token and its tag a line, then an empty line; a text is cut at spaces and where spans begin and end."""
    if not isinstance(tokens, str):
        lines = zip(tokens, labels_of(tuple(spans)), strict=True)
        return "".join(f"{token}\t{tag}\n" for token, tag in lines) + "\n"
    words: list[str] = []
    runs: list[Run] = []
    for piece, span in _pieces(text, spans):
        cut = piece.split()
        if span and cut:
            runs.append(Run(len(words), len(words) + len(cut), span.label))
        words += cut
    return "".join(f"{word}\t{tag}\n" for word, tag in zip(words, bioes(len(words), runs), strict=True)) + "\n"


_PAGE_HEAD = """<!doctype html>
<meta charset="utf-8">
<title>Cellgate</title>
<style>
body { font: 16px/1.9 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
mark { padding: .15em .3em; border-radius: .25em; background: hsl(var(--hue) 80% 88%); color: #111; }
mark small { font-size: .7em; font-weight: 600; margin-left: .4em; color: hsl(var(--hue) 60% 30%); }
</style>
"""


def _page_line(text: str, spans: Sequence[Span]) -> str:
    return "".join(_mark(piece, span) if span else html.escape(piece) for piece, span in _pieces(text, spans))


def _mark(piece: str, span: Span) -> str:
    hue = sum(map(ord, span.label)) * 47 % 360  # alike for a label wherever it stands
    label = f"<small>{html.escape(span.label)} {span.confidence:.0%}</small>"
    return f'<mark style="--hue:{hue}">{html.escape(piece)}{label}</mark>'
