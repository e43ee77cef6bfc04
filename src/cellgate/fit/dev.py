"""The dev rows: scored by the net while it trains, by its graphs when it is exported."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cellgate.batch import Floats, Ints
from cellgate.bundle import Bundle, summary
from cellgate.data.batching import by_length
from cellgate.fit.loop import Data
from cellgate.nets import Net
from cellgate.task import Task

_ROWS, _TOKENS = 64, 24_000
_SINGLE_ROWS = 500  # rows the int8 graph is compared on, one at a time, as it is used


@dataclass(frozen=True, slots=True)
class Dev:
    """Rows held out from training."""

    task: Task
    data: Data
    rows: Ints
    labels: tuple[str, ...]

    def _places(self) -> list[Ints]:
        return [self.rows[places] for places in by_length(self.data.lengths[self.rows], rows=_ROWS, tokens=_TOKENS)]

    def batches(self) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """Inputs and target of all dev rows, short ones first."""
        for rows in self._places():
            yield self.data.tensors(rows)

    @torch.no_grad()
    def scores(self, net: Net) -> tuple[Floats, Ints]:
        """Log-probabilities [N, L] and labels [N], in the order of `batches`."""
        scores, labels = [], []
        for inputs, target in self.batches():
            scores.append(net(inputs, {})[0].numpy())
            labels.append(target["label"].numpy())
        return np.concatenate(scores), np.concatenate(labels)

    def metrics(self, net: Net) -> dict[str, float]:
        """The task's metrics of the net as it is."""
        return self._metrics(*self.scores(net))

    def _metrics(self, scores: Floats, labels: Ints) -> dict[str, float]:
        names = (*self.labels, "label never seen in training")  # number -1 is the last
        truth = [names[number] for number in labels]
        answers = [names[number] for number in scores.argmax(1)]
        return summary(self.task, truth, answers, np.exp(scores.max(1)))

    def example(self) -> dict[str, Tensor]:
        """A small batch for tracing: three rows of several tokens, taken from the longest of the data."""
        longest = np.argsort(-self.data.lengths[self.data.train], kind="stable")[:3]
        inputs, _ = self.data.tensors(self.data.train[longest])
        return inputs

    def parity(self, net: Net, bundle: Bundle, int8: Bundle | None) -> dict[str, Any]:
        """How far the graphs' answers are from torch's on dev [largest difference of a probability]."""
        from_torch, labels = self.scores(net)
        from_float = np.concatenate([bundle.score_rows(self.data.rows.take(rows)) for rows in self._places()])
        result: dict[str, Any] = {
            "rows": len(labels),
            "torch_float_difference": _difference(from_torch, from_float),
            "float": self._metrics(from_float, labels),
        }
        if int8 is None:
            return result
        order = np.concatenate(self._places())
        chosen = np.linspace(0, len(order) - 1, min(len(order), _SINGLE_ROWS)).astype(np.int64)
        from_int8 = np.concatenate([int8.score_rows(self.data.rows.take(order[place : place + 1])) for place in chosen])
        return result | {
            "int8_rows": len(chosen),
            "float_int8_difference": _difference(from_float[chosen], from_int8),
            "float_on_int8_rows": self._metrics(from_float[chosen], labels[chosen]),
            "int8": self._metrics(from_int8, labels[chosen]),
        }


def _difference(a: Floats, b: Floats) -> float:
    return float(np.abs(np.exp(a) - np.exp(b)).max())


def halves_in_words(told: Mapping[str, float]) -> str:
    """Say what each half of the net is worth, so that a useless one is seen."""
    recurrent = f"dev accuracy alone: recurrent half {told['recurrent_accuracy']:.1%}"
    if "linear_accuracy" not in told:
        return f"{recurrent}; there is no linear half (--bag.enabled false)"
    return (
        f"{recurrent}, linear half {told['linear_accuracy']:.1%}; "
        f"the linear half's weight is {told['linear_share']:.2f}"
    )
