"""A running text as numbers."""

from dataclasses import dataclass

import numpy as np

from cellgate.batch import Ids, Ints


@dataclass(frozen=True, slots=True)
class Stream:
    """Tokens of documents, one behind the other, and where documents begin; the first begins at 0."""

    tokens: Ids  # [N]
    begins: Ints  # [documents]

    def shuffled(self, seed: int, epoch: int) -> Ids:
        """The tokens with the documents in another order."""
        if len(self.begins) < 2:
            return self.tokens
        ends = np.append(self.begins[1:], len(self.tokens))
        order = np.random.default_rng([seed, epoch]).permutation(len(self.begins))
        return np.concatenate([self.tokens[self.begins[place] : ends[place]] for place in order])
