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
from cellgate.batch import Array, Floats, Ids, Ragged, Scores
from cellgate.codecs import Decision, SourceCodec, TargetCodec
from cellgate.errors import DataError, UsageError
from cellgate.graph import Graph
from cellgate.metrics import Answer
from cellgate.neural_cache import CachedGraph, NeuralCache
from cellgate.task import Alternative
from cellgate.text.pieces import Tail

Invalid = Literal["replace", "refuse"]
_HANDLERS: dict[Invalid, str] = {"replace": "replace", "refuse": "strict"}
_AT_ONCE = 2_048  # characters of a piece, and so tokens, that are read at once
_WINDOW, _SCORES = 512, 2**21  # of a language model: tokens, and their scores, that are read at once
_REPLACED, _BYTE_ORDER_MARK = "\ufffd", "\ufeff"
_MAGIC = b"cellgate session 2 "
_NO_SCORES = np.zeros(0, np.float32)
_NO_TAIL = Tail()
_STATE, _OUTPUT, _FACTS = "state.", "output.", "facts"  # names in a saved session


@dataclass(frozen=True, slots=True)
class Read:
    """How far a graph has read a text."""

    state: Mapping[str, Array]
    outputs: Mapping[str, Floats] = field(default_factory=dict)
    """What it says of all text so far; nothing before the first token."""
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """What answers a text in pieces: the parts of a Bundle."""

    graph: Graph
    source: SourceCodec
    target: TargetCodec
    decision: Decision
    checksum: str
    """Of the Bundle: a saved session goes on with no other."""
    cache: NeuralCache | None = None
    """Of a language model."""

    @property
    def _reader(self) -> Graph | CachedGraph:
        return CachedGraph(self.graph, self.cache) if self.cache else self.graph

    @property
    def begun(self) -> Read:
        """Before a text."""
        return Read(self._reader.initial_state(1))

    @property
    def at_once(self) -> int:
        """Tokens that are read in a run at most: a language model scores, behind each, all that may follow."""
        if not self.target.foretells:
            return _AT_ONCE
        return max(1, min(_WINDOW, _SCORES // max(len(self.target), self.cache.tokens if self.cache else 0)))

    def read(self, columns: Mapping[str, Ragged], read: Read, at_once: int = 0) -> Iterator[tuple[Read, Floats]]:
        """Read one encoded row on, in runs of at most `at_once` tokens: how far each came, and what it foretold.

        That is, of a language model, the log-probability of each of the run's tokens, given those before it. A text's
        first token, which stands for its beginning, has none.
        """
        count, most = len(columns["tokens"].values), at_once or self.at_once
        for first in range(0, count, most):
            part = columns if count <= most else self.source.part(columns, first, min(first + most, count))
            tokens = part["tokens"].values
            outputs, state = self._reader.run(self.source.collate(part), read.state)
            foretold = _NO_SCORES
            if self.target.foretells:
                foretold = _foretold(read.outputs, outputs["scores"][0], tokens)
                outputs = {"scores": outputs["scores"][:, -1].copy()}  # a view would hold all of them
            read = Read(state, outputs, read.tokens + len(tokens))
            yield read, foretold


def _foretold(before: Mapping[str, Floats], scores: Floats, tokens: Ids) -> Floats:
    """The log-probabilities of tokens [T] by what was said before them and by the scores [T, V] behind each."""
    found = scores[np.arange(len(tokens) - 1), tokens[1:]]
    return np.concatenate([before["scores"][:, tokens[0]], found]) if before else found


@dataclass(frozen=True, slots=True)
class Position:
    """All that is remembered of the pieces so far."""

    read: Read
    tail: Tail = _NO_TAIL
    undecoded: bytes = b""
    """The beginning of a character whose other bytes are still to come."""
    decoded: int = 0
    """Bytes before those."""
    replaced: int = 0
    """Places where bytes were no UTF-8 and U+FFFD was read instead."""


@dataclass(frozen=True, slots=True)
class Fed:
    """What a piece made certain."""

    tokens: int
    """How many tokens; none where it ended inside the first."""
    scores: Floats
    """Of each label, given all text so far [L]; of a language model, of each token that may follow. Empty before the
    first token."""
    foretold: Floats
    """Of a language model the log-probability [nats] of each of these tokens, given those before it; the first of a
    text, which stands for its beginning, has none."""


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
        self._position = Position(model.begun)
        self._ended = False

    @property
    def tokens(self) -> int:
        """Tokens read so far."""
        return self._position.read.tokens

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
        for now, _ in self._read(text, position, last=False, at_once=1):
            self._position = now
            if now.read.tokens > position.read.tokens:
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
        model, read = self._model, self._position.read
        found = read if read.tokens else self._nothing()
        (ranked,) = model.target.decode(_scores(found.outputs), {}, model.decision)
        others = tuple(Alternative(value, chance) for value, chance in ranked.alternatives)
        return Running(ranked.value, ranked.confidence, others, read.tokens)

    def save(self, path: str | Path) -> None:
        """Write down all that is remembered, a few kB, whatever was read: `Bundle.session(path)` goes on from there.

        Of a language model also what may follow (4 bytes each), the past that its attention looks at, and its cache (4
        bytes a number of both).
        """
        if self._ended:
            raise UsageError("this session has ended; save it before `end` or `finish`")
        replace_file(Path(path), _written(self._position, self._model))

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
        now, foretold = position, [_NO_SCORES]
        for reached, told in self._read(text, position, last=last):
            now = reached
            foretold.append(told)
        self._position = now
        scores = now.read.outputs["scores"][0] if now.read.outputs else _NO_SCORES
        return Fed(now.read.tokens - position.read.tokens, scores, np.concatenate(foretold))

    def _read(
        self, text: str, position: Position, *, last: bool, at_once: int = 0
    ) -> Iterator[tuple[Position, Floats]]:
        """The position after each run of the graph, and what that foretold; at least once, where none is made too."""
        for start in range(0, max(1, len(text)), _AT_ONCE):
            ends = last and start + _AT_ONCE >= len(text)
            columns, tail = self._model.source.certain(position.tail, text[start : start + _AT_ONCE], last=ends)
            position = replace(position, tail=tail)
            if not len(columns["tokens"].values):
                yield position, _NO_SCORES
            for read, foretold in self._model.read(columns, position.read, at_once):
                position = replace(position, read=read)
                yield position, foretold

    def _nothing(self) -> Read:
        """An empty text, read."""
        *_, (read, _) = self._model.read(self._model.source.encode([""]), self._model.begun)
        return read


def _scores(outputs: Mapping[str, Floats]) -> Scores:
    return Scores(outputs["scores"], {name: array for name, array in outputs.items() if name != "scores"})


def _written(position: Position, model: Model) -> bytes:
    """A position as the bytes of a file: a line with the checksum of what follows, then arrays as numpy has them."""
    facts = {
        "bundle": model.checksum,
        "cache": asdict(model.cache) if model.cache else None,
        "tokens": position.read.tokens,
        "tail": asdict(position.tail),
        "undecoded": position.undecoded.hex(),
        "decoded": position.decoded,
        "replaced": position.replaced,
    }
    arrays = {_STATE + name: array for name, array in position.read.state.items()}
    arrays |= {_OUTPUT + name: array for name, array in position.read.outputs.items()}
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
    if facts["bundle"] != model.checksum:
        raise DataError(f"{path} is of another Bundle, or of this one before it was trained again; begin the text anew")
    cache = NeuralCache(**facts["cache"]) if facts["cache"] else None
    if cache != model.cache:
        raise DataError(
            f"{path} was saved {f'with {cache}' if cache else 'without a cache'}; go on with the same, or begin the "
            "text anew"
        )
    read, tail = Read(state, outputs, facts["tokens"]), Tail(**facts["tail"])
    return Position(read, tail, bytes.fromhex(facts["undecoded"]), facts["decoded"], facts["replaced"])
