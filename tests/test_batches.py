"""Ragged rows and batches: nothing lost, nothing doubled, the same for the same seed, whole on disk or not there."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgate.batch import Ids, Ints, Ragged, pad
from cellgate.data.batching import by_length, epoch_order, split
from cellgate.data.cache import RowWriter, has_rows, open_rows

often = settings(max_examples=80, deadline=None, derandomize=True)
ROWS = st.lists(st.lists(st.integers(-5, 2**31 - 1), max_size=6), max_size=8)
LENGTHS = st.lists(st.integers(0, 30), max_size=150).map(lambda values: np.array(values, np.int64))


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged.of([np.array(row, np.int32) for row in rows])


def listed(value: Ragged) -> list[list[int]]:
    return [value[row].tolist() for row in range(len(value))]


# Ragged and pad


@often
@given(ROWS)
def test_rows_come_out_as_they_went_in(rows: list[list[int]]) -> None:
    value = ragged(rows)
    assert len(value) == len(rows)
    assert listed(value) == rows
    assert value.lengths.tolist() == [len(row) for row in rows]
    assert value.values.dtype == np.int32


@often
@given(ROWS, st.data())
def test_take_copies_the_named_rows_in_the_order_named(rows: list[list[int]], data: st.DataObject) -> None:
    value = ragged(rows)
    order = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10) if rows else st.just([]))
    taken = value.take(np.array(order, np.int64))
    assert listed(taken) == [rows[row] for row in order]
    assert listed(taken.take(np.arange(len(order)))) == listed(taken)


@often
@given(ROWS, st.integers(-1, 3))
def test_padding_is_a_rectangle_of_the_rows_and_the_fill(rows: list[list[int]], fill: int) -> None:
    out = pad(ragged(rows), fill)
    width = max((len(row) for row in rows), default=0)
    assert out.shape == (len(rows), width)
    assert out.dtype == np.int64
    assert out.tolist() == [row + [fill] * (width - len(row)) for row in rows]


# Which rows make a batch


def padded_tokens(batch: Ints, lengths: Ints) -> int:
    return len(batch) * int(lengths[batch].max())


def check_batches(batches: list[Ints], lengths: Ints, rows: int, tokens: int) -> None:
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= rows
        assert len(batch) == 1 or padded_tokens(batch, lengths) <= tokens


@often
@given(LENGTHS, st.integers(1, 9), st.integers(1, 100), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_has_every_row_once_within_the_limits(
    lengths: Ints, rows: int, tokens: int, seed: int, epoch: int
) -> None:
    batches = epoch_order(lengths, rows=rows, tokens=tokens, seed=seed, epoch=epoch)
    check_batches(batches, lengths, rows, tokens)
    again = epoch_order(lengths, rows=rows, tokens=tokens, seed=seed, epoch=epoch)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


@often
@given(LENGTHS, st.integers(1, 9), st.integers(1, 100))
def test_by_length_goes_from_short_to_long(lengths: Ints, rows: int, tokens: int) -> None:
    batches = by_length(lengths, rows=rows, tokens=tokens)
    check_batches(batches, lengths, rows, tokens)
    order = [int(lengths[row]) for batch in batches for row in batch]
    assert order == sorted(order)


def test_by_length_keeps_a_few_long_rows_apart() -> None:
    lengths = np.array([1, 1, 2, 3, 8, 10, 12, 13, 100])
    batches = by_length(lengths, rows=64, tokens=10_000)
    assert [lengths[batch].tolist() for batch in batches] == [[1, 1, 2, 3], [8, 10, 12], [13], [100]]


def test_other_epochs_and_seeds_give_other_orders() -> None:
    lengths = np.arange(200, dtype=np.int64) % 17 + 1

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in epoch_order(lengths, rows=8, tokens=200, seed=seed, epoch=epoch)]

    orders = [order(0, 0), order(0, 1), order(1, 0), order(1, 1)]
    assert all(a != b for n, a in enumerate(orders) for b in orders[n + 1 :])


def test_batches_are_full_and_hold_rows_of_like_length() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(1, 200, 3_000)
    batches = epoch_order(lengths, rows=32, tokens=100_000, seed=0, epoch=0)
    assert len(batches) <= 3_000 / 32 + 2
    padded = sum(padded_tokens(batch, lengths) for batch in batches)
    assert padded < 1.1 * lengths.sum()  # at random it is about twice as much
    means = [lengths[batch].mean() for batch in batches]
    assert any(a > b for a, b in pairwise(means))  # and they do not come in order of length


# Which rows are dev


@st.composite
def grouped(draw: st.DrawFn) -> Ints:
    sizes = draw(st.lists(st.integers(1, 60), min_size=1, max_size=8))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(draw(st.integers(0, 99))).permutation(groups)


@often
@given(grouped(), st.floats(0.01, 0.95), st.integers(0, 9))
def test_split_is_disjoint_complete_and_keeps_shares(groups: Ints, fraction: float, seed: int) -> None:
    train, dev = split(groups, fraction, seed)
    assert sorted([*train.tolist(), *dev.tolist()]) == list(range(len(groups)))
    assert train.tolist() == sorted(train.tolist())
    assert dev.tolist() == sorted(dev.tolist())
    for group in np.unique(groups):
        size = int((groups == group).sum())
        held = int((groups[dev] == group).sum())
        assert held < size  # a row of every group stays in train
        assert abs(held - size * fraction) <= 1 or held == size - 1
    again = split(groups, fraction, seed)
    assert [part.tolist() for part in again] == [train.tolist(), dev.tolist()]


def test_split_of_small_groups_still_holds_out_the_share() -> None:
    groups = np.repeat(np.arange(100), 3)  # 0.1 of three rows is none, of three hundred it is thirty
    _, dev = split(groups, 0.1, seed=0)
    assert len(dev) == 30


def test_split_has_a_limit_and_follows_the_seed() -> None:
    groups = np.arange(5_000) % 2
    _, dev = split(groups, 0.5, seed=0, limit=100)
    assert 99 <= len(dev) <= 101
    assert abs(int(groups[dev].sum()) - 50) <= 1
    assert split(groups, 0.5, seed=1, limit=100)[1].tolist() != dev.tolist()


# Rows on disk

CHUNKS = st.lists(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=4), max_size=5), min_size=1, max_size=5)


def columns_of(rows: list[list[int]]) -> dict[str, Ragged]:
    """Three columns: the rows, their lengths, and one that is always empty."""
    return {
        "tokens": ragged(rows),
        "label": ragged([[len(row)] for row in rows]),
        "nothing": ragged([[] for _ in rows]),
    }


@often
@given(CHUNKS)
def test_rows_written_in_chunks_are_read_through_the_map(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[list[list[int]]]
) -> None:
    folder = tmp_path_factory.mktemp("cache") / "made"
    writer = RowWriter(folder)
    for chunk in chunks:
        writer.add(columns_of(chunk))
    writer.finish()
    assert has_rows(folder)
    everything = [row for chunk in chunks for row in chunk]
    rows = open_rows(folder)
    assert len(rows) == writer.rows == len(everything)
    assert sorted(rows.columns) == ["label", "nothing", "tokens"]
    assert listed(rows.columns["tokens"]) == everything
    assert listed(rows.columns["label"]) == [[len(row)] for row in everything]
    assert listed(rows.columns["nothing"]) == [[] for _ in everything]
    order = np.arange(len(everything), dtype=np.int64)[::-2]
    assert listed(rows.take(order)["tokens"]) == [everything[row] for row in order]


def test_the_values_stay_on_disk(tmp_path: Path) -> None:
    writer = RowWriter(tmp_path)
    writer.add(columns_of([[1, 2], [3]]))
    writer.finish()
    values: Ids = open_rows(tmp_path).columns["tokens"].values
    assert isinstance(values, np.memmap)
    assert not values.flags.writeable


def test_a_torn_cache_is_none(tmp_path: Path) -> None:
    assert not has_rows(tmp_path)
    writer = RowWriter(tmp_path)
    writer.add(columns_of([[1, 2], [3]]))
    writer.close()
    assert not has_rows(tmp_path)


def test_writing_anew_unmakes_the_finished_cache_at_once(tmp_path: Path) -> None:
    first = RowWriter(tmp_path)
    first.add(columns_of([[1, 2], [3]]))
    first.finish()
    assert has_rows(tmp_path)
    second = RowWriter(tmp_path)
    assert not has_rows(tmp_path)
    second.add(columns_of([[7]]))
    second.finish()
    assert listed(open_rows(tmp_path).columns["tokens"]) == [[7]]
