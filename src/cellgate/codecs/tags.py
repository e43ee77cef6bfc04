"""Spans and tags to numbers, and scores of a text's tokens to spans. `learn_tags` chooses by the rows.

A span is marked by the tags of its tokens (scheme BIOES); where each token has a tag of its own, as parts of speech,
that is its number. Scores are those of a linear chain (`cellgate.chain`).
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from cellgate import chain
from cellgate.batch import Array, Floats, Ids, Ints, Ragged, Scores, pad
from cellgate.codecs.decision import Decision
from cellgate.codecs.source import Given
from cellgate.codecs.target import MOST, NEVER_SEEN, UNSEEN, Judged, Ranked, SupervisedCodec
from cellgate.codecs.text import token_places
from cellgate.errors import DataError, listed
from cellgate.metrics import (
    Answer,
    MistakeKind,
    Value,
    label_of,
    labels_of,
    mistake_counts,
    parts_of,
    span_f1,
    span_precision,
    span_recall,
    spans_of,
    token_accuracy,
)
from cellgate.spans import Span

TRANSITIONS = "transitions"  # the name of what holds for all rows
_BATCH_ROWS = 64
_BATCH_TOKENS = 40_000
_OUTSIDE = 0  # number of the tag outside all spans
_BEGIN, _INSIDE, _END, _SINGLE = range(1, 5)  # of label i: these plus 4 * i


class Path(NamedTuple):
    """The best tags of one text, and how probable they are; all arrays are [T]."""

    tags: Ints
    begins: chain.Doubles
    moves: chain.Doubles  # summed up to each token
    ends: chain.Doubles

    def probability(self, first: int, last: int) -> float:
        """That the tokens from `first` up to, not including, `last` have these tags."""
        log = self.begins[first] + self.moves[last - 1] - self.moves[first] + self.ends[last - 1]
        return float(min(1.0, np.exp(log)))


@dataclass(frozen=True, slots=True)
class ChainCodec(SupervisedCodec):
    """Tags of tokens, K in all; tag K stands before and behind each text."""

    no_scope = "a text in which nothing is found has no span"

    @property
    @abstractmethod
    def tags(self) -> int:
        """How many there are."""

    @property
    @abstractmethod
    def forbidden(self) -> Array:
        """Which tag (axis 1) never follows which (axis 0) [K + 1, K + 1]."""

    @abstractmethod
    def _spans(self, path: Path, starts: Ids, ends: Ids) -> Iterator[Span]:
        """The spans of a text's tags; its tokens' places are [T] each."""

    @abstractmethod
    def _true_spans(self, tags: Ids, starts: Ids, ends: Ids) -> Iterator[Span]:
        """The spans of tags as they are encoded."""

    def normal(self, value: Value, given: Given) -> Value:
        """Spans; of tags, one a token."""
        if not value or isinstance(value[0], Span):
            return value
        places = token_places(given)
        return tuple(Span(start, end, label) for (start, end), label in zip(places, labels_of(value), strict=True))

    def rarest(self, values: Sequence[Value]) -> Ints:
        """The number of each row's rarest label [B]; UNSEEN for a row without any."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        found = (
            min((numbers[label] for label in labels_of(value)), key=self.rows.__getitem__, default=UNSEEN)
            for value in values
        )
        return np.fromiter(found, np.int64, len(values))

    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as arrays: {"tags": [B, T]}, UNSEEN where a token's was never trained on, 0 past the end."""
        return {"tags": pad(columns["tags"])}

    def truth(self, columns: Mapping[str, Ragged]) -> list[Value]:
        """Spans of encoded rows; what was never trained on is NEVER_SEEN."""
        tags, starts, ends = columns["tags"], columns["starts"], columns["ends"]
        return [tuple(self._true_spans(tags[row], starts[row], ends[row])) for row in range(len(tags))]

    def decode(
        self,
        scores: Scores,
        columns: Mapping[str, Ragged],
        decision: Decision,
        top: int = MOST,  # noqa: ARG002
    ) -> list[Ranked]:
        """The best tags of each text as spans, each with its probability; those below `abstain_below` are left out.

        An answer's confidence is the probability of all its tags together.
        """
        starts, ends = columns["starts"], columns["ends"]
        answers: list[Ranked] = []
        for row, path in enumerate(_paths(scores)):
            count = len(path.tags)
            spans = _apart(self._spans(path, starts[row], ends[row]))
            given = tuple(span for span in spans if span.confidence >= decision.abstain_below)
            answers.append(Ranked(given, path.probability(0, count), ()))
        return answers

    def decide(self, scores: Scores, truth: Sequence[Value]) -> Decision:  # noqa: ARG002
        """Choose nothing: the best path is the answer."""
        return Decision()

    def probabilities(self, scores: Scores) -> Sequence[Floats]:
        """Those of each tag at each token."""
        transitions = scores.shared[TRANSITIONS]
        return [
            chain.sums(row[None], transitions, np.array([len(row)])).marginals[0].astype(np.float32)
            for row in scores.rows
        ]

    def judge(
        self,
        truth: Sequence[Value],
        answers: Sequence[Answer],
        confidence: Sequence[float],  # noqa: ARG002
    ) -> Judged:
        """Which of the spans found are right, and how sure they were."""
        sure: list[float] = []
        right: list[bool] = []
        for wanted, given in zip(truth, answers, strict=True):
            true = set(wanted)
            for span in spans_of(given):
                sure.append(span.confidence)
                right.append(span in true)
        return Judged(np.array(sure, np.float32), np.array(right, np.bool_))


