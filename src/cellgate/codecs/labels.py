"""Labels to numbers, and scores to answers: one label a row, or several. `learn_labels` chooses by the rows."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from cellgate.batch import Array, Floats, Ints, Ragged
from cellgate.codecs.decision import Decision, label_thresholds, trusted_threshold
from cellgate.errors import DataError, listed, nearest
from cellgate.metrics import Answer, Labels, accuracy, exact_match, labels_of, macro_f1, micro_f1

MOST = 5  # answers given to a row, best first
UNSEEN = -1  # the number of a label never seen in training
NEVER_SEEN = "label never seen in training"  # its name where only its number is known


@dataclass(frozen=True, slots=True)
class Ranked:
    """An answer, its probability, and the other labels by falling probability; None: "I don't know"."""

    value: Answer
    confidence: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class TargetCodec(ABC):
    """The labels of a task, sorted by name: label i is number i and stands in `rows[i]` rows."""

    several: ClassVar[bool]
    """Whether a text may have any number of labels; else it has one."""
    metrics: ClassVar[tuple[Callable[[Sequence[Labels], Sequence[Answer]], float], ...]]
    """Of answers against the truth; the first chooses the checkpoint."""

    labels: tuple[str, ...]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, counts: Counter[str], rows: int, remedy: str) -> Self:
        """Make one of how often each label stands in so many rows; DataError where they look like no labels."""
        if len(counts) > max(2, rows // 2):
            raise DataError(
                f"{len(counts)} distinct labels in {rows} rows, e.g. {listed(list(counts)[:3])}: "
                f"that looks like free text or an id; {remedy}"
            )
        labels = tuple(sorted(counts))
        return cls(labels, tuple(counts[label] for label in labels))

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def normal(self, value: Labels) -> Labels:
        """The labels of a row as this codec has them."""

    @abstractmethod
    def encode(self, values: Sequence[Labels]) -> dict[str, Ragged]:
        """Numbers of each row's labels, UNSEEN for those never trained on: {"label": B rows}."""

    @abstractmethod
    def rarest(self, columns: Mapping[str, Ragged]) -> Ints:
        """The number of each encoded row's rarest label [B]; UNSEEN for a row without any."""

    @abstractmethod
    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as the array that a net is taught by: {"label": ...}."""

    @abstractmethod
    def truth(self, columns: Mapping[str, Ragged]) -> list[Labels]:
        """Labels of encoded rows; what was never trained on is NEVER_SEEN."""

    @abstractmethod
    def decode(self, scores: Floats, decision: Decision, top: int = MOST) -> list[Ranked]:
        """Log-probabilities [B, labels] as answers, with the `top` best labels each."""

    @abstractmethod
    def decide(self, scores: Floats, truth: Sequence[Labels], out_of_scope: str) -> Decision:
        """Choose thresholds by dev rows: log-probabilities [N, labels] and labels."""

    def unseen(self, value: str) -> str:
        """Say that a label was never trained on."""
        hint = nearest(value, self.labels)
        return f"label {value!r} was never seen in training{hint or f'; known: {listed(self.labels)}'}"

    def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002  every codec is saved by the same call
        """Return the labels and their rows; nothing is written."""
        return {"labels": list(self.labels), "rows": list(self.rows)}

    @classmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> Self:  # noqa: ARG003
        """Read back what `save` returned; older Bundles do not tell the rows."""
        return cls(tuple(state["labels"]), tuple(state.get("rows", ())))


@dataclass(frozen=True, slots=True)
class LabelCodec(TargetCodec):
    """One label a row."""

    several = False
    metrics = (accuracy, macro_f1)

    @classmethod
    def learn(cls, labels: Iterable[str]) -> "LabelCodec":
        """Collect the distinct labels of the training rows; fewer than two is a DataError."""
        counts = Counter(labels)
        if not counts:
            raise DataError("no rows to learn labels from; give a file with at least two labels")
        if len(counts) == 1:
            raise DataError(
                f"every row has the label {next(iter(counts))!r}; a classifier needs at least two labels: "
                "add rows of another label or name another label column"
            )
        return cls.of(counts, counts.total(), "name the label column")

    def encode(self, values: Sequence[Labels]) -> dict[str, Ragged]:
        """Number of each label, UNSEEN where it was never trained on: {"label": B rows of one number}."""
        numbers: dict[Labels, int] = {label: number for number, label in enumerate(self.labels)}
        flat = np.fromiter((numbers.get(self.normal(value), UNSEEN) for value in values), np.int32, len(values))
        return {"label": Ragged(flat, np.arange(len(values) + 1))}

    def rarest(self, columns: Mapping[str, Ragged]) -> Ints:
        """The number of each encoded row's label [B]."""
        return columns["label"].values.astype(np.int64)

    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as arrays: {"label": [B]}."""
        return {"label": columns["label"].values.astype(np.int64)}

    def normal(self, value: Labels) -> Labels:
        """A label as this codec has it: a list of one is that one."""
        return value[0] if len(value) == 1 and not isinstance(value, str) else value

    def truth(self, columns: Mapping[str, Ragged]) -> list[Labels]:
        """Labels of encoded rows; what was never trained on is NEVER_SEEN."""
        names = (*self.labels, NEVER_SEEN)  # number -1 is the last
        return [names[number] for number in columns["label"].values.tolist()]

    def decode(self, scores: Floats, decision: Decision, top: int = MOST) -> list[Ranked]:
        """Log-probabilities [B, labels] as ranked answers with the `top` best labels each."""
        outside = self.outside(scores, decision.out_of_scope).tolist()
        answers: list[Ranked] = []
        for pairs, none_fits in zip(_best(scores, self.labels, top + 1), outside, strict=True):
            if decision.out_of_scope:
                others = tuple(pair for pair in pairs if pair[0] != decision.out_of_scope)
                pairs = ((decision.out_of_scope, none_fits), *others) if none_fits >= decision.scope_ends else others
            label, confidence = pairs[0]
            if confidence >= decision.abstain_below:
                answers.append(Ranked(label, confidence, pairs[1:top]))
            else:
                answers.append(Ranked(None, confidence, pairs[:top]))
        return answers

    def outside(self, scores: Floats, out_of_scope: str) -> Floats:
        """How probable it is that no label but `out_of_scope` fits [B]; scores are log-probabilities [B, labels].

        docs/design.md says how the two compare with the energy of the scores.
        """
        if out_of_scope in self.labels:
            own: Floats = np.exp(scores[:, self.labels.index(out_of_scope)])
            return own
        best: Floats = 1 - np.exp(scores.max(1))
        return best

    def decide(self, scores: Floats, truth: Sequence[Labels], out_of_scope: str) -> Decision:
        """Choose on dev from where on a text is out of scope, for the best F1 of that label."""
        if not out_of_scope:
            return Decision()
        strange = np.array([label == out_of_scope for label in truth], np.float32)
        ends = trusted_threshold(self.outside(scores, out_of_scope), strange, 0.5)
        return Decision(out_of_scope=out_of_scope, scope_ends=ends)


@dataclass(frozen=True, slots=True)
class LabelSetCodec(TargetCodec):
    """Any number of labels a row, none too."""

    several = True
    metrics = (micro_f1, macro_f1, exact_match)

    @classmethod
    def learn(cls, values: Iterable[Labels]) -> "LabelSetCodec":
        """Collect the distinct labels of the training rows; fewer than two is a DataError."""
        counts: Counter[str] = Counter()
        rows = 0
        for value in values:
            counts.update(labels_of(value))
            rows += 1
        if len(counts) < 2:
            found = f"only the label {next(iter(counts))!r}" if counts else "no label at all"
            raise DataError(f"{rows} rows hold {found}; name another label column, or see --label-separator")
        return cls.of(counts, rows, "name the label column, or see --label-separator")

    def encode(self, values: Sequence[Labels]) -> dict[str, Ragged]:
        """Numbers of each row's labels, UNSEEN for those never trained on: {"label": B rows}."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        return {
            "label": Ragged.of(
                [np.array([numbers.get(label, UNSEEN) for label in labels_of(value)], np.int32) for value in values]
            )
        }

    def rarest(self, columns: Mapping[str, Ragged]) -> Ints:
        """The number of each encoded row's rarest label [B]; UNSEEN for a row without any."""
        column = columns["label"]
        rows = (*self.rows, sum(self.rows))  # number -1 is the last, and rarer than none
        found = (min(column[row].tolist(), key=rows.__getitem__, default=UNSEEN) for row in range(len(column)))
        return np.fromiter(found, np.int64, len(column))

    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as arrays: {"label": [B, labels]}, 1 where a row has the label; unseen ones stand nowhere."""
        column = columns["label"]
        out = np.zeros((len(column), len(self.labels) + 1), np.float32)  # the last column takes the unseen ones
        out[np.repeat(np.arange(len(column)), column.lengths), column.values] = 1
        return {"label": np.ascontiguousarray(out[:, :-1])}

    def normal(self, value: Labels) -> Labels:
        """Labels as this codec has them: one is a list of one."""
        return labels_of(value)

    def truth(self, columns: Mapping[str, Ragged]) -> list[Labels]:
        """Labels of encoded rows; what was never trained on is NEVER_SEEN."""
        names = (*self.labels, NEVER_SEEN)
        column = columns["label"]
        return [tuple(sorted(names[number] for number in column[row].tolist())) for row in range(len(column))]

    def decode(self, scores: Floats, decision: Decision, top: int = MOST) -> list[Ranked]:
        """Log-probabilities [B, labels] as the labels over their thresholds; `alternatives` are the best labels of all.

        An answer's confidence is the probability that it is right to the last label, were labels independent.
        """
        probabilities = np.exp(scores.astype(np.float64))
        given = probabilities >= (np.array(decision.thresholds) if decision.thresholds else 0.5)
        confidence = np.where(given, probabilities, 1 - probabilities).prod(1).tolist()
        answers: list[Ranked] = []
        most = max(top, int(given.sum(1).max(initial=0)))
        for row, sure, pairs in zip(given, confidence, _best(scores, self.labels, most), strict=True):
            value = self._named(np.flatnonzero(row).tolist()) if sure >= decision.abstain_below else None
            answers.append(Ranked(value, sure, pairs))
        return answers

    def decide(self, scores: Floats, truth: Sequence[Labels], out_of_scope: str) -> Decision:  # noqa: ARG002
        """Choose each label's threshold on dev; scores are log-probabilities [N, labels]."""
        target = self.collate(self.encode(truth))["label"].astype(np.float32)
        return Decision(thresholds=label_thresholds(np.exp(scores), target))

    def _named(self, numbers: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.labels[number] for number in numbers)


def learn_labels(values: Iterable[Labels]) -> TargetCodec:
    """Learn from the rows' labels; one row with several (a tuple, whatever its length) makes all of them sets."""
    listed_values = list(values)
    single = [value for value in listed_values if isinstance(value, str)]
    return LabelCodec.learn(single) if len(single) == len(listed_values) else LabelSetCodec.learn(listed_values)


def _best(scores: Floats, labels: Sequence[str], top: int) -> list[tuple[tuple[str, float], ...]]:
    """The `top` best labels of each row with their probabilities."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    ranked = np.exp(np.take_along_axis(scores.astype(np.float64), order, axis=1)).tolist()
    return [
        tuple((labels[number], chance) for number, chance in zip(numbers, chances, strict=True))
        for numbers, chances in zip(order.tolist(), ranked, strict=True)
    ]
