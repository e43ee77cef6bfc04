"""The kernel's doors for numpy arrays: they meet the equations, name what is wrong, and need no torch."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgate import kernel, ops
from cellgate.errors import UsageError
from cellgate.kernel import State, Weights, gru, lstm, peephole, rnn
from cellgate.ops import GATES, MEMORY, Cell, reference

CELLS: tuple[Cell, ...] = ("lstm", "peephole", "gru", "rnn")
DOORS = {"lstm": lstm, "peephole": peephole, "gru": gru, "rnn": rnn}

needs_kernel = pytest.mark.skipif(kernel.missing is not None, reason=f"no kernel: {kernel.missing}")

# Against the equations in float64. Values are below 5 and at most 7 steps follow each other: float32's 6e-8 grows to
# 6e-7 of 1 + |value|, the largest of 1,200 cases.
TOLERANCE = 2e-6

# The same numbers, laid out in memory in other ways.
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda array: array,
    "transposed": np.asfortranarray,
    "sliced": lambda array: np.repeat(array, 2, -1)[..., ::2],
    "backwards": lambda array: array[..., ::-1].copy()[..., ::-1],
    "read only": lambda array: _read_only(array.copy()),
}


def _read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


class Case(NamedTuple):
    batch: int
    steps: int
    inputs: int
    hidden: int
    lengths: list[int] | None
    reverse: bool
    with_state: bool
    with_b_h: bool
    threads: int
    layouts: list[str]
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    batch, steps = draw(st.integers(0, 6)), draw(st.integers(0, 7))
    return Case(
        batch,
        steps,
        draw(st.integers(0, 9)),
        draw(st.integers(1, 40)),
        draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.integers(0, 4)),
        draw(st.lists(st.sampled_from(list(LAYOUTS)), min_size=9, max_size=9)),
        draw(st.integers(0, 99)),
    )


class Inputs(NamedTuple):
    x: Any
    weights: Weights
    state: State | None
    lengths: Any


def inputs_of(cell: Cell, case: Case) -> Inputs:
    generator = np.random.default_rng(case.seed)
    layouts = iter(case.layouts)

    def draw(*shape: int, scale: float = 1.0) -> Any:
        return LAYOUTS[next(layouts)]((generator.normal(size=shape) * scale).astype(np.float32))

    batch, hidden, rows = case.batch, case.hidden, GATES[cell] * case.hidden
    x, w_x = draw(batch, case.steps, case.inputs), draw(rows, case.inputs)
    w_h, b = draw(rows, hidden, scale=hidden**-0.5), draw(rows)
    b_h = draw(hidden) if cell == "gru" and case.with_b_h else None
    p = draw(3, hidden) if cell == "peephole" else None
    state = State(draw(batch, hidden), draw(batch, hidden) if cell in MEMORY else None) if case.with_state else None
    lengths = None if case.lengths is None else LAYOUTS[case.layouts[-1]](np.array(case.lengths, np.int64))
    return Inputs(x, Weights(w_x, w_h, b, b_h, p), state, lengths)


def arrays(*parts: Any) -> list[Any]:
    """The arrays in nested tuples."""
    found = (arrays(*part) if isinstance(part, tuple) else [part] for part in parts if part is not None)
    return [array for some in found for array in some]


def equations(cell: Cell, inputs: Inputs, reverse: bool) -> list[Any]:
    """y and the last state by the reference in float64."""

    def exact(array: Any) -> Any:
        return None if array is None else torch.from_numpy(np.array(array, np.float64))

    x, weights, state, lengths = inputs
    shape = x.shape[0], weights.w_h.shape[1]
    if state is None:
        state = State(np.zeros(shape, np.float32), np.zeros(shape, np.float32) if cell in MEMORY else None)
    y, after = reference.run(
        cell,
        exact(x),
        ops.Weights(*map(exact, weights)),
        ops.State(*map(exact, state)),
        None if lengths is None else torch.from_numpy(lengths.copy()),
        reverse,
    )
    return [part.numpy() for part in (y, *after) if part is not None]


@needs_kernel
@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(case=cases())
def test_door_meets_equations(cell: Cell, case: Case) -> None:
    inputs = inputs_of(cell, case)
    before = [array.copy() for array in arrays(*inputs)]
    got = arrays(*DOORS[cell](*inputs, reverse=case.reverse, threads=case.threads))
    wanted = equations(cell, inputs, case.reverse)
    assert len(got) == len(wanted)
    for value, expected in zip(got, wanted, strict=True):
        assert value.shape == expected.shape
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected, rtol=TOLERANCE, atol=TOLERANCE)
    for array, copy in zip(arrays(*inputs), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def large(cell: Cell) -> Inputs:
    """Rows of which every thread gets some, and weights large enough to share out."""
    return inputs_of(cell, Case(9, 5, 30, 130, [5, 0, 3, 5, 1, 2, 5, 4, 5], True, True, True, 0, ["plain"] * 9, 1))


@needs_kernel
@pytest.mark.parametrize("rows", [9, 1])
@pytest.mark.parametrize("cell", CELLS)
def test_bits_are_the_same_for_any_threads(cell: Cell, rows: int) -> None:
    x, weights, state, lengths = large(cell)
    assert state is not None
    state = State(*(None if part is None else part[:rows] for part in state))  # type: ignore[arg-type]
    given = x[:rows], weights, state, lengths[:rows]
    first = arrays(*DOORS[cell](*given, threads=1))
    for threads in (0, 2, 3, 5, 64):
        for value, expected in zip(arrays(*DOORS[cell](*given, threads=threads)), first, strict=True):
            assert value.tobytes() == expected.tobytes()


@needs_kernel
def test_two_threads_at_once() -> None:
    inputs = large("lstm")
    wanted = lstm(*inputs, threads=1)[0].tobytes()
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(lambda _: lstm(*inputs, threads=3)[0].tobytes(), range(100))) == {wanted}


X = np.zeros((2, 3, 4), np.float32)
W = Weights(np.zeros((20, 4), np.float32), np.zeros((20, 5), np.float32), np.zeros(20, np.float32))
STATE = State(np.zeros((2, 5), np.float32), np.zeros((2, 5), np.float32))
NO_ARRAY: Any = [3, 3]
RNN = Weights(W.w_x[:5], W.w_h[:5], W.b[:5])
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "x axes": (lambda: lstm(X[0], W), "x: expected float32 [B, T, I], got float32 [3, 4]"),
    "x dtype": (lambda: lstm(X.astype(np.float64), W), "x: expected float32 [B, T, I], got float64 [2, 3, 4]"),
    "x byte order": (lambda: lstm(X.astype(">f4"), W), "x: expected float32 [B, T, I], got >f4 [2, 3, 4]"),
    "x no array": (lambda: lstm(NO_ARRAY, W), "x: expected float32 [B, T, I], got list"),
    "x a tensor": (lambda: lstm(torch.zeros(2, 3, 4), W), "x: expected float32 [B, T, I], got Tensor"),  # type: ignore[arg-type]
    "w_x": (lambda: lstm(X[:, :, :3], W), "weights.w_x: expected float32 [G*H, I] = [20, 3], got float32 [20, 4]"),
    "w_x turned": (lambda: lstm(X, W._replace(w_x=W.w_x.T)), "weights.w_x: expected float32 [G*H, I] = [20, 4], got"),
    "w_h": (lambda: gru(X, W), "weights.w_h: expected float32 [G*H, H] = [15, 5], got float32 [20, 5]"),
    "w_h axes": (lambda: lstm(X, W._replace(w_h=W.b)), "weights.w_h: expected float32 [G*H, H], got float32 [20]"),
    "w_h None": (lambda: lstm(X, W._replace(w_h=None)), "weights.w_h: expected float32 [G*H, H], got NoneType"),  # type: ignore[arg-type]
    "b": (lambda: lstm(X, W._replace(b=W.b[1:])), "weights.b: expected float32 [G*H] = [20], got float32 [19]"),
    "b_h": (lambda: lstm(X, W._replace(b_h=W.b[:5])), "weights.b_h of lstm: expected None, only gru has it; got"),
    "b_h of gru": (
        lambda: gru(X, Weights(W.w_x[:15], W.w_h[:15], W.b[:15], W.b)),
        "weights.b_h: expected float32 [H] = [5], got float32 [20]",
    ),
    "no p": (lambda: peephole(X, W), "weights.p: expected float32 [3, H] = [3, 5], got NoneType"),
    "p": (lambda: peephole(X, W._replace(p=W.b)), "weights.p: expected float32 [3, H] = [3, 5], got float32 [20]"),
    "p of lstm": (
        lambda: lstm(X, W._replace(p=W.w_h[:3])),
        "weights.p of lstm: expected None, only peephole has it; got",
    ),
    "state.h": (lambda: lstm(X, W, STATE._replace(h=X[0])), "state.h: expected float32 [B, H] = [2, 5], got"),
    "state.c": (lambda: lstm(X, W, State(STATE.h)), "state.c: expected float32 [B, H] = [2, 5], got NoneType"),
    "state.c of rnn": (
        lambda: rnn(X, RNN, STATE),
        "state.c of rnn: expected None, only lstm and peephole have it; got",
    ),
    "lengths list": (lambda: lstm(X, W, None, NO_ARRAY), "lengths: expected int64 [B] = [2], got list"),
    "lengths dtype": (
        lambda: lstm(X, W, None, np.array([3, 3], np.int32)),
        "lengths: expected int64 [B] = [2], got int32 [2]",
    ),
    "lengths rows": (lambda: lstm(X, W, None, np.array([3])), "lengths: expected int64 [B] = [2], got int64 [1]"),
    "too long": (lambda: lstm(X, W, None, np.array([3, 4])), "lengths: expected 0 to T = 3, got 4 in row 1"),
    "negative": (lambda: lstm(X, W, None, np.array([-1, 4])), "lengths: expected 0 to T = 3, got -1 in row 0"),
    "threads": (lambda: lstm(X, W, threads=-1), "threads: expected 0, for all cores, or more, got -1"),
}


@needs_kernel
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arguments_are_named(wrong: str) -> None:
    call, message = WRONG[wrong]
    with pytest.raises(UsageError) as error:
        call()
    assert message in str(error.value)


def run_script(script: str) -> str:
    """What a fresh interpreter prints; 60 s are for a machine under load."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


