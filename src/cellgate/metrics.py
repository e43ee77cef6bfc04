"""Metrics of answers against the truth, in numpy. Each takes equal-long sequences and returns 0 to 1.

An answer is a label, the labels of a text that may have several, its spans, or None: "I don't know".
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from cellgate.batch import Floats, Ints
from cellgate.spans import Span

Labels = str | tuple[str, ...]
Spans = tuple[Span, ...]
Value = Labels | Spans
Answer = Value | None

CALIBRATION_BINS = 15
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
TELLING_ROWS = 200  # dev rows from which a metric can tell epochs apart; with fewer the last epoch is kept


def labels_of(answer: Answer) -> tuple[str, ...]:
    """Labels of an answer: one, several or none; of spans, each one's."""
    return tuple(map(label_of, parts_of(answer)))


def label_of(part: str | Span) -> str:
    """The label of a part of an answer."""
    return part.label if isinstance(part, Span) else part


def parts_of(answer: Answer) -> tuple[str | Span, ...]:
    """What of an answer is right or wrong by itself: a label, or a span."""
    if answer is None:
        return ()
    return (answer,) if isinstance(answer, str) else answer


def plain_label(label: str) -> str:
    """A label without the white space around it, and a whole number without its point: 3.0 is 3."""
    label = label.strip()
    whole = _WHOLE.fullmatch(label)
    return whole[1] if whole else label


def plain_labels(labels: Labels) -> Labels:
    """A label made plain; several are sorted, each once and none empty."""
    if isinstance(labels, str):
        return plain_label(labels)
    return tuple(sorted({plain_label(label) for label in labels} - {""}))


def spans_of(answer: Answer) -> Spans:
    """Spans of an answer that has such."""
    return cast(Spans, answer or ())


def with_texts(answer: Answer, text: str) -> Answer:
    """An answer whose spans hold the parts of the text that they are."""
    if answer is None or isinstance(answer, str) or not any(isinstance(part, Span) for part in answer):
        return answer
    return tuple(
        Span(span.start, span.end, span.label, text[span.start : span.end], span.confidence)
        for span in spans_of(answer)
    )


def accuracy(truth: Sequence[Value], answers: Sequence[Answer]) -> float:
    """Share of answers that are right."""
    return sum(t == a for t, a in zip(truth, answers, strict=True)) / len(truth)


def exact_match(truth: Sequence[Value], answers: Sequence[Answer]) -> float:
    """Share of texts that got all their labels and no other."""
    return sum(set(labels_of(t)) == set(labels_of(a)) for t, a in zip(truth, answers, strict=True)) / len(truth)


def macro_f1(truth: Sequence[Value], answers: Sequence[Answer]) -> float:
    """F1 of each label, averaged: a rare label counts as much as a common one.

    Over every label that stands in the truth or in the answers, as scikit-learn has it; 0 where there is none.
    """
    scores = by_label(truth, answers).values()
    return float(np.mean([score.f1 for score in scores])) if scores else 0.0


def micro_f1(truth: Sequence[Value], answers: Sequence[Answer]) -> float:
    """F1 over all labels given: a common label counts for more than a rare one."""
    right, said, true = label_counts(truth, answers)
    return 2 * right.total() / max(1, said.total() + true.total())


def span_f1(truth: Sequence[Value], answers: Sequence[Answer]) -> float:
    """F1 over all spans: one counts where both its ends and its label are right."""
    return micro_f1(truth, answers)


def span_precision(truth: Sequence[Value], answers: Sequence[Answer]) -> float:
    """Share of the spans found that are right."""
    right, said, _ = label_counts(truth, answers)
    return right.total() / max(1, said.total())


def span_recall(truth: Sequence[Value], answers: Sequence[Answer]) -> float:
    """Share of the true spans that are found."""
    right, _, true = label_counts(truth, answers)
    return right.total() / max(1, true.total())


def token_accuracy(truth: Sequence[Value], answers: Sequence[Answer]) -> float:
    """Share of the tokens whose tag is right."""
    return span_recall(truth, answers)


MistakeKind = Literal["boundary", "type", "boundary_and_type", "missed", "invented"]
MISTAKES: dict[MistakeKind, str] = {
    "boundary": "the right label, and one or both ends elsewhere",
    "type": "the right place, and another label",
    "boundary_and_type": "overlaps a true span, but neither ends nor label are right",
    "missed": "a true span that nothing found overlaps",
    "invented": "found where no true span is",
}


