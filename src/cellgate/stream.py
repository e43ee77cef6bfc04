"""Session: one text that comes in pieces of any size, answered as it comes, in constant memory.

session = cellgate.open("reviews").session()
session.feed("The zip bro")             a piece may end inside a word or, of bytes, inside a character
session.feed(b"ke on day one. \xe9\x9d")
session.answer().value                  of the tokens that are certain by now
session.finish().value                  of the whole text: what `predict` says of it

A net that reads forward only hands on a state, a few named arrays that its Bundle lists. Nothing here knows a task.
"""

import codecs
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cellgate.atomic import replace_file
from cellgate.batch import Array, Floats, Ragged, Scores
from cellgate.codecs import Decision, SourceCodec, TargetCodec
from cellgate.errors import DataError, UsageError
from cellgate.graph import Graph
from cellgate.metrics import Answer
from cellgate.task import Alternative
from cellgate.text.pieces import Tail

Invalid = Literal["replace", "refuse"]
_HANDLERS: dict[Invalid, str] = {"replace": "replace", "refuse": "strict"}
_AT_ONCE = 2_048  # characters of a piece that are read at once
_REPLACED, _BYTE_ORDER_MARK = "\ufffd", "\ufeff"
_MAGIC = b"cellgate session 1 "
_NO_SCORES = np.zeros(0, np.float32)
_NO_TAIL = Tail()
_STATE, _OUTPUT, _FACTS = "state.", "output.", "facts"  # names in a saved session


@dataclass(frozen=True, slots=True)
class Model:
    """What a session needs of its Bundle."""

    graph: Graph
    source: SourceCodec
    target: TargetCodec
    decision: Decision
    checksum: str
    """Of the Bundle: a saved session goes on with no other."""


@dataclass(frozen=True, slots=True)
class Position:
    """All that is remembered of the pieces so far."""

    state: Mapping[str, Array]
    outputs: Mapping[str, Floats] = field(default_factory=dict)
    """Of the last run of a graph that scores texts."""
    tail: Tail = _NO_TAIL
    undecoded: bytes = b""
    """The beginning of a character whose other bytes are still to come."""
    decoded: int = 0
    """Bytes before those."""
    replaced: int = 0
    """Places where bytes were no UTF-8 and U+FFFD was read instead."""
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Fed:
    """What a piece made certain."""

    tokens: int
    """How many tokens; none where it ended inside the first."""
    scores: Floats
    """What the graph says: of all text so far [L], or of each of these tokens [T, K]. Empty before the first token."""


@dataclass(frozen=True, slots=True)
class Running:
    """The answer to all tokens so far, as a Prediction has it."""

    value: Answer
    confidence: float
    alternatives: tuple[Alternative, ...]
    tokens: int


