"""Metrics of answers against the truth, in numpy. Each takes equal-long sequences and returns 0 to 1."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cellgate.batch import Floats, Ints

TELLING_ROWS = 200  # dev rows from which a metric can tell epochs apart; with fewer the last epoch is kept


def accuracy(truth: Sequence[str], answers: Sequence[str]) -> float:
    """Share of answers that are right."""
    return sum(t == a for t, a in zip(truth, answers, strict=True)) / len(truth)


def macro_f1(truth: Sequence[str], answers: Sequence[str]) -> float:
    """F1 of each label, averaged: a rare label counts as much as a common one.

    Over every label that stands in the truth or in the answers, as scikit-learn has it.
    """
    right = Counter(t for t, a in zip(truth, answers, strict=True) if t == a)
    said, true = Counter(answers), Counter(truth)
    labels = sorted(said.keys() | true.keys())
    return float(np.mean([2 * right[label] / (said[label] + true[label]) for label in labels]))


def log_loss(log_probabilities: Floats, target: Ints) -> float:
    """Mean negative log-probability [nats] of the true labels; scores [N, labels], target [N]."""
    return float(-np.mean(log_probabilities[np.arange(len(target)), target]))


def calibration_error(confidence: Floats, right: Sequence[bool], bins: int = 15) -> float:
    """Average gap between how sure answers are and how often such answers are right.

    The expected calibration error over equal-wide bins of confidence (Guo et al. 2017).
    """
    hits = np.asarray(right, np.float64)
    place = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    total = np.bincount(place, minlength=bins)
    gap = np.abs(
        np.bincount(place, weights=hits, minlength=bins)
        - np.bincount(place, weights=np.asarray(confidence, np.float64), minlength=bins)
    )
    return float(gap.sum() / total.sum())
