"""The dev rows: scored by the net while it trains, by its graphs when it is exported."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cellgate.batch import Ints, Ragged, Scores
from cellgate.bundle import Bundle, by_row, summary
from cellgate.codecs import Decision, SupervisedCodec
from cellgate.codecs.target import Ranked
from cellgate.data.batching import by_length
from cellgate.errors import counted
from cellgate.fit.rows import RowFeed
from cellgate.metrics import TELLING_ROWS, Value
from cellgate.nets import Net

_ROWS, _TOKENS = 64, 24_000
_SINGLE_ROWS = 500  # rows the int8 graph is compared on, one at a time, as it is used


@dataclass(frozen=True)
class Dev:
    """Rows held out from training."""

    data: RowFeed
    rows: Ints
    target: SupervisedCodec

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
    def scores(self, net: Net) -> Scores:
        """What the net says of the rows, in the order of `batches`."""
        parts: list[Scores] = []
        for rows in self._places():
            inputs, _ = self.data.tensors(rows)
            outputs, _ = net(inputs, {})
            arrays = {name: output.numpy() for name, output in outputs.items()}
            parts.append(Scores(*by_row(arrays, net.outputs, self.data.lengths[rows])))
        return Scores.joined(parts)

    @cached_property
    def columns(self) -> Mapping[str, Ragged]:
        """The rows as they are encoded, in the order of `batches`."""
        return self.data.rows.take(self.order)

    @cached_property
    def truth(self) -> list[Value]:
        """Their answers, in the order of `batches`."""
        return self.target.truth(self.columns)

    def metrics(self, net: Net) -> dict[str, float]:
        """The metrics of the net as it is, with the best thresholds there are."""
        scores = self.scores(net)
        return self._metrics(scores, self.target.decide(scores, self.truth))

    def _metrics(self, scores: Scores, decision: Decision) -> dict[str, float]:
        ranked = self.target.decode(scores, self.columns, decision, top=1)
        return metrics_of(self.target, self.truth, ranked)

    def example(self) -> dict[str, Tensor]:
        """A small batch for tracing: three rows of several tokens, taken from the longest of the data."""
        longest = np.argsort(-self.data.lengths[self.data.train], kind="stable")[:3]
        inputs, _ = self.data.tensors(self.data.train[longest])
        return inputs

    def _from_graph(self, bundle: Bundle) -> Scores:
        return Scores.joined([bundle.score_rows(self.data.rows.take(rows)) for rows in self._places()])

    def answers(self, bundle: Bundle) -> list[Ranked]:
        """The Bundle's answers, in the order of `batches`."""
        return self.target.decode(self._from_graph(bundle), self.columns, bundle.decision, top=1)

    def parity(self, net: Net, bundle: Bundle, int8: Bundle | None) -> dict[str, Any]:
        """How far the graphs' answers are from torch's on dev [largest difference of a probability]."""
        from_float = self._from_graph(bundle)
        ranked = self.target.decode(from_float, self.columns, bundle.decision, top=1)
        result: dict[str, Any] = {
            "rows": len(self.rows),
            "torch_float_difference": self._difference(self.scores(net), from_float),
            "float": metrics_of(self.target, self.truth, ranked),
        }
        if kinds := self.target.mistakes(self.truth, [each.value for each in ranked]):
            result["mistakes"] = dict(kinds)
        if int8 is None:
            return result
        order = self.order
        chosen = np.linspace(0, len(order) - 1, min(len(order), _SINGLE_ROWS)).astype(np.int64)
        few = replace(self, rows=order[chosen])
        from_float, from_int8 = few._from_graph(bundle), few._from_graph(int8)
        return result | {
            "int8_rows": len(chosen),
            "float_int8_difference": self._difference(from_float, from_int8),
            "float_on_int8_rows": few._metrics(from_float, bundle.decision),
            "int8": few._metrics(from_int8, bundle.decision),
        }

    def _difference(self, a: Scores, b: Scores) -> float:
        pairs = zip(self.target.probabilities(a), self.target.probabilities(b), strict=True)
        return max(float(np.abs(one - other).max()) for one, other in pairs)


def metrics_of(target: SupervisedCodec, truth: Sequence[Value], ranked: Sequence[Ranked]) -> dict[str, Any]:
    """The metrics of answers."""
    return summary(target, truth, [each.value for each in ranked], [each.confidence for each in ranked])


def halves_in_words(told: Mapping[str, float], rows: int) -> str:
    """Say what each half of the net is worth on so many rows, so that a useless one is seen; "" without halves."""
    alone = {half: told[f"{half}_alone"] for half in ("recurrent", "linear") if f"{half}_alone" in told}
    if not alone:
        return ""
    halves = ", ".join(f"{half} half {worth:.1%}" for half, worth in alone.items())
    if len(alone) == 1:
        return f"on dev: {halves}; the other half is left out"
    halves = f"on dev, each alone: {halves}; together {told['together']:.1%}"
    if rows < TELLING_ROWS:
        return f"{halves}; {counted(rows, 'row is', 'rows are')} too few to tell which half helps"
    if told["together"] <= max(alone.values()):
        if alone["recurrent"] >= alone["linear"]:
            return f"{halves}: the linear half adds nothing here; --linear.enabled false leaves it out"
        return f"{halves}: the recurrent half adds nothing here; --encoder.enabled false leaves it out and is quicker"
    return f"{halves}, with a weight of {told['linear_share']:.2f} for the linear half"
