"""cellgate score FOLDER [TEXT... | FILE... | -]: how probable texts are, and what in them surprises the model."""

import html
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from cellgate.bundle import Bundle, open_bundle
from cellgate.cli.recent import Cache
from cellgate.cli.sources import Reading, open_as_trained
from cellgate.cli.words import STANDARD_INPUT
from cellgate.errors import UsageError
from cellgate.language import Language, Scored, surprise

_USAGE = "Usage: cellgate score FOLDER [TEXT... | FILE... | -] [OPTIONS]"
_EXAMPLE = "Example: cellgate score plays 'The wind turned before noon.' --by token"
APP = App(name="score", usage=_USAGE, help_epilogue=_EXAMPLE)
By = Literal["token", "line", "document"]
Form = Literal["text", "jsonl", "html"]
_COLOURS = {1: "33", 2: "31", 3: "1;31"}  # of a terminal: yellow, red, bold red


@APP.default
def score(
    folder: Annotated[str, Parameter(help="The Bundle.")],
    /,
    *inputs: Annotated[
        str,
        Parameter(
            name="TEXT",
            help="Texts as they are; files that exist (by --layout, tables by their column); `-`: standard input.",
        ),
    ],
    by: Annotated[By, Parameter(help="What gets a figure of its own.")] = "document",
    form: Annotated[
        Form, Parameter(name="--format", help="text: on a terminal, surprising tokens are coloured; jsonl; html.")
    ] = "text",
    label: Annotated[
        str | None, Parameter(name="--as", metavar="LABEL", help="Judge as texts with this label.", show_default="none")
    ] = None,
    cache: Annotated[Cache | None, Parameter(name="*")] = None,
    reading: Annotated[Reading | None, Parameter(name="*")] = None,
) -> None:
    """Say of each text, line or token how probable it is; with --cache also how probable with one."""
    if not inputs and sys.stdin.isatty():
        raise UsageError("nothing to score; give a text in quotes, a file, or - for standard input")
    language, recalling = Language.of(open_bundle(folder)), (cache or Cache()).wanted
    cached = Language.of(language.bundle.recalling(recalling)) if recalling else None
    if form == "html":
        sys.stdout.write(_PAGE_HEAD)
    for text in _texts(inputs or (STANDARD_INPUT,), reading or Reading(), language.bundle):
        parts = _parts(language.score(text, label), by)
        others = _parts(cached.score(text, label), by) if cached else repeat(None)
        for part, other in zip(parts, others, strict=False):
            sys.stdout.write(_written(part, other, by, form))
        sys.stdout.flush()


def _texts(inputs: Sequence[str], reading: Reading, bundle: Bundle) -> Iterator[str]:
    """The documents of all inputs; files are read as those of the training were."""
    (given,) = bundle.task.given
    for each in inputs:
        if each == STANDARD_INPUT or os.path.isfile(each):
            source = open_as_trained([each], bundle.task, {given: None}, reading, bundle.manifest["data"])
            yield from _documents(map(attrgetter(given), source.records))
        else:
            yield each


def _documents(rows: Iterator[str]) -> Iterator[str]:
    """Rows joined where one goes on in the next."""
    held: list[str] = []
    for row in rows:
        held.append(row)
        if not row.endswith("\n"):
            yield "".join(held)
            held = []
    if held:
        yield "".join(held)


def _parts(scored: Scored, by: By) -> Iterator[Scored]:
    """A document, its lines or its tokens."""
    if by == "document":
        yield scored
        return
    start = 0
    for place, token in enumerate(scored.tokens, 1):
        if by == "token" or "\n" in token or place == len(scored.tokens):
            yield Scored(scored.tokens[start:place], scored.log_probabilities[start:place], 0)
            start = place


def _written(part: Scored, cached: Scored | None, by: By, form: Form) -> str:
    """A part with its figures, and beside them those with a cache."""
    if form == "jsonl":
        told = _figures(part) | ({"cached": _figures(cached)} if cached else {})
        return json.dumps(told, ensure_ascii=False) + "\n"
    if form == "html":
        figures = "".join(f"{each.metrics['perplexity']:.1f} " for each in (part, cached) if each)
        return f"<p><small>{figures}</small>{''.join(_marked(token, chance) for token, chance in _pairs(part))}</p>\n"
    if by == "token":
        figures = "".join(f"{float(each.log_probabilities[0]):9.4f}  " for each in (part, cached) if each)
        return f"{figures}{_coloured(repr(part.tokens[0]), part.log_probabilities[0])}\n"
    text = "".join(_coloured(token, chance) for token, chance in _pairs(part)).rstrip("\n")
    figures = f"{float(part.log_probabilities.sum()):10.3f}  perplexity {part.metrics['perplexity']:9.3f}"
    beside = f"  with the cache {cached.metrics['perplexity']:9.3f}" if cached else ""
    return f"{figures}{beside}  {text}\n"


def _figures(part: Scored) -> dict[str, Any]:
    tokens = [[token, round(float(chance), 4)] for token, chance in _pairs(part)]
    return {"log_probability": round(float(part.log_probabilities.sum()), 4), **part.metrics, "tokens": tokens}


def _pairs(part: Scored) -> Iterator[tuple[str, float]]:
    return zip(part.tokens, part.log_probabilities.tolist(), strict=True)


def _coloured(token: str, chance: float) -> str:
    strength = surprise(chance)
    return f"\x1b[{_COLOURS[strength]}m{token}\x1b[0m" if strength and sys.stdout.isatty() else token


_PAGE_HEAD = """<!doctype html>
<meta charset="utf-8">
<title>Cellgate</title>
<style>
body { font: 16px/1.8 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
p { white-space: pre-wrap; }
small { color: #777; }
mark { color: #111; border-radius: .2em; }
.s1 { background: #fff3c4; } .s2 { background: #ffcf99; } .s3 { background: #ff9d8a; }
</style>
"""


def _marked(token: str, chance: float) -> str:
    strength, shown = surprise(chance), html.escape(token)
    if not strength:
        return shown
    return f'<mark class="s{strength}" title="probability {math.exp(chance):.2g}">{shown}</mark>'
