"""Graph: what a Bundle answers with. Arrays go in by name; arrays, and the state after them, come out by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from cellgate.batch import Array, Floats


@dataclass(frozen=True)
class Graph:
    """An ONNX graph in onnxruntime, and what `bundle.json` tells of it."""

    session: ort.InferenceSession
    outputs: Mapping[str, Sequence[str]]
    """Each output with the names of its axes, the scores first; another that is of a batch is told where asked for."""
    state: Sequence[Mapping[str, Any]]
    """Name, dtype and shape without the batch of each array of the state; none where a text must be whole."""
    initial: Mapping[str, Any]
    """Of the state's arrays those that do not begin as zeros."""

    @classmethod
    def load(cls, path: Path, told: Mapping[str, Any]) -> "Graph":
        """Load a graph."""
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.enable_mem_pattern = False  # batches differ in shape: patterns would be kept for each
        options.enable_cpu_mem_arena = False  # the arena never shrinks; memory must stay constant
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return cls(session, told["outputs"], told["state"], told["initial"])

    @property
    def by_token(self) -> bool:
        """Whether scores are of each token; else they are of all text so far."""
        return "time" in self.outputs["scores"]

    def initial_state(self, rows: int) -> dict[str, Array]:
        """The state before a text begins, axis 0 the batch; empty for a net that reads both ways."""
        state = {}
        for entry in self.state:
            array = np.zeros((rows, *entry["shape"]), entry["dtype"])
            array[:] = self.initial.get(entry["name"], 0)
            state[entry["name"]] = array
        return state

    def width(self, output: str) -> int:
        """The size of an output's last axis, where the graph has it fixed."""
        (size,) = (each.shape[-1] for each in self.session.get_outputs() if each.name == output)
        return int(size)

    @cached_property
    def _answers(self) -> tuple[str, ...]:
        """The scores, and what holds for all rows."""
        return tuple(name for name, axes in self.outputs.items() if name == "scores" or "batch" not in axes)

    def run(
        self, inputs: Mapping[str, Array], state: Mapping[str, Array], also: Sequence[str] = ()
    ) -> tuple[dict[str, Floats], dict[str, Array]]:
        """The outputs, those named in `also` among them, and the state after the inputs."""
        told, kept = (*self._answers, *also), [entry["name"] for entry in self.state]
        found = self.session.run([*told, *(f"{name}.next" for name in kept)], {**inputs, **{n: state[n] for n in kept}})
        return dict(zip(told, found, strict=False)), dict(zip(kept, found[len(told) :], strict=True))


class Bound:
    """A graph that reads one text in arrays that stay: each run reads `inputs` and writes `outputs`, in place.

    It goes on in the state that the last one left, of which there are two sets in turn.
    """

    def __init__(self, graph: Graph, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        states = graph.initial_state(1), graph.initial_state(1)
        self._session = graph.session
        self._arrays = (inputs, outputs, states)  # held, for what is bound are addresses
        self._bindings = []
        for before, after in (states, states[::-1]):
            binding = self._session.io_binding()
            for name, array in {**inputs, **before}.items():
                binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
            for name, array in {**outputs, **{f"{name}.next": array for name, array in after.items()}}.items():
                binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
            self._bindings.append(binding)

    def run(self) -> None:
        """Read what `inputs` hold now."""
        self._session.run_with_iobinding(self._bindings[0])
        self._bindings.reverse()
