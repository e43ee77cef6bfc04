"""The dev rows: scored by the net while it trains, by its graphs when it is exported."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cellgate.batch import Floats, Ints
from cellgate.bundle import Bundle, summary
from cellgate.codecs import Decision, TargetCodec
from cellgate.codecs.labels import NEVER_SEEN, Ranked
from cellgate.data.batching import by_length
from cellgate.fit.loop import Data
from cellgate.metrics import Labels
from cellgate.nets import Net

_ROWS, _TOKENS = 64, 24_000
_SINGLE_ROWS = 500  # rows the int8 graph is compared on, one at a time, as it is used


@dataclass(frozen=True, slots=True)
class Dev:
    """Rows held out from training."""

    data: Data
    rows: Ints
    target: TargetCodec
    out_of_scope: str  # the label of rows that fit no other, or nothing

    @property
    def order(self) -> Ints:
        """The rows in the order of `batches` and of all that comes of them."""
        return np.concatenate(self._places())

    def _places(self) -> list[Ints]:
        return [self.rows[places] for places in by_length(self.data.lengths[self.rows], rows=_ROWS, tokens=_TOKENS)]

    def batches(self) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """Inputs and target of all dev rows, short ones first."""
        for rows in self._places():
            yield self.data.tensors(rows)

    @torch.no_grad()
    def scores(self, net: Net) -> tuple[Floats, list[Labels]]:
        """Log-probabilities [N, L] and labels of N rows, in the order of `batches`."""
        scores: list[Floats] = []
        truth: list[Labels] = []
        for rows in self._places():
            inputs, _ = self.data.tensors(rows)
            scores.append(net(inputs, {})[0].numpy())
            truth += self._truth(rows)
        return np.concatenate(scores), truth

    def metrics(self, net: Net) -> dict[str, float]:
        """The metrics of the net as it is, with the best thresholds there are."""
        scores, truth = self.scores(net)
        return self._metrics(scores, truth, self.target.decide(scores, truth, self.out_of_scope))

    def _metrics(self, scores: Floats, truth: Sequence[Labels], decision: Decision) -> dict[str, float]:
        ranked = self.target.decode(scores, decision, top=1)
        confidence = np.array([each.confidence for each in ranked], np.float32)
        return summary(self.target, truth, [each.value for each in ranked], confidence)

    def example(self) -> dict[str, Tensor]:
        """A small batch for tracing: three rows of several tokens, taken from the longest of the data."""
        longest = np.argsort(-self.data.lengths[self.data.train], kind="stable")[:3]
        inputs, _ = self.data.tensors(self.data.train[longest])
        return inputs

    def _from_graph(self, bundle: Bundle) -> Floats:
        return np.concatenate([bundle.score_rows(self.data.rows.take(rows)) for rows in self._places()])

    def answers(self, bundle: Bundle) -> tuple[list[Ranked], list[Labels]]:
        """The Bundle's answers, and the labels, in the order of `batches`."""
        truth: list[Labels] = []
        for rows in self._places():
            truth += self._truth(rows)
        return self.target.decode(self._from_graph(bundle), bundle.decision, top=1), truth

    def _truth(self, rows: Ints) -> list[Labels]:
        truth = self.target.truth(self.data.rows.take(rows))
        if self.out_of_scope:  # a label that no training row has fits no text of training
            truth = [self.out_of_scope if label == NEVER_SEEN else label for label in truth]
        return truth

    def parity(self, net: Net, bundle: Bundle, int8: Bundle | None) -> dict[str, Any]:
        """How far the graphs' answers are from torch's on dev [largest difference of a probability]."""
        from_torch, truth = self.scores(net)
        decision = bundle.decision
        from_float = self._from_graph(bundle)
        result: dict[str, Any] = {
            "rows": len(truth),
            "torch_float_difference": _difference(from_torch, from_float),
            "float": self._metrics(from_float, truth, decision),
        }
        if int8 is None:
            return result
        order = self.order
        chosen = np.linspace(0, len(order) - 1, min(len(order), _SINGLE_ROWS)).astype(np.int64)
        chosen_truth = [truth[place] for place in chosen]
        from_int8 = np.concatenate([int8.score_rows(self.data.rows.take(order[place : place + 1])) for place in chosen])
        return result | {
            "int8_rows": len(chosen),
            "float_int8_difference": _difference(from_float[chosen], from_int8),
            "float_on_int8_rows": self._metrics(from_float[chosen], chosen_truth, decision),
            "int8": self._metrics(from_int8, chosen_truth, decision),
        }


def _difference(a: Floats, b: Floats) -> float:
    return float(np.abs(np.exp(a) - np.exp(b)).max())


def halves_in_words(told: Mapping[str, float]) -> str:
    """Say what each half of the net is worth, so that a useless one is seen."""
    alone = {half: told[f"{half}_alone"] for half in ("recurrent", "linear") if f"{half}_alone" in told}
    halves = ", ".join(f"{half} half {worth:.1%}" for half, worth in alone.items())
    if len(alone) == 1:
        return f"on dev: {halves}; the other half is left out"
    halves = f"on dev, each alone: {halves}; together {told['together']:.1%}"
    if told["together"] <= told["recurrent_alone"]:
        return f"{halves}: the linear half adds nothing here; --bag.enabled false leaves it out"
    if told["together"] <= told["linear_alone"]:
        return f"{halves}: the recurrent half adds nothing here; --encoder.enabled false leaves it out and is quicker"
    return f"{halves}, with a weight of {told['linear_share']:.2f} for the linear half"
