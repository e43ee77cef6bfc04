"""Language: a Bundle of the task `generate` that writes, and says how probable texts are. Needs no torch.

language = Language.of(cellgate.open("poems"))
"".join(language.write("春"))
"""

import math
import unicodedata
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from operator import attrgetter
from typing import Any, Literal

import numpy as np

from cellgate.batch import Floats, Ids, Ragged
from cellgate.bundle import Bundle
from cellgate.codecs import UnitsCodec
from cellgate.codecs.units import END_ID, UNKNOWN_ID, Piece, cut
from cellgate.errors import DataError, UsageError
from cellgate.graph import Bound, Graph
from cellgate.metrics import running_metrics
from cellgate.sampling import Chooser, Mask, Metre, Sampling, Verse, held_back
from cellgate.task import Row
from cellgate.text.units import LINE_END

Ended = Literal["stop", "end", "length"]
"""Why a text ends: a stop string came, its document ended, or it has all tokens asked for."""

_SURPRISING = tuple(math.log(share) for share in (0.1, 0.01, 0.001))
_FULL_STOPS = ".!?…。．！？"
_PRIMED = 2_000  # tokens of a prompt's end that are read; no more is remembered


def surprise(log_probability: float) -> int:
    """How much a token of this log-probability [nats] surprises, 0 to 3: likelier than 10 %, 1 %, 0.1 %, or less."""
    return sum(log_probability < border for border in _SURPRISING)


def text_metrics(nats: float, tokens: int, characters: int) -> dict[str, float]:
    """`running_metrics`, and bits_per_character, whatever a token is; DataError where no token was judged."""
    if not tokens:
        raise DataError("no text to evaluate; give a file with at least one token")
    return running_metrics(nats, tokens) | {"bits_per_character": nats / math.log(2) / max(1, characters)}


@dataclass(frozen=True, slots=True)
class Scored:
    """A text's tokens as they stand in it, and the log-probability [nats] of each, given those before it.

    Of an unknown token it is that of any such token.
    """

    tokens: tuple[str, ...]
    log_probabilities: Floats
    unknown: Mask  # which tokens were rare in training or not there

    def part(self, first: int, last: int) -> "Scored":
        """The tokens from `first` up to, not including, `last`."""
        return Scored(self.tokens[first:last], self.log_probabilities[first:last], self.unknown[first:last])

    @property
    def metrics(self) -> dict[str, float]:
        """Perplexity, nats and bits a token, and n."""
        return running_metrics(-float(self.log_probabilities.sum(dtype=np.float64)), len(self.tokens))


@dataclass(frozen=True, slots=True)
class Length:
    """Where a text that is written ends: after so many tokens, at a stop string, or where its document ends."""

    tokens: int = 400
    stops: tuple[str, ...] = ()
    verse: Verse | None = None


@dataclass(frozen=True, slots=True)
class Adapting:
    """How much is learned from a text while it is judged (`cellgate.adapting`)."""

    rate: float = 1e-3
    """How far a weight moves where its gradient is as large as usual."""
    decay: float = 2e-3
    """Share of the way back to the trained weights that is gone each step; weights that learn much go more."""
    tokens: int = 32
    """Tokens a step."""

    def __post_init__(self) -> None:
        if not (0 < self.rate < math.inf and 0 <= self.decay < 1 and self.tokens > 0):
            raise UsageError(f"adapting: rate and tokens above 0 and decay from 0 to 1 are wanted, got {self}")


