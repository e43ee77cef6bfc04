"""Sums over rows of a table against literal arithmetic, in training and in a graph."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cellgate.nets.tables import Table, sum_rows

ROWS, WIDTH = 6, 4
CLOSE = 1e-5  # float32 sums of at most 14 terms of size 1, taken in another order

shapes = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 7)), min_size=1, max_size=3)


def parts_of(sizes: Sequence[tuple[int, int]], zeros: float) -> list[tuple[Tensor, Tensor]]:
    """Places and weights of the given shapes; a share of the weights is 0."""
    return [
        (torch.randint(0, ROWS - 1, size), torch.randn(size) * (torch.rand(size) >= zeros))  # the last row is not read
        for size in sizes
    ]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(shapes, st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 99))
@example([(0, 3)], 0.0, 0)
@example([(2, 3), (0, 1), (3, 2)], 1.0, 0)
def test_sums_and_their_gradients_are_the_literal_ones(
    sizes: Sequence[tuple[int, int]], zeros: float, seed: int
) -> None:
    torch.manual_seed(seed)
    parts = parts_of(sizes, zeros)
    rows = torch.randn(ROWS, WIDTH, requires_grad=True)
    sums = sum_rows(rows, parts)
    directions = [torch.randn_like(each) for each in sums]
    torch.autograd.backward(sums, directions)
    gradient = torch.zeros(ROWS, WIDTH)
    for (places, weights), found, direction in zip(parts, sums, directions, strict=True):
        wanted = torch.zeros(len(places), WIDTH)
        for row in range(len(places)):
            for place, weight in zip(places[row], weights[row], strict=True):
                wanted[row] += weight * rows.detach()[place]
                gradient[place] += weight * direction[row]
        torch.testing.assert_close(found.detach(), wanted, atol=CLOSE, rtol=CLOSE)
    assert rows.grad is not None
    torch.testing.assert_close(rows.grad, gradient, atol=CLOSE, rtol=CLOSE)
    assert not rows.grad[-1].any()


def test_a_graph_has_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    rows, parts = torch.randn(ROWS, WIDTH), parts_of([(5, 7), (3, 2)], 0.5)
    ragged = sum_rows(rows, parts)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    for padded, found in zip(sum_rows(rows, parts), ragged, strict=True):
        torch.testing.assert_close(padded, found, atol=CLOSE, rtol=CLOSE)


def test_a_table_hands_out_itself() -> None:
    table = Table(torch.randn(ROWS, WIDTH))
    numbers = torch.tensor([[1, 1], [0, 5]])
    rows, places = table(numbers)
    assert rows is table.weight
    assert places is numbers
    assert len(table) == ROWS