SMALL = """
import numpy as np
from cellgate.kernel import Weights, lstm
ones = lambda *shape: np.ones(shape, np.float32)
x, weights = ones(8, 6, 3), Weights(ones(4 * 130, 3) / 3, ones(4 * 130, 130) / 130, ones(4 * 130))
def answer():
    return lstm(x, weights, lengths=np.array([6, 2, 6, 0, 1, 3, 6, 4]), threads=3)[0].tobytes()
"""


@needs_kernel
def test_needs_no_torch() -> None:
    script = f"import sys\nsys.modules['torch'] = None\n{SMALL}\nprint(len(answer()))"
    assert run_script(script) == str(8 * 6 * 130 * 4)


@needs_kernel
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes() -> None:
    script = f"""{SMALL}
import os, signal
wanted = answer()
for _ in range(5):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that hangs is ended
        os._exit(0 if answer() == wanted else 1)
    assert os.waitpid(child, 0)[1] == 0
assert answer() == wanted
print("same")
"""
    assert run_script(script) == "same"


# Not sys.modules[...] = None: an import that finds nothing ends otherwise than one that is forbidden.
HIDDEN = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name == "cellgate.kernel._native":
            raise {error}

sys.meta_path.insert(0, Block())
from cellgate.errors import UsageError

def refusal(call):
    try:
        call()
    except UsageError as error:
        return str(error)