@dataclass(frozen=True, slots=True)
class SpanCodec(ChainCodec):
    """Spans that begin and end with tokens, marked by the scheme BIOES."""

    part = "span"
    metrics = (span_f1, span_precision, span_recall)

    @property
    def tags(self) -> int:
        """Outside, and four of each label."""
        return 1 + 4 * len(self.labels)

    @property
    def forbidden(self) -> Array:
        """Which tag (axis 1) never follows which (axis 0) [K + 1, K + 1]: spans are whole and of one label."""
        number = np.arange(self.tags + 1)
        place = np.where((number == _OUTSIDE) | (number == self.tags), _OUTSIDE, (number - 1) % 4 + 1)
        label = np.where(place == _OUTSIDE, -1, (number - 1) // 4)
        open_before = np.isin(place, (_BEGIN, _INSIDE))[:, None]
        goes_on = np.isin(place, (_INSIDE, _END))[None, :]
        same = label[:, None] == label[None, :]
        never: Array = (open_before != goes_on) | (open_before & ~same)
        return never

    def encode(self, values: Sequence[Value], columns: Mapping[str, Ragged]) -> dict[str, Ragged]:
        """Tags of each row's tokens: {"tags": B rows}; a span covers every token that it shares a character with."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        starts, ends = columns["starts"], columns["ends"]
        rows: list[Ids] = []
        for row, value in enumerate(values):
            tags = np.zeros(len(starts[row]), np.int32)
            for span in spans_of(value):
                first, last = covered(span, starts[row], ends[row])
                tags[first:last] = _run(numbers.get(span.label, UNSEEN), last - first)
            rows.append(tags)
        return {"tags": Ragged.of(rows)}

    def lost(self, values: Sequence[Value], columns: Mapping[str, Ragged]) -> int:
        """How many spans begin or end inside a token, or stand where the text was cut."""
        known = set(self.labels)
        told = self.truth({**columns, **self.encode(values, columns)})
        return sum(
            len({part for part in parts_of(value) if label_of(part) in known} - set(parts_of(as_told)))
            for value, as_told in zip(values, told, strict=True)
        )

    def mistakes(self, truth: Sequence[Value], answers: Sequence[Answer]) -> Mapping[MistakeKind, int]:
        """How many wrong spans there are of each kind."""
        return mistake_counts(truth, answers)

    def _spans(self, path: Path, starts: Ids, ends: Ids) -> Iterator[Span]:
        for first, last, label in _runs(path.tags):
            yield Span(int(starts[first]), int(ends[last - 1]), self.labels[label], "", path.probability(first, last))

    def _true_spans(self, tags: Ids, starts: Ids, ends: Ids) -> Iterator[Span]:
        for first, last, label in _runs(tags):
            name = NEVER_SEEN if label == UNSEEN else self.labels[label]
            yield Span(int(starts[first]), int(ends[last - 1]), name)


@dataclass(frozen=True, slots=True)
class TokenTagCodec(ChainCodec):
    """A tag for each token, as parts of speech."""

    part = "tag"
    metrics = (token_accuracy,)

    @property
    def tags(self) -> int:
        """One a label."""
        return len(self.labels)

    @property
    def forbidden(self) -> Array:
        """Any tag may follow any [K + 1, K + 1]."""
        return np.zeros((self.tags + 1, self.tags + 1), np.bool_)

    def encode(self, values: Sequence[Value], columns: Mapping[str, Ragged]) -> dict[str, Ragged]:
        """Tags of each row's tokens: {"tags": B rows}."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        rows: list[Ids] = []
        for row, value in enumerate(values):
            labels, tokens = labels_of(value), len(columns["starts"][row])
            if len(labels) != tokens:
                raise DataError(f"{len(labels)} tags for {tokens} tokens, beginning with {listed(labels[:5])}")
            rows.append(np.array([numbers.get(label, UNSEEN) for label in labels], np.int32))
        return {"tags": Ragged.of(rows)}

    def as_taught(self, given: Given, answer: Value) -> tuple[Given, Value]:
        """Tokens, and a tag for each: what is answered are spans, of a text too that came without its tokens."""
        spans = spans_of(answer)
        if isinstance(given, str) and spans:
            given = tuple(given[span.start : span.end] for span in spans)
        return given, tuple(span.label for span in spans)

    def _spans(self, path: Path, starts: Ids, ends: Ids) -> Iterator[Span]:
        sure = np.minimum(1.0, np.exp(path.begins + path.ends)).tolist()
        places = zip(starts.tolist(), ends.tolist(), path.tags.tolist(), sure, strict=True)
        for start, end, tag, confidence in places:
            yield Span(start, end, self.labels[tag], "", confidence)

    def _true_spans(self, tags: Ids, starts: Ids, ends: Ids) -> Iterator[Span]:
        names = (*self.labels, NEVER_SEEN)  # number -1 is the last
        for start, end, tag in zip(starts.tolist(), ends.tolist(), tags.tolist(), strict=True):
            yield Span(start, end, names[tag])


def _apart(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans without what they share with those before: tokens may share a character, such as a ligature."""
    end = 0
    for span in spans:
        start = max(span.start, end)
        if start < span.end:
            yield span if start == span.start else replace(span, start=start)
            end = span.end


def learn_tags(values: Iterable[Value]) -> SupervisedCodec:
    """Learn from the rows' spans; rows with a tag for each token make a codec of tags."""
    counts: Counter[str] = Counter()
    kinds: set[type] = set()
    for value in values:
        counts.update(labels_of(value))
        kinds.update(map(type, value))
    if len(kinds) > 1:
        raise DataError("some rows have spans of a text and others a tag for each token; train a model of each")
    if not counts:
        raise DataError("no row has a span or a tag; name the column that holds them (--spans COLUMN)")
    kind = TokenTagCodec if str in kinds else SpanCodec
    return kind.of(counts, counts.total(), "name the column of the tags (--spans COLUMN)")


def covered(span: Span, starts: Ids, ends: Ids) -> tuple[int, int]:
    """Tokens from the first up to, not including, the last that share a character with a span."""
    first = int(np.searchsorted(ends, span.start, "right"))
    return first, max(first, int(np.searchsorted(starts, span.end, "left")))


def _run(label: int, count: int) -> Ids:
    """Tags of `count` tokens of one span."""
    if label == UNSEEN:
        return np.full(count, UNSEEN, np.int32)
    tags = np.full(count, 4 * label + _INSIDE, np.int32)
    tags[:1], tags[-1:] = 4 * label + _BEGIN, 4 * label + _END
    return tags if count != 1 else np.array([4 * label + _SINGLE], np.int32)


def _runs(tags: Ids | Ints) -> Iterator[tuple[int, int, int]]:
    """Spans of tags that keep to the scheme: first token, behind the last, number of the label (or UNSEEN)."""
    first = 0
    for place in np.flatnonzero(tags).tolist():
        tag = int(tags[place])
        if tag == UNSEEN:
            if place == 0 or tags[place - 1] != UNSEEN:
                first = place
            if place + 1 == len(tags) or tags[place + 1] != UNSEEN:
                yield first, place + 1, UNSEEN
            continue
        kind = (tag - 1) % 4 + 1
        if kind in (_BEGIN, _SINGLE):
            first = place
        if kind in (_END, _SINGLE):
            yield first, place + 1, (tag - 1) // 4


def _paths(scores: Scores) -> list[Path]:
    """The best path of each row; scores are [T, K] a row."""
    lengths = np.fromiter((len(row) for row in scores.rows), np.int64, len(scores.rows))
    transitions = scores.shared[TRANSITIONS]
    found: dict[int, Path] = {}
    order = np.argsort(lengths, kind="stable").tolist()
    while order:
        width = int(lengths[order[-1]])
        count = max(1, min(_BATCH_ROWS, _BATCH_TOKENS // width))
        rows, order = order[-count:], order[:-count]
        batch = np.zeros((len(rows), width, len(transitions) - 1), np.float32)
        for place, row in enumerate(rows):
            batch[place, : lengths[row]] = scores.rows[row]
        paths = chain.best_paths(batch, transitions, lengths[rows])
        sums = chain.sums(batch, transitions, lengths[rows])
        begins, moves, ends = chain.segment_log_probabilities(sums, transitions, paths)
        for place, row in enumerate(rows):
            inside = slice(0, lengths[row])
            found[row] = Path(
                paths[place, inside], begins[place, inside], moves[place, inside].cumsum(), ends[place, inside]
            )
    return [found[row] for row in range(len(lengths))]
