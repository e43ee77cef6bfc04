"""The yardstick of a language model: interpolated modified Kneser-Ney n-grams (Chen & Goodman 1998) on its tokens.

N tokens of training, V numbers of tokens. An n-gram of length n has a rank among those of its length that stand in the
training text; it is the rank of its first n - 1 tokens and its last token, so that all is done on whole arrays.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellgate.batch import Ints

_LEAST = 0.1  # discount, where few n-grams would give none: shorter contexts must have a say
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Order:
    """N-grams of one length: their keys, sorted; discounted counts; and of contexts what is left to shorter ones."""

    keys: Ints  # [n-grams] rank of the context * V + the last token
    discounted: Doubles  # [n-grams]
    totals: Doubles  # [contexts]
    left: Doubles  # [contexts] share of the probability that goes to the shorter context

    def ranks(self, contexts: Ints, last: Ints, vocabulary: int) -> Ints:
        """Ranks of n-grams, -1 where training has none; contexts that have none are -1 too."""
        wanted = contexts * vocabulary + last
        places = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where((contexts >= 0) & (self.keys[places] == wanted), places, -1)


@dataclass(frozen=True, slots=True)
class KneserNey:
    """N-grams up to a length."""

    orders: tuple[_Order, ...]  # of length 1, 2, ...
    vocabulary: int

    @classmethod
    def learn(cls, tokens: npt.NDArray[np.integer[Any]], vocabulary: int, longest: int = 5) -> "KneserNey":
        """Count a text; in shorter n-grams not how often they stand, but behind how many different tokens."""
        text = tokens.astype(np.int64)
        ranks = [np.zeros(len(text), np.int64)]  # of the n-gram that begins at each place; of length 0 there is one
        found: list[tuple[Ints, Ints, Ints]] = []  # keys, first places, counts
        for length in range(1, longest + 1):
            places = len(text) - length + 1
            key = ranks[-1][:places] * vocabulary + text[length - 1 :]
            keys, first, rank, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
            ranks.append(rank)
            found.append((keys, first, counts))
        orders = []
        for length, (keys, first, counts) in enumerate(found, 1):
            if length < longest:  # each longer n-gram counts once, for what stands behind its first token
                counts = np.bincount(ranks[length][found[length][1] + 1], minlength=len(keys))
            orders.append(
                _order(keys, ranks[length - 1][first], counts, len(found[length - 2][0]) if length > 1 else 1)
            )
        return cls(tuple(orders), vocabulary)

    def log_probabilities(self, tokens: npt.NDArray[np.integer[Any]]) -> Doubles:
        """Of each token of a text [T], given those before it."""
        text = tokens.astype(np.int64)
        chances = np.full(len(text), 1 / self.vocabulary)
        contexts = np.zeros(len(text), np.int64)  # the rank of what stands before each place, in the length so far
        grams = contexts  # likewise of the n-gram that ends at each place
        for length, order in enumerate(self.orders, 1):
            if length > 1:
                contexts = np.concatenate(([-1], grams[:-1]))
            known = contexts >= 0
            inside = np.where(known, contexts, 0)
            known &= order.totals[inside] > 0
            grams = order.ranks(np.where(known, contexts, -1), text, self.vocabulary)
            own = np.where(grams >= 0, order.discounted[grams], 0.0) / np.where(known, order.totals[inside], 1.0)
            chances = np.where(known, own + order.left[inside] * chances, chances)
        found: Doubles = np.log(chances)
        return found


def _order(keys: Ints, contexts: Ints, counts: Ints, of: int) -> _Order:
    """Discount counts: by how often n-grams stand once, twice, three and four times."""
    once, twice, thrice, four = (max(1, int((counts == number).sum())) for number in (1, 2, 3, 4))
    share = once / (once + 2 * twice)
    discounts = np.array(
        [0, 1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four / thrice]
    )
    discounts = discounts.clip([0, _LEAST, _LEAST, _LEAST], [0, 1, 2, 3])
    taken = discounts[np.minimum(counts, 3)]
    totals: Doubles = np.bincount(contexts, counts, minlength=of).astype(np.float64)
    given = np.bincount(contexts, taken, minlength=of)
    return _Order(keys, counts - taken, totals, np.divide(given, totals, out=np.ones(of), where=totals > 0))
