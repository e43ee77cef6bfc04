"""Writer: reads tokens forward and says what comes next. Batch -> loss, or batch and state -> log-probabilities."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellgate.config import TrainConfig, WriterConfig
from cellgate.nets.dropout import drop_rows, dropped, locked, locked_types
from cellgate.nets.net import Batches, Net, Tensors
from cellgate.nets.sampled import Sample, sampled_loss
from cellgate.nets.tables import Table
from cellgate.ops import Inputs, Rows, State, Weights, init_weights, lstm

_SAMPLED = 20_000  # tokens above which a softmax over all of them would take most of a step
_WHOLE = 2_048  # tokens up to which all are projected, whether they stand in a step or not


class Writer(Net):
    """tokens [B, T] -> vectors [B, T, D] -> LSTM layers -> [B, T, D] -> scores of V tokens, by the same vectors.

    Tied weights: Inan, Khosravi & Socher (2017), Press & Wolf (2017). What is dropped and penalised in training:
    Merity, Keskar & Socher, "Regularizing and optimizing LSTM language models" (2018).
    """

    axes: Mapping[str, tuple[str, ...]] = {"tokens": ("batch", "time"), "lengths": ("batch",)}
    outputs: Mapping[str, tuple[str, ...]] = {"scores": ("batch", "time", "vocabulary")}

    def __init__(self, config: WriterConfig, counts: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.table = Table(torch.randn(len(counts), config.embedding) * 0.1, exact=True)
        self.bias = nn.Parameter(torch.zeros(len(counts)))
        last = config.last or config.hidden
        widths = [config.embedding, *[config.hidden] * (config.layers - 1), last]
        layers: list[nn.ParameterDict] = []
        for before, width in pairwise(widths):
            made = init_weights("lstm", before, width)
            layers.append(
                nn.ParameterDict({name: nn.Parameter(w) for name, w in made._asdict().items() if w is not None})
            )
        self._weights = tuple(layers)  # the same as below, with their type
        self.weights = nn.ModuleList(layers)
        self._maps = (nn.Linear(last, config.embedding, bias=False),) if last != config.embedding else ()
        self.maps = nn.ModuleList(self._maps)  # none or one
        sampled = config.softmax == "sampled" or (config.softmax == "auto" and len(counts) > _SAMPLED)
        self._samples = (Sample(torch.tensor(counts), config.samples),) if sampled else ()
        self.samples = nn.ModuleList(self._samples)  # none or one

    @property
    def streams(self) -> bool:
        """Yes: it reads forward."""
        return True

    def prepare(self, batches: Batches) -> None:
        """Look at nothing: sizes are all it needs."""

    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
        """Parameters with their peak learning rate and decay, for the optimiser."""
        return [{"params": list(self.parameters()), "lr": config.learning_rate, "weight_decay": config.weight_decay}]

    @property
    def tables(self) -> list[Table]:
        """The tokens' vectors, where a step reads few of them."""
        return [self.table] if self._samples else []

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """Zeros: before a text begins nothing is remembered."""
        state: dict[str, Tensor] = {}
        for place, layer in enumerate(self._weights):
            width = layer["w_h"].shape[1]
            state |= {f"layer{place}.{name}": torch.zeros(rows, width) for name in ("h", "c")}
        return state

    def _read(self, x: Inputs, lengths: Tensor, state: Tensors) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Outputs of the last layer [B, T, H], as they are and dropped, and the state after them."""
        config = self.config
        after: dict[str, Tensor] = {}
        y = thinned = torch.empty(0)
        for place, layer in enumerate(self._weights):
            weights = Weights(**layer)
            if self.training:
                weights = weights._replace(w_h=dropped(weights.w_h, config.weight_dropout))
            y, last = lstm(x, weights, State(state[f"layer{place}.h"], state[f"layer{place}.c"]), lengths)
            after |= {f"layer{place}.{name}": value for name, value in last._asdict().items() if value is not None}
            share = config.layer_dropout if place + 1 < len(self._weights) else config.output_dropout
            x = thinned = locked(y, share) if self.training else y
        return y, thinned, after

    def _mapped(self, y: Tensor) -> Tensor:
        """Outputs [..., H] as vectors like those of tokens [..., D]."""
        for each in self._maps:
            y = each(y)
        return y

    def loss(self, inputs: Tensors, target: Tensors) -> Tensor:
        """As `continued`, from the beginning of a text."""
        return self.continued(inputs, target, {})[0]

    def continued(self, inputs: Tensors, target: Tensors, state: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the next tokens [nats], mean over the tokens, and penalties; and the state after them."""
        config, tokens = self.config, inputs["tokens"]
        following = target["next"].flatten()
        asked, places = (torch.arange(len(self.bias)), tokens) if len(self.bias) <= _WHOLE else _distinct(tokens)
        if self._samples:
            sampled, log_chances = self._samples[0](following)
            rows, found = self.table(torch.cat([asked, sampled]))
            own, output = found[: len(asked)], F.embedding(found[len(asked) :], rows)
        else:
            rows, own = self.table(asked)
            sampled, log_chances, output = torch.arange(len(self.bias)), torch.zeros(()), rows
        table = F.embedding(own, rows)
        if self.training:
            table = locked_types(drop_rows(table, config.token_dropout), config.embedding_dropout)
        lengths = inputs["lengths"]
        y, thinned, after = self._read(Rows(table, places), lengths, state or self.initial_state(len(lengths)))
        vectors = self._mapped(thinned).flatten(0, 1)
        scores = torch.addmm(self.bias[sampled] if self._samples else self.bias, vectors, output.t())
        if self._samples:
            loss = sampled_loss(scores, sampled, log_chances, following)
        else:
            loss = F.cross_entropy(scores, following)
        if self.training:
            loss = loss + config.activation_penalty * thinned.square().mean()
            if y.shape[1] > 1:
                loss = loss + config.change_penalty * (y[:, 1:] - y[:, :-1]).square().mean()
        return loss, after

    def forward(self, inputs: Tensors, state: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Log-probabilities [B, T, V] of the token behind each, and the state after them."""
        tokens, lengths = inputs["tokens"], inputs["lengths"]
        table = self.table.weight
        y, _, after = self._read(F.embedding(tokens, table), lengths, state or self.initial_state(len(lengths)))
        # One product of matrices, not one a row: a graph then reads the table as it is.
        scores = F.linear(self._mapped(y).flatten(0, 1), table, self.bias)
        return {"scores": F.log_softmax(scores, 1).view(*tokens.shape, len(self.bias))}, after

    def calibrate(
        self,
        batches: Iterator[tuple[Tensors, Tensors]],  # noqa: ARG002
        worth: Callable[[], float],  # noqa: ARG002
    ) -> dict[str, float]:
        """Nothing is decided on dev."""
        return {}


def _distinct(tokens: Tensor) -> tuple[Tensor, Tensor]:
    found, places = torch.unique(tokens, return_inverse=True)
    return found, places
