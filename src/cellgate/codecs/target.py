"""What a task wants as numbers, and scores as answers: the contract of a target codec."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from cellgate.batch import Array, Floats, Ints, Ragged, Scores
from cellgate.codecs.decision import Decision
from cellgate.codecs.source import Given
from cellgate.errors import DataError, counted, listed, nearest
from cellgate.metrics import Answer, MistakeKind, Value

MOST = 5  # answers given to a row, best first
UNSEEN = -1  # the number of a label never seen in training
OUTSIDE = -2  # that of the label out of scope, where it was never seen either
NEVER_SEEN = "label never seen in training"  # its name where only its number is known


@dataclass(frozen=True, slots=True)
class Ranked:
    """An answer, its probability, and the other labels by falling probability; None: "I don't know"."""

    value: Answer
    confidence: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """What of the answers given is right, M parts in all: answers of one label, or each span of those that have."""

    confidence: Floats  # [M]
    right: npt.NDArray[np.bool_]  # [M]


@dataclass(frozen=True, slots=True)
class TargetCodec(ABC):
    """The labels of a task: label i is number i and stands in the training rows, or text, `rows[i]` times.

    `columns`, wherever it is taken, is what the source codec made of the same rows.
    """

    foretells: ClassVar[bool] = False
    """Whether labels are tokens, and a net scores, of each token of a text, all that may stand behind it."""

    labels: tuple[str, ...]
    rows: tuple[int, ...]
    out_of_scope: str = ""
    """The label of texts that fit no other, if there is one; training rows need not have it."""

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def decode(
        self, scores: Scores, columns: Mapping[str, Ragged], decision: Decision, top: int = MOST
    ) -> list[Ranked]:
        """Answers by the scores of B rows, with the `top` best labels each where there are such."""

    def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002  every codec is saved by the same call
        """Return the labels and their rows; nothing is written."""
        return {"labels": list(self.labels), "rows": list(self.rows), "out_of_scope": self.out_of_scope}

    @classmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> Self:  # noqa: ARG003
        """Read back what `save` returned; older Bundles tell the labels only."""
        return cls(tuple(state["labels"]), tuple(state.get("rows", ())), state.get("out_of_scope", ""))


@dataclass(frozen=True, slots=True)
class SupervisedCodec(TargetCodec):
    """Labels, sorted by name, that rows are annotated with: a net is taught by them, and answers are right or wrong."""

    part: ClassVar[str]
    """What is right or wrong by itself and has a confidence: a text's whole answer, or a span."""
    metrics: ClassVar[tuple[Callable[[Sequence[Value], Sequence[Answer]], float], ...]]
    """Of answers against the truth; the first chooses the checkpoint."""
    no_scope: ClassVar[str]
    """Why no label can stand for texts that fit none; empty: one can."""

    @classmethod
    def of(cls, counts: Counter[str], rows: int, remedy: str) -> Self:
        """Make one of how often each label stands in so many rows; DataError where they look like no labels."""
        if len(counts) > max(2, rows // 2):
            raise DataError(
                f"{counted(len(counts), 'distinct label')} in {counted(rows, 'row')}, e.g. {listed(list(counts)[:3])}: "
                f"that looks like free text or an id; {remedy}"
            )
        labels = tuple(sorted(counts))
        return cls(labels, tuple(counts[label] for label in labels))

    @abstractmethod
    def normal(self, value: Value, given: Given) -> Value:
        """The answer of a row, and what is given of it, as this codec has it."""

    def as_taught(self, given: Given, answer: Value) -> tuple[Given, Value]:
        """What is given of a row and its answer by this codec, as rows to train on have them."""
        return given, answer

    @abstractmethod
    def encode(self, values: Sequence[Value], columns: Mapping[str, Ragged]) -> dict[str, Ragged]:
        """Numbers of each row's labels, UNSEEN for those never trained on: B rows."""

    @abstractmethod
    def rarest(self, values: Sequence[Value]) -> Ints:
        """The number of each row's rarest label [B]; UNSEEN for a row without any."""

    @abstractmethod
    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as the arrays that a net is taught by."""

    @abstractmethod
    def truth(self, columns: Mapping[str, Ragged]) -> list[Value]:
        """Answers of encoded rows; what was never trained on is NEVER_SEEN."""

    @abstractmethod
    def decide(self, scores: Scores, truth: Sequence[Value]) -> Decision:
        """Choose thresholds by the scores of N dev rows and their labels."""

    @abstractmethod
    def probabilities(self, scores: Scores) -> Sequence[Floats]:
        """Of each row, the probabilities that its scores stand for."""

    def lost(self, values: Sequence[Value], columns: Mapping[str, Ragged]) -> int:  # noqa: ARG002
        """How many parts of the answers of encoded rows cannot be told by their tokens."""
        return 0

    def mistakes(self, truth: Sequence[Value], answers: Sequence[Answer]) -> Mapping[MistakeKind, int]:  # noqa: ARG002
        """How many wrong spans there are of each kind; nothing where answers are no spans."""
        return {}

    def judge(self, truth: Sequence[Value], answers: Sequence[Answer], confidence: Sequence[float]) -> Judged:
        """Which of the answers given are right, and how sure they were."""
        given = [place for place, answer in enumerate(answers) if answer is not None]
        right = np.array([answers[place] == truth[place] for place in given], np.bool_)
        return Judged(np.asarray(confidence, np.float32)[given], right)

    def unseen(self, value: str) -> str:
        """Say that a label was never trained on."""
        hint = nearest(value, self.labels)
        return f"label {value!r} was never seen in training{hint or f'; known: {listed(self.labels)}'}"

    def all_unseen(self, rows: Mapping[str, int]) -> str:
        """Say which labels were never trained on, each with its rows, the most frequent first."""
        ranked = sorted(rows.items(), key=lambda item: -item[1])
        named = listed(f"{label!r} ({count:,})" for label, count in ranked)
        return self.unseen(ranked[0][0]) + (f"; all of them, with their rows: {named}" if len(ranked) > 1 else "")
