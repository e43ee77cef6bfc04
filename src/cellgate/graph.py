"""Graph: what a Bundle answers with. Arrays go in by name; arrays, and the state after them, come out by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """Each output with the names of its axes, the scores first."""
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

    def run(
        self, inputs: Mapping[str, Array], state: Mapping[str, Array]
    ) -> tuple[dict[str, Floats], dict[str, Array]]:
        """The outputs, and the state after the inputs."""
        found = self.session.run(None, {**inputs, **state})
        names = [entry["name"] for entry in self.state]
        outputs, after = found[: len(self.outputs)], found[len(self.outputs) :]
        return dict(zip(self.outputs, outputs, strict=True)), dict(zip(names, after, strict=True))
