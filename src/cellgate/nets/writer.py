"""Writer: reads tokens forward and says what comes next. Batch -> loss, or batch and state -> log-probabilities."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellgate.config import TrainConfig, WriterConfig
from cellgate.nets.attention import Attention
from cellgate.nets.dropout import drop_rows, dropped, locked, locked_types
from cellgate.nets.net import Batches, Net, Tensors
from cellgate.nets.sampled import Sample, sampled_loss
from cellgate.nets.tables import Table
from cellgate.ops import Inputs, Rows, State, Weights, init_weights, lstm
from cellgate.ops.products import linear
from cellgate.ops.values import dense

_SAMPLED = 20_000  # tokens above which a softmax over all of them would take most of a step
_WHOLE = 2_048  # tokens up to which all are projected, whether they stand in a step or not


class Writer(Net):
    """tokens [B, T] -> vectors [B, T, D] -> LSTM layers -> [B, T, D] -> scores of V tokens, by the same vectors.

    Above the layers may be a head that looks back at the text (`nets/attention.py`).
    Tied weights: Inan, Khosravi & Socher (2017), Press & Wolf (2017). What is dropped and penalised in training:
    Merity, Keskar & Socher, "Regularizing and optimizing LSTM language models" (2018).
    """

    axes: Mapping[str, tuple[str, ...]] = {"tokens": ("batch", "time"), "lengths": ("batch",)}
    outputs: Mapping[str, tuple[str, ...]] = {
        "scores": ("batch", "time", "vocabulary"),
        "hidden": ("batch", "time", "hidden"),
    }

    def __init__(self, config: WriterConfig, counts: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.table = Table(torch.randn(len(counts), config.embedding) * 0.1, exact=True)
        self.bias = nn.Parameter(torch.zeros(len(counts)))
        self._weights = _layers(config)  # the same as below, with their type
        self.weights = nn.ModuleList(self._weights)
        self._maps = _map(config)
        self.maps = nn.ModuleList(self._maps)  # none or one
        self._weights_back, self._maps_back = (_layers(config), _map(config)) if config.directions == 2 else ((), ())
        self.weights_back, self.maps_back = nn.ModuleList(self._weights_back), nn.ModuleList(self._maps_back)
        sampled = config.softmax == "sampled" or (config.softmax == "auto" and len(counts) > _SAMPLED)
        self._samples = (Sample(torch.tensor(counts), config.samples),) if sampled else ()
        self.samples = nn.ModuleList(self._samples)  # none or one
        width = config.last or config.hidden
        self._heads = (Attention(width, config.embedding, config.attention),) if config.attention else ()
        self.heads = nn.ModuleList(self._heads)  # none or one, above the layers that read forward

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
        for head in self._heads:
            state |= head.initial_state(rows)
        return state

    def _read(self, x: Inputs, lengths: Tensor, state: Tensors, *, reverse: bool = False) -> "_Read":
        config, layers = self.config, self._weights_back if reverse else self._weights
        after: dict[str, Tensor] = {}
        y, thinned, read = torch.empty(0), torch.empty(0), x
        for place, layer in enumerate(layers):
            weights = Weights(**layer)
            if self.training:
                weights = weights._replace(w_h=dropped(weights.w_h, config.weight_dropout))
            before = State(state[f"layer{place}.h"], state[f"layer{place}.c"])
            y, last = lstm(x, weights, before, lengths, reverse=reverse)
            after |= {f"layer{place}.{name}": value for name, value in last._asdict().items() if value is not None}
            share = config.layer_dropout if place + 1 < len(layers) else config.output_dropout
            x = thinned = locked(y, share) if self.training else y
        vectors = _mapped(thinned, self._maps_back if reverse else self._maps)
        for head in () if reverse else self._heads:
            recalled, held = head(y, state[f"layer{len(layers) - 1}.h"], dense(read), lengths, state)
            vectors, after = vectors + recalled, after | held
        return _Read(y, thinned, vectors, after)

    def _foretold(self, x: Inputs, lengths: Tensor, state: Tensors, *, reverse: bool = False) -> "_Foretold":
        y, thinned, vectors, after = self._read(x, lengths, state, reverse=reverse)
        penalty = self.config.activation_penalty * thinned.square().mean()
        if y.shape[1] > 1:
            penalty = penalty + self.config.change_penalty * (y[:, 1:] - y[:, :-1]).square().mean()
        return _Foretold(vectors.flatten(0, 1), penalty, after)

    def loss(self, inputs: Tensors, target: Tensors) -> Tensor:
        """As `continued`, from the beginning of a text."""
        return self.continued(inputs, target, {})[0]

    def continued(self, inputs: Tensors, target: Tensors, state: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the next tokens [nats], mean over the tokens, and penalties; and the state after them.

        With two directions the mean is also over the tokens as they are foretold from those behind them in the step.
        """
        config, tokens, lengths = self.config, inputs["tokens"], inputs["lengths"]
        read, wanted = tokens, target["next"]
        if config.directions == 2:
            read, wanted = torch.cat([tokens, target["next"]]), torch.cat([target["next"], tokens])
        wanted = wanted.flatten()
        asked, places = torch.arange(len(self.bias)), read
        if len(asked) > _WHOLE:
            asked, places = torch.unique(read, return_inverse=True)
        if self._samples:
            sampled, log_chances = self._samples[0](wanted)
            rows, found = self.table(torch.cat([asked, sampled]))
            own, output = found[: len(asked)], F.embedding(found[len(asked) :], rows)
        else:
            rows, own = self.table(asked)
            output = rows
        table = F.embedding(own, rows)
        if self.training:
            table = locked_types(drop_rows(table, config.token_dropout), config.embedding_dropout)
        count = len(lengths)
        foretold = [self._foretold(Rows(table, places[:count]), lengths, state or self.initial_state(count))]
        if config.directions == 2:
            back = self._foretold(Rows(table, places[count:]), lengths, self.initial_state(count), reverse=True)
            foretold.append(back)
        vectors = torch.cat([each.vectors for each in foretold])
        if self._samples:
            lessened = linear(vectors, output, self.bias[sampled] - log_chances)
            loss = sampled_loss(lessened, sampled, log_chances, wanted)
        else:
            loss = F.cross_entropy(linear(vectors, output, self.bias), wanted)
        if self.training:
            loss = loss + torch.stack([each.penalty for each in foretold]).mean()
        return loss, foretold[0].after

    def forward(self, inputs: Tensors, state: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Log-probabilities [B, T, V] of the token behind each, the last layer's outputs [B, T, H], and the state."""
        tokens, lengths = inputs["tokens"], inputs["lengths"]
        table = self.table.weight
        read = self._read(F.embedding(tokens, table), lengths, state or self.initial_state(len(lengths)))
        # One product of matrices, not one a row: a graph then reads the table as it is.
        scores = F.linear(read.vectors.flatten(0, 1), table, self.bias)
        scores = F.log_softmax(scores, 1).view(*tokens.shape, len(self.bias))
        return {"scores": scores, "hidden": read.y}, read.after

    def calibrate(
        self,
        batches: Iterator[tuple[Tensors, Tensors]],  # noqa: ARG002
        worth: Callable[[], float],  # noqa: ARG002
    ) -> dict[str, float]:
        """Nothing is decided on dev."""
        return {}


class _Read(NamedTuple):
    """What one direction makes of the tokens."""

    y: Tensor
    """[B, T, H], outputs of the last layer."""
    thinned: Tensor
    """The same, dropped in training."""
    vectors: Tensor
    """[B, T, D], like those of the tokens that are next."""
    after: dict[str, Tensor]


class _Foretold(NamedTuple):
    """What one direction says of the tokens."""

    vectors: Tensor
    """[B * T, D], like those of tokens."""
    penalty: Tensor
    after: dict[str, Tensor]


def _layers(config: WriterConfig) -> tuple[nn.ParameterDict, ...]:
    """One direction's recurrent layers."""
    widths = [config.embedding, *[config.hidden] * (config.layers - 1), config.last or config.hidden]
    made = (init_weights("lstm", before, width)._asdict() for before, width in pairwise(widths))
    return tuple(
        nn.ParameterDict({name: nn.Parameter(w) for name, w in weights.items() if w is not None}) for weights in made
    )


def _map(config: WriterConfig) -> tuple[nn.Linear, ...]:
    """The map of the last layer's outputs to vectors like those of tokens, where they differ in width."""
    last = config.last or config.hidden
    return (nn.Linear(last, config.embedding, bias=False),) if last != config.embedding else ()


def _mapped(y: Tensor, maps: tuple[nn.Linear, ...]) -> Tensor:
    """Outputs [..., H] as vectors like those of tokens [..., D]."""
    for each in maps:
        y = linear(y, each.weight)
    return y
