"""One token of one text: what an answer in a stream waits for. Here the call itself costs as much as the sums."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cellgate import kernel
from cellgate.batch import Floats
from cellgate.bench.onnx_peer import lstm_session
from cellgate.errors import WorkError
from cellgate.ops import State, Weights, init_weights, lstm

_TOLERANCE = 1e-4  # of values that lie within 1

Step = Callable[[], object]
"""Token and state in, output [H] (however its library shapes it) and the state after it out; returns the output."""


@dataclass(frozen=True)
class Token:
    """A layer as wide as its input, one token and the state before it."""

    weights: Weights
    x: Tensor  # [1, 1, I], I = H
    h: Tensor  # [1, H]
    c: Tensor  # [1, H]


def token(width: int, seed: int = 0) -> Token:
    """Draw one."""
    random = torch.Generator().manual_seed(seed)
    x, h, c = (torch.randn(1, width, generator=random) for _ in range(3))
    return Token(init_weights("lstm", width, width, random), x[None], h.tanh(), c)


def steps(given: Token, threads: int) -> tuple[dict[str, Step], dict[str, str]]:
    """All that can run here, ours first, and of those that cannot why; WorkError where their answers differ."""
    found, left_out = {"ours": _door(given)}, {}
    if kernel.missing is None:
        found["kernel"] = _kernel(given, threads)
    else:
        left_out["kernel"] = kernel.missing
    found["onnxruntime"] = _onnxruntime(given, threads)
    wanted = np.ravel(np.asarray(found["ours"]()))
    for name, step in found.items():
        difference = float(np.abs(np.ravel(np.asarray(step())) - wanted).max())
        if not difference <= _TOLERANCE:
            raise WorkError(f"one token: {name} differs from ours by {difference:.1e}; one of them is wrong")
    return found, left_out


def _door(given: Token) -> Step:
    """The torch door."""
    state = State(given.h, given.c)

    def step() -> Tensor:
        with torch.no_grad():
            return lstm(given.x, given.weights, state)[0]

    return step


def _kernel(given: Token, threads: int) -> Step:
    """The numpy door, which needs no torch."""
    w_x, w_h, b, *_ = given.weights
    weights = kernel.Weights(w_x.numpy(), w_h.numpy(), b.numpy())
    x, state = given.x.numpy(), kernel.State(given.h.numpy(), given.c.numpy())

    def step() -> Floats:
        return kernel.lstm(x, weights, state, threads=threads)[0]

    return step


def _onnxruntime(given: Token, threads: int) -> Step:
    session = lstm_session(given.weights, threads, given=("initial_h", "initial_c"))
    feed = {"x": given.x.numpy(), "initial_h": given.h[None].numpy(), "initial_c": given.c[None].numpy()}

    def step() -> object:
        return session.run(None, feed)[0]

    return step
