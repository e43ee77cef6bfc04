"""From a trained net to the graphs that answer: ONNX in float, and in int8 for one text at a time.

Large weights stand once, in weights.safetensors; both graphs point into that file. Tables are kept in half precision.
"""

import json
import logging
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.torch import save
from torch import Tensor, nn

from cellgate import ops
from cellgate.errors import WorkError
from cellgate.nets import Net, hashing_onnx
from cellgate.nets.tables import half_tables

_HIDDEN = "CellgateHidden"  # what nodes are called that the quantiser is not to know
_SHARED_BYTES = 16_384  # a weight of at least this size is kept outside the graph


class _Answering(nn.Module):
    """The net with named positional inputs: the batch's fields, then the state's arrays."""

    def __init__(self, net: Net, fields: list[str], state: list[str]) -> None:
        super().__init__()
        self.net, self.fields, self.state = net, fields, state

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        fields = dict(zip(self.fields, arrays, strict=False))
        before = dict(zip(self.state, arrays[len(self.fields) :], strict=True))
        found, after = self.net(fields, before)
        return (*(found[name] for name in self.net.outputs), *(after[name] for name in self.state))


def export(net: Net, example: Mapping[str, Tensor], folder: Path) -> dict[str, Any]:
    """Write weights.safetensors, model.onnx and, for an LSTM, model.int8.onnx; return the graph's contract.

    `example` is a batch of at least two rows, tokens and distinct tokens; its sizes are not kept.
    The contract lists inputs, outputs and the state's arrays with their first values.
    """
    net.eval()
    with half_tables(net):
        return _export(net, example, folder)


def _export(net: Net, example: Mapping[str, Tensor], folder: Path) -> dict[str, Any]:
    weights = {name: value.detach().contiguous() for name, value in net.state_dict().items()}
    # `save_file` would make a file that only its owner may read.
    (folder / "weights.safetensors").write_bytes(save(weights))
    state: dict[str, Tensor] = net.initial_state(2) if net.streams else {}
    traced = _trace(net, example, state)
    _check_open_axes(traced, net)
    float_graph = folder / "model.onnx"
    onnx.save(traced, float_graph)
    folded = _fold(float_graph)
    onnx.save(_share_weights(folded, weights, folder), float_graph)
    _quantise(folded, weights, folder)
    return {
        "inputs": list(example),
        "outputs": {name: list(axes) for name, axes in net.outputs.items()},
        "state": [
            {"name": name, "dtype": str(value.numpy().dtype), "shape": list(value.shape[1:])}
            for name, value in state.items()
        ],
        "initial": {name: value[0].tolist() for name, value in state.items() if value.any()},
        "whole": list(net.whole),
    }


def _trace(net: Net, example: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> onnx.ModelProto:
    """Run torch's exporter; every axis named in `net.axes`, and the batch of the state, stays open.

    An axis named by a number has that size.
    """
    from onnxscript.optimizer import optimize_ir  # takes a second to import, which a step does not wait for

    names = {axis for axes in net.axes.values() for axis in axes if not axis.isdecimal()}
    open_axes = {axis: torch.export.Dim(axis, min=1) for axis in sorted(names)}
    batch = len(example["lengths"])
    before = tuple(value[:1].expand(batch, *value.shape[1:]).contiguous() for value in state.values())
    shapes: list[dict[int, Any]] = [
        {place: open_axes[axis] for place, axis in enumerate(net.axes[name]) if axis in names} for name in example
    ]
    shapes += [{0: open_axes["batch"]} for _ in state]
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            _Answering(net, list(example), list(state)),
            (*example.values(), *before),
            dynamo=True,
            dynamic_shapes=(tuple(shapes),),
            input_names=[*example, *state],
            output_names=[*net.outputs, *(f"{name}.next" for name in state)],
            custom_translation_table=ops.translations() | hashing_onnx.translations(),
            optimize=False,
            verbose=False,
        )
        if program is None:
            raise WorkError("torch wrote no ONNX graph; this is a bug of Cellgate, please report it")
        # The exporter would go over it twice: as long again, for 4 nodes of a classifier's 380.
        optimize_ir(program.model, num_iterations=1)
        return program.model_proto


def _check_open_axes(model: onnx.ModelProto, net: Net) -> None:
    """The exporter may freeze an axis to the example's size without a word: never ship such a graph."""
    for entry in model.graph.input:
        dims = entry.type.tensor_type.shape.dim
        wanted = net.axes.get(entry.name, ("batch",))
        axes = zip(wanted, dims, strict=False)
        frozen = [axis for axis, dim in axes if not (axis.isdecimal() or dim.dim_param)]
        if frozen:
            raise WorkError(
                f"the graph froze axis {frozen[0]!r} of {entry.name}; this is a bug of Cellgate, please report it"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """What writes graphs warns of its own internals: no user of ours can act on that."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(before)


def _fold(graph: Path) -> onnx.ModelProto:
    """Fold constants (the reordered gates above all), or `DynamicQuantizeLSTM` cannot be formed."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    target = graph.with_name("folded.onnx")
    options.optimized_model_filepath = str(target)
    ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    folded = onnx.load(target)
    target.unlink()
    return folded


def _share_weights(model: onnx.ModelProto, weights: Mapping[str, Tensor], folder: Path) -> onnx.ModelProto:
    """A copy of the graph whose large tensors, where unchanged, point into weights.safetensors."""
    shared = onnx.ModelProto()
    shared.CopyFrom(model)
    places = _places(folder / "weights.safetensors")
    by_content = {
        (str(value.numpy().dtype), tuple(value.shape), value.numpy().tobytes()): name
        for name, value in weights.items()
        if value.nbytes >= _SHARED_BYTES
    }
    for tensor in shared.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        name = by_content.get((str(array.dtype), array.shape, array.tobytes()))
        if name is None:
            continue
        start, length = places[name]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "weights.safetensors"), ("offset", start), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
    return shared


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """Where each tensor of a safetensors file lies: offset and length in bytes."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return {
        name: (8 + size + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0])
        for name, entry in header.items()
    }


def _quantise(folded: onnx.ModelProto, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write model.int8.onnx with every LSTM in int8; onnxruntime quantises no other cell."""
    if not any(node.op_type == "LSTM" for node in folded.graph.node):
        return
    plain = onnx.ModelProto()
    plain.CopyFrom(folded)
    del plain.graph.value_info[:]  # quantize_dynamic stumbles over the shapes it holds
    # It would also turn the table of a Gemm over in place, though another node reads it.
    _rename(plain, "Gemm", _HIDDEN)
    source, target = folder / "plain.onnx", folder / "model.int8.onnx"
    onnx.save(plain, source)
    with _quiet():
        quantize_dynamic(source, target, op_types_to_quantize=["LSTM"], weight_type=QuantType.QInt8)
    source.unlink()
    quantised = onnx.load(target)
    _rename(quantised, _HIDDEN, "Gemm")
    kinds = {node.op_type for node in quantised.graph.node}
    if "LSTM" in kinds or "DynamicQuantizeLSTM" not in kinds:
        raise WorkError("an LSTM stayed in float; this is a bug of Cellgate, please report it")
    onnx.save(_share_weights(quantised, weights, folder), target)


def _rename(model: onnx.ModelProto, kind: str, other: str) -> None:
    for node in model.graph.node:
        node.op_type = other if node.op_type == kind else node.op_type
