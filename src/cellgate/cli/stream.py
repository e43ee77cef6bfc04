"""cellgate stream FOLDER [FILE | -]: a text that comes in pieces, answered while it comes."""

import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cellgate.bundle import Bundle, open_bundle
from cellgate.cli.words import STANDARD_INPUT, say
from cellgate.cli.writing import answer_in_words
from cellgate.errors import DataError, UsageError, counted
from cellgate.stream import Invalid, Running, Session

_USAGE = "Usage: cellgate stream FOLDER [FILE | -] [OPTIONS]"
_EXAMPLE = "Example: tail -f chat.log | cellgate stream reviews --each-line"
APP = App(name="stream", usage=_USAGE, help_epilogue=_EXAMPLE)
_READ_BYTES = 1 << 16


@APP.default
def stream(
    folder: Annotated[str, Parameter(help="The Bundle; its net must read forward only (--encoder.directions 1).")],
    source: Annotated[str, Parameter(name="FILE", help="A file in UTF-8; `-`: standard input.")] = STANDARD_INPUT,
    /,
    *,
    each_line: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Each line is a text; else all of it is one.")
    ] = False,
    decide_at: Annotated[
        float | None,
        Parameter(metavar="SHARE", help="Stop reading a text where its answer is at least this sure, 0 to 1."),
    ] = None,
    abstain_below: Annotated[
        float | None,
        Parameter(metavar="SHARE", help="Answer only where at least this sure, 0 to 1.", show_default="as trained"),
    ] = None,
    invalid: Annotated[
        Invalid, Parameter(help="Bytes that are no UTF-8: replace them and say how many, or refuse them.")
    ] = "replace",
    save: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Where the input ends, or is decided, write here all that is needed to go on."),
    ] = None,
    restore: Annotated[Path | None, Parameter(metavar="FILE", help="Go on from what --save wrote.")] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="Print one JSON object an answer.", show_default=False)
    ] = False,
) -> None:
    """Print answer, confidence and tokens read: after each piece that changed the answer, and at the end."""
    if decide_at is not None and not 0 <= decide_at <= 1:
        raise UsageError(f"--decide-at {decide_at}: give a probability, 0 to 1")
    if each_line and (save or restore):
        raise UsageError("--save and --restore are for one text, and --each-line makes each line a text of its own")
    if save and not save.parent.is_dir():
        raise UsageError(f"--save {save}: there is no folder {save.parent}; make it first, or name another file")
    bundle = open_bundle(folder)
    if abstain_below is not None:
        bundle = bundle.abstaining_below(abstain_below)
    pieces = _pieces(source)
    show = _json_shown(bundle.task.wanted) if as_json else _shown
    if each_line:
        _lines(bundle, invalid, pieces, decide_at, show)
    else:
        _text(bundle.session(restore, invalid=invalid), pieces, decide_at, show, save)


Show = Callable[[Running, bool], None]
"""Print an answer, and whether it is a text's last."""


def _shown(answer: Running, last: bool) -> None:  # noqa: ARG001
    print(f"{answer_in_words(answer.value)}\t{answer.confidence:.4f}\t{answer.tokens}", flush=True)


def _json_shown(wanted: str) -> Show:
    def show(answer: Running, last: bool) -> None:
        others = [{wanted: each.value, "confidence": round(each.confidence, 6)} for each in answer.alternatives]
        told = {wanted: answer.value, "confidence": round(answer.confidence, 6), "alternatives": others}
        print(json.dumps(told | {"tokens": answer.tokens, "last": last}, ensure_ascii=False), flush=True)

    return show


def _pieces(source: str) -> Iterator[bytes]:
    """The bytes of a file or of standard input, as they come."""
    if source == STANDARD_INPUT:
        if sys.stdin.isatty():
            say("type a text; Ctrl-D ends")
        while piece := os.read(sys.stdin.fileno(), _READ_BYTES):
            yield piece
        return
    if not os.path.isfile(source):
        raise DataError(f"no file {source!r}; name one, or give the text on standard input")
    with open(source, "rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            yield piece


def _deciding(session: Session, piece: bytes, decide_at: float | None, *, to_end: bool = False) -> Running | None:
    """Feed a piece, `to_end` though it is decided before; the answer with which the text is decided, if it is."""
    if decide_at is None:
        session.feed(piece)
        return None
    answers = session.each(piece)
    decided = next((each for each in answers if each.value is not None and each.confidence >= decide_at), None)
    if to_end:
        deque(answers, maxlen=0)
    return decided


def _text(session: Session, pieces: Iterator[bytes], decide_at: float | None, show: Show, save: Path | None) -> None:
    """Answer one text."""
    before = decided = None
    for piece in pieces:
        decided = _deciding(session, piece, decide_at, to_end=save is not None)  # what is saved has no gap
        now = decided or session.answer()
        if decided or (session.tokens and now.value != before):
            show(now, decided is not None)
            before = now.value
        if decided:
            break
    if save:
        session.save(save)
        if decided and session.tokens > decided.tokens:
            say(f"{save} goes on behind all that was read, {counted(session.tokens, 'token')}, not behind the decision")
    if not decided:
        show(session.finish(), True)
    _say_replaced(session.replaced)


def _lines(bundle: Bundle, invalid: Invalid, pieces: Iterator[bytes], decide_at: float | None, show: Show) -> None:
    """Answer each line, whatever its length."""
    replaced, line = 0, _Line(bundle.session(invalid=invalid))
    for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for part in ends:
            line.read(part, decide_at, show)
            replaced += line.end(show)
            line = _Line(bundle.session(invalid=invalid), line.number + 1)
        if rest:
            line.read(rest, decide_at, show)
    if line.begun:
        replaced += line.end(show)
    _say_replaced(replaced)


@dataclass
class _Line:
    """A line that is being read."""

    session: Session
    number: int = 1
    begun: bool = False
    decided: bool = False

    def read(self, part: bytes, decide_at: float | None, show: Show) -> None:
        """Read on; where that decides it, show the answer and leave out the rest."""
        self.begun = True
        if self.decided:
            return
        try:
            decided = _deciding(self.session, part, decide_at)
        except DataError as error:
            raise DataError(f"line {self.number:,}: {error}") from None
        if decided:
            show(decided, True)
            self.decided = True

    def end(self, show: Show) -> int:
        """Show the answer, if it was not shown yet; the places that were replaced."""
        if not self.decided:
            try:
                show(self.session.finish(), True)
            except DataError as error:
                raise DataError(f"line {self.number:,}: {error}") from None
        return self.session.replaced


def _say_replaced(count: int) -> None:
    if count:
        places = counted(count, "place was", "places were")
        say(f"{places} not UTF-8; U+FFFD was read there (--invalid refuse stops at the first)")