"""
ABSENT = 'ModuleNotFoundError(f"No module named {name!r}", name=name)'
NOT_BUILT = "it was not built when Cellgate was installed; install a C++ compiler (g++ or clang++), then Cellgate again"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ABSENT, NOT_BUILT),
        ("ImportError('libgone.so: no such file')", "it was built but cannot be loaded: libgone.so: no such file"),
    ],
    ids=["absent", "broken"],
)
def test_a_missing_extension_is_told(error: str, reason: str) -> None:
    script = f"""{HIDDEN.format(error=error)}
import numpy as np
from cellgate import kernel
assert kernel.missing == {reason!r}, kernel.missing
assert kernel.widths() == []
x = np.zeros((1, 1, 1), np.float32)
for door in (kernel.lstm, kernel.peephole, kernel.gru, kernel.rnn):
    told = refusal(lambda: door(x, kernel.Weights(x, x, x)))
    assert told == "no kernel: " + kernel.missing, told
print("told")
"""
    assert run_script(script) == "told"


def test_without_the_extension_padded_serves() -> None:
    script = f"""{HIDDEN.format(error=ABSENT)}
import torch
from cellgate.ops import backends, init_weights, lstm
x, weights = torch.zeros(2, 3, 4), init_weights("lstm", 4, 5)
verdicts = {{verdict.backend: verdict for verdict in backends("lstm", x, weights)}}
assert verdicts["native"].refusal == {NOT_BUILT!r}, verdicts
assert verdicts["padded"].serves, verdicts
assert lstm(x, weights)[0].shape == (2, 3, 5)
told = refusal(lambda: lstm(x, weights, backend="native"))
assert told == "backend 'native' refuses this lstm: " + {NOT_BUILT!r}, told
print("told")
"""
    assert run_script(script) == "told"
