"""AdamW by row against torch's dense AdamW: values, moments, clipping, resuming."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor, nn

import cellgate.fit.loop as loop
import cellgate.fit.rowwise as rowwise
from cellgate.fit.dev import Dev
from cellgate.fit.events import Step
from cellgate.fit.rowwise import RowwiseAdamW
from cellgate.nets.tables import Table
from cellgate.plan import Plan
from cellgate.task import find
from cellgate.training import train_events
from tests.conftest import TINY

ROWS, WIDTH = 12, 5


@dataclass
class Pair:
    """The same table twice: one learned by torch's dense AdamW, the other by row."""

    decay: float
    dtype: torch.dtype = torch.float64
    first: Tensor = field(default_factory=lambda: torch.randn(ROWS, WIDTH, dtype=torch.float64))

    def __post_init__(self) -> None:
        self.dense, self.table = (Table(self.first.to(self.dtype, copy=True)) for _ in range(2))
        self.adamw = torch.optim.AdamW([self.dense.weight], weight_decay=self.decay)
        groups = [{"params": [self.table.weight], "lr": 0.0, "weight_decay": self.decay}]
        self.by_row = RowwiseAdamW(groups, [self.table])

    def step(self, numbers: Tensor, gradient: Tensor, learning_rate: float) -> Tensor:
        """Learn from the gradient [n, WIDTH] of the rows `numbers` [n]; returns the rows as they were handed out."""
        self.adamw.param_groups[0]["lr"] = self.by_row.groups[0]["lr"] = learning_rate
        with self.by_row.reading():
            rows, places = self.table(numbers)
        read = F.embedding(places, rows)
        torch.autograd.backward(F.embedding(numbers, self.dense.weight), gradient.to(self.dtype))
        torch.autograd.backward(read, gradient.to(self.dtype))
        self.adamw.step()
        self.adamw.zero_grad()
        self.by_row.step()
        return read.detach()

    def moments(self) -> list[tuple[Tensor, Tensor]]:
        """First and second moments, dense and by row."""
        dense, mine = self.adamw.state[self.dense.weight], self.by_row.state()
        return [(dense["exp_avg"], mine["table0.moment1"]), (dense["exp_avg_sq"], mine["table0.moment2"])]


def batches(seed: int, steps: int, size: float, share: float = 0.15) -> Iterator[tuple[Tensor, Tensor]]:
    """For each step some rows, with repeats, and gradients of magnitudes between `size` and 100 times `size`."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        count = max(1, int(2 * share * ROWS * float(torch.rand((), generator=random))))
        numbers = torch.randint(0, ROWS - 1, (count,), generator=random)  # the last row is never read
        signs = torch.randint(0, 2, (count, WIDTH), generator=random) * 2 - 1
        yield numbers, signs * size * 100 ** torch.rand(count, WIDTH, dtype=torch.float64, generator=random)


rates = st.lists(st.sampled_from([0.0, 1e-4, 3e-3, 0.1]), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 10_000), st.integers(1, 120), rates, st.sampled_from([0.0, 0.01, 2.0]), st.sampled_from([7, 1024])
)
def test_it_is_the_dense_adamw(seed: int, steps: int, cycle: list[float], decay: float, span: int) -> None:
    """In float64, so that only the formula differs: eps / sqrt(v) is at most 1e-5 here, and its square is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rowwise, "_STEPS", span)
        pair = Pair(decay)
        atol, rtol = 1e-9 * max(cycle), 1e-11
        for place, (numbers, gradient) in enumerate(batches(seed, steps, 1e-3)):
            before = pair.dense.weight.detach()[numbers]
            read = pair.step(numbers, gradient, cycle[place % len(cycle)])
            torch.testing.assert_close(read, before, atol=atol, rtol=rtol)  # what is read is not behind
        pair.by_row.catch_up()
        torch.testing.assert_close(pair.table.weight, pair.dense.weight, atol=atol, rtol=rtol)
        for dense, mine in pair.moments():
            torch.testing.assert_close(mine, dense, atol=0, rtol=1e-10)


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_in_float32_it_differs_by_rounding(decay: float) -> None:
    """Dense AdamW rounds every row at every step, by up to 6e-8 of it: 300 steps may add up to 2e-5 of it."""
    pair = Pair(decay, torch.float32)
    exact = Pair(decay, torch.float64, pair.first)
    for numbers, gradient in batches(0, 300, 1e-3, share=0.05):
        pair.step(numbers, gradient, 3e-3)
        exact.step(numbers, gradient, 3e-3)
    pair.by_row.catch_up()
    torch.testing.assert_close(pair.table.weight, pair.dense.weight, atol=2e-5, rtol=2e-5)
    mine, dense = ((w.weight.double() - exact.dense.weight).abs().max() for w in (pair.table, pair.dense))
    assert mine <= 2 * dense
    for wanted, found in pair.moments():
        torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-4)  # moments are products of up to 300 factors


