"""The next token as a label of the text before it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cellgate.batch import Ragged, Scores
from cellgate.codecs.decision import Decision
from cellgate.codecs.target import MOST, Ranked, TargetCodec


@dataclass(frozen=True, slots=True)
class NextCodec(TargetCodec):
    """Tokens in the order of their numbers; scores of a row are log-probabilities [V] of the token behind its last."""

    foretells = True

    def decode(
        self,
        scores: Scores,
        columns: Mapping[str, Ragged],  # noqa: ARG002
        decision: Decision,
        top: int = MOST,
    ) -> list[Ranked]:
        """What follows each row."""
        answers: list[Ranked] = []
        for row in scores.rows:
            chances = np.exp(row)
            best = np.argsort(-chances, kind="stable")[: top + 1].tolist()
            pairs = tuple((self.labels[token], float(chances[token])) for token in best)
            token, confidence = pairs[0]
            sure = confidence >= decision.abstain_below
            answers.append(Ranked(token, confidence, pairs[1:top]) if sure else Ranked(None, confidence, pairs[:top]))
        return answers
