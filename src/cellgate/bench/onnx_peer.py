"""onnxruntime's LSTM: a graph of that one node, as an exporter would write it."""

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from cellgate.batch import Floats
from cellgate.ops import Weights

_OPSET, _IR = 18, 10
_GIVEN = {"sequence_lens": TensorProto.INT32, "initial_h": TensorProto.FLOAT, "initial_c": TensorProto.FLOAT}


def lstm_session(weights: Weights, threads: int, given: Sequence[str]) -> ort.InferenceSession:
    """Make a session of one LSTM node over x [T, B, I] that gives y [T, 1, B, H], h and c [1, B, H].

    given: which of `sequence_lens` [B] int32, `initial_h` and `initial_c` [1, B, H] are inputs too. The weights are
    constants, so onnxruntime packs them once.
    """
    w_x, w_h, b, *_ = weights
    bias = _in_onnx_order(b)
    constants = {"w": _in_onnx_order(w_x), "r": _in_onnx_order(w_h), "b": np.concatenate([bias, np.zeros_like(bias)])}
    inputs = ["x", "w", "r", "b", *(name if name in given else "" for name in _GIVEN)]
    while not inputs[-1]:
        inputs.pop()
    node = helper.make_node("LSTM", inputs, ["y", "h", "c"], hidden_size=w_h.shape[1])
    kinds = {"x": TensorProto.FLOAT, **{name: _GIVEN[name] for name in given}}
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "h", "c")],
        [numpy_helper.from_array(value[None], name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def _in_onnx_order(rows: Tensor) -> Floats:
    """Put row blocks i, f, g, o as ONNX has them: i, o, f, g."""
    i, f, g, o = np.split(rows.numpy(), 4)
    return np.concatenate([i, o, f, g])
