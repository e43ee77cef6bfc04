"""Two numbers chosen on dev: how much each half counts, and how sure the sum may sound."""

import numpy as np

from cellgate.batch import Floats, Ints
from cellgate.metrics import log_loss

_TRUST_ROWS = 2_000  # dev rows at which the share found and the prior of 0.5 count alike
_PRIOR_WIDTH = 0.5  # standard deviation of log T before dev is seen
_SURE_LABELS = 20  # above this many labels dev says too little about the share


def log_softmax(logits: Floats) -> Floats:
    """Log-probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def best_share(recurrent: Floats, linear: Floats, target: Ints) -> float:
    """Weight of the linear half by dev accuracy, drawn towards 0.5 where dev is small or labels are many.

    Both log-probabilities are [N, L], target [N].
    """
    if recurrent.shape[1] > _SURE_LABELS:
        return 0.5
    shares = np.linspace(0.0, 1.0, 21)
    hits = [np.mean(((1 - s) * recurrent + s * linear).argmax(1) == target) for s in shares]
    # Neighbouring shares vote together: single steps of accuracy are noise.
    smooth = np.convolve(np.pad(hits, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    best = float(np.mean(shares[smooth >= smooth.max() - 1e-9]))
    trust = len(target) / (len(target) + _TRUST_ROWS)
    return 0.5 + (best - 0.5) * trust


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


def _penalised(scores: Floats, target: Ints, inverse: float) -> float:
    """Cross-entropy [nats] at 1/T, plus what the prior costs, a row."""
    prior = 0.5 * (np.log(inverse) / _PRIOR_WIDTH) ** 2
    return log_loss(log_softmax(scores * inverse), target) + float(prior) / len(target)
