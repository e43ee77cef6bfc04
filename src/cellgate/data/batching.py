"""Which rows make a batch: rows of like length together, so that little is padding."""

import numpy as np
import numpy.typing as npt

from cellgate.batch import Ints

_POOL = 50  # batches whose rows are sorted by length together: little padding, and still well mixed
_LONGER, _MORE = 1.25, 2  # a row's length is at most so many times the shortest's of its batch, and so many tokens


def epoch_order(
    lengths: Ints, *, rows: int, tokens: int, seed: int, epoch: int, chances: npt.NDArray[np.float64] | None = None
) -> list[Ints]:
    """Shuffle all rows into batches of at most `rows` rows and `tokens` padded tokens (one row at least).

    With `chances` [rows], as many rows are drawn, each as often as its chance says.
    """
    random = np.random.default_rng([seed, epoch])
    shuffled = random.permutation(len(lengths))
    if chances is not None:
        shuffled = random.choice(len(lengths), len(lengths), p=chances)
    batches: list[Ints] = []
    for start in range(0, len(shuffled), rows * _POOL):
        pool = shuffled[start : start + rows * _POOL]
        batches += _cut(pool[np.argsort(lengths[pool], kind="stable")], lengths, rows, tokens)
    return [batches[place] for place in random.permutation(len(batches))]


def by_length(lengths: Ints, *, rows: int, tokens: int) -> list[Ints]:
    """All rows from short to long, in batches as above, and of like length: a few long rows would cost much padding."""
    return _cut(np.argsort(lengths, kind="stable"), lengths, rows, tokens, alike=True)


def _cut(order: Ints, lengths: Ints, rows: int, tokens: int, *, alike: bool = False) -> list[Ints]:
    """Cut rows sorted by length into batches."""
    batches, start = [], 0
    while start < len(order):
        end = min(start + rows, len(order))
        if alike:
            longest = _LONGER * lengths[order[start]] + _MORE
            end = start + int(np.searchsorted(lengths[order[start:end]], longest, "right"))
        while end - start > 1 and (end - start) * lengths[order[end - 1]] > tokens:
            end -= 1
        batches.append(order[start:end])
        start = end
    return batches


def even_chances(groups: Ints) -> npt.NDArray[np.float64]:
    """Chances [rows] by which each group is drawn as often as any other."""
    _, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return 1 / (len(counts) * counts[places])


def split(groups: Ints, fraction: float, seed: int, limit: int = 20_000) -> tuple[Ints, Ints]:
    """Choose dev rows at random with each group's share kept; returns the rows of train and of dev, sorted.

    Every group keeps a row in train; dev has at most about `limit` rows.
    """
    random = np.random.default_rng([seed, len(groups)])
    fraction = min(fraction, limit / len(groups))
    order = random.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    chosen = np.zeros(len(groups), bool)
    # Every 1/fraction-th row of the rows sorted by group: shares are kept even where groups are small.
    count = np.floor((np.arange(len(order) + 1) - 0.5) * fraction + 0.5)
    chosen[order] = np.diff(count) > 0
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if chosen[members].all():
            chosen[members[0]] = False
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
