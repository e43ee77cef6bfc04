"""A neural cache: what followed a place much like this one, shortly before, is likelier to follow again.

Grave, Joulin & Usunier, "Improving neural language models with a continuous cache" (2017). Nothing is learned: outputs
of the net's last layer are kept with the token that followed each, and looked up by likeness. That is the cosine here;
the paper's is the product, whose size, and so the best strength, is another in each net. Numpy only.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cellgate.batch import Array, Floats, Ints
from cellgate.errors import UsageError
from cellgate.graph import Graph

_HIDDEN, _TOKENS = "cache.hidden", "cache.tokens"  # of the state
_SHORTEST = 1e-12  # an output that has a direction


@dataclass(frozen=True, slots=True)
class NeuralCache:
    """How far a language model looks back at the text itself, and what that counts."""

    tokens: int = 2_000
    """Tokens that are kept."""
    strength: float = 16.0
    """What cosines of outputs are multiplied by (theta): at 0 all places count alike, the more the most alike alone."""
    share: float = 0.2
    """Of a probability, the part that is the cache's (lambda); the rest is the net's."""

    def __post_init__(self) -> None:
        if not (self.tokens > 0 and 0 <= self.strength < math.inf and 0 < self.share < 1):
            raise UsageError(
                "cache: tokens above 0, strength from 0 on and a share between 0 and 1 are wanted, got "
                f"{self.tokens} tokens, strength {self.strength:g} and share {self.share:g}"
            )


@dataclass(frozen=True, slots=True)
class CachedGraph:
    """The graph of a language model and a cache, which is part of its state: of one text, in any pieces."""

    graph: Graph
    how: NeuralCache

    def initial_state(self, rows: int) -> dict[str, Array]:
        """The state before a text begins, axis 0 the batch; the cache is empty."""
        hidden = np.zeros((rows, 0, self.graph.width("hidden")), np.float32)
        tokens = np.zeros((rows, 0), np.int64)
        return {**self.graph.initial_state(rows), _HIDDEN: hidden, _TOKENS: tokens}

    def run(
        self, inputs: Mapping[str, Array], state: Mapping[str, Array]
    ) -> tuple[dict[str, Floats], dict[str, Array]]:
        """The scores [1, T, V] that net and cache give together, and the state after the inputs."""
        outputs, after = self.graph.run(inputs, state, ("hidden",))
        hidden = np.concatenate([state[_HIDDEN], outputs["hidden"]], 1)
        tokens = np.concatenate([state[_TOKENS], inputs["tokens"]], 1)
        scores = mixed(outputs["scores"][0], hidden[0], tokens[0], self.how)
        kept = {_HIDDEN: hidden[:, -self.how.tokens :].copy(), _TOKENS: tokens[:, -self.how.tokens :].copy()}
        return {"scores": scores[None]}, after | kept


def mixed(scores: Floats, hidden: Floats, tokens: Ints, how: NeuralCache) -> Floats:
    """Log-probabilities [T, V] of a net and a cache, by those of the net and the text so far.

    `tokens` [N], the last T of which the scores are behind, and the net's outputs at each, `hidden` [N, H]. At a text's
    first token nothing is known yet, and the net's stand alone.
    """
    places = np.arange(max(1, len(tokens) - len(scores)), len(tokens))
    both = scores.copy()
    if not len(places):
        return both
    ages = places[:, None] - np.arange(len(tokens) - 1)
    unit = hidden / np.maximum(np.linalg.norm(hidden, axis=1, keepdims=True), _SHORTEST)
    cosines = how.strength * (unit[places] @ unit[:-1].T)
    cosines[(ages < 1) | (ages > how.tokens)] = -np.inf  # what is not read yet, or forgotten
    likeness = np.exp(cosines - cosines.max(1, keepdims=True))
    order = np.argsort(tokens[1:], kind="stable")
    followers, starts = np.unique(tokens[1:][order], return_index=True)
    chances = np.add.reduceat(likeness[:, order], starts, 1) / likeness.sum(1, keepdims=True)
    rest = both[-len(places) :]
    rest += np.float32(math.log1p(-how.share))
    with np.errstate(divide="ignore"):  # log 0, where what a token followed is forgotten
        rest[:, followers] = np.logaddexp(rest[:, followers], np.log(how.share * chances))
    return both