class Session:
    """One text in pieces. `feed` hands back what is newly certain; `answer` is of all tokens so far.

    Tokens are those of the whole text, however it is cut; it is never cut short (`text.max_tokens`). An error leaves
    the session as it was.
    """

    def __init__(self, model: Model, invalid: Invalid = "replace") -> None:
        if invalid not in _HANDLERS:
            raise UsageError(f"invalid: {invalid!r}; there are: {', '.join(_HANDLERS)}")
        self._model = model
        self._handler = _HANDLERS[invalid]
        self._position = Position(model.graph.initial_state(1))
        self._ended = False

    @property
    def tokens(self) -> int:
        """Tokens read so far."""
        return self._position.tokens

    @property
    def replaced(self) -> int:
        """Places so far where bytes were no UTF-8 and U+FFFD was read instead."""
        return self._position.replaced

    def feed(self, piece: str | bytes) -> Fed:
        """Read a piece: characters, or bytes in UTF-8."""
        text, position = self._decoded(piece, last=False)
        return self._feed(text, position, last=False)

    def each(self, piece: str | bytes) -> Iterator[Running]:
        """As `feed`, but the answer after each token that it makes certain.

        For who decides early: of a piece that is not taken to its end the rest is lost.
        """
        text, position = self._decoded(piece, last=False)
        for now, _ in self._read(text, position, last=False, one_by_one=True):
            self._position = now
            if now.tokens > position.tokens:
                yield self.answer()

    def end(self) -> Fed:
        """Say that nothing follows: what was held back is certain now."""
        text, position = self._decoded(b"", last=True)
        fed = self._feed(text, position, last=True)
        self._ended = True
        return fed

    def finish(self) -> Running:
        """End the text and answer it: what `predict` says of the whole."""
        self.end()
        return self.answer()

    def answer(self) -> Running:
        """The answer to the tokens so far; before the first one, to an empty text."""
        model, position = self._model, self._position
        if model.graph.by_token:
            raise UsageError(
                "this Bundle scores each token and gives no answer to a whole text: ask it with `cellgate score` or "
                "`cellgate write`, in Python by what `feed` returns"
            )
        found = position.outputs or self._outputs_of_nothing()
        (ranked,) = model.target.decode(_scores(found), {}, model.decision)
        others = tuple(Alternative(value, chance) for value, chance in ranked.alternatives)
        return Running(ranked.value, ranked.confidence, others, position.tokens)

    def save(self, path: str | Path) -> None:
        """Write down all that is remembered: a few kB, whatever was read. `Bundle.session(path)` goes on from there."""
        if self._ended:
            raise UsageError("this session has ended; save it before `end` or `finish`")
        replace_file(Path(path), _written(self._position, self._model.checksum))

    @classmethod
    def restored(cls, model: Model, path: Path, invalid: Invalid = "replace") -> "Session":
        """Go on from what `save` wrote."""
        session = cls(model, invalid)
        session._position = _position(path, model)
        return session

    def _decoded(self, piece: str | bytes, *, last: bool) -> tuple[str, Position]:
        """The characters of a piece, and the position behind its bytes."""
        position = self._position
        if self._ended:
            raise UsageError("this session has ended; open another for the next text")
        if isinstance(piece, str):
            if position.undecoded:
                raise UsageError(
                    "bytes that end inside a character were followed by text; give the rest of its bytes first"
                )
            return piece, position
        data = position.undecoded + piece
        try:
            text, used = codecs.utf_8_decode(data, self._handler, last)
        except UnicodeDecodeError as error:
            bad = data[error.start : error.end].hex(" ")
            raise DataError(
                f"byte {position.decoded + error.start:,} of the text ({bad}) is not UTF-8; "
                "convert it, or have such bytes replaced and counted (invalid: replace)"
            ) from None
        if not position.decoded:
            text = text.removeprefix(_BYTE_ORDER_MARK)
        written = data[:used].count(_REPLACED.encode())  # there already; all others stand for bytes that are no UTF-8
        return text, replace(
            position,
            undecoded=data[used:],
            decoded=position.decoded + used,
            replaced=position.replaced + text.count(_REPLACED) - written,
        )

    def _feed(self, text: str, position: Position, *, last: bool) -> Fed:
        now, made, by_token = position, list[Floats](), self._model.graph.by_token
        for reached, outputs in self._read(text, position, last=last):
            now = reached
            made += [outputs["scores"][0]] if by_token and outputs else []
        self._position = now
        if made:
            return Fed(now.tokens - position.tokens, np.concatenate(made))
        so_far = now.outputs["scores"][0] if now.outputs else _NO_SCORES
        return Fed(now.tokens - position.tokens, so_far)

    def _read(
        self, text: str, position: Position, *, last: bool, one_by_one: bool = False
    ) -> Iterator[tuple[Position, Mapping[str, Floats]]]:
        """The position after each run of the graph, with its outputs; at least once, without any where none is made."""
        for start in range(0, max(1, len(text)), _AT_ONCE):
            piece = text[start : start + _AT_ONCE]
            ends = last and start + _AT_ONCE >= len(text)
            columns, tail = self._model.source.certain(position.tail, piece, last=ends)
            position = replace(position, tail=tail)
            count = len(columns["tokens"].values)
            if not count:
                yield position, {}
            step = 1 if one_by_one else max(1, count)
            for first in range(0, count, step):
                part = columns if step == count else self._model.source.part(columns, first, first + 1)
                position, outputs = self._run(part, position)
                yield position, outputs

    def _run(self, columns: Mapping[str, Ragged], position: Position) -> tuple[Position, Mapping[str, Floats]]:
        graph = self._model.graph
        outputs, state = graph.run(self._model.source.collate(columns), position.state)
        kept = {} if graph.by_token else outputs
        count = len(columns["tokens"].values)
        return replace(position, state=state, outputs=kept, tokens=position.tokens + count), outputs

    def _outputs_of_nothing(self) -> Mapping[str, Floats]:
        empty = self._model.source.collate(self._model.source.encode([""]))
        return self._model.graph.run(empty, self._position.state)[0]


def _scores(outputs: Mapping[str, Floats]) -> Scores:
    return Scores(outputs["scores"], {name: array for name, array in outputs.items() if name != "scores"})


def _written(position: Position, checksum: str) -> bytes:
    """A position as the bytes of a file: a line with the checksum of what follows, then arrays as numpy has them."""
    facts = asdict(position) | {"undecoded": position.undecoded.hex(), "bundle": checksum}
    state, outputs = facts.pop("state"), facts.pop("outputs")
    arrays = {_STATE + name: array for name, array in state.items()}
    arrays |= {_OUTPUT + name: array for name, array in outputs.items()}
    arrays[_FACTS] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return _MAGIC + hashlib.sha256(content.getvalue()).hexdigest().encode() + b"\n" + content.getvalue()


def _position(path: Path, model: Model) -> Position:
    """Read back what `_written` wrote; DataError for a file that is damaged, or of another Bundle."""
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}; name one that a session saved")
    head, _, content = path.read_bytes().partition(b"\n")
    if not head.startswith(_MAGIC):
        raise DataError(f"{path} is no saved session of this version of Cellgate; name one, or begin the text anew")
    if head.removeprefix(_MAGIC) != hashlib.sha256(content).hexdigest().encode():
        raise DataError(f"{path} is damaged (its checksum differs); begin the text anew, or go on from another save")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        facts: dict[str, Any] = json.loads(arrays[_FACTS].tobytes())
        state, outputs = (
            {name.removeprefix(prefix): arrays[name] for name in arrays.files if name.startswith(prefix)}
            for prefix in (_STATE, _OUTPUT)
        )
    if facts.pop("bundle") != model.checksum:
        raise DataError(f"{path} is of another Bundle, or of this one before it was trained again; begin the text anew")
    told = facts | {"tail": Tail(**facts["tail"]), "undecoded": bytes.fromhex(facts["undecoded"])}
    return Position(state, outputs, **told)
