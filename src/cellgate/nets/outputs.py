"""What a text's labels may be: one of them (softmax), or any of them (sigmoid). Loss, probabilities, calibration.

Both are calibrated by slope and offset on dev: log-probabilities = normalise(slope * scores + offset).
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellgate.batch import Array, Floats
from cellgate.nets.calibration import best_scale, best_temperature


class Output(nn.Module, ABC):
    """Scores [B, L] of a half, averaged with the other's, to log-probabilities [B, L]."""

    slope: Tensor
    offset: Tensor

    @abstractmethod
    def loss(self, logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy [nats] over the batch; `smoothing` of the target is spread over all labels."""

    @abstractmethod
    def comparable(self, logits: Tensor) -> Tensor:
        """Scores that may be averaged between the halves."""

    @abstractmethod
    def forward(self, mixed: Tensor) -> Tensor:
        """Calibrated log-probabilities of averaged scores."""

    @abstractmethod
    def known(self, target: Array) -> Array:
        """Places of the rows of which anything can be right."""

    @abstractmethod
    def worth(self, mixed: Floats, target: Array) -> float:
        """How good these scores are by their own best label(s), 0 to 1."""

    @abstractmethod
    def calibrate(self, mixed: Floats, target: Array) -> dict[str, float]:
        """Fit slope and offset on dev scores [N, L]; returns what should be told."""


class Softmax(Output):
    """One label a text; target [B], -1 where it is unknown."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("slope", torch.ones(1))
        self.register_buffer("offset", torch.zeros(1))

    def loss(self, logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy [nats]; target [B]."""
        return F.cross_entropy(logits, target, label_smoothing=smoothing)

    def comparable(self, logits: Tensor) -> Tensor:
        """Log-probabilities."""
        return F.log_softmax(logits, 1)

    def forward(self, mixed: Tensor) -> Tensor:
        """Log-probabilities that sum to 1 over the labels."""
        return F.log_softmax(mixed * self.slope, 1)

    def known(self, target: Array) -> Array:
        """Rows whose label was seen in training."""
        return np.flatnonzero(target >= 0)  # type: ignore[operator]

    def worth(self, mixed: Floats, target: Array) -> float:
        """Accuracy."""
        return float(np.mean(mixed.argmax(1) == target))

    def calibrate(self, mixed: Floats, target: Array) -> dict[str, float]:
        """Fit one temperature (Guo et al. 2017)."""
        temperature = best_temperature(mixed, target.astype(np.int64))
        self.slope.fill_(1 / temperature)
        return {"temperature": temperature}


class Sigmoid(Output):
    """Any labels a text; target [B, L] of 0 and 1."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.register_buffer("slope", torch.ones(labels))
        self.register_buffer("offset", torch.zeros(labels))

    def loss(self, logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """Sum over the labels of binary cross-entropies [nats], mean over the batch; target [B, L].

        Smoothing takes half of what it would of one label: most labels of a text are absent.
        """
        smooth = target * (1 - smoothing / 2) + (1 - target) * smoothing / (2 * logits.shape[1])
        return F.binary_cross_entropy_with_logits(logits, smooth, reduction="none").sum(1).mean()

    def comparable(self, logits: Tensor) -> Tensor:
        """Log-odds."""
        return logits

    def forward(self, mixed: Tensor) -> Tensor:
        """Log-probabilities of each label by itself."""
        return F.logsigmoid(mixed * self.slope + self.offset)

    def known(self, target: Array) -> Array:
        """All rows: without any label of training is an answer too."""
        return np.arange(len(target))

    def worth(self, mixed: Floats, target: Array) -> float:
        """F1 over all labels, each given where its log-odds are above 0."""
        given = mixed > 0
        return float(2 * (given * target).sum() / max(1.0, given.sum() + target.sum()))

    def calibrate(self, mixed: Floats, target: Array) -> dict[str, float]:
        """Fit a slope and an offset a label (Platt 1999)."""
        slopes, offsets = best_scale(mixed, target.astype(np.float32))
        self.slope.copy_(torch.from_numpy(slopes))
        self.offset.copy_(torch.from_numpy(offsets))
        return {"mean_slope": float(slopes.mean()), "mean_offset": float(offsets.mean())}
