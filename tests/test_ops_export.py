"""The operators `cellgate::*`: what torch asks of one, and one ONNX node a cell."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.export import Dim

from cellgate.ops import MEMORY, Cell, State, Weights, gru, init_weights, lstm, peephole, rnn, translations

CELLS: tuple[Cell, ...] = ("lstm", "peephole", "gru", "rnn")
DOORS = {"lstm": lstm, "peephole": peephole, "gru": gru, "rnn": rnn}
NODES = {"lstm": "LSTM", "peephole": "LSTM", "gru": "GRU", "rnn": "RNN"}
TOLERANCE = 2e-6  # float32 against float32, tanh and sigmoid by two libraries; outputs are below 1

pytestmark = [
    # Said by torch's exporter of its own code.
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning"),
    # All inputs share one axis B: that is what is wanted.
    pytest.mark.filterwarnings("ignore:# The axis name. B will not be used:UserWarning"),
]


class Layer(torch.nn.Module):
    """One cell as a net would hold it: parameters, and a call of the door."""

    def __init__(self, cell: Cell, reverse: bool) -> None:
        super().__init__()
        self.cell, self.reverse = cell, reverse
        weights = init_weights(cell, 3, 5)
        noise = {
            name: part + 0.1 * torch.randn_like(part) for name, part in weights._asdict().items() if part is not None
        }
        self.parts = torch.nn.ParameterDict(noise)

    def forward(self, x: Tensor, lengths: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        state = State(h, c if self.cell in MEMORY else None)
        y, after = DOORS[self.cell](x, Weights(**self.parts), state, lengths, self.reverse)
        return y, *(part for part in after if part is not None)


class BothWays(torch.nn.Module):
    """An encoder with neither lengths nor state."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead, self.back = Layer("gru", False), Layer("gru", True)

    def forward(self, x: Tensor) -> Tensor:
        sides = [gru(x, Weights(**side.parts), reverse=side.reverse)[0] for side in (self.ahead, self.back)]
        return torch.cat(sides, 2)


def exported(net: torch.nn.Module, given: dict[str, Tensor], axes: dict[str, dict[int, Dim]]) -> onnx.ModelProto:
    program = torch.onnx.export(
        net.eval(),
        kwargs=given,
        dynamo=True,
        dynamic_shapes=axes,
        custom_translation_table=translations(),
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def answers(model: onnx.ModelProto, given: dict[str, Tensor]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}
    found = session.run(None, {name: value.numpy() for name, value in given.items() if name in names})
    return [np.asarray(value) for value in found]


def layer_inputs(steps: int, lengths: list[int]) -> dict[str, Tensor]:
    rows = len(lengths)
    return {
        "x": torch.randn(rows, steps, 3),
        "lengths": torch.tensor(lengths),
        "h": torch.randn(rows, 5),
        "c": torch.randn(rows, 5),
    }


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_export_is_one_node(cell: Cell, reverse: bool) -> None:
    torch.manual_seed(1)
    net, rows = Layer(cell, reverse), {0: Dim("B")}
    axes = {"x": {0: rows[0], 1: Dim("T")}, "lengths": rows, "h": rows, "c": rows}
    # Parameters want gradients here, as they do right after training: the time axis must stay free.
    model = exported(net, layer_inputs(7, [7, 2, 3]), axes)
    assert [node.op_type for node in model.graph.node].count(NODES[cell]) == 1
    assert not {"Loop", "Scan", "If"} & {node.op_type for node in model.graph.node}
    for given in (layer_inputs(9, [9, 0, 3, 1, 8]), layer_inputs(1, [1]), layer_inputs(4, [0, 0])):
        with torch.no_grad():
            wanted = net(**given)
        for value, expected in zip(answers(model, given), wanted, strict=True):
            np.testing.assert_allclose(value, expected.numpy(), rtol=0, atol=TOLERANCE)


def test_export_without_lengths_or_state() -> None:
    torch.manual_seed(2)
    net = BothWays()
    model = exported(net, {"x": torch.randn(3, 7, 3)}, {"x": {0: Dim("B"), 1: Dim("T")}})
    assert [node.op_type for node in model.graph.node].count("GRU") == 2
    x = torch.randn(2, 11, 3)
    with torch.no_grad():
        wanted = net(x)
    np.testing.assert_allclose(answers(model, {"x": x})[0], wanted.numpy(), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("reverse", [False, True])
def test_each_peephole_reaches_its_own_gate(reverse: bool) -> None:
    """One of p's rows at a time is large: taken for another gate's it would show."""
    torch.manual_seed(3)
    net, given = Layer("peephole", reverse), layer_inputs(6, [6, 4])
    for row in range(3):
        with torch.no_grad():
            net.parts["p"].zero_()[row] = torch.linspace(-2, 2, 5)
            wanted = net(**given)
        model = exported(net, given, {name: {} for name in given})
        (node,) = (node for node in model.graph.node if node.op_type == "LSTM")
        assert len(node.input) == 8  # the last is ONNX's P
        for value, expected in zip(answers(model, given), wanted, strict=True):
            np.testing.assert_allclose(value, expected.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_operator_keeps_torch_rules(cell: Cell, reverse: bool) -> None:
    """Schema, shapes, gradients and tracing, by torch's own check."""
    weights = [part.requires_grad_() for part in init_weights(cell, 3, 5) if part is not None]
    state = [torch.randn(4, 5, requires_grad=True) for _ in range(2 if cell in MEMORY else 1)]
    x = torch.randn(4, 6, 3, requires_grad=True)
    arguments = (x, *weights, *state, torch.tensor([2, 6, 0, 4]), reverse)
    torch.library.opcheck(getattr(torch.ops.cellgate, cell).default, arguments)


@pytest.mark.parametrize("cell", CELLS)
def test_operator_without_tokens_returns_copies(cell: Cell) -> None:
    weights = [part for part in init_weights(cell, 3, 5) if part is not None]
    state = [torch.ones(2, 5) for _ in range(2 if cell in MEMORY else 1)]
    lengths = torch.zeros(2, dtype=torch.int64)
    y, *after = getattr(torch.ops.cellgate, cell)(torch.ones(2, 0, 3), *weights, *state, lengths, False)
    assert y.shape == (2, 0, 5)
    for given, taken in zip(state, after, strict=True):
        assert torch.equal(given, taken)
        assert given.data_ptr() != taken.data_ptr()