@pytest.mark.parametrize("size", [10.0**power for power in range(-14, -3)])
@pytest.mark.parametrize(("start", "tolerance"), [(0, 0.1), (300, 1e-3)])
def test_gradients_as_small_as_eps_go_almost_as_far(size: float, start: int, tolerance: float) -> None:
    """The floor beside sqrt(v) is a mean over the missed steps; how far that goes astray, in learning rates."""
    pair = Pair(0.0)
    for _ in range(start):
        pair.step(torch.tensor([ROWS - 1]), torch.ones(1, WIDTH), 0.0)
    for numbers, gradient in batches(1, 100, size):
        read_before = pair.dense.weight.detach()[numbers]
        torch.testing.assert_close(pair.step(numbers, gradient, 1e-3), read_before, atol=tolerance * 1e-3, rtol=0)
    pair.by_row.catch_up()
    torch.testing.assert_close(pair.table.weight, pair.dense.weight, atol=tolerance * 1e-3, rtol=0)


def test_what_is_looked_back_on_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowwise, "_STEPS", 7)
    pair = Pair(0.0)
    for numbers, gradient in batches(0, 30, 1e-3):
        pair.step(numbers, gradient, 0.01)
        assert pair.by_row.state()["table0.since"].shape[1] <= 7


def test_a_row_never_read_only_decays() -> None:
    pair = Pair(0.5)
    for numbers, gradient in batches(3, 40, 1e-3):
        pair.step(numbers, gradient, 0.01)
    pair.by_row.catch_up()
    torch.testing.assert_close(pair.table.weight[-1], pair.first[-1] * (1 - 0.01 * 0.5) ** 40)


def test_a_batch_changes_the_rows_it_reads_and_no_other() -> None:
    pair = Pair(0.01)
    for numbers, gradient in batches(0, 9, 1e-3):
        before = pair.table.weight.detach().clone()
        pair.step(numbers, gradient, 0.01)
        changed = (pair.table.weight != before).any(1)
        assert set(torch.nonzero(changed).flatten().tolist()) == set(numbers.tolist())


def test_a_loss_without_a_step_leaves_no_trace() -> None:
    pair, other = Pair(0.01), Pair(0.01)
    other.table.weight.data.copy_(pair.first)
    for numbers, gradient in batches(0, 9, 1e-3):
        with pair.by_row.reading():
            pair.table(torch.arange(ROWS))
        with pair.by_row.reading():
            pass
        pair.step(numbers, gradient, 0.01)
        other.step(numbers, gradient, 0.01)
    assert pair.table.weight.equal(other.table.weight)


def test_a_table_not_read_is_not_stepped_on() -> None:
    """As torch leaves a parameter without a gradient alone."""
    pair = Pair(0.01)
    pair.step(*next(batches(0, 1, 1e-3)), 0.01)
    before = {name: value.clone() for name, value in pair.by_row.state().items()}
    with pair.by_row.reading():
        pass
    pair.by_row.step()
    assert all(value.equal(before[name]) for name, value in pair.by_row.state().items())


def test_a_table_is_read_once_in_a_batch() -> None:
    pair = Pair(0.0)
    with pair.by_row.reading():
        pair.table(torch.tensor([1]))
        with pytest.raises(RuntimeError, match="read twice"):
            pair.table(torch.tensor([1, 2]))


def test_outside_a_batch_a_table_is_whole() -> None:
    pair = Pair(0.0)
    with pair.by_row.reading():
        pass
    numbers = torch.tensor([2, 2])
    rows, places = pair.table(numbers)
    assert rows is pair.table.weight
    assert places is numbers


def two_groups(by_row: bool) -> tuple[RowwiseAdamW, list[Table], nn.Parameter]:
    torch.manual_seed(0)
    tables = [Table(torch.randn(ROWS, WIDTH)), Table(torch.randn(ROWS, 2))]
    weight = nn.Parameter(torch.randn(WIDTH))
    groups = [
        {"params": [tables[0].weight, weight], "lr": 0.01, "weight_decay": 0.1},
        {"params": [tables[1].weight], "lr": 0.02, "weight_decay": 0.0},
    ]
    return RowwiseAdamW(groups, tables if by_row else []), tables, weight


def learn(optimizer: RowwiseAdamW, tables: list[Table], weight: nn.Parameter, numbers: Tensor) -> None:
    with optimizer.reading():
        loss = torch.zeros(())
        for table, scale in zip(tables, (50.0, 0.01), strict=True):  # one gradient to be clipped, one not
            rows, places = table(numbers)
            read = F.embedding(places, rows)
            loss = loss + scale * ((read * weight if read.shape[1] == WIDTH else read) ** 2).sum()
    torch.autograd.backward(loss)
    optimizer.clip(1.0)


