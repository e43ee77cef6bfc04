"""cellgate write FOLDER [PROMPT]: a model writes on behind a text, shown as it comes."""

import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated

from cyclopts import App, Parameter

from cellgate.bundle import Precision, open_bundle
from cellgate.cli.words import STANDARD_INPUT, say
from cellgate.errors import UsageError, counted
from cellgate.language import Ended, Language, Length
from cellgate.sampling import Sampling, Verse

_USAGE = "Usage: cellgate write FOLDER [PROMPT | -] [OPTIONS]"
_EXAMPLE = "Example: cellgate write plays 'CAPTAIN:' --length 300 --temperature 0.7"
APP = App(name="write", usage=_USAGE, help_epilogue=_EXAMPLE)
_USUAL, _LENGTH = Sampling(), Length()
_SHOWN = 20  # unknown characters of a prompt that are named


@dataclass(frozen=True)
class Draw:
    """How the next token is drawn."""

    temperature: Annotated[float, Parameter(help="Below 1 likely tokens become likelier; 0: always the likeliest.")] = (
        _USUAL.temperature
    )
    top_k: Annotated[int, Parameter(help="Only so many of the likeliest; 0: all.")] = _USUAL.top_k
    top_p: Annotated[float, Parameter(help="Only the likeliest that together have this probability.")] = _USUAL.top_p
    min_p: Annotated[float, Parameter(help="Only those at least this share as likely as the likeliest.")] = _USUAL.min_p
    repetition_penalty: Annotated[float, Parameter(help="Makes the last 64 different tokens less likely; 1: not.")] = (
        _USUAL.repetition
    )
    seed: Annotated[int, Parameter(help="The same seed writes the same text.")] = _USUAL.seed


@dataclass(frozen=True)
class End:
    """Where the text ends, and in what form it is."""

    length: Annotated[int, Parameter(metavar="TOKENS", help="Tokens to write at most.")] = _LENGTH.tokens
    stop: Annotated[
        tuple[str, ...], Parameter(negative=(), help="End before this string; may be repeated.", show_default="none")
    ] = ()
    samples: Annotated[int, Parameter(help="Texts to write, each from the prompt.")] = 1
    label: Annotated[
        str | None,
        Parameter(name="--as", metavar="LABEL", help="Write like texts with this label.", show_default="any"),
    ] = None
    line_length: Annotated[
        int, Parameter(help="Verse: characters a line, a mark behind each line; 0: no verse.", show_default="0")
    ] = 0
    lines: Annotated[int, Parameter(help="Verse: how many lines.", show_default="as the acrostic, else no end")] = 0
    acrostic: Annotated[str, Parameter(help="Verse: the characters that lines begin with.", show_default="none")] = ""


@APP.default
def write(
    folder: Annotated[str, Parameter(help="The Bundle.")],
    prompt: Annotated[
        str, Parameter(name="PROMPT", help="What the text begins with; `-`: standard input.", show_default="nothing")
    ] = "",
    /,
    *,
    draw: Annotated[Draw | None, Parameter(name="*")] = None,
    end: Annotated[End | None, Parameter(name="*")] = None,
    precision: Annotated[Precision, Parameter(help="int8 is quicker, float exact.")] = "float",
) -> None:
    """Write on behind the prompt, token by token."""
    draw, end = draw or Draw(), end or End()
    for name, number in (("length", end.length), ("samples", end.samples)):
        if number < 1:
            raise UsageError(f"--{name} {number}: give a number from 1 on")
    if (end.acrostic or end.lines) and not end.line_length:
        raise UsageError("--acrostic and --lines need --line-length, the characters of a line")
    if "" in end.stop:
        raise UsageError("--stop is empty; give the string before which the text ends")
    if prompt == STANDARD_INPUT:
        prompt = sys.stdin.read()
    language = Language.of(open_bundle(folder, precision))
    verse = Verse(end.line_length, end.acrostic, end.lines) if end.line_length else None
    sampling = Sampling(
        repetition=draw.repetition_penalty,
        temperature=draw.temperature,
        top_k=draw.top_k,
        top_p=draw.top_p,
        min_p=draw.min_p,
        seed=draw.seed,
    )
    if unknown := language.unknown(prompt):
        few, named = counted(len(unknown), "token"), " ".join(repr(each) for each in unknown[:_SHOWN])
        say(f"{few} of the prompt unknown, rare in training or not there, so telling little: {named}")
    for number in range(end.samples):
        pieces = language.write(prompt, sampling, Length(end.length, end.stop, verse), end.label, number)
        if end.samples > 1:
            print(f"{'' if number == 0 else chr(10)}--- {number + 1} ---")
        how = _shown(prompt, pieces)
        if end.stop and how != "stop":
            last = "end" if how == "end" else "last token (--length)"
            say(f"none of the stop strings came before the text's {last}")


def _shown(prompt: str, pieces: Generator[str, None, Ended]) -> Ended:
    """Print a text as it comes, up to the end of a line; how it ended."""
    written = prompt
    sys.stdout.write(prompt)
    while True:
        try:
            text = next(pieces)
        except StopIteration as ended:
            if not written.endswith("\n"):
                print(flush=True)
            how: Ended = ended.value
            return how
        written = text
        sys.stdout.write(text)
        sys.stdout.flush()
