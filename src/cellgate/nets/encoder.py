"""Encoder: tokens [B, T] to vectors in context [B, T, width]."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellgate.batch import TextSizes
from cellgate.config import EncoderConfig
from cellgate.nets.dropout import blank, blank_places, locked, locked_types
from cellgate.nets.hashing import character_ngrams, first_tail, next_tail, token_hashes, token_ngrams
from cellgate.nets.tables import Table, sum_rows
from cellgate.ops import MEMORY, Inputs, Rows, State, Weights, gru, init_weights, lstm, peephole, rnn

_CELLS = {"lstm": lstm, "peephole": peephole, "gru": gru, "rnn": rnn}
_SHORTEST, _LONGEST = 3, 5  # characters of an n-gram inside a word


class TokenVectors(nn.Module):
    """A vector for each token: its own, plus one made of hashed n-grams that unknown tokens have too.

    Where pretrained vectors [vocabulary, D] are given, a linear map of the token's is added.
    Words: the mean over their character n-grams. Characters: the pair of a character and the one before it.
    """

    def __init__(self, config: EncoderConfig, sizes: TextSizes, vectors: Tensor | None) -> None:
        super().__init__()
        self.config = config
        self.pairs = sizes.unit == "character"
        own = torch.randn(sizes.vocabulary, config.embedding) * 0.1
        own[:2] = 0  # the unknown token and the empty text begin as nothing
        self.own = Table(own)
        self.shared = Table(torch.randn(config.buckets, config.embedding) * 0.1)
        given: list[Table] = []
        if vectors is not None:
            given.append(Table(vectors))
            given[0].weight.requires_grad = config.tune_vectors
            self.map = nn.Linear(vectors.shape[1], config.embedding, bias=False)
        self._given = tuple(given)  # none or one; the same module as below, with its type
        self.given = nn.ModuleList(given)

    @property
    def tables(self) -> list[Table]:
        """Those of which a batch reads few rows; n-grams of the characters of its words are most of all n-grams."""
        tuned = [table for table in self._given if table.weight.requires_grad]
        return [self.own, self.shared, *tuned] if self.pairs else [self.own, *tuned]

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """The token before the first one, where pairs are read."""
        return {"vectors.tail": first_tail(rows, 2)} if self.pairs else {}

    def forward(self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[Inputs, dict[str, Tensor]]:
        """Vectors [B, T, embedding], of words as rows of a table, and the state after them."""
        tokens, spelling = inputs["tokens"], inputs["spelling"]
        rows, places = self.own(inputs["words"])
        own = F.embedding(places, rows).float()  # [U, embedding]
        for given in self._given:
            rows, places = given(inputs["words"])
            own = own + self.map(F.embedding(places, rows).float())
        if self.pairs:
            hashes = token_hashes(spelling)[tokens]
            grams, _ = token_ngrams(hashes, state["vectors.tail"], 2)
            rows, places = self.shared(grams[:, :, 1] % len(self.shared))
            after = {"vectors.tail": next_tail(hashes, state["vectors.tail"], inputs["lengths"])}
            x = F.embedding(tokens, own) + F.embedding(places, rows).float()
            if self.training:
                x = locked(blank(x, self.config.word_dropout), self.config.embedding_dropout)
            return x, after
        grams, exists = character_ngrams(spelling, _SHORTEST, _LONGEST)  # [U, K]
        rows, places = self.shared(grams % len(self.shared))
        (mean,) = sum_rows(rows, [(places, exists / exists.sum(1, keepdim=True).clamp(min=1))])
        table = own + mean
        if self.training:
            table = locked_types(table, self.config.embedding_dropout)
            return blank_places(Rows(table, tokens), self.config.word_dropout), {}
        return Rows(table, tokens), {}


class Encoder(nn.Module):
    """Token vectors, then 1 to 3 recurrent layers that read in one direction or in both."""

    def __init__(self, config: EncoderConfig, sizes: TextSizes, vectors: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        self.width = config.hidden * config.directions
        self.vectors = TokenVectors(config, sizes, vectors)
        layers: list[nn.ParameterDict] = []
        for layer in range(config.layers):
            width = self.width if layer else config.embedding
            for _ in range(config.directions):
                made = init_weights(config.cell, width, config.hidden)
                parameters = {name: nn.Parameter(value) for name, value in made._asdict().items() if value is not None}
                layers.append(nn.ParameterDict(parameters))
        self._weights = tuple(layers)  # one a layer and direction; the same as below, with their type
        self.weights = nn.ModuleList(layers)

    @property
    def streams(self) -> bool:
        """Whether a text can be fed piece by piece: it is read forward only."""
        return self.config.directions == 1

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
            for direction in range(config.directions):
                weights = Weights(**self._weights[layer * config.directions + direction])
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