@dataclass(frozen=True)
class Language:
    """What a Bundle of the task `generate` can do."""

    bundle: Bundle
    codec: UnitsCodec

    @classmethod
    def of(cls, bundle: Bundle) -> "Language":
        """Take a Bundle; UsageError where it is of a task that does not write."""
        if not isinstance(bundle.source, UnitsCodec):
            task = bundle.manifest["task"]
            raise UsageError(
                f"{bundle.folder} is a Bundle of the task {task}, which writes nothing; ask it with predict"
            )
        return cls(bundle, bundle.source)

    # Judging

    def score(self, text: str, label: str | None = None) -> Scored:
        """How probable a text is as a document of its own, token by token, its end included where it has one."""
        pieces = list(cut([(text, None)]))
        ids = np.concatenate(self.codec.stream(pieces))
        return Scored(tuple(self.codec.written(pieces)), self.chances(ids, label), ids == UNKNOWN_ID)

    def scored(self, ids: Ids) -> Scored:
        """As `score`, of a text's tokens [T], whose unknown ones have the name of such."""
        names, typing = self.bundle.target.labels, self.codec.typing()
        shown = tuple(typing.of(token) if token >= self.codec.first else names[token] for token in ids.tolist())
        return Scored(shown, self.chances(ids), ids == UNKNOWN_ID)

    def evaluate(self, rows: Iterable[Row | Mapping[str, Any]]) -> dict[str, Any]:
        """Read texts one behind the other and say how well each next token was foretold.

        perplexity, nats, bits: of a token; n: tokens; bits_per_character: of the text, whatever a token is; unknown:
        tokens rare in training or not there. Labels are given, not foretold.
        """
        characters = unknown = count = 0
        total = 0.0

        def tokens() -> Iterator[Ids]:
            nonlocal characters, unknown
            for piece in self.pieces(rows):
                characters += len(piece.text)
                (ids,) = self.codec.stream([piece])
                unknown += int((ids == UNKNOWN_ID).sum())
                yield ids

        for ids, chances in self._foretold(tokens(), self.codec.before()):
            judged = self.codec.is_text(ids)
            total -= float(chances[judged].sum(dtype=np.float64))
            count += int(judged.sum())
        return text_metrics(total, count, characters) | {"unknown": unknown}

    def chances(self, ids: Ids, label: str | None = None) -> Floats:
        """Log-probabilities of the tokens of a text [T], from the beginning of a document."""
        return np.concatenate([chances for _, chances in self._foretold([ids], self.codec.before(label))])

    def metrics(self, ids: Ids) -> dict[str, float]:
        """Perplexity, nats and bits of a token of a text [T], and n; labels are not judged."""
        judged = self.chances(ids)[self.codec.is_text(ids)]
        return running_metrics(-float(judged.sum(dtype=np.float64)), len(judged))

    def pieces(self, rows: Iterable[Row | Mapping[str, Any]]) -> Iterator[Piece]:
        """Rows as pieces of documents."""
        task = self.bundle.task
        return cut(map(attrgetter("text", "label"), map(task.read, rows)))

    def _foretold(self, texts: Iterable[Ids], before: Sequence[int]) -> Iterator[tuple[Ids, Floats]]:
        """The tokens of texts one behind the other, in parts, and the log-probability of each."""
        model = self.bundle.model
        *_, (read, _) = model.read(_columns(np.array(before, np.int32)), model.begun)
        for part in _parts(texts, model.at_once):
            ((read, foretold),) = model.read(_columns(part), read)
            yield part, foretold

    # Writing

    def write(
        self,
        prompt: str = "",
        sampling: Sampling | None = None,
        length: Length | None = None,
        label: str | None = None,
        number: int = 0,
    ) -> Generator[str, None, Ended]:
        """Write on behind a prompt, piece by piece; `number` says which of several samples of one seed this is.

        A verse has a line of its own for each of its lines.
        `label`: one of those that training texts had, to write as they are. The prompt itself is not given back; what
        the generator returns says why it ended. Errors come before the first piece is asked for.
        """
        length = length or Length()
        ids = [*self.codec.before(label), *self.codec.ids(prompt)[-_PRIMED:]]
        chooser = Chooser(sampling or Sampling(), self._unwritten, number)
        metre = self._metre(length.verse, prompt) if length.verse else None
        return self._written(self._tokens(ids, chooser, metre), prompt, length)

    def _written(self, tokens: Iterator[int], prompt: str, length: Length) -> Generator[str, None, Ended]:
        """Tokens as text, up to where it ends."""
        typing, pending, count, last = self.codec.typing(prompt), "", 0, prompt[-1:]
        for token in islice(tokens, length.tokens):
            count += 1
            text = typing.of(token)
            broken = length.verse is not None and _is_mark(last)
            shown, pending, met = held_back(f"{pending}{LINE_END if broken else ''}{text}", length.stops)
            last = text[-1:]
            if shown:
                yield shown
            if met:
                return "stop"
        if pending:
            yield pending
        return "length" if count == length.tokens else "end"

    def _tokens(self, read: Sequence[int], chooser: Chooser, metre: Metre | None) -> Iterator[int]:
        """Tokens that follow those read, to the end of the document, or of the verse."""
        steps = _Steps(self.bundle.graph, len(self.codec))
        for token in read[:-1]:
            steps.read(token)
        token = read[-1]
        while metre is None or not metre.done:
            scores = steps.read(token)
            if metre is None:
                token = chooser.choose(scores)
            else:
                wanted = metre.wanted
                token = chooser.take(self.codec.ids(wanted)[0]) if wanted else chooser.choose(scores, metre.banned)
                metre.take()
            if token == END_ID:
                return
            yield token

    def unknown(self, text: str) -> list[str]:
        """The distinct words or characters of a text that were rare in training or not there."""
        cells = dict.fromkeys(self.codec.cells(text))
        return [cell for cell in cells if self.codec.ids(cell) == [UNKNOWN_ID]]

    @cached_property
    def _unwritten(self) -> Mask:
        """Tokens [V] that are no text: never written."""
        banned: Mask = np.arange(len(self.codec)) < self.codec.first
        banned[END_ID] = False
        return banned

    def _metre(self, verse: Verse, prompt: str) -> Metre:
        codec = self.codec
        if codec.unit != "character":
            raise UsageError(f"verse is written by characters, and this Bundle writes {codec.unit}s")
        missing = [each for each in verse.acrostic if codec.ids(each)[0] == UNKNOWN_ID]
        if missing:
            raise UsageError(
                f"acrostic: {missing[0]!r} is unknown, rare in training or not there; choose another character, or "
                "train with --text.min-count 1"
            )
        marks: Mask = np.zeros(len(codec), np.bool_)
        ends, full = ~marks, marks.copy()
        ends[codec.first :] = [each.isspace() for each in codec.tokens]
        marks[codec.first :] = [_is_mark(each) for each in codec.tokens]
        full[codec.first :] = [each in _FULL_STOPS for each in codec.tokens]
        if not marks.any():
            raise UsageError("verse: no token of this Bundle is a mark, to end a line with")
        begun = 0
        for token in codec.ids(prompt):
            begun = 0 if marks[token] or (token >= codec.first and ends[token]) else begun + 1
        return Metre(verse, marks, full, ends, END_ID, begun)