def test_each_group_is_clipped_by_the_norm_of_its_rows_and_the_rest() -> None:
    numbers = torch.tensor([3, 1, 3, 8])
    dense, whole, weight = two_groups(by_row=False)
    learn(dense, whole, weight, numbers)
    by_row, tables, mine = two_groups(by_row=True)
    learn(by_row, tables, mine, numbers)
    assert weight.grad is not None
    assert mine.grad is not None
    norm = torch.cat([g.flatten() for g in (weight.grad, whole[0].weight.grad) if g is not None]).norm()
    torch.testing.assert_close(norm, torch.tensor(1.0))
    torch.testing.assert_close(mine.grad, weight.grad)  # the sums of squares are added in another order
    dense.step()
    by_row.step()
    by_row.catch_up()
    for found, wanted in zip(tables, whole, strict=True):
        torch.testing.assert_close(found.weight, wanted.weight)


def test_what_is_saved_goes_on_with_the_same_bits() -> None:
    steps = [numbers for numbers, _ in batches(5, 30, 1.0)]
    whole, tables, weight = two_groups(by_row=True)
    for place, numbers in enumerate(steps):
        if place in (0, 7, 20):  # saved behind, and right after a catching up: then nothing is behind
            if place == 20:
                whole.catch_up()
            saved = save({name: value.contiguous() for name, value in whole.state().items()})
            values = [each.detach().clone() for each in (*(table.weight for table in tables), weight)]
            whole, tables, weight = two_groups(by_row=True)
            whole.load(load(saved) if place else whole.state())
            with torch.no_grad():
                for parameter, value in zip((*(table.weight for table in tables), weight), values, strict=True):
                    parameter.copy_(value)
        learn(whole, tables, weight, numbers)
        whole.step()
    other, others, its_weight = two_groups(by_row=True)
    for place, numbers in enumerate(steps):
        if place == 20:
            other.catch_up()
        learn(other, others, its_weight, numbers)
        other.step()
    assert its_weight.equal(weight)
    assert all(a.weight.equal(b.weight) for a, b in zip(tables, others, strict=True))


# In training


@pytest.fixture
def all_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of any size by row, all brought forward every 16 steps."""
    monkeypatch.setattr(loop, "_BY_ROW", 0)
    monkeypatch.setattr(rowwise, "_STEPS", 16)


def plan(rows: list[dict[str, str]], folder: Path) -> Plan:
    task = find("classify")
    exact = {"products": "float32"}  # rounded factors would make much of the last bit of a sum
    config = {**TINY, "train": {**TINY["train"], **exact, "max_steps": 60, "checkpoint_seconds": 0.01}}
    records = [task.record(**row) for row in rows]
    return Plan("classify", task.config.parse(config, "test"), records, None, folder, {"rows": len(rows)})


def trained(rows: list[dict[str, str]], folder: Path) -> bytes:
    for _ in train_events(plan(rows, folder)):
        pass
    return (folder / "weights.safetensors").read_bytes()


@pytest.mark.usefixtures("all_by_row")
def test_stopped_and_resumed_it_ends_in_the_same_bytes(reviews, tmp_path):
    stopped = tmp_path / "stopped"
    for stop in (1, 18, 19, 40):  # an epoch has 18 steps: an evaluation comes next, or came just before
        events = train_events(plan(reviews, stopped), resume=stop > 1)
        next(event for event in events if isinstance(event, Step) and event.step == stop)
        events.close()
    for _ in train_events(plan(reviews, stopped), resume=True):
        pass
    assert (stopped / "weights.safetensors").read_bytes() == trained(reviews, tmp_path / "whole")


def test_evaluation_and_the_result_see_all_rows_up_to_date(reviews, tmp_path, monkeypatch, request):
    seen: list[dict[str, Tensor]] = []
    metrics = Dev.metrics

    def spy(dev: Dev, net: Any) -> Mapping[str, float]:
        seen.append({name: value.clone() for name, value in net.state_dict().items()})
        return metrics(dev, net)

    monkeypatch.setattr(Dev, "metrics", spy)
    dense = load(trained(reviews, tmp_path / "dense"))
    epochs = len(seen)
    assert epochs > 1
    request.getfixturevalue("all_by_row")
    by_row = load(trained(reviews, tmp_path / "by_row"))
    for wanted, found in [*zip(seen[:epochs], seen[epochs:], strict=True), (dense, by_row)]:
        # Rounding differs from the first step on, and 60 steps of training make more of it.
        for name in (name for name in wanted if name.endswith(("own.weight", "rows.weight"))):
            torch.testing.assert_close(found[name], wanted[name], atol=1e-4, rtol=1e-3)
