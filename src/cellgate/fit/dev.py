"""The dev rows: scored by the net while it trains, by its graphs when it is exported."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cellgate.batch import Floats, Ints
from cellgate.bundle import Bundle, summary
from cellgate.codecs import Decision, TargetCodec
from cellgate.codecs.decision import abstaining
from cellgate.config import AnswerConfig
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
        for inputs, target in self.batches():
            scores.append(net(inputs, {})[0].numpy())
            truth += self.target.truth({name: value.numpy() for name, value in target.items()})
        return np.concatenate(scores), truth

    def metrics(self, net: Net) -> dict[str, float]:
        """The metrics of the net as it is, with the best thresholds there are."""
        scores, truth = self.scores(net)
        return self._metrics(scores, truth, self.target.decide(scores, truth))

    def _metrics(self, scores: Floats, truth: Sequence[Labels], decision: Decision) -> dict[str, float]:
        ranked = self.target.decode(scores, decision, top=1)
        confidence = np.array([each.confidence for each in ranked], np.float32)
        return summary(self.target, truth, [each.value for each in ranked], confidence)

    def decide(self, net: Net, config: AnswerConfig) -> tuple[Decision, str]:
        """Choose how sure an answer must be; and say what that costs, nothing where every text gets an answer."""
        scores, truth = self.scores(net)
        decision = replace(self.target.decide(scores, truth), abstain_below=config.abstain_below)
        ranked = self.target.decode(scores, replace(decision, abstain_below=0.0), top=1)
        right = [each.value == t for each, t in zip(ranked, truth, strict=True)]
        sure = [each.confidence for each in ranked]
        if config.precision is not None:
            found = abstaining(sure, right, config.precision)
            decision = replace(decision, abstain_below=found.below)
            met = "" if found.precision >= config.precision else f"; {config.precision:.1%} is out of reach"
            return decision, (
                f'answers below {found.below:.3f} become "I don\'t know": on dev {found.precision:.1%} of the answers '
                f"given are right, and {found.answered:.1%} of the texts get one{met}"
            )
        if config.abstain_below:
            kept = [hit for hit, confidence in zip(right, sure, strict=True) if confidence >= config.abstain_below]
            how = f"{sum(kept) / len(kept):.1%} of the answers given are right" if kept else "no text gets an answer"
            share = len(kept) / len(right)
            return decision, f"on dev {how}, and {share:.1%} of the texts get one (--answer.abstain-below)"
        return decision, ""

    def example(self) -> dict[str, Tensor]:
        """A small batch for tracing: three rows of several tokens, taken from the longest of the data."""
        longest = np.argsort(-self.data.lengths[self.data.train], kind="stable")[:3]
        inputs, _ = self.data.tensors(self.data.train[longest])
        return inputs

    def parity(self, net: Net, bundle: Bundle, int8: Bundle | None) -> dict[str, Any]:
        """How far the graphs' answers are from torch's on dev [largest difference of a probability]."""
        from_torch, truth = self.scores(net)
        decision = bundle.decision
        from_float = np.concatenate([bundle.score_rows(self.data.rows.take(rows)) for rows in self._places()])
        result: dict[str, Any] = {
            "rows": len(truth),
            "torch_float_difference": _difference(from_torch, from_float),
            "float": self._metrics(from_float, truth, decision),
        }
        if int8 is None:
            return result
        order = np.concatenate(self._places())
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
    recurrent = f"on dev, each alone: recurrent half {told['recurrent_alone']:.1%}"
    if "linear_alone" not in told:
        return f"{recurrent}; there is no linear half (--bag.enabled false)"
    return (
        f"{recurrent}, linear half {told['linear_alone']:.1%}; the linear half's weight is {told['linear_share']:.2f}"
    )
