"""What a text's labels may be: one of them (softmax), or any of them (sigmoid). Loss, probabilities, calibration.

Both are calibrated by slope and offset on dev: log-probabilities = normalise(slope * scores + offset).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellgate.batch import Array, Floats
from cellgate.nets.calibration import best_scale, best_sharpness, best_temperature

_RARE = 0.05  # share of the rows below which the rarer of two labels is hardly ever answered unless its rows weigh more
_FOCUS = 2.0  # exponent of the focal loss (Lin et al. 2017)


class Output(nn.Module, ABC):
    """Scores [B, L] of a half, averaged with the other's, to log-probabilities [B, L].

    `weights` [L]: how much a row of each label counts in the loss; None: alike. `focal`: a row that is answered well
    already counts less.
    """

    slope: Tensor
    offset: Tensor
    weights: Tensor | None

    def __init__(self, scales: int, weights: Tensor | None, focal: bool) -> None:
        super().__init__()
        self.register_buffer("slope", torch.ones(scales))
        self.register_buffer("offset", torch.zeros(scales))
        self.register_buffer("weights", weights, persistent=False)  # training's alone
        self.focal = focal

    @abstractmethod
    def loss(self, logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy [nats] over the batch; `smoothing` of the target is spread over all labels."""

    @abstractmethod
    def present(self, target: Array) -> Array:
        """Which labels rows have [B, L], 0 or 1; target as the loss takes it."""

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
    def sharpness(self, scores: Floats, target: Array) -> float:
        """By which factor of comparable dev scores [N, L] of one half its probabilities fit best."""

    @abstractmethod
    def calibrate(self, mixed: Floats, target: Array) -> dict[str, float]:
        """Fit slope and offset on dev scores [N, L]; returns what should be told."""


class Softmax(Output):
    """One label a text; target [B], -1 where it is unknown."""

    def __init__(self, labels: int, weights: Tensor | None = None, focal: bool = False) -> None:
        super().__init__(1, weights, focal)
        self.labels = labels

    def loss(self, logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy [nats]; target [B]."""
        losses = F.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")
        if self.focal:
            losses = losses * (1 - F.softmax(logits, 1).gather(1, target[:, None])[:, 0]) ** _FOCUS
        if self.weights is not None:
            losses = losses * self.weights[target]
        return losses.mean()

    def present(self, target: Array) -> Array:
        """Which label rows have [B, L]."""
        present: Floats = np.eye(self.labels, dtype=np.float32)[target]
        return present

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

    def sharpness(self, scores: Floats, target: Array) -> float:
        """The inverse of the best temperature."""
        return 1 / best_temperature(scores, target.astype(np.int64))

    def calibrate(self, mixed: Floats, target: Array) -> dict[str, float]:
        """Fit one temperature (Guo et al. 2017)."""
        temperature = best_temperature(mixed, target.astype(np.int64))
        self.slope.fill_(1 / temperature)
        return {"temperature": temperature}


class Sigmoid(Output):
    """Any labels a text; target [B, L] of 0 and 1."""

    def __init__(self, labels: int, weights: Tensor | None = None, focal: bool = False) -> None:
        super().__init__(labels, weights, focal)

    def loss(self, logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """Sum over the labels of binary cross-entropies [nats], mean over the batch; target [B, L].

        Smoothing takes half of what it would of one label: most labels of a text are absent.
        """
        smooth = target * (1 - smoothing / 2) + (1 - target) * smoothing / (2 * logits.shape[1])
        losses = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
        if self.focal:
            present = torch.sigmoid(logits)
            losses = losses * (target * (1 - present) + (1 - target) * present) ** _FOCUS
        if self.weights is not None:
            losses = losses * (target * self.weights + (1 - target))
        return losses.sum(1).mean()

    def present(self, target: Array) -> Array:
        """Which labels rows have [B, L]."""
        return target

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

    def sharpness(self, scores: Floats, target: Array) -> float:
        """One factor for all labels."""
        return best_sharpness(scores, target.astype(np.float32))

    def calibrate(self, mixed: Floats, target: Array) -> dict[str, float]:
        """Fit a slope and an offset a label (Platt 1999)."""
        slopes, offsets = best_scale(mixed, target.astype(np.float32))
        self.slope.copy_(torch.from_numpy(slopes))
        self.offset.copy_(torch.from_numpy(offsets))
        return {"mean_slope": float(slopes.mean()), "mean_offset": float(offsets.mean())}


def chosen_imbalance(imbalance: str, rows: Sequence[int], several: bool) -> str:
    """What the setting `train.imbalance` is where it is left to the labels' rows [L]: weights or none.

    Where a text may have several labels, thresholds do it.
    """
    if imbalance != "auto":
        return imbalance
    return "weights" if not several and len(rows) == 2 and min(rows) < _RARE * sum(rows) else "none"


def make_output(several: bool, rows: Sequence[int], imbalance: str) -> Output:
    """Make the output of labels that stand in `rows` training rows each [L]; `imbalance` is chosen."""
    weights = torch.from_numpy(label_weights(rows, imbalance)) if imbalance == "weights" else None
    return (Sigmoid if several else Softmax)(len(rows), weights, imbalance == "focal")


def label_weights(rows: Sequence[int], imbalance: str) -> Floats:
    """How much a row of each label counts [L]: alike, or those of rare labels more."""
    counts = np.array(rows, np.float32)
    weights: Floats = (
        counts.mean() / counts.clip(min=1) if imbalance in ("weights", "sampling") else np.ones_like(counts)
    )
    return weights
