"""The contract of a net: what training, export and answering ask of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from cellgate.batch import Array
from cellgate.config import TrainConfig
from cellgate.nets.tables import Table

Tensors = Mapping[str, Tensor]
Batches = Callable[[], Iterable[tuple[Mapping[str, Array], Mapping[str, Array]]]]
"""Gives training inputs and target in batches, as often as it is called."""


class Net(nn.Module, ABC):
    """A torch module from a batch to a loss, or from a batch and a state to scores and a state.

    The state is all that a causal net remembers: a flat set of named arrays with axis 0 the batch, passed in and
    handed back. A net that reads both ways has none.
    """

    axes: Mapping[str, tuple[str, ...]]
    """Inputs in the graph's order, each with the names of its axes."""
    outputs: Mapping[str, tuple[str, ...]]
    """Outputs likewise, "scores" the first; what has no axis `batch` holds for all rows."""

    @property
    @abstractmethod
    def streams(self) -> bool:
        """Whether answers follow a text fed piece by piece."""

    @property
    def whole(self) -> tuple[str, ...]:
        """Why they do not, and what to do about it, where there is more to say; a Bundle tells it."""
        return ()

    @abstractmethod
    def prepare(self, batches: Batches) -> None:
        """Look at training rows before training begins."""

    @abstractmethod
    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
        """Parameters with their peak learning rate and decay, for the optimiser.

        "opens" is the share of all steps after which a group is learned; without it, from the first step.
        """

    @property
    @abstractmethod
    def tables(self) -> list[Table]:
        """Those of which a batch reads few rows; their weights stand in `parameter_groups` like all others."""

    @abstractmethod
    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """What is remembered before a text begins."""

    @abstractmethod
    def loss(self, inputs: Tensors, target: Tensors) -> Tensor:
        """What training lowers: one number."""

    @abstractmethod
    def continued(self, inputs: Tensors, target: Tensors, state: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
        """As `loss`, of texts that go on in that state, and the state after them; an empty one is the initial one.

        A net that reads each text whole has none.
        """

    @abstractmethod
    def forward(self, inputs: Tensors, state: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Outputs of all input so far, and the state after it; an empty state stands for the initial one."""

    @abstractmethod
    def calibrate(self, batches: Iterator[tuple[Tensors, Tensors]], worth: Callable[[], float]) -> dict[str, float]:
        """Fit what dev decides (inputs and target of all its rows); return what should be told of it.

        `worth` is the first metric on dev of the net as it is.
        """
