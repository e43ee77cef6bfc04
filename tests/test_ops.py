"""The recurrence: every backend meets the reference, and the reference meets torch's own modules."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cellgate.errors import UsageError
from cellgate.kernel import missing
from cellgate.ops import GATES, MEMORY, Cell, State, Weights, backends, gru, init_weights, lstm, peephole, rnn
from cellgate.ops.choice import BACKENDS

CELLS: tuple[Cell, ...] = ("lstm", "peephole", "gru", "rnn")
TORCH_CELLS: tuple[Cell, ...] = ("lstm", "gru", "rnn")
DOORS = {"lstm": lstm, "peephole": peephole, "gru": gru, "rnn": rnn}

# Against the reference in float64, values and gradients alike. Weights are of size 0.7 and at most 6 steps
# follow each other, so gradients reach some 30: float32's 6e-8 grows to about 5e-6.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}


def weights_of(cell: Cell, inputs: int, hidden: int, dtype: torch.dtype = torch.float32) -> Weights:
    parts = init_weights(cell, inputs, hidden)
    return Weights(*(part if part is None else part.to(dtype) for part in parts))  # type: ignore[arg-type]


def computes(name: str, cell: Cell, x: Tensor, weights: Weights) -> bool:
    """Whether a backend can be tried on this input; cudnn refuses CPU tensors, but its `run` takes them."""
    return cell in TORCH_CELLS if name == "cudnn" else BACKENDS[name].refuses(cell, x, weights) is None


TRIED = [
    pytest.param(name, cell, dtype, id=f"{name}-{cell}-{str(dtype).removeprefix('torch.')}")
    for name in BACKENDS
    for cell in CELLS
    for dtype in TOLERANCE
    if computes(name, cell, torch.zeros(1, 1, 1, dtype=dtype), weights_of(cell, 1, 1, dtype))
]
SERVED = [
    pytest.param(
        name,
        cell,
        id=f"{name}-{cell}",
        marks=pytest.mark.skipif(name == "native" and missing is not None, reason=f"no kernel: {missing}"),
    )
    for name in BACKENDS
    for cell in CELLS
    if name in ("native", "reference") or cell in TORCH_CELLS
]


class Case(NamedTuple):
    batch: int
    steps: int
    inputs: int
    hidden: int
    lengths: list[int] | None
    reverse: bool
    with_state: bool
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    batch, steps = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    lengths = draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    size = st.integers(1, 5)
    return Case(
        batch,
        steps,
        draw(size),
        draw(size),
        lengths,
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.integers(0, 99)),
    )


class Inputs(NamedTuple):
    x: Tensor
    weights: Weights
    state: State
    lengths: Tensor | None

    def leaves(self) -> list[Tensor]:
        return [part for part in (self.x, *self.weights, *self.state) if part is not None]


def inputs_of(cell: Cell, case: Case, dtype: torch.dtype, device: str = "cpu") -> Inputs:
    """Draw the same numbers for every dtype and device."""
    generator = torch.Generator().manual_seed(case.seed)

    def leaf(*shape: int, scale: float = 1.0) -> Tensor:
        value = torch.randn(*shape, generator=generator, dtype=torch.float64) * scale
        return value.to(dtype=dtype, device=device).requires_grad_()

    rows, hidden = GATES[cell] * case.hidden, case.hidden
    return Inputs(
        leaf(case.batch, case.steps, case.inputs),
        Weights(
            leaf(rows, case.inputs, scale=0.7),
            leaf(rows, hidden, scale=0.7),
            leaf(rows),
            leaf(hidden) if cell == "gru" else None,
            leaf(3, hidden) if cell == "peephole" else None,
        ),
        State(
            leaf(case.batch, hidden, scale=float(case.with_state)),
            leaf(case.batch, hidden, scale=float(case.with_state)) if cell in MEMORY else None,
        ),
        None if case.lengths is None else torch.tensor(case.lengths, device=device),
    )


def pairs(one: State, other: State) -> list[tuple[Tensor, Tensor]]:
    """The tensors of two states side by side."""
    both = zip(one, other, strict=True)
    return [(mine, theirs) for mine, theirs in both if mine is not None and theirs is not None]


def outcome(y: Tensor, state: State, leaves: list[Tensor]) -> list[Tensor]:
    """The results, and the gradients of the leaves for random cotangents of all results at once."""
    results = [part for part in (y, *state) if part is not None]
    generator = torch.Generator().manual_seed(7)
    cotangents = [torch.randn(part.shape, generator=generator, dtype=torch.float64).to(part) for part in results]
    gradients = torch.autograd.grad(results, leaves, cotangents)
    return [part.detach().double().cpu() for part in (*results, *gradients)]


def compare(name: str, cell: Cell, case: Case, dtype: torch.dtype, device: str = "cpu") -> None:
    exact, tried = inputs_of(cell, case, torch.float64), inputs_of(cell, case, dtype, device)
    assume(device != "cpu" or computes(name, cell, tried.x, tried.weights))
    wanted = outcome(*BACKENDS["reference"].run(cell, *exact, case.reverse), exact.leaves())
    got = outcome(*BACKENDS[name].run(cell, *tried, case.reverse), tried.leaves())
    for value, expected in zip(got, wanted, strict=True):
        torch.testing.assert_close(value, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize(("name", "cell", "dtype"), TRIED)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(case=cases())
def test_backend_meets_reference(name: str, cell: Cell, dtype: torch.dtype, case: Case) -> None:
    compare(name, cell, case, dtype)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("cell", TORCH_CELLS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(case=cases())
def test_cudnn_meets_reference_on_gpu(cell: Cell, case: Case) -> None:
    # TF32, which torch allows cuDNN by default, keeps 10 bits: it would hide a wrong term.
    with torch.backends.cudnn.flags(allow_tf32=False):
        compare("cudnn", cell, case, torch.float32, "cuda")


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_reference_is_torch_module(cell: Cell) -> None:
    """The independent judge: torch's bidirectional modules over packed rows, in float64."""
    case = Case(3, 5, 4, 3, [2, 5, 4], False, True, 1)
    lengths = torch.tensor(case.lengths)
    sides = [inputs_of(cell, case._replace(seed=seed), torch.float64) for seed in (1, 2)]
    module_class = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
    module = module_class(4, 3, batch_first=True, bidirectional=True, dtype=torch.float64)
    for side, suffix in zip(sides, ("", "_reverse"), strict=True):
        w_x, w_h, b, b_h, _ = side.weights
        second = torch.zeros_like(b) if b_h is None else torch.cat([torch.zeros_like(b)[3:], b_h])
        for part, value in (("weight_ih", w_x), ("weight_hh", w_h), ("bias_ih", b), ("bias_hh", second)):
            getattr(module, f"{part}_l0{suffix}").data = value.detach()
    x = sides[0].x
    states = tuple(
        torch.stack(pair) for pair in zip(*(side.state for side in sides), strict=True) if pair[0] is not None
    )
    packed, last = module(
        pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False),
        states if cell == "lstm" else states[0],
    )
    y = pad_packed_sequence(packed, batch_first=True)[0].chunk(2, 2)
    last = last if cell == "lstm" else (last,)
    for number, side in enumerate(sides):
        ours, state = DOORS[cell](x, side.weights, side.state, lengths, reverse=number == 1, backend="reference")
        torch.testing.assert_close(ours, y[number], rtol=1e-12, atol=1e-12)
        for mine, theirs in zip((part for part in state if part is not None), last, strict=True):
            torch.testing.assert_close(mine, theirs[number], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_reference_gradients_are_slopes(cell: Cell, reverse: bool) -> None:
    inputs = inputs_of(cell, Case(2, 3, 2, 2, [3, 1], reverse, True, 3), torch.float64)

    def function(*leaves: Tensor) -> tuple[Tensor, ...]:
        y, state = DOORS[cell](*inputs, reverse, backend="reference")
        return y, *(part for part in state if part is not None)

    # The leaves are perturbed in place, so the function reads them through `inputs`.
    assert torch.autograd.gradcheck(function, tuple(inputs.leaves()))


def logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("reverse", [False, True])
def test_peephole_is_the_equations_of_its_paper(reverse: bool) -> None:
    """torch has none to judge by: a loop over numbers, unit by unit, as Gers, Schraudolph & Schmidhuber write it."""
    lengths = [2, 5, 0, 4]
    inputs = inputs_of("peephole", Case(4, 5, 2, 3, lengths, reverse, True, 1), torch.float64)
    x, weights, first, _ = inputs
    y, state = peephole(*inputs, reverse, backend="reference")
    assert weights.p is not None
    assert first.c is not None
    assert state.c is not None
    w_x, w_h, b, p = (part.detach().numpy() for part in (weights.w_x, weights.w_h, weights.b, weights.p))
    for row, length in enumerate(lengths):
        h, c = first.h[row].detach().numpy().copy(), first.c[row].detach().numpy().copy()
        for t in range(length - 1, -1, -1) if reverse else range(length):
            sums = w_x @ x[row, t].detach().numpy() + w_h @ h + b
            for unit in range(3):
                i, f, g, o = sums[[unit, 3 + unit, 6 + unit, 9 + unit]]
                before = c[unit]
                c[unit] = logistic(f + p[1, unit] * before) * before + logistic(i + p[0, unit] * before) * np.tanh(g)
                h[unit] = logistic(o + p[2, unit] * c[unit]) * np.tanh(c[unit])
            np.testing.assert_allclose(y[row, t].detach().numpy(), h, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(state.h[row].detach().numpy(), h, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(state.c[row].detach().numpy(), c, rtol=1e-12, atol=1e-12)


def test_without_peepholes_it_is_an_lstm() -> None:
    inputs = inputs_of("lstm", Case(3, 6, 4, 5, [6, 2, 0], False, True, 2), torch.float32)
    wanted, end = lstm(*inputs)
    weights = inputs.weights._replace(p=torch.zeros(3, 5))
    y, state = peephole(inputs.x, weights, inputs.state, inputs.lengths)
    torch.testing.assert_close(y, wanted, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(state, end, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("name", "cell"), SERVED)
def test_padding_changes_nothing(name: str, cell: Cell, reverse: bool) -> None:
    case = Case(4, 6, 3, 5, [2, 6, 0, 4], reverse, True, 5)
    clean, dirty = (inputs_of(cell, case, torch.float32) for _ in range(2))
    assert clean.lengths is not None
    past = torch.arange(6) >= clean.lengths[:, None]
    with torch.no_grad():
        dirty.x[past] = torch.nan
    wanted = BACKENDS[name].run(cell, *clean, reverse)
    got = BACKENDS[name].run(cell, *dirty, reverse)
    values = outcome(*got, dirty.leaves())
    for value, expected in zip(values, outcome(*wanted, clean.leaves()), strict=True):
        assert torch.equal(value, expected)
    gradient = values[3 if cell in MEMORY else 2]
    assert not got[0][past].any()
    assert not gradient[past].any()
    assert gradient[~past].all()


@pytest.mark.parametrize(("name", "cell"), SERVED)
def test_row_without_tokens_keeps_its_state(name: str, cell: Cell) -> None:
    inputs = inputs_of(cell, Case(3, 50, 3, 8, [0, 50, 0], False, True, 6), torch.float32)
    y, state = BACKENDS[name].run(cell, *inputs, False)
    assert not y[0].any()
    for after, before in pairs(state, inputs.state):
        assert torch.equal(after[[0, 2]], before[[0, 2]])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_row_alone_is_row_in_batch(cell: Cell, reverse: bool) -> None:
    inputs = inputs_of(cell, Case(4, 6, 3, 5, [2, 6, 0, 4], reverse, True, 8), torch.float32)
    y, state = DOORS[cell](*inputs, reverse)
    for row, length in enumerate([2, 6, 0, 4]):
        h, c = inputs.state
        first = State(h[row : row + 1], None if c is None else c[row : row + 1])
        alone, after = DOORS[cell](inputs.x[row : row + 1, :length], inputs.weights, first, None, reverse)
        torch.testing.assert_close(alone[0], y[row, :length], rtol=1e-6, atol=1e-6)
        for mine, theirs in pairs(after, state):
            torch.testing.assert_close(mine[0], theirs[row], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_pieces_are_the_whole(cell: Cell) -> None:
    x, weights, state, _ = inputs_of(cell, Case(2, 6, 3, 4, None, False, True, 9), torch.float32)
    whole, end = DOORS[cell](x, weights, state)
    first, state = DOORS[cell](x[:, :2], weights, state)
    second, state = DOORS[cell](x[:, 2:], weights, state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-6, atol=1e-6)
    for mine, theirs in pairs(state, end):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("cell", CELLS)
def test_empty_batch_or_time(cell: Cell, shape: tuple[int, int]) -> None:
    x, weights = torch.zeros(*shape, 3), weights_of(cell, 3, 4)
    first = State(torch.ones(shape[0], 4), torch.ones(shape[0], 4) if cell in MEMORY else None)
    lengths = torch.zeros(shape[0], dtype=torch.int64)
    for reverse in (False, True):
        y, state = DOORS[cell](x, weights, first, lengths, reverse)
        assert y.shape == (*shape, 4)
        assert torch.equal(state.h, first.h)
        assert DOORS[cell](x, weights, None, None, reverse)[0].shape == y.shape


def test_choice_and_its_reasons() -> None:
    x, weights = torch.zeros(2, 3, 4), weights_of("gru", 4, 5)
    verdicts = backends("gru", x, weights)
    assert [verdict.backend for verdict in verdicts] == list(BACKENDS)
    assert [verdict.backend for verdict in verdicts if verdict.serves] == ["padded" if missing else "native"]
    assert verdicts[0].refusal == "it runs on a GPU, x is on cpu"
    double = weights_of("gru", 4, 5, torch.float64)
    serving = [verdict.backend for verdict in backends("gru", x.double(), double) if verdict.serves]
    assert serving == ["reference"]


@pytest.mark.parametrize(("dtype", "serves"), [(torch.float32, "native"), (torch.float64, "reference")])
def test_torch_has_no_peephole(dtype: torch.dtype, serves: str) -> None:
    verdicts = {each.backend: each for each in backends("peephole", X.to(dtype), weights_of("peephole", 4, 5, dtype))}
    assert verdicts["cudnn"].refusal == verdicts["padded"].refusal == "torch has no LSTM with peepholes"
    assert verdicts["reference" if missing else serves].serves


X, W = torch.zeros(2, 3, 4), init_weights("lstm", 4, 5)
STATE = State(torch.zeros(2, 5), torch.zeros(2, 5))
NO_TENSOR: Any = [3, 3]
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "x axes": (lambda: lstm(X[0], W), "x: expected a floating-point tensor [B, T, I], got float32 [3, 4]"),
    "x dtype": (lambda: lstm(X.long(), W), "x: expected a floating-point tensor [B, T, I], got int64"),
    "x no tensor": (lambda: lstm(NO_TENSOR, W), "x: expected a floating-point tensor [B, T, I], got list"),
    "w_x": (lambda: lstm(X[:, :, :3], W), "weights.w_x: expected float32 [G*H, I] = [20, 3]"),
    "w_h": (lambda: gru(X, W), "weights.w_h of gru: expected [3*H, H], got float32 [20, 5]"),
    "b": (lambda: lstm(X, W._replace(b=W.b[1:])), "weights.b: expected float32 [G*H] = [20] on cpu"),
    "b_h": (lambda: lstm(X, W._replace(b_h=W.b[:5])), "weights.b_h of lstm: expected None, only gru has it"),
    "weights dtype": (lambda: lstm(X.double(), W), "weights.w_h: expected float64 [G*H, H]"),
    "state.h": (lambda: lstm(X, W, STATE._replace(h=X[0])), "state.h: expected float32 [B, H] = [2, 5]"),
    "state.c": (
        lambda: lstm(X, W, State(STATE.h)),
        "state.c: expected float32 [B, H] = [2, 5] on cpu, as x is",
    ),
    "state.c of rnn": (
        lambda: rnn(X, init_weights("rnn", 4, 5), STATE),
        "state.c of rnn: expected None, only lstm and peephole have it; got float32 [2, 5]",
    ),
    "lengths list": (lambda: lstm(X, W, None, NO_TENSOR), "lengths: expected int64 [B] = [2], got list"),
    "lengths dtype": (
        lambda: lstm(X, W, None, torch.tensor([3, 3], dtype=torch.int32)),
        "lengths: expected int64 [B] = [2], got int32 [2]",
    ),
    "lengths rows": (lambda: lstm(X, W, None, torch.tensor([3])), "expected int64 [B] = [2], got int64 [1]"),
    "too long": (lambda: lstm(X, W, None, torch.tensor([3, 4])), "expected 0 to T = 3, got 4 in row 1"),
    "negative": (lambda: lstm(X, W, None, torch.tensor([-1, 4])), "expected 0 to T = 3, got -1 in row 0"),
    "p": (
        lambda: peephole(X, W._replace(p=W.b)),
        "weights.p: expected float32 [3, H] = [3, 5] on cpu, as x is, got float32 [20] on cpu",
    ),
    "no p": (lambda: peephole(X, W), "weights.p: expected float32 [3, H] = [3, 5] on cpu, as x is, got NoneType"),
    "p of lstm": (
        lambda: lstm(X, W._replace(p=torch.zeros(3, 5))),
        "weights.p of lstm: expected None, only peephole has it; got float32 [3, 5]",
    ),
    "state.c of peephole": (
        lambda: peephole(X, init_weights("peephole", 4, 5), State(STATE.h)),
        "state.c: expected float32 [B, H] = [2, 5] on cpu, as x is, got NoneType",
    ),
    "peephole backend": (
        lambda: peephole(X, init_weights("peephole", 4, 5), backend="padded"),
        "backend 'padded' refuses this peephole: torch has no LSTM with peepholes",
    ),
    "backend name": (
        lambda: lstm(X, W, backend="refrence"),
        "no backend 'refrence'; did you mean 'reference'?; backends: ",
    ),
    "backend refuses": (
        lambda: lstm(X, W, backend="cudnn"),
        "backend 'cudnn' refuses this lstm: it runs on a GPU, x is on cpu",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arguments_are_named(wrong: str) -> None:
    call, message = WRONG[wrong]
    with pytest.raises(UsageError) as error:
        call()
    assert message in str(error.value)


@pytest.mark.parametrize("cell", CELLS)
def test_initial_weights(cell: Cell) -> None:
    w_x, w_h, b, b_h, p = init_weights(cell, 6, 4, torch.Generator().manual_seed(3))
    again = init_weights(cell, 6, 4, torch.Generator().manual_seed(3))
    assert torch.equal(w_x, again.w_x)
    assert torch.equal(w_h, again.w_h)
    for block in w_h.chunk(GATES[cell]):
        torch.testing.assert_close(block @ block.T, torch.eye(4))
    assert w_x.abs().max() <= (6 / (6 + 4)) ** 0.5
    assert b.tolist() == ([0] * 4 + [1] * 4 + [0] * 8 if cell in MEMORY else [0] * GATES[cell] * 4)
    assert (b_h is None) == (cell != "gru")
    assert (p is None) == (cell != "peephole")
    assert p is None or p.tolist() == [[0] * 4] * 3
