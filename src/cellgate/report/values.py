"""What a report is made of: plain values, measured elsewhere. Shares and probabilities are 0 to 1."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellgate.batch import Floats, Ints
from cellgate.metrics import Answer, Value


@dataclass(frozen=True, slots=True)
class LearningCurves:
    """How training went; axis 0 of both is the epochs, in order."""

    loss: tuple[float, ...]  # mean over an epoch's training batches [nats]
    metric: tuple[float, ...]  # the first of the report's metrics, on dev after that epoch
    kept_epoch: int  # whose weights the Bundle has; the first is 1


@dataclass(frozen=True, slots=True)
class Texts:
    """What the texts were, and what of them the model never read."""

    lengths: Ints  # [training rows] tokens as they were read: a text that was cut has `max_tokens`
    unit: str  # what a token is: word, subword, character
    max_tokens: int
    cut: int  # texts longer than that, train and dev
    empty: int  # texts without a visible character, train and dev
    skipped: int  # bad rows left out of the files
    unseen: int  # dev rows with a label that no training row has


@dataclass(frozen=True, slots=True)
class Certainty:
    """How sure N answers are, and whether they are right; axis 0 of both is the answers."""

    confidence: Floats  # [N]
    right: npt.NDArray[np.bool_]  # [N]


@dataclass(frozen=True, slots=True)
class DevAnswers:
    """The answers to N dev rows, in any order."""

    truth: tuple[Value, ...]  # [N]
    answers: tuple[Answer, ...]  # [N]; None: "I don't know"
    calibrated: Certainty  # of what was answered, part by part: texts, or spans
    uncalibrated: Certainty | None  # the same before anything was calibrated; None: not measured
    abstain_below: float  # confidence under which no answer is given; 0: never
    given: bool  # the user's own dev file, not held out from the training rows


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A row that the model answers otherwise than its label says."""

    row: int  # its place among the rows of its files; the first is 1
    text: str
    given: Answer
    believed: Answer
    probability: float  # of what is believed


@dataclass(frozen=True, slots=True)
class Report:
    """All that report.html tells of a Bundle."""

    name: str  # what the Bundle's folder is called
    task: str
    part: str  # what of an answer is right or wrong by itself: text, span, tag (of a token)
    version: str  # of Cellgate
    rows_by_label: Mapping[str, int]  # in the training files, held-out rows included
    metrics: Mapping[str, float]  # of the Bundle on dev, by name; the first chose the checkpoint
    halves: Mapping[str, float]  # on dev: each half alone (recurrent, linear where there is one), and `together`
    curves: LearningCurves
    texts: Texts
    dev: DevAnswers
    errors: tuple[Disagreement, ...]  # of dev, surest first
    suspects: tuple[Disagreement, ...]  # of the rows trained on, surest first
    looked_at: int  # training rows that were answered to find them