class _Steps:
    """A graph, a token at a time."""

    def __init__(self, graph: Graph, vocabulary: int) -> None:
        self._token = np.zeros((1, 1), np.int64)
        self._scores = np.zeros((1, 1, vocabulary), np.float32)
        inputs = {"tokens": self._token, "lengths": np.ones(1, np.int64)}
        self._run = Bound(graph, inputs, {"scores": self._scores}).run

    def read(self, token: int) -> Floats:
        """Log-probabilities [V] of the token behind this one; they stand until the next is read."""
        self._token[0, 0] = token
        self._run()
        found: Floats = self._scores[0, 0]
        return found


def _is_mark(character: str) -> bool:
    """Whether it is a mark of punctuation; nothing is none."""
    return character != "" and unicodedata.category(character).startswith("P")


def _columns(ids: Ids) -> dict[str, Ragged]:
    """Tokens [T] as one encoded text."""
    return {"tokens": Ragged.of([ids])}


def _parts(texts: Iterable[Ids], size: int) -> Iterator[Ids]:
    """Texts one behind the other, in parts of `size` tokens."""
    held = np.zeros(0, np.int32)
    for text in texts:
        held = np.concatenate([held, text])
        whole = len(held) // size * size
        for start in range(0, whole, size):
            yield held[start : start + size]
        held = held[whole:]
    if len(held):
        yield held
