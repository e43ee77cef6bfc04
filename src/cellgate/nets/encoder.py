"""Encoder: tokens [B, T] to vectors in context [B, T, width]."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cellgate.batch import TextSizes
from cellgate.config import EncoderConfig, StartConfig, TrainConfig
from cellgate.nets.dropout import locked
from cellgate.nets.vectors import TokenVectors
from cellgate.ops import MEMORY, State, Weights, gru, init_weights, lstm, peephole, rnn

_CELLS = {"lstm": lstm, "peephole": peephole, "gru": gru, "rnn": rnn}


class Encoder(nn.Module):
    """Token vectors, then 1 to 3 recurrent layers that read in one direction or in both."""

    def __init__(
        self, config: EncoderConfig, sizes: TextSizes, vectors: Tensor | None = None, start: StartConfig | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.start = start or StartConfig()
        self.width = config.hidden * config.directions
        self.vectors = TokenVectors(config, sizes, vectors)
        layers: list[nn.ParameterDict] = []
        for layer in range(config.layers):
            width = self.width if layer else self.vectors.width
            for _ in range(config.directions):
                made = init_weights(config.cell, width, config.hidden)
                parameters = {name: nn.Parameter(value) for name, value in made._asdict().items() if value is not None}
                layers.append(nn.ParameterDict(parameters))
        self._weights = tuple(layers)  # one a layer and direction; the same as below, with their type
        self.weights = nn.ModuleList(layers)
        if self.start.freeze:
            self.requires_grad_(requires_grad=False)

    def groups_below(self, above: list[nn.Parameter], config: TrainConfig) -> list[dict[str, Any]]:
        """Parameters with their peak learning rate and decay: these, `above` it, and its own.

        Where it starts from a language model each layer is a group, from the last one down, which learns slower than
        the one above and opens later (Howard & Ruder 2018).
        """
        usual = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
        if self.start.freeze:
            return [{"params": above, **usual}]
        if not self.start.language:
            own = [each for each in self.parameters() if each.requires_grad]
            return [{"params": [*own, *above], **usual}]
        groups: list[dict[str, Any]] = [{"params": above, **usual}]
        below = [
            [weight for each in self.layer(number) for weight in each.values()]
            for number in reversed(range(self.config.layers))
        ]
        for depth, part in enumerate([*below, list(self.vectors.parameters())], start=1):
            rate, opens = config.learning_rate * self.start.slower**depth, depth * self.start.unfreeze
            groups.append({"params": part, **usual, "lr": rate, "opens": opens})
        return groups

    def layer(self, number: int) -> tuple[nn.ParameterDict, ...]:
        """Weights of a layer, a direction each."""
        both = self.config.directions
        return self._weights[number * both : (number + 1) * both]

    @property
    def streams(self) -> bool:
        """Whether a text can be fed piece by piece: it is read forward only, and no token looks at the next."""
        return not self.whole

    @property
    def whole(self) -> tuple[str, ...]:
        """Why it cannot, and what to do about it."""
        both_ways = ("its net reads both ways: train with --encoder.directions 1",)
        return (both_ways if self.config.directions == 2 else ()) + self.vectors.whole

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """Everything remembered before a text begins; axis 0 is the batch."""
        state = self.vectors.initial_state(rows)
        if self.streams:
            for layer in range(self.config.layers):
                for name in ("h", "c") if self.config.cell in MEMORY else ("h",):
                    state[f"layer{layer}.{name}"] = torch.zeros(rows, self.config.hidden)
        return state

    def forward(self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Outputs [B, T, width], zero past each text's end, and the state after them."""
        config, lengths = self.config, inputs["lengths"]
        x, after = self.vectors(inputs, state)
        run = _CELLS[config.cell]
        for layer in range(config.layers):
            outputs = []
            for direction, given in enumerate(self.layer(layer)):
                weights = Weights(**given)
                before = State(state[f"layer{layer}.h"], state.get(f"layer{layer}.c")) if self.streams else None
                y, last = run(x, weights, before, lengths, reverse=direction == 1)
                outputs.append(y)
                if self.streams:
                    after |= {
                        f"layer{layer}.{name}": value for name, value in last._asdict().items() if value is not None
                    }
            y = torch.cat(outputs, 2)
            x = locked(y, config.layer_dropout) if self.training and layer + 1 < config.layers else y
        return y, after