class Mistake(NamedTuple):
    """A true span that was not found, a span found that is not true, or both where they belong together."""

    kind: MistakeKind
    true: Span | None
    found: Span | None


def span_mistakes(truth: Spans, answer: Spans) -> list[Mistake]:
    """What is wrong with the spans found in a text; each span, true or found, stands in one mistake at most.

    Those at one place are paired first, then those of one label that overlap, then any that overlap.
    """
    found: list[Mistake] = []
    missed, wrong = sorted(set(truth) - set(answer)), sorted(set(answer) - set(truth))
    for kind, fits in _PAIRINGS:
        for true in tuple(missed):
            other = next((each for each in wrong if fits(true, each)), None)
            if other is not None:
                missed.remove(true)
                wrong.remove(other)
                found.append(Mistake(kind, true, other))
    found += [Mistake("missed", true, None) for true in missed]
    return found + [Mistake("invented", None, other) for other in wrong]


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


_PAIRINGS: tuple[tuple[MistakeKind, Callable[[Span, Span], bool]], ...] = (
    ("type", lambda one, other: (one.start, one.end) == (other.start, other.end)),
    ("boundary", lambda one, other: one.label == other.label and _overlap(one, other)),
    ("boundary_and_type", _overlap),
)


def mistake_counts(truth: Sequence[Value], answers: Sequence[Answer]) -> dict[MistakeKind, int]:
    """How often each kind of mistake stands in the answers to texts with spans."""
    counts = dict.fromkeys(MISTAKES, 0)
    for t, a in zip(truth, answers, strict=True):
        for mistake in span_mistakes(spans_of(t), spans_of(a)):
            counts[mistake.kind] += 1
    return counts


class LabelCounts(NamedTuple):
    """How often each label was given rightly, given at all, and true."""

    right: Counter[str]
    said: Counter[str]
    true: Counter[str]


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How well one label is found."""

    precision: float
    recall: float
    f1: float
    rows: int  # that have it


def by_label(truth: Sequence[Value], answers: Sequence[Answer]) -> dict[str, LabelScore]:
    """Precision, recall and F1 of every label of the truth or the answers, by name; 0 where nothing was given."""
    right, said, true = label_counts(truth, answers)
    return {
        label: LabelScore(
            right[label] / max(1, said[label]),
            right[label] / max(1, true[label]),
            2 * right[label] / (said[label] + true[label]),
            true[label],
        )
        for label in sorted(said.keys() | true.keys())
    }


def label_counts(truth: Sequence[Value], answers: Sequence[Answer]) -> LabelCounts:
    """Count the labels of the truth and of the answers."""
    right: Counter[str] = Counter()
    said: Counter[str] = Counter()
    true: Counter[str] = Counter()
    for t, a in zip(truth, answers, strict=True):
        true.update(labels_of(t))
        said.update(labels_of(a))
        both = set(parts_of(t)) & set(parts_of(a))
        right.update(map(label_of, both))
    return LabelCounts(right, said, true)


def log_loss(log_probabilities: Floats, target: Ints) -> float:
    """Mean negative log-probability [nats] of the true labels; scores [N, labels], target [N]."""
    return float(-np.mean(log_probabilities[np.arange(len(target)), target]))


def calibration_error(confidence: Floats, right: npt.ArrayLike, bins: int = CALIBRATION_BINS) -> float:
    """Average gap between how sure answers are and how often such answers are right.

    The expected calibration error over equal-wide bins of confidence (Guo et al. 2017).
    """
    hits = np.asarray(right, np.float64)
    place = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    total = np.bincount(place, minlength=bins)
    gap = np.abs(
        np.bincount(place, weights=hits, minlength=bins)
        - np.bincount(place, weights=np.asarray(confidence, np.float64), minlength=bins)
    )
    return float(gap.sum() / total.sum())


def running_metrics(nats: float, tokens: int) -> dict[str, float]:
    """How well a text was foretold, by the sum of its tokens' negative log-probabilities [nats].

    perplexity: among how many equally likely tokens the choice was, on average; nats and bits: of a token; n: tokens.
    """
    mean = nats / max(1, tokens)
    return {"perplexity": math.exp(min(mean, 700.0)), "nats": mean, "bits": mean / math.log(2), "n": tokens}
