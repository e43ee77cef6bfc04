"""Backend `native`: every vector width meets the reference, values and gradients, however its inputs lie in memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.export import Dim

from cellgate.errors import UsageError
from cellgate.kernel import missing, widths
from cellgate.ops import GATES, MEMORY, Cell, Rows, State, Weights, backends, init_weights, lstm, native, reference
from cellgate.ops.choice import BACKENDS
from cellgate.ops.values import Inputs, dense
from tests.test_ops import CELLS, DOORS, SERVED, outcome, pairs

pytestmark = pytest.mark.skipif(missing is not None, reason=f"no kernel: {missing}")

# Against the reference in float64, of 1 + the largest number of the tensor: w_h keeps |h| from growing, but each
# weight's gradient sums up to 240 tokens. The largest difference of 1,000 cases is 1.4e-6.
TOLERANCE = 5e-6

# How x may lie in memory: its base's shape, and x as a view of the base.
LAYOUTS: dict[str, tuple[Callable[..., tuple[int, ...]], Callable[[Tensor, int], Tensor]]] = {
    "plain": (lambda b, t, i: (b, t, i), lambda base, _: base),
    "transposed": (lambda b, t, i: (t, b, i), lambda base, _: base.transpose(0, 1)),
    "inputs first": (lambda b, t, i: (i, b, t), lambda base, _: base.permute(1, 2, 0)),
    "one row expanded": (lambda b, t, i: (1, t, i), lambda base, b: base.expand(b, -1, -1)),
    "one input expanded": (lambda b, t, i: (b, t, 1), lambda base, i: base.expand(-1, -1, i)),
    "sliced": (lambda b, t, i: (b, 2 * t, i + 3), lambda base, _: base[:, ::2, 2:-1]),
}


class Case(NamedTuple):
    batch: int
    steps: int
    inputs: int
    hidden: int
    lengths: list[int] | None
    reverse: bool
    layout: str
    """One of LAYOUTS, or "rows": a table with fewer rows than there are tokens."""
    turned: bool
    """Whether weights, state, index and lengths lie otherwise in memory than they are read."""
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    batch, steps = draw(st.integers(1, 20)), draw(st.integers(1, 12))
    return Case(
        batch,
        steps,
        draw(st.integers(1, 20)),
        draw(st.integers(1, 70)),
        draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch)),
        draw(st.booleans()),
        draw(st.sampled_from(["rows", *LAYOUTS])),
        draw(st.booleans()),
        draw(st.integers(0, 99)),
    )


class Given(NamedTuple):
    x: Inputs
    weights: Weights
    state: State
    lengths: Tensor | None
    leaves: list[Tensor]

    def call(self, cell: Cell, reverse: bool, width: int = 0) -> native.Call:
        return native.make_call(cell, self.x, self.lengths, reverse, width)


def given_of(cell: Cell, case: Case, dtype: torch.dtype = torch.float32) -> Given:
    """Draw the same numbers for every dtype."""
    generator = torch.Generator().manual_seed(case.seed)
    leaves: list[Tensor] = []

    def leaf(*shape: int, scale: float = 1.0) -> Tensor:
        # Rounded to float32 first, so that both see the same numbers.
        value = (torch.randn(*shape, generator=generator) * scale).to(dtype)
        leaves.append(value.requires_grad_())
        return value

    def matrix(rows: int, columns: int, scale: float = 1.0) -> Tensor:
        return leaf(columns, rows, scale=scale).t() if case.turned else leaf(rows, columns, scale=scale)

    batch, steps, inputs, hidden = case.batch, case.steps, case.inputs, case.hidden
    rows = GATES[cell] * hidden
    x: Inputs
    if case.layout == "rows":
        index = torch.randint(0, 7, (batch, steps), generator=generator)
        x = Rows(leaf(7, inputs), index.t().contiguous().t() if case.turned else index)
    else:
        base, view = LAYOUTS[case.layout]
        x = view(leaf(*base(batch, steps, inputs)), batch if case.layout == "one row expanded" else inputs)
    weights = Weights(
        matrix(rows, inputs, inputs**-0.5),
        matrix(rows, hidden, hidden**-0.5),
        leaf(rows),
        leaf(hidden) if cell == "gru" else None,
        matrix(3, hidden) if cell == "peephole" else None,
    )
    state = State(matrix(batch, hidden), matrix(batch, hidden) if cell in MEMORY else None)
    lengths = None if case.lengths is None else torch.tensor(case.lengths)
    if lengths is not None and case.turned:
        lengths = lengths.repeat_interleave(2)[::2]
    return Given(x, weights, state, lengths, leaves)


def expected_of(cell: Cell, case: Case) -> list[Tensor]:
    x, weights, state, lengths, leaves = given_of(cell, case, torch.float64)
    return outcome(*reference.run(cell, x, weights, state, lengths, case.reverse), leaves)


def close(got: list[Tensor], wanted: list[Tensor], what: str) -> None:
    for number, (value, expected) in enumerate(zip(got, wanted, strict=True)):
        apart = (value - expected).abs().max().item() if value.numel() else 0.0
        allowed = TOLERANCE * (1 + (expected.abs().max().item() if value.numel() else 0.0))
        assert apart <= allowed, f"{what}: tensor {number} is {apart:.1e} apart, {allowed:.1e} is allowed"


PLAIN = Case(7, 5, 3, 33, [5, 0, 3, 5, 1, 2, 4], False, "plain", False, 1)


@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=80, deadline=None, derandomize=True)
@given(case=cases())
@example(case=PLAIN._replace(lengths=[0] * 7))
@example(case=Case(1, 3, 20, 70, None, False, "plain", False, 2))  # few tokens, few steps
@example(case=Case(2, 2, 20, 130, None, True, "rows", False, 3))  # weights read as they are
def test_every_width_meets_reference(cell: Cell, case: Case) -> None:
    wanted = expected_of(cell, case)
    for width, name in enumerate(widths()):
        tried = given_of(cell, case)
        y, state = native.compute(tried.call(cell, case.reverse, width), tried.x, tried.weights, tried.state)
        close(outcome(y, state, tried.leaves), wanted, name)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_a_part_of_the_results(cell: Cell) -> None:
    """A loss of y alone, of h alone, of c alone; y.sum() hands back a gradient without memory of its own."""
    exact, tried = given_of(cell, PLAIN, torch.float64), given_of(cell, PLAIN)
    y, state = reference.run(cell, *exact[:4], PLAIN.reverse)
    wanted = [part.sum() for part in (y, *state) if part is not None]
    y, state = native.compute(tried.call(cell, False), *tried[:3])
    got = [part.sum() for part in (y, *state) if part is not None]
    for mine, theirs in zip(got, wanted, strict=True):
        slopes = torch.autograd.grad(mine, tried.leaves, retain_graph=True)
        expected = torch.autograd.grad(theirs, exact.leaves, retain_graph=True, materialize_grads=True)
        close([part.double() for part in slopes], list(expected), "a part of the results")


@pytest.mark.parametrize("width", range(len(widths())))
@pytest.mark.parametrize("cell", CELLS)
def test_row_alone_is_row_in_batch(cell: Cell, width: int) -> None:
    x, weights, state, _, _ = tried = given_of(cell, PLAIN)
    y, after = native.compute(tried.call(cell, False, width), x, weights, state)
    assert PLAIN.lengths is not None
    assert isinstance(x, Tensor)
    for row, length in enumerate(PLAIN.lengths):
        first = State(*(None if part is None else part[row : row + 1] for part in state))  # type: ignore[arg-type]
        alone = native.make_call(cell, x[row : row + 1, :length], None, False, width)
        mine, last = native.compute(alone, x[row : row + 1, :length], weights, first)
        torch.testing.assert_close(mine[0], y[row, :length], rtol=1e-6, atol=1e-6)
        for one, other in pairs(last, after):
            torch.testing.assert_close(one[0], other[row], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 9])
@pytest.mark.parametrize("hidden", [5, 224])
@pytest.mark.parametrize("cell", CELLS)
def test_recurrence_has_the_same_bits_for_any_threads(cell: Cell, hidden: int, batch: int) -> None:
    case = PLAIN._replace(batch=batch, hidden=hidden, steps=3, lengths=[3, 2, 3, 0, 1, 3, 3, 2, 3][:batch])
    tried = given_of(cell, case)
    with torch.no_grad():
        call = tried.call(cell, False)
        gates, _ = native.project(call, dense(tried.x), tried.weights.w_x, tried.weights.b)
        d_y = torch.randn(batch, 3, hidden)
        tokens, kept_floats = call.layout.tokens, (1 if cell == "rnn" else 4) * hidden

        def bits(threads: int) -> list[Tensor]:
            call = tried.call(cell, False)._replace(threads=threads)
            kept = native.Kept(
                torch.empty(tokens, kept_floats),
                torch.empty(tokens, hidden) if cell in MEMORY else None,
                torch.empty(tokens, hidden),
            )
            y, after = native.recur(call, gates, tried.weights, tried.state, kept)
            back = native.recur_backward(call, tried.weights, tried.state.c, kept, d_y, (None, None))
            return [part for part in (y, *after, *kept, *back) if part is not None]

        first = bits(1)
        for threads in (2, 3, 5):
            for value, expected in zip(bits(threads), first, strict=True):
                assert torch.equal(value, expected), threads


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_not_finite_stays_in_its_row(cell: Cell, wrong: float) -> None:
    clean, dirty = given_of(cell, PLAIN), given_of(cell, PLAIN)
    with torch.no_grad():
        dense(dirty.x)[2, 1, 0] = wrong
    others = [0, 1, 3, 4, 5, 6]
    results = []
    for tried in (clean, dirty):
        y, state = native.compute(tried.call(cell, False), *tried[:3])
        results.append([part for part in (y, *state) if part is not None])
        results[-1] += torch.autograd.grad(y.sum(), tried.leaves[:1])
    for before, after in zip(*results, strict=True):
        assert torch.equal(before[others], after[others])
    x = dense(dirty.x).detach()
    y, _ = reference.run(cell, x, *dirty[1:4], False)
    assert torch.equal(results[1][0].isnan(), y.isnan())
    assert results[1][0].isnan().any() == (wrong != wrong)  # a gate takes infinity as 0 or 1


@pytest.mark.parametrize("layout", ["plain", "rows"])
@pytest.mark.parametrize("cell", CELLS)
def test_backward_twice_gives_the_same(cell: Cell, layout: str) -> None:
    tried = given_of(cell, PLAIN._replace(layout=layout))
    y, _ = native.compute(tried.call(cell, False), *tried[:3])
    first, second = (torch.autograd.grad(y.sum(), tried.leaves, retain_graph=True) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("layout", ["plain", "rows"])
@pytest.mark.parametrize("cell", CELLS)
def test_one_leaf_alone_has_its_gradient(cell: Cell, layout: str) -> None:
    """The others are frozen: an embedding, say, or the recurrent weights."""
    whole = given_of(cell, PLAIN._replace(layout=layout))
    y, _ = native.compute(whole.call(cell, False), *whole[:3])
    wanted = torch.autograd.grad(y.sum(), whole.leaves)
    for number, expected in enumerate(wanted):
        tried = given_of(cell, PLAIN._replace(layout=layout))
        for frozen in tried.leaves[:number] + tried.leaves[number + 1 :]:
            frozen.requires_grad_(False)
        y, _ = native.compute(tried.call(cell, False), *tried[:3])
        torch.autograd.backward(y.sum())
        assert torch.equal(tried.leaves[number].grad, expected)  # type: ignore[arg-type]
        assert sum(leaf.grad is not None for leaf in tried.leaves) == 1


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_is_kept(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    real = native.recur

    def spy(*arguments: Any) -> Any:
        kept.append(arguments[-1])
        return real(*arguments)

    monkeypatch.setattr(native, "recur", spy)
    tried = given_of("lstm", PLAIN)
    wanted, _ = native.compute(tried.call("lstm", False), *tried[:3])
    with mode():
        y, state = native.compute(tried.call("lstm", False), *tried[:3])
    assert not any(part.requires_grad for part in (y, *state) if part is not None)
    assert [part is None for part in kept] == [False, True]
    torch.testing.assert_close(y, wanted, rtol=1e-6, atol=1e-6)


def test_gradients_of_gradients_are_refused() -> None:
    tried = given_of("lstm", PLAIN)
    y, _ = native.compute(tried.call("lstm", False), *tried[:3])
    with pytest.raises(UsageError, match="no gradients of gradients; use backend='reference'"):
        torch.autograd.grad(y.sum(), tried.leaves[:1], create_graph=True)


def test_two_threads_at_once() -> None:
    case = PLAIN._replace(hidden=130)
    wanted = outcome_of(case)

    def same(_: int) -> bool:
        return all(torch.equal(one, other) for one, other in zip(outcome_of(case), wanted, strict=True))

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(same, range(60)))


def outcome_of(case: Case) -> list[Tensor]:
    tried = given_of("lstm", case)
    gates = torch.linspace(-1, 1, 20 * 520).view(20, 520).clone().requires_grad_()
    # The product of many tokens is BLAS's, whose bits may differ: the recurrence alone is asked.
    w_x = torch.eye(520).requires_grad_()
    x = Rows(gates, torch.arange(35).view(7, 5) % 20)
    call = native.make_call("lstm", x, tried.lengths, False)._replace(threads=3)
    weights = tried.weights._replace(w_x=w_x, b=torch.zeros(520))
    y, state = native.compute(call, x, weights, tried.state)
    return [y.detach(), *(part.detach() for part in state if part is not None), *torch.autograd.grad(y.sum(), [gates])]


def test_autocast_is_refused() -> None:
    """The products would come in bfloat16, and the kernel reads float32."""
    x, weights = torch.randn(2, 3, 4, requires_grad=True), init_weights("lstm", 4, 5)
    y, _ = lstm(x, weights, lengths=torch.tensor([3, 1]), backend="native")
    (wanted,) = torch.autograd.grad(y.sum(), [x], retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        refusals = {verdict.backend: verdict.refusal for verdict in backends("lstm", x, weights)}
        assert refusals["native"] == "it computes in float32, autocast is on"
        (slope,) = torch.autograd.grad(y.sum(), [x])
    torch.testing.assert_close(slope, wanted, rtol=2e-2, atol=2e-2)  # bfloat16 keeps 8 bits


def test_no_inputs() -> None:
    weights = Weights(torch.zeros(20, 0), torch.randn(20, 5), torch.randn(20))
    y, _ = lstm(torch.zeros(2, 3, 0), weights, backend="native")
    wanted, _ = lstm(torch.zeros(2, 3, 0), weights, backend="reference")
    torch.testing.assert_close(y, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["native", "padded", "reference"])
@pytest.mark.parametrize("entry", [-1, 7])
def test_a_wrong_index_is_named(entry: int, backend: str) -> None:
    index = torch.zeros(2, 3, dtype=torch.int64)
    index[1, 2] = entry
    weights, lengths = init_weights("lstm", 4, 5), torch.tensor([3, 2])
    with pytest.raises(UsageError, match=rf"x\.index: expected 0 to 6; got {entry} in row 1, position 2"):
        lstm(Rows(torch.randn(7, 4), index), weights, lengths=lengths, backend=backend)
    with pytest.raises(UsageError, match=r"x\.index: expected none, the table is empty; got 0 in row 0, position 0"):
        lstm(Rows(torch.zeros(0, 4), torch.zeros(2, 3, dtype=torch.int64)), weights, backend=backend)


@pytest.mark.parametrize(("name", "cell"), SERVED)
def test_rows_are_the_dense_inputs(name: str, cell: Cell) -> None:
    tried = given_of(cell, PLAIN._replace(layout="rows"))
    mine = outcome(*BACKENDS[name].run(cell, *tried[:4], False), tried.leaves)
    x, weights, state, lengths, leaves = given_of(cell, PLAIN._replace(layout="rows"))
    theirs = outcome(*BACKENDS[name].run(cell, dense(x), weights, state, lengths, False), leaves)
    close(mine, theirs, name)


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning")  # torch's own code
def test_rows_are_exported_as_dense_inputs() -> None:
    class Reader(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Parameter(torch.randn(7, 4))
            self.parts = torch.nn.ParameterList(part for part in init_weights("lstm", 4, 5) if part is not None)

        def forward(self, index: Tensor) -> Tensor:
            return DOORS["lstm"](Rows(self.table, index), Weights(*self.parts))[0]

    net = Reader()
    program = torch.export.export(net, (torch.ones(2, 3, dtype=torch.int64),), dynamic_shapes=({0: Dim("B")},))
    index = torch.randint(0, 7, (5, 3))
    wanted, _ = lstm(net.table[index], Weights(*net.parts), backend="reference")
    torch.testing.assert_close(program.module()(index), wanted, rtol=1e-6, atol=1e-6)


def test_torch_func_is_served_by_another_backend() -> None:
    weights = init_weights("lstm", 3, 4)
    x = torch.randn(2, 5, 3)
    found = torch.func.grad(lambda x: lstm(x, weights)[0].sum())(x)
    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(lstm(leaf, weights)[0].sum(), leaf)
    torch.testing.assert_close(found, wanted)
