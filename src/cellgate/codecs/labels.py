"""One label a row: names to numbers, scores to ranked names."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellgate.batch import Floats, Ints, Ragged
from cellgate.errors import DataError, listed, nearest

MOST = 5  # answers given to a row, best first
UNSEEN = -1  # the number of a label never seen in training


@dataclass(frozen=True, slots=True)
class Ranked:
    """An answer: the best value, its probability, and the others by falling probability."""

    value: str
    confidence: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class LabelCodec:
    """The labels of a task, sorted by name; label i is number i."""

    labels: tuple[str, ...]

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
        rows = counts.total()
        if len(counts) > max(2, rows // 2):
            raise DataError(
                f"{len(counts)} distinct labels in {rows} rows, e.g. {listed(list(counts)[:3])}: "
                "that looks like free text or an id; name the label column"
            )
        return cls(tuple(sorted(counts)))

    def __len__(self) -> int:
        return len(self.labels)

    def encode(self, values: Sequence[str]) -> dict[str, Ragged]:
        """Number of each label, UNSEEN where it was never trained on: {"label": B rows of one number}."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        flat = np.fromiter((numbers.get(value, UNSEEN) for value in values), np.int32, len(values))
        return {"label": Ragged(flat, np.arange(len(values) + 1))}

    def unseen(self, value: str) -> str:
        """Say that a label was never trained on."""
        hint = nearest(value, self.labels)
        return f"label {value!r} was never seen in training{hint or f'; known: {listed(self.labels)}'}"

    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Ints]:
        """Encoded rows as arrays: {"label": [B]}."""
        return {"label": columns["label"].values.astype(np.int64)}

    def decode(self, scores: Floats, top: int = MOST) -> list[Ranked]:
        """Log-probabilities [B, labels] as ranked answers with the `top` best labels each."""
        probabilities = np.exp(scores.astype(np.float64))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        ranked = np.take_along_axis(probabilities, order, axis=1).tolist()
        answers: list[Ranked] = []
        for numbers, chances in zip(order.tolist(), ranked, strict=True):
            pairs = tuple((self.labels[number], chance) for number, chance in zip(numbers, chances, strict=True))
            answers.append(Ranked(pairs[0][0], pairs[0][1], pairs[1:]))
        return answers

    def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002  every codec is saved by the same call
        """Return the labels; nothing is written."""
        return {"labels": list(self.labels)}

    @classmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> "LabelCodec":  # noqa: ARG003
        """Read back what `save` returned."""
        return cls(tuple(state["labels"]))
