"""One LSTM layer, computed by Cellgate and by those a user would otherwise take, each as its own users write it.

Legend: B rows, T positions, I inputs, H hidden units; x [B, T, I], y [B, T, H], lengths [B].
"""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cellgate.bench.onnx_peer import lstm_session
from cellgate.bench.rounds import Call
from cellgate.config import usable_cores
from cellgate.errors import WorkError
from cellgate.ops import Weights, init_weights, lstm

_TOLERANCE = 1e-3  # of the largest value; float32 summed in another order differs by 1e-5 here


class Shape(NamedTuple):
    """Sizes of a layer and its batch."""

    rows: int
    """B"""
    steps: int
    """T"""
    inputs: int
    """I"""
    hidden: int
    """H"""

    def __str__(self) -> str:
        return ", ".join(map(str, self))


@dataclass(frozen=True)
class Layer:
    """What all contestants compute: the same input, lengths, weights and gradient of y."""

    shape: Shape
    x: Tensor
    lengths: Tensor
    weights: Weights
    d_y: Tensor  # [B, T, H], zero past a row's end

    @property
    def tokens(self) -> int:
        """Real tokens of the batch: padding is no work that anybody asked for."""
        return int(self.lengths.sum())

    @property
    def gflop(self) -> float:
        """Work of a forward pass [GFLOP]; backward is twice that."""
        _, _, inputs, hidden = self.shape
        return 2e-9 * self.tokens * 4 * hidden * (inputs + hidden)

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Which positions are real, bool [B, T]."""
        return np.arange(self.shape.steps) < self.lengths.numpy()[:, None]


@dataclass(frozen=True)
class Contestant:
    """One way to compute a layer. Each call does all its work before it returns."""

    forward: Call  # without gradients
    y: Callable[[Any], Any]  # what forward returns -> [B, T, H], whatever stands past a row's end
    both: Callable[[], tuple[Any, ...]] | None = None  # forward and backward -> d_x [B, T, I], d of weights


def drawn(shape: Shape, seed: int = 0) -> Layer:
    """Draw a layer; lengths are uniform in [T/4, T], and the longest row has T tokens, as in any padded batch."""
    random = torch.Generator().manual_seed(seed)
    rows, steps, inputs, hidden = shape
    lengths = torch.randint(max(1, steps // 4), steps + 1, (rows,), generator=random)
    lengths[lengths.argmax()] = steps
    past = torch.arange(steps) >= lengths[:, None]
    d_y = torch.randn(rows, steps, hidden, generator=random).masked_fill(past[:, :, None], 0)
    x = torch.randn(rows, steps, inputs, generator=random)
    return Layer(shape, x, lengths, init_weights("lstm", inputs, hidden, random), d_y)


def contestants(layer: Layer, threads: int) -> tuple[dict[str, Contestant], dict[str, str]]:
    """All that can run here, ours first, and of those that cannot why."""
    found = {"ours": _ours(layer), "padded": _padded(layer), "packed": _packed(layer)}
    found["onnxruntime"] = _onnxruntime(layer, threads)
    refusal = keras_refuses(threads)
    if refusal is not None:
        return found, {"keras": refusal}
    found["keras"] = _keras(layer)
    return found, {}


def check_agreement(layer: Layer, found: dict[str, Contestant]) -> None:
    """Stop unless all give our y and our gradient of x: to be fast at something else is no comparison."""
    ours = found["ours"]
    for name, contestant in found.items():
        _check_near(f"y of {name}", layer, contestant.y(contestant.forward()), ours.y(ours.forward()))
        if contestant.both is not None and ours.both is not None:
            _check_near(f"gradient of x of {name}", layer, contestant.both()[0], ours.both()[0])


def _check_near(what: str, layer: Layer, theirs: object, ours: object) -> None:
    given, wanted = np.asarray(theirs)[layer.inside], np.asarray(ours)[layer.inside]
    difference = float(np.abs(given - wanted).max() / np.abs(wanted).max())
    if not difference <= _TOLERANCE:
        raise WorkError(
            f"{what} differs from ours by {difference:.1e} of the largest value at {layer.shape}, more than "
            f"{_TOLERANCE:g}: one of them is wrong, look at `pytest tests/test_ops.py` first"
        )


def _ours(layer: Layer) -> Contestant:
    x = layer.x.clone().requires_grad_()
    w_x, w_h, b = (part.clone().requires_grad_() for part in (layer.weights.w_x, layer.weights.w_h, layer.weights.b))
    weights = Weights(w_x, w_h, b)

    def forward() -> Tensor:
        with torch.no_grad():
            return lstm(x, weights, lengths=layer.lengths)[0]

    def both() -> tuple[Tensor, ...]:
        y, _ = lstm(x, weights, lengths=layer.lengths)
        return torch.autograd.grad(y, [x, w_x, w_h, b], layer.d_y)

    return Contestant(forward, _itself, both)


def _padded(layer: Layer) -> Contestant:
    """torch's own LSTM over the padded batch, which oneDNN computes: padding is computed too."""
    module, x = _torch_module(layer), layer.x.clone().requires_grad_()

    def forward() -> Tensor:
        with torch.no_grad():
            y: Tensor = module(x)[0]
            return y

    def both() -> tuple[Tensor, ...]:
        return torch.autograd.grad(module(x)[0], [x, *module.parameters()], layer.d_y)

    return Contestant(forward, _itself, both)


