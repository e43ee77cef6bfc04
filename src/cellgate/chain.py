"""The linear-chain conditional random field (Lafferty et al. 2001) in numpy: what training and answering share.

A path of tags y over a text of T tokens has the score sum_t emissions[t, y_t] + sum_t transitions[y_t-1, y_t], where
the tag number K stands before the first token and behind the last. Sums over all paths run in probabilities scaled
to 1 at each token (Rabiner 1989): a step is one product of matrices, where a sum of logarithms takes 30 times longer.

B texts, T tokens, K tags: emissions [B, T, K], transitions [K + 1, K + 1], lengths [B], 1 to T.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellgate.batch import Floats, Ints

Doubles = npt.NDArray[np.float64]
FORBIDDEN = -1e4  # score of a transition that never happens


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over all paths; what stands past a text's end is 0."""

    log_partition: Doubles  # [B]: log of the sum of exp(score) over all paths
    forward: Doubles  # [B, T, K]: of all paths up to a token, the share that ends in a tag
    backward: Doubles  # [B, T, K]: forward * backward is the probability of a tag
    step: Doubles  # [B, T, K]: exp(emission), scaled so that forward[t] = forward[t-1] @ exp(transitions) * step[t]

    @property
    def marginals(self) -> Doubles:
        """Probability of each tag at each token [B, T, K]."""
        return self.forward * self.backward


def sums(emissions: Floats, transitions: Floats, lengths: Ints) -> Sums:
    """Run forward and backward over the texts of a batch."""
    order = np.argsort(-lengths, kind="stable")  # long ones first: those still running are the first so many
    sorted_lengths = lengths[order]
    e = emissions[order].astype(np.float64)
    width, tags = e.shape[1], e.shape[2]
    inside = np.arange(width) < sorted_lengths[:, None]
    top = np.where(inside, e.max(2), 0.0)  # [B, T]
    step = np.where(inside[:, :, None], np.exp(e - top[:, :, None]), 0.0)
    moves = np.exp(transitions.astype(np.float64))
    pairs, first, last = np.ascontiguousarray(moves[:tags, :tags]), moves[tags, :tags], moves[:tags, tags]
    forward, backward, log_scale = np.zeros_like(step), np.zeros_like(step), np.zeros_like(top)
    running = (sorted_lengths[:, None] > np.arange(width)).sum(0).tolist()
    for t in range(width):
        n = running[t]
        a = step[:n, t] * (forward[:n, t - 1] @ pairs if t else first)
        total = a.sum(1)
        forward[:n, t] = a / total[:, None]
        step[:n, t] /= total[:, None]
        log_scale[:n, t] = np.log(total)
    rows = np.arange(len(order))
    ends = forward[rows, sorted_lengths - 1] @ last  # [B]
    backward[rows, sorted_lengths - 1] = last / ends[:, None]
    for t in range(width - 2, -1, -1):
        n = running[t + 1]
        backward[:n, t] = (step[:n, t + 1] * backward[:n, t + 1]) @ pairs.T
    log_partition = (log_scale + top).sum(1) + np.log(ends)
    back = np.argsort(order, kind="stable")
    return Sums(log_partition[back], forward[back], backward[back], step[back])


def expected_moves(found: Sums, transitions: Floats, lengths: Ints) -> Doubles:
    """How often each transition is to be expected [K + 1, K + 1], over all texts."""
    tags = found.step.shape[2]
    rows = np.arange(len(lengths))
    before = found.forward[:, :-1].reshape(-1, tags)
    after = (found.step * found.backward)[:, 1:].reshape(-1, tags)
    counts = np.zeros((tags + 1, tags + 1))
    counts[:tags, :tags] = np.exp(transitions[:tags, :tags].astype(np.float64)) * (before.T @ after)
    marginals = found.marginals
    counts[tags, :tags] = marginals[:, 0].sum(0)
    counts[:tags, tags] = marginals[rows, lengths - 1].sum(0)
    return counts


def moves_of(paths: Ints, lengths: Ints, tags: int) -> Doubles:
    """How often each transition stands in the paths [B, T]: [K + 1, K + 1]."""
    counts = np.zeros((tags + 1, tags + 1))
    follows = np.arange(1, paths.shape[1]) < lengths[:, None]
    np.add.at(counts, (paths[:, :-1][follows], paths[:, 1:][follows]), 1)
    np.add.at(counts, (np.full(len(paths), tags), paths[:, 0]), 1)
    np.add.at(counts, (paths[np.arange(len(paths)), lengths - 1], np.full(len(paths), tags)), 1)
    return counts


def path_scores(emissions: Floats, transitions: Floats, lengths: Ints, paths: Ints) -> Doubles:
    """Score of one path a text [B]; paths [B, T]."""
    tags = emissions.shape[2]
    inside = np.arange(paths.shape[1]) < lengths[:, None]
    own = np.where(inside, np.take_along_axis(emissions, paths[:, :, None], 2)[:, :, 0], 0.0).sum(1, dtype=np.float64)
    moves = np.where(inside[:, 1:], transitions[paths[:, :-1], paths[:, 1:]], 0.0).sum(1, dtype=np.float64)
    ends = paths[np.arange(len(lengths)), lengths - 1]
    total: Doubles = own + moves + transitions[tags, paths[:, 0]] + transitions[ends, tags]
    return total


def best_paths(emissions: Floats, transitions: Floats, lengths: Ints) -> Ints:
    """The path of the highest score of each text [B, T], by Viterbi's algorithm; 0 past a text's end."""
    order = np.argsort(-lengths, kind="stable")
    sorted_lengths = lengths[order]
    e = emissions[order]
    rows, width, tags = e.shape
    pairs = np.ascontiguousarray(transitions[:tags, :tags].T)  # [to, from]: the best is sought along the last axis
    running = (sorted_lengths[:, None] > np.arange(width)).sum(0).tolist()
    origin = np.zeros((width, rows, tags), np.int32)
    best = e[:, 0] + transitions[tags, :tags]
    for t in range(1, width):
        n = running[t]
        reached = best[:n, None, :] + pairs
        origin[t, :n] = reached.argmax(2)
        best[:n] = np.take_along_axis(reached, origin[t, :n, :, None], 2)[:, :, 0] + e[:n, t]
    tag = (best + transitions[:tags, tags]).argmax(1)
    paths = np.zeros((rows, width), np.int64)
    for t in range(width - 1, -1, -1):
        n = running[t]
        paths[:n, t] = tag[:n]
        if t:
            tag[:n] = origin[t, np.arange(n), tag[:n]]
    return paths[np.argsort(order, kind="stable")]


def segment_log_probabilities(found: Sums, transitions: Floats, paths: Ints) -> tuple[Doubles, Doubles, Doubles]:
    """What the probability of any stretch of a text's path is made of.

    Returns `begins`, `moves` and `ends`, each [B, T]: the tokens s to e (included) have the tags of the path with the
    log-probability begins[s] + moves[s + 1] + ... + moves[e] + ends[e].
    """
    places = paths[:, :, None]
    with np.errstate(divide="ignore"):
        begins, ends, steps = (
            np.log(np.take_along_axis(array, places, 2)[:, :, 0])
            for array in (found.forward, found.backward, found.step)
        )
    moves = np.zeros_like(begins)
    moves[:, 1:] = transitions[paths[:, :-1], paths[:, 1:]] + steps[:, 1:]
    return begins, moves, ends
