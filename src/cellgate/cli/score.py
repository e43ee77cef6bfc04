"""cellgate score FOLDER [TEXT... | FILE... | -]: how probable texts are, and what in them surprises the model."""

import html
import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from operator import attrgetter, itemgetter
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from cellgate.bundle import Bundle, open_bundle
from cellgate.cli.recent import Cache
from cellgate.cli.sources import Reading, is_file, open_as_trained, read_as, reading_flags
from cellgate.cli.words import STANDARD_INPUT, say
from cellgate.errors import UsageError
from cellgate.language import Language, Scored, surprise

_USAGE = "Usage: cellgate score FOLDER [TEXT... | FILE... | -] [OPTIONS]"
_EXAMPLE = "Example: cellgate score plays 'The wind turned before noon.' --by token"
APP = App(name="score", usage=_USAGE, help_epilogue=_EXAMPLE)
By = Literal["token", "line", "document"]
Form = Literal["text", "jsonl", "html"]
_UNKNOWN = "[UNK {}]"
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
    reading: object = None,
) -> None:
    """Say of each text, line or token how probable it is; with --cache also how probable with one."""
    if not inputs and sys.stdin.isatty():
        raise UsageError("nothing to score; give a text in quotes, a file, or - for standard input")
    language, recalling = Language.of(open_bundle(folder)), (cache or Cache()).wanted
    cached = Language.of(language.bundle.recalling(recalling)) if recalling else None
    head, unknown = _head(by, form, cached=cached is not None), False
    for text in _texts(inputs or (STANDARD_INPUT,), read_as(reading), language.bundle):
        scored = language.score(text, label)
        unknown = unknown or bool(scored.unknown.any())
        sys.stdout.write(head)
        head = ""
        others = _parts(cached.score(text, label), by) if cached else repeat(None)
        for part, other in zip(_parts(scored, by), others, strict=False):
            sys.stdout.write(_written(part, other, by, form))
        sys.stdout.flush()
    if unknown and form == "text":
        say(f"{_UNKNOWN.format('x')}: x is unknown, rare in training or not there, and judged as any such token")


score.__annotations__["reading"] = Annotated[
    reading_flags(("encoding", "skip_bad_rows", "layout")) | None, Parameter(name="*")
]


def _texts(inputs: Sequence[str], reading: Reading, bundle: Bundle) -> Iterator[str]:
    """The documents of all inputs; files are read as those of the training were."""
    (given,) = bundle.task.given
    for each in inputs:
        if each == STANDARD_INPUT or is_file(each):
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
            yield scored.part(start, place)
            start = place


def _head(by: By, form: Form, *, cached: bool) -> str:
    """What stands above all figures."""
    if form != "text":
        return _PAGE_HEAD if form == "html" else ""
    if by == "token":
        return f"log-prob.  {'cached     ' if cached else ''}token ([END]: the text's end, foretold too)\n"
    return f" log-prob.  perplexity  {'    cached  ' if cached else ''}text ([END]: its end, foretold too)\n"


def _written(part: Scored, cached: Scored | None, by: By, form: Form) -> str:
    """A part with its figures, and beside them those with a cache."""
    if form == "jsonl":
        told = _figures(part) | ({"cached": _figures(cached)} if cached else {})
        return json.dumps(told, ensure_ascii=False) + "\n"
    if form == "html":
        figures = "".join(f"{each.metrics['perplexity']:.1f} " for each in (part, cached) if each)
        marked = "".join(_marked(token, chance, unknown=unknown) for token, chance, unknown in _tokens(part))
        return f"<p><small>{figures}</small>{marked}</p>\n"
    if by == "token":
        figures = "".join(f"{float(each.log_probabilities[0]):9.4f}  " for each in (part, cached) if each)
        return f"{figures}{_line(replace(part, tokens=(repr(part.tokens[0]),)))}\n"
    perplexities = "".join(f"{each.metrics['perplexity']:10.3f}  " for each in (part, cached) if each)
    return f"{float(part.log_probabilities.sum()):10.3f}  {perplexities}{_line(part)}\n"


def _line(part: Scored) -> str:
    """The text of a part, unknown tokens in brackets; without a line end behind it, which may be a token's colour."""
    last = part.tokens[-1].rstrip("\n")
    told = _tokens(replace(part, tokens=(*part.tokens[:-1], last)))
    runs = (
        (unknown, "".join(_coloured(token, chance) for token, chance, _ in run))
        for unknown, run in itertools.groupby(told, itemgetter(2))
    )
    return "".join(_UNKNOWN.format(text) if unknown else text for unknown, text in runs)


def _figures(part: Scored) -> dict[str, Any]:
    """As an object of JSON; `unknown` are places of tokens, from 0."""
    tokens = [[token, round(chance, 4)] for token, chance, _ in _tokens(part)]
    told = {"log_probability": round(float(part.log_probabilities.sum()), 4), **part.metrics}
    return told | {"tokens": tokens, "unknown": part.unknown.nonzero()[0].tolist()}


def _tokens(part: Scored) -> Iterator[tuple[str, float, bool]]:
    """Each token, its log-probability, and whether it is unknown."""
    return zip(part.tokens, part.log_probabilities.tolist(), part.unknown.tolist(), strict=True)


def _coloured(token: str, chance: float) -> str:
    strength = surprise(chance)
    return f"\x1b[{_COLOURS[strength]}m{token}\x1b[0m" if token and strength and sys.stdout.isatty() else token


_PAGE_HEAD = """<!doctype html>
<meta charset="utf-8">
<title>Cellgate</title>
<style>
body { font: 16px/1.8 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
p { white-space: pre-wrap; }
small { color: #777; }
mark { color: #111; border-radius: .2em; }
.s1 { background: #fff3c4; } .s2 { background: #ffcf99; } .s3 { background: #ff9d8a; }
u { text-decoration: underline dotted; }
</style>
<p><small>Each text behind its perplexity; [END] is its end, foretold too. Coloured: less probable than 10 %, 1 % or
0.1 %. Dotted: unknown, rare in training or not there; as probable as any such token.</small></p>
"""


def _marked(token: str, chance: float, *, unknown: bool) -> str:
    strength, shown = surprise(chance), html.escape(token)
    shown = f"<u>{shown}</u>" if unknown else shown
    if not strength:
        return shown
    return f'<mark class="s{strength}" title="probability {math.exp(chance):.2g}">{shown}</mark>'
