"""From probabilities to an answer: thresholds chosen on dev, kept in the Bundle beside the codecs."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellgate.batch import Floats

_SMALLEST = 1e-6  # threshold, and distance from 1
_FEW = 10  # dev rows of a label at which its own threshold and the common one count alike


@dataclass(frozen=True, slots=True)
class Decision:
    """How sure an answer must be to be given; all are probabilities, 0 to 1."""

    abstain_below: float = 0.0
    """Below it the answer is None: "I don't know"."""
    thresholds: tuple[float, ...] = ()
    """Of each label, for a text that may have several: from which it is given. Empty: one label a text."""
    out_of_scope: str = ""
    """The label of texts that fit no other, if there is one."""
    scope_ends: float = 1.0
    """From this probability of the above it is the answer; where training had no such row, of 1 - the best label's."""


@dataclass(frozen=True, slots=True)
class Abstaining:
    """What abstaining below a threshold does to dev rows; shares are 0 to 1."""

    below: float
    precision: float
    """Share of the answers given that are right."""
    answered: float
    """Share of the rows that get an answer."""


def abstaining(confidence: npt.ArrayLike, right: npt.ArrayLike, precision: float) -> Abstaining:
    """Find the lowest threshold at which `precision` of the answers given are right.

    Where there is none, the most precise one: see whether `.precision` is what was wanted.
    """
    sure, hits = np.asarray(confidence, np.float32), np.asarray(right, bool)
    order = np.argsort(-sure, kind="stable")
    levels = np.cumsum(hits[order]) / np.arange(1, len(order) + 1)
    sorted_sure = sure[order]
    places = np.flatnonzero(_last_of_its_kind(sorted_sure))
    met = places[levels[places] >= precision]
    place = int(met[-1]) if len(met) else int(places[np.argmax(levels[places])])
    if place + 1 == len(order):
        return Abstaining(0.0, float(levels[place]), 1.0)
    # Half way to the next row: dev's own values are no place for a border.
    below = float((sorted_sure[place] + sorted_sure[place + 1]) / 2)
    return Abstaining(below, float(levels[place]), (place + 1) / len(order))


def label_thresholds(probabilities: Floats, true: Floats) -> tuple[float, ...]:
    """Probability from which each label is given, for the best F1; both are [N, labels], `true` is 0 or 1.

    One threshold for all labels, by the F1 over all of them, and one for each by its own F1; a label with few dev
    rows leans on the common one.
    """
    common = best_threshold(probabilities.ravel(), true.ravel())
    return tuple(trusted_threshold(probabilities[:, label], true[:, label], common) for label in range(true.shape[1]))


def trusted_threshold(probabilities: Floats, true: Floats, usual: float) -> float:
    """As `best_threshold`, drawn to the usual one where few of the N rows are true: between their log-odds.

    Half way between 0.5 and a threshold of 0.01 is not 0.25, above which nothing may ever come.
    """
    trust = float(true.sum() / (true.sum() + _FEW))
    best = best_threshold(probabilities, true)
    return 1 / (1 + math.exp(-(_log_odds(usual) + (_log_odds(best) - _log_odds(usual)) * trust)))


def best_threshold(probabilities: Floats, true: Floats) -> float:
    """Threshold of the best F1 of what is true (0 or 1) over N probabilities; 0.5 where nothing is."""
    if not true.any():
        return 0.5
    ranked = np.sort(probabilities)
    levels, counts = np.unique(probabilities[true > 0], return_counts=True)  # F1 is best at one of what is true
    levels, hits = levels[::-1], np.cumsum(counts[::-1])
    first = np.searchsorted(ranked, levels)
    best = int(np.argmax(2 * hits / (len(ranked) - first + hits[-1])))
    below = float(ranked[first[best] - 1]) if first[best] else 0.0
    return (float(levels[best]) + below) / 2


def _log_odds(probability: float) -> float:
    inside = min(max(probability, _SMALLEST), 1 - _SMALLEST)
    return math.log(inside / (1 - inside))


def _last_of_its_kind(ranked: Floats) -> npt.NDArray[np.bool_]:
    """Of falling values [N], which are the last of those alike: a threshold keeps those together."""
    return np.append(ranked[1:] < ranked[:-1], True)
