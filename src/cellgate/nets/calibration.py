"""Chosen on dev: how much each half counts, and how sure the sum may sound."""

from collections.abc import Callable

import numpy as np

from cellgate.batch import Floats, Ints
from cellgate.metrics import log_loss

USUAL_SHARE = 0.65  # weight of the linear half before dev is seen
_TRUST_ROWS = 2_000  # dev rows at which the share found and the usual one count alike
_PRIOR_WIDTH = 0.5  # standard deviation of log T and the like, and of Platt's slope and offset, before dev is seen
_SURE_LABELS = 20  # above this many labels dev says too little about the share
_NEWTON_STEPS = 20


def log_softmax(logits: Floats) -> Floats:
    """Log-probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def best_share(worth: Callable[[Floats], float], recurrent: Floats, linear: Floats) -> float:
    """Weight of the linear half by `worth` on dev, drawn to the usual one where dev is small or labels are many.

    Both scores are [N, L]; `worth` takes their average and returns 0 to 1.
    """
    if recurrent.shape[1] > _SURE_LABELS:
        return USUAL_SHARE
    shares = np.linspace(0.0, 1.0, 21)
    found = [worth((1 - s) * recurrent + s * linear) for s in shares]
    # Neighbouring shares vote together: single steps of accuracy are noise.
    smooth = np.convolve(np.pad(found, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    best = float(np.mean(shares[smooth >= smooth.max() - 1e-9]))
    trust = len(recurrent) / (len(recurrent) + _TRUST_ROWS)
    return USUAL_SHARE + (best - USUAL_SHARE) * trust


def best_temperature(log_probabilities: Floats, target: Ints) -> float:
    """Temperature T that makes dev probabilities fit best (Guo et al. 2017); scores [N, L], target [N].

    log T has a normal prior around 0: a few dev rows, all right or all wrong, must not ask for certainty or for none.
    Three rounds of a grid over 1/T.
    """
    low, high = 0.05, 10.0
    for _ in range(3):
        inverse = np.geomspace(low, high, 25)
        losses = [_penalised(log_probabilities, target, i) for i in inverse]
        at = int(np.argmin(losses))
        low, high = inverse[max(0, at - 1)], inverse[min(len(inverse) - 1, at + 1)]
    return float(1.0 / inverse[at])


def best_sharpness(log_odds: Floats, target: Floats) -> float:
    """One factor of all labels' log-odds that makes dev probabilities fit best; both [N, L], target 0 or 1.

    Its logarithm has the prior of the temperature.
    """
    wrong = np.where(target > 0, -log_odds, log_odds)
    factors = np.geomspace(0.05, 10, 41)
    losses = [np.logaddexp(0, factor * wrong).sum() + 0.5 * (np.log(factor) / _PRIOR_WIDTH) ** 2 for factor in factors]
    return float(factors[int(np.argmin(losses))])


def _penalised(scores: Floats, target: Ints, inverse: float) -> float:
    """Cross-entropy [nats] at 1/T, plus what the prior costs, a row."""
    prior = 0.5 * (np.log(inverse) / _PRIOR_WIDTH) ** 2
    return log_loss(log_softmax(scores * inverse), target) + float(prior) / len(target)


def best_scale(log_odds: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Slope and offset of each label's log-odds that make dev probabilities fit best (Platt 1999).

    log_odds and target (0 or 1) are [N, L]; returns [L] each. Both have a normal prior around 1 and 0, as above: a
    label without a dev row keeps what it has. Newton's method, all labels at once.
    """
    x, y = log_odds.astype(np.float64), target.astype(np.float64)
    slope, offset = np.ones(x.shape[1]), np.zeros(x.shape[1])
    weight = 1 / _PRIOR_WIDTH**2
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(slope * x + offset, -30, 30)))
        wrong, spread = p - y, p * (1 - p)
        by_slope = (wrong * x).sum(0) + weight * (slope - 1)
        by_offset = wrong.sum(0) + weight * offset
        aa, ab, bb = (spread * x * x).sum(0) + weight, (spread * x).sum(0), spread.sum(0) + weight
        determinant = aa * bb - ab * ab
        step_slope = (bb * by_slope - ab * by_offset) / determinant
        step_offset = (aa * by_offset - ab * by_slope) / determinant
        largest = np.maximum(1.0, np.maximum(np.abs(step_slope), np.abs(step_offset)))  # a long step overshoots
        slope, offset = slope - step_slope / largest, offset - step_offset / largest
    return np.maximum(slope, 0.05).astype(np.float32), offset.astype(np.float32)