def _packed(layer: Layer) -> Contestant:
    """torch's own LSTM over a packed batch; y stays packed, for those who can go on with it so."""
    module, x = _torch_module(layer), layer.x.clone().requires_grad_()
    d_data = pack_padded_sequence(layer.d_y, layer.lengths, batch_first=True, enforce_sorted=False).data

    def run() -> Any:  # noqa: ANN401  torch's stub of a packed sequence
        packed = pack_padded_sequence(x, layer.lengths, batch_first=True, enforce_sorted=False)
        return module(packed)[0]

    def forward() -> Any:  # noqa: ANN401
        with torch.no_grad():
            return run()

    def both() -> tuple[Tensor, ...]:
        return torch.autograd.grad(run().data, [x, *module.parameters()], d_data)

    def unpacked(y: Any) -> Tensor:  # noqa: ANN401
        return pad_packed_sequence(y, batch_first=True)[0]

    return Contestant(forward, unpacked, both)


def _torch_module(layer: Layer) -> nn.LSTM:
    w_x, w_h, b, *_ = layer.weights
    module = nn.LSTM(layer.shape.inputs, layer.shape.hidden, batch_first=True)
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), (w_x, w_h, b, torch.zeros_like(b)), strict=True):
            parameter.copy_(value)
    return module


def _onnxruntime(layer: Layer, threads: int) -> Contestant:
    """A graph of one LSTM node that knows lengths; its input lies time first already, as ONNX wants it."""
    session = lstm_session(layer.weights, threads, given=("sequence_lens",))
    feed = {"x": np.ascontiguousarray(layer.x.transpose(0, 1)), "sequence_lens": layer.lengths.numpy().astype(np.int32)}
    return Contestant(lambda: session.run(["y"], feed)[0], lambda y: y[:, 0].transpose(1, 0, 2))


def keras_refuses(threads: int) -> str | None:
    """Say in a sentence why Keras on JAX cannot take part; None if it can."""
    missing = [name for name in ("keras", "jax") if find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed"
    if threads != usable_cores():
        return f"JAX takes all {usable_cores()} usable cores, this run has {threads} threads"
    # Read once, when keras is first imported.
    os.environ.setdefault("KERAS_BACKEND", "jax")
    backend = importlib.import_module("keras").backend.backend()
    return None if backend == "jax" else f"Keras runs on {backend} here; set KERAS_BACKEND=jax"


def _keras(layer: Layer) -> Contestant:
    """A masked LSTM layer of Keras, compiled by JAX; compiling is over before anything is timed."""
    keras, jax = importlib.import_module("keras"), importlib.import_module("jax")
    w_x, w_h, b, *_ = layer.weights
    module = keras.layers.LSTM(layer.shape.hidden, return_sequences=True)
    module.build(tuple(layer.x.shape))
    module.set_weights([w_x.numpy().T, w_h.numpy().T, b.numpy()])
    trained = [variable.value for variable in module.trainable_variables]
    rest = [variable.value for variable in module.non_trainable_variables]
    x, d_y, mask = (jax.numpy.asarray(value) for value in (layer.x.numpy(), layer.d_y.numpy(), layer.inside))

    def run(x: Any, trained: Any) -> Any:  # noqa: ANN401  JAX is untyped here
        return module.stateless_call(trained, rest, x, mask=mask)[0]

    def loss(x: Any, trained: Any) -> Any:  # noqa: ANN401
        return (run(x, trained) * d_y).sum()

    forward, both = jax.jit(run), jax.jit(jax.grad(loss, argnums=(0, 1)))
    return Contestant(
        lambda: jax.block_until_ready(forward(x, trained)), _itself, lambda: jax.block_until_ready(both(x, trained))
    )


def _itself(y: Any) -> Any:  # noqa: ANN401  tensors and arrays of several libraries
    return y
