"""The linear chain, beside sums and maxima over every path of small ones."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgate import chain

CLOSE = 1e-5


def drawn(rows: int, width: int, tags: int, seed: int, size: float = 2.0):
    random = np.random.default_rng(seed)
    emissions = (random.normal(size=(rows, width, tags)) * size).astype(np.float32)
    transitions = (random.normal(size=(tags + 1, tags + 1)) * size).astype(np.float32)
    if tags > 1:
        transitions[0, 1] = chain.FORBIDDEN
    lengths = random.integers(1, width + 1, rows)
    lengths[random.integers(rows)] = width
    return emissions, transitions, lengths


def literal_score(emissions, transitions, path) -> float:
    tags = emissions.shape[1]
    full = [tags, *path, tags]
    total = sum(float(emissions[t, tag]) for t, tag in enumerate(path))
    return total + sum(float(transitions[a, b]) for a, b in pairwise(full))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_sums_and_best_paths_are_those_over_all_paths(rows: int, width: int, tags: int, seed: int) -> None:
    emissions, transitions, lengths = drawn(rows, width, tags, seed)
    found = chain.sums(emissions, transitions, lengths)
    best = chain.best_paths(emissions, transitions, lengths)
    scores = chain.path_scores(emissions, transitions, lengths, best)
    begins, moves, ends = chain.segment_log_probabilities(found, transitions, best)
    expected = np.zeros((tags + 1, tags + 1))
    for row, length in enumerate(lengths):
        paths = list(product(range(tags), repeat=int(length)))
        literal = np.array([literal_score(emissions[row, :length], transitions, path) for path in paths])
        log_partition = np.logaddexp.reduce(literal)
        chances = np.exp(literal - log_partition)
        assert found.log_partition[row] == pytest.approx(log_partition, abs=1e-4)
        assert scores[row] == pytest.approx(literal.max(), abs=1e-4)
        assert not best[row, length:].any()
        assert not found.marginals[row, length:].any()
        for path, chance in zip(paths, chances, strict=True):
            full = [tags, *path, tags]
            for before, after in pairwise(full):
                expected[before, after] += chance
        for t, tag in product(range(length), range(tags)):
            wanted = sum(chance for path, chance in zip(paths, chances, strict=True) if path[t] == tag)
            assert found.marginals[row, t, tag] == pytest.approx(wanted, abs=CLOSE)
        for first in range(length):
            for last in range(first, length):
                wanted = sum(
                    chance
                    for path, chance in zip(paths, chances, strict=True)
                    if list(path[first : last + 1]) == best[row, first : last + 1].tolist()
                )
                log = begins[row, first] + moves[row, first + 1 : last + 1].sum() + ends[row, last]
                assert np.exp(log) == pytest.approx(wanted, abs=CLOSE)
    np.testing.assert_allclose(chain.expected_moves(found, transitions, lengths), expected, atol=CLOSE)


def test_moves_are_counted_with_both_ends() -> None:
    paths, lengths = np.array([[0, 1, 1], [1, 0, 0]]), np.array([3, 1])
    counts = chain.moves_of(paths, lengths, 2)
    assert counts.tolist() == [[0, 1, 0], [0, 1, 2], [1, 1, 0]]


def test_scores_far_apart_neither_overflow_nor_vanish() -> None:
    emissions, transitions, lengths = drawn(2, 200, 5, 0, size=60.0)
    found = chain.sums(emissions, transitions, lengths)
    assert np.isfinite(found.log_partition).all()
    inside = np.arange(200) < lengths[:, None]
    np.testing.assert_allclose(found.marginals.sum(2)[inside], 1, atol=1e-9)
    best = chain.best_paths(emissions, transitions, lengths)
    assert (chain.path_scores(emissions, transitions, lengths, best) <= found.log_partition + 1e-3).all()
