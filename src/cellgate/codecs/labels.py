"""Labels to numbers, and scores to answers: one label a row, or several. `learn_labels` chooses by the rows."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cellgate.batch import Array, Floats, Ints, Ragged, Scores
from cellgate.codecs.decision import Decision, label_thresholds, trusted_threshold
from cellgate.codecs.source import Given
from cellgate.codecs.target import MOST, NEVER_SEEN, OUTSIDE, UNSEEN, Ranked, SupervisedCodec
from cellgate.errors import DataError
from cellgate.metrics import Value, accuracy, exact_match, labels_of, macro_f1, micro_f1

NOTHING: Mapping[str, Ragged] = {}


@dataclass(frozen=True, slots=True)
class LabelsCodec(SupervisedCodec):
    """Labels of a whole text; scores are log-probabilities [L] a row."""

    part = "text"

    @property
    @abstractmethod
    def several(self) -> bool:
        """Whether a text may have any number of labels; else it has one."""

    def probabilities(self, scores: Scores) -> Sequence[Floats]:
        """Those of each label."""
        return list(np.exp(np.asarray(scores.rows)))


@dataclass(frozen=True, slots=True)
class LabelCodec(LabelsCodec):
    """One label a row."""

    metrics = (accuracy, macro_f1)
    no_scope = ""

    @property
    def several(self) -> bool:
        """No."""
        return False

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

    def encode(self, values: Sequence[Value], columns: Mapping[str, Ragged] = NOTHING) -> dict[str, Ragged]:  # noqa: ARG002
        """Number of each label, OUTSIDE or UNSEEN where it was never trained on: {"label": B rows of one number}."""
        numbers: dict[Value, int] = {label: number for number, label in enumerate(self.labels)}
        if self.out_of_scope:
            numbers.setdefault(self.out_of_scope, OUTSIDE)
        flat = np.fromiter((numbers.get(self.normal(value), UNSEEN) for value in values), np.int32, len(values))
        return {"label": Ragged(flat, np.arange(len(values) + 1))}

    def rarest(self, values: Sequence[Value]) -> Ints:
        """The number of each row's label [B]."""
        return self.encode(values)["label"].values.astype(np.int64)

    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as arrays: {"label": [B]}."""
        return {"label": columns["label"].values.astype(np.int64)}

    def normal(self, value: Value, given: Given = "") -> Value:  # noqa: ARG002
        """A label as this codec has it: a list of one is that one."""
        labels = labels_of(value)
        return labels[0] if len(labels) == 1 else labels

    def truth(self, columns: Mapping[str, Ragged]) -> list[Value]:
        """Labels of encoded rows; what was never trained on is NEVER_SEEN."""
        names = (*self.labels, self.out_of_scope, NEVER_SEEN)  # OUTSIDE and UNSEEN count from the end
        return [names[number] for number in columns["label"].values.tolist()]

    def decode(
        self,
        scores: Scores,
        columns: Mapping[str, Ragged],  # noqa: ARG002
        decision: Decision,
        top: int = MOST,
    ) -> list[Ranked]:
        """Log-probabilities [B, labels] as ranked answers with the `top` best labels each."""
        table = np.asarray(scores.rows)
        outside = self.outside(table, decision.out_of_scope).tolist()
        answers: list[Ranked] = []
        for pairs, none_fits in zip(_best(table, self.labels, top + 1), outside, strict=True):
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

    def decide(self, scores: Scores, truth: Sequence[Value]) -> Decision:
        """Choose on dev from where on a text is out of scope, for the best F1 of that label.

        Few dev rows of it lean on its share of the training rows: where it is likelier than any text is to have it.
        """
        name = self.out_of_scope
        if not name:
            return Decision()
        outside = np.array([label == name for label in truth], np.float32)
        usual = self.rows[self.labels.index(name)] / sum(self.rows) if name in self.labels else 0.5
        ends = trusted_threshold(self.outside(np.asarray(scores.rows), name), outside, usual)
        return Decision(out_of_scope=name, scope_ends=ends)


@dataclass(frozen=True, slots=True)
class LabelSetCodec(LabelsCodec):
    """Any number of labels a row, none too."""

    metrics = (micro_f1, macro_f1, exact_match)
    no_scope = "a text that may have several labels has none where no label fits it"

    @property
    def several(self) -> bool:
        """Yes."""
        return True

    @classmethod
    def learn(cls, values: Iterable[Value]) -> "LabelSetCodec":
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

    def encode(self, values: Sequence[Value], columns: Mapping[str, Ragged] = NOTHING) -> dict[str, Ragged]:  # noqa: ARG002
        """Numbers of each row's labels, UNSEEN for those never trained on: {"label": B rows}."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        return {
            "label": Ragged.of(
                [np.array([numbers.get(label, UNSEEN) for label in labels_of(value)], np.int32) for value in values]
            )
        }

    def rarest(self, values: Sequence[Value]) -> Ints:
        """The number of each row's rarest label [B]; UNSEEN for a row without any."""
        column = self.encode(values)["label"]
        rows = (*self.rows, sum(self.rows))  # number -1 is the last, and rarer than none
        found = (min(column[row].tolist(), key=rows.__getitem__, default=UNSEEN) for row in range(len(column)))
        return np.fromiter(found, np.int64, len(column))

    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as arrays: {"label": [B, labels]}, 1 where a row has the label; unseen ones stand nowhere."""
        column = columns["label"]
        out = np.zeros((len(column), len(self.labels) + 1), np.float32)  # the last column takes the unseen ones
        out[np.repeat(np.arange(len(column)), column.lengths), column.values] = 1
        return {"label": np.ascontiguousarray(out[:, :-1])}

    def normal(self, value: Value, given: Given = "") -> Value:  # noqa: ARG002
        """Labels as this codec has them: one is a list of one."""
        return labels_of(value)

    def truth(self, columns: Mapping[str, Ragged]) -> list[Value]:
        """Labels of encoded rows; what was never trained on is NEVER_SEEN."""
        names = (*self.labels, NEVER_SEEN)
        column = columns["label"]
        return [tuple(sorted(names[number] for number in column[row].tolist())) for row in range(len(column))]

    def decode(
        self,
        scores: Scores,
        columns: Mapping[str, Ragged],  # noqa: ARG002
        decision: Decision,
        top: int = MOST,
    ) -> list[Ranked]:
        """Log-probabilities [B, labels] as the labels over their thresholds; `alternatives` are the best labels of all.

        An answer's confidence is the probability that it is right to the last label, were labels independent.
        """
        table = np.asarray(scores.rows)
        probabilities = np.exp(table.astype(np.float64))
        given = probabilities >= (np.array(decision.thresholds) if decision.thresholds else 0.5)
        confidence = np.where(given, probabilities, 1 - probabilities).prod(1).tolist()
        answers: list[Ranked] = []
        most = max(top, int(given.sum(1).max(initial=0)))
        for row, sure, pairs in zip(given, confidence, _best(table, self.labels, most), strict=True):
            value = self._named(np.flatnonzero(row).tolist()) if sure >= decision.abstain_below else None
            answers.append(Ranked(value, sure, pairs))
        return answers

    def decide(self, scores: Scores, truth: Sequence[Value]) -> Decision:
        """Choose each label's threshold on dev; scores are log-probabilities [N, labels]."""
        target = self.collate(self.encode(truth))["label"].astype(np.float32)
        return Decision(thresholds=label_thresholds(np.exp(np.asarray(scores.rows)), target))

    def _named(self, numbers: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.labels[number] for number in numbers)


def learn_labels(values: Iterable[Value]) -> SupervisedCodec:
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
