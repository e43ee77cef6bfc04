"""Numbers of a report: per label, confused labels, and which rows are worth looking at."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from cellgate.batch import Floats, Ints
from cellgate.metrics import (
    MISTAKES,
    Answer,
    MistakeKind,
    Value,
    label_counts,
    label_of,
    parts_of,
    span_mistakes,
    spans_of,
)
from cellgate.report.values import Certainty
from cellgate.spans import Span

WORST_ROWS = 20  # rows shown of the dev errors, and of the suspects
NOTHING = "no label"  # stands where a label is missing or one too many, and for no answer

Confused = Counter[tuple[str, str]]  # how often a true label (first) was answered as another (second)


def worst(truth: Sequence[Value], answers: Sequence[Answer], confidence: Floats) -> Ints:
    """Places of the wrong answers a report shows, surest first; at most WORST_ROWS. No answer is no wrong one."""
    wrong = [place for place, (t, a) in enumerate(zip(truth, answers, strict=True)) if a is not None and a != t]
    order = sorted(wrong, key=lambda place: -float(confidence[place]))
    return np.array(order[:WORST_ROWS], np.int64)


def confused(truth: Sequence[Value], answers: Sequence[Answer]) -> Confused:
    """Count pairs of true and answered labels, those that agree included.

    Of a text with several labels each missed one is paired with each wrong one, or with NOTHING; of one with spans,
    as `span_mistakes` pairs them: the labels agree where only ends are wrong.
    """
    pairs: Confused = Counter()
    for t, a in zip(truth, answers, strict=True):
        wanted, given = set(parts_of(t)), set(parts_of(a))
        pairs.update((label, label) for label in map(label_of, wanted & given))
        missed, wrong = wanted - given, given - wanted
        if any(isinstance(part, Span) for part in missed | wrong):
            for mistake in span_mistakes(spans_of(t), spans_of(a)):
                pairs[_label(mistake.true), _label(mistake.found)] += 1
        elif missed or wrong:
            pairs.update(product(sorted(map(label_of, missed)) or [NOTHING], sorted(map(label_of, wrong)) or [NOTHING]))
    return pairs


def _label(span: Span | None) -> str:
    return span.label if span else NOTHING


@dataclass(frozen=True, slots=True)
class MistakesOfLabel:
    """The spans of one label: how many are found rightly, and the mistakes of each kind."""

    label: str
    right: int
    mistakes: Mapping[MistakeKind, int]  # every kind, in the order they are told in

    @property
    def wrong(self) -> int:
        """All mistakes."""
        return sum(self.mistakes.values())


def mistakes_by_label(truth: Sequence[Value], answers: Sequence[Answer]) -> list[MistakesOfLabel]:
    """Right and wrong spans by their true label, invented ones by the label found; most mistakes first."""
    right: Counter[str] = Counter()
    wrong: Counter[tuple[str, MistakeKind]] = Counter()
    for t, a in zip(truth, answers, strict=True):
        right.update(span.label for span in set(spans_of(t)) & set(spans_of(a)))
        for kind, true, found in span_mistakes(spans_of(t), spans_of(a)):
            wrong[_label(true or found), kind] += 1
    labels = sorted({*right, *(label for label, _ in wrong)})
    rows = [MistakesOfLabel(label, right[label], {kind: wrong[label, kind] for kind in MISTAKES}) for label in labels]
    return sorted(rows, key=lambda row: -row.wrong)


def mixed_up(pairs: Confused) -> list[tuple[str, str, int]]:
    """Pairs of labels that differ, with their count, the most frequent first."""
    wrong = [(true, answered, count) for (true, answered), count in pairs.items() if true != answered]
    return sorted(wrong, key=lambda pair: (-pair[2], pair[0], pair[1]))


@dataclass(frozen=True, slots=True)
class Matrix:
    """A confusion matrix, or its busiest part."""

    names: tuple[str, ...]  # [K]
    counts: Ints  # [K, K]; rows are true labels, columns answered ones
    totals: Ints  # [K] how often a label is true at all; a row's sum where the matrix is whole
    of: int  # labels there are
    errors: int  # mix-ups there are
    shown_errors: int


def matrix(pairs: Confused, labels: Sequence[str], most: int) -> Matrix:
    """The matrix of all labels, or of `most` of them: those of the most confused pairs, then those with most rows."""
    seen: Counter[str] = Counter()
    for (true, _), count in pairs.items():
        seen[true] += count
    mixed = mixed_up(pairs)
    names = [*labels, *sorted({name for pair in pairs for name in pair} - set(labels))]
    busy = [name for true, answered, _ in mixed for name in (true, answered)]
    kept = set(list(dict.fromkeys(busy + sorted(names, key=lambda name: -seen[name])))[:most])
    shown = tuple(name for name in names if name in kept)
    counts = np.array([[pairs[true, answered] for answered in shown] for true in shown], np.int64)
    return Matrix(
        names=shown,
        counts=counts,
        totals=np.array([seen[name] for name in shown], np.int64),
        of=len(names),
        errors=sum(count for _, _, count in mixed),
        shown_errors=int(counts.sum() - np.trace(counts)),
    )


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How one label fares on dev; a share is None where it has nothing to stand on."""

    label: str
    precision: float | None  # share of its answers that are right
    recall: float | None  # share of its rows that are found
    f1: float | None
    support: int  # dev rows that have it


def label_scores(truth: Sequence[Value], answers: Sequence[Answer], labels: Sequence[str]) -> list[LabelScore]:
    """Scores of each label, the worst F1 first, then by name; labels that dev says nothing of stand last."""
    right, said, true = label_counts(truth, answers)
    names = [*labels, *sorted(true.keys() - set(labels))]
    scores = [
        LabelScore(
            label=name,
            precision=_share(right[name], said[name]),
            recall=_share(right[name], true[name]),
            f1=_share(2 * right[name], true[name] + said[name]),
            support=true[name],
        )
        for name in names
    ]
    return sorted(scores, key=lambda score: (score.f1 is None, score.f1 or 0.0, score.label))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def likely_share(hits: int, rows: int) -> tuple[float, float]:
    """Where the share of right answers on other such rows lies, in 95 of 100 cases (Wilson's interval)."""
    z = 1.96
    share, centre = hits / rows, (hits + z * z / 2) / (rows + z * z)
    half = z / (rows + z * z) * math.sqrt(rows * share * (1 - share) + z * z / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers that are about as sure: their mean confidence, the share that is right, and how many they are."""

    confidence: float
    right: float
    rows: int


def bins(certainty: Certainty, count: int) -> list[Bin]:
    """Answers by equal-wide bins of confidence; empty bins are left out."""
    place = np.minimum((certainty.confidence * count).astype(int), count - 1)
    found = []
    for each in np.unique(place):
        inside = place == each
        mean, right = float(certainty.confidence[inside].mean()), float(certainty.right[inside].mean())
        found.append(Bin(mean, right, int(inside.sum())))
    return found
