"""The next token as a label of the text before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cellgate.batch import Array, Floats, Ints, Ragged, Scores, pad
from cellgate.codecs.decision import Decision
from cellgate.codecs.source import Given
from cellgate.codecs.target import MOST, Ranked, TargetCodec
from cellgate.metrics import Value


@dataclass(frozen=True, slots=True)
class NextCodec(TargetCodec):
    """Tokens in the order of their numbers; scores are log-probabilities [T, V] of the token behind each of a row."""

    part = "token"
    metrics = ()
    no_scope = "a text may always go on"

    def normal(self, value: Value, given: Given) -> Value:  # noqa: ARG002
        """The token itself."""
        return value

    def encode(self, values: Sequence[Value], columns: Mapping[str, Ragged]) -> dict[str, Ragged]:  # noqa: ARG002
        """The token behind each one of rows of a running text, -1 behind the last: {"next": B rows}."""
        tokens = columns["tokens"]
        rows = [np.append(tokens[row][1:], np.int32(-1)) for row in range(len(tokens))]
        return {"next": Ragged.of(rows, tokens.lengths)}

    def rarest(self, values: Sequence[Value]) -> Ints:
        """All texts alike."""
        return np.zeros(len(values), np.int64)

    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as arrays: {"next": [B, T]}, -1 past a row's end."""
        return {"next": pad(columns["next"], -1)}

    def truth(self, columns: Mapping[str, Ragged]) -> list[Value]:
        """Nothing is known of what follows a text."""
        return ["" for _ in range(len(columns["tokens"]))]

    def decode(
        self,
        scores: Scores,
        columns: Mapping[str, Ragged],  # noqa: ARG002
        decision: Decision,
        top: int = MOST,
    ) -> list[Ranked]:
        """What follows each row, by the scores behind its last token."""
        answers: list[Ranked] = []
        for row in scores.rows:
            chances = np.exp(row[-1])
            best = np.argsort(-chances, kind="stable")[: top + 1].tolist()
            pairs = tuple((self.labels[token], float(chances[token])) for token in best)
            token, confidence = pairs[0]
            sure = confidence >= decision.abstain_below
            answers.append(Ranked(token, confidence, pairs[1:top]) if sure else Ranked(None, confidence, pairs[:top]))
        return answers

    def decide(self, scores: Scores, truth: Sequence[Value]) -> Decision:  # noqa: ARG002
        """Always answer."""
        return Decision()

    def probabilities(self, scores: Scores) -> Sequence[Floats]:
        """Those of all tokens behind each."""
        return [np.exp(row) for row in scores.rows]
