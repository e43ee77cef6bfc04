"""Bag: the linear half of a classifier, on a bag of word and character n-grams.

For a text with n-grams g (each occurrence counted): logits = sum_g s_g R_g / sqrt(sum_g s_g^2) + bias, where words and
characters are each divided by a norm of their own: there are ten times as many n-grams of characters. Sums over
occurrences only, so it streams with constant memory and splits exactly among the words. Counting occurrences instead
of their logarithm costs 0.1-0.3 points of accuracy on dev, and buys both.

The scale s_g is the n-gram's rarity (inverse document frequency) times the root of how much it tells of the label: of
the root mean square of its naive-Bayes log-ratios (Wang & Manning 2012). Where labels are many, an n-gram that tells
much of one of them says little of the rest, and the ratio, which hurts there, is left out (docs/design.md).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cellgate.batch import Array, Floats, TextSizes
from cellgate.config import BagConfig, TrainConfig
from cellgate.nets.half import Half, LabelledBatches
from cellgate.nets.hashing import character_ngrams, first_tail, next_tail, token_hashes, token_ngrams
from cellgate.nets.tables import Table, sum_rows

_SHORTEST, _LONGEST = 2, 5  # characters of an n-gram inside a word
_LONG_TEXT = 100  # tokens from which a text counts as long
_FEW_LABELS = 20  # up to which n-grams are scaled by naive-Bayes ratios
_COUNT_BUCKETS = 2**22  # n-grams are told apart by this many hash values at most


class Bag(Half):
    """The n-grams kept, their weights R [kept + 1, L] and their scale [kept + 1]; row 0 is no n-gram.

    `index` [buckets] maps a hash to a row. `prepare` chooses the n-grams and their scale by the training rows.
    """

    index: Tensor
    scale: Tensor
    smoothing = 0.0

    def __init__(self, config: BagConfig, sizes: TextSizes, labels: int) -> None:
        super().__init__()
        long_text = sizes.mean_tokens > _LONG_TEXT
        short_words = sizes.unit != "character" and not long_text
        self.longest = (2 if short_words else 3) if config.words == "auto" else config.words
        self.characters = short_words if config.characters == "auto" else config.characters
        self.kinds = 2 if self.characters else 1
        self.min_count = (1 if short_words else 2) if config.min_count == "auto" else config.min_count
        self.max_kept = max(1, config.max_weights // labels)
        self.learning_rate = config.learning_rate
        self.bias = nn.Parameter(torch.zeros(labels))
        self._allocate(kept=0, buckets=1)

    def _allocate(self, kept: int, buckets: int) -> None:
        self.rows = Table(torch.zeros(kept + 1, len(self.bias)))
        self.register_buffer("scale", torch.zeros(kept + 1))
        self.register_buffer("index", torch.zeros(buckets, dtype=torch.int32))

    @property
    def streams(self) -> bool:
        """Always: it is made of sums."""
        return True

    @property
    def tables(self) -> list[Table]:
        """The weights."""
        return [self.rows]

    def parameter_group(self, config: TrainConfig) -> dict[str, Any]:  # noqa: ARG002  its own settings hold its rate
        """Its parameters with their peak learning rate; without decay."""
        return {"params": list(self.parameters()), "lr": self.learning_rate, "weight_decay": 0.0}

    def prepare(self, rows: LabelledBatches) -> None:
        """Choose the n-grams to keep, the most frequent by the training texts they stand in, and scale them."""
        counts = np.zeros(_COUNT_BUCKETS, np.int64)
        texts = 0
        for inputs, _ in rows():
            for buckets in self._buckets_by_text(inputs, _COUNT_BUCKETS):
                counts[buckets] += 1
                texts += 1
        counts[counts < self.min_count] = 0
        kept = min(int(np.count_nonzero(counts)), self.max_kept)
        # Eight hash values for each n-gram kept: about one n-gram in sixteen shares its row with another.
        width = min(_COUNT_BUCKETS, 1 << (8 * kept).bit_length())
        counts = counts.reshape(-1, width).sum(0)
        best = np.sort(np.argsort(-counts, kind="stable")[: min(np.count_nonzero(counts), self.max_kept)])
        self._allocate(len(best), width)
        self.index[torch.from_numpy(best)] = torch.arange(1, len(best) + 1, dtype=torch.int32)
        scale = np.log((1 + texts) / (1 + counts[best])) + 1
        if len(self.bias) <= _FEW_LABELS:
            scale *= self._ratios(rows) ** 0.5
        self.scale[1:] = torch.from_numpy(scale)

    def _ratios(self, rows: LabelledBatches) -> Floats:
        """Root mean square over the labels, by their share of the rows, of each kept n-gram's log-ratio [kept].

        The log-ratio: of the chance to stand in a text of the label to that in any other text, one text added to each.
        """
        labels, kept = len(self.bias), len(self.scale)
        found = np.zeros((kept, labels), np.float32)
        of_label, texts = np.zeros(labels), 0
        for inputs, present in rows():
            for buckets, has in zip(self._buckets_by_text(inputs, len(self.index)), present, strict=True):
                found[self.index[torch.from_numpy(buckets)].numpy()] += has
            of_label += present.sum(0)
            texts += len(present)
        everywhere = found.sum(1, keepdims=True)
        with_label = (found + 1) / (of_label + 2)
        without = (everywhere - found + 1) / (texts - of_label + 2)
        ratios: Floats = np.sqrt(np.average(np.log(with_label / without) ** 2, axis=1, weights=of_label))
        return ratios[1:]

    def _buckets_by_text(self, arrays: Mapping[str, Array], buckets: int) -> Iterable[Array]:
        """For each text of a batch, the distinct hash values of its n-grams."""
        inputs = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
        hashes = token_hashes(inputs["spelling"])[inputs["tokens"]]
        grams, exists = token_ngrams(hashes, first_tail(hashes.shape[0], self.longest), self.longest)
        of_type, type_exists = character_ngrams(inputs["spelling"], _SHORTEST, _LONGEST)
        for row, length in enumerate(inputs["lengths"].tolist()):
            found = grams[row, :length][exists[row, :length]]
            if self.characters:
                types = inputs["tokens"][row, :length]
                found = torch.cat([found, of_type[types][type_exists[types]]])
            yield np.unique((found % buckets).numpy())

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """What the bag remembers of a text read so far."""
        return {
            "bag.tail": first_tail(rows, self.longest),
            "bag.sum": torch.zeros(rows, self.kinds, len(self.bias)),
            "bag.squares": torch.zeros(rows, self.kinds),
        }

    def forward(self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits [B, L] of all text read so far, and the state after it."""
        lengths, tokens, spelling = inputs["lengths"], inputs["tokens"], inputs["spelling"]
        inside = torch.arange(tokens.shape[1])[None, :] < lengths[:, None]  # [B, T]
        hashes = token_hashes(spelling)[tokens]
        grams, exists = token_ngrams(hashes, state["bag.tail"], self.longest)
        read = [self._numbers(grams, exists & inside[:, :, None]).flatten(1)]  # [B, T * longest]
        if self.characters:  # one length at a time: in a graph, many labels make these tables large
            read += [self._numbers(*character_ngrams(spelling, n, n)) for n in range(_SHORTEST, _LONGEST + 1)]  # [U, C]
        of_words, *of_types = self._sums(read)
        kinds = [of_words]
        if self.characters:
            total, squares = of_types[0]  # [U, L], [U]
            for more, more_squares in of_types[1:]:
                total, squares = total + more, squares + more_squares
            kinds.append((sum_rows(total, [(tokens, inside.to(total.dtype))])[0], (squares[tokens] * inside).sum(1)))
        after = {
            "bag.tail": next_tail(hashes, state["bag.tail"], lengths),
            "bag.sum": state["bag.sum"] + torch.stack([total for total, _ in kinds], 1),
            "bag.squares": state["bag.squares"] + torch.stack([squares for _, squares in kinds], 1),
        }
        scaled = after["bag.sum"] / after["bag.squares"].clamp(min=1e-6).sqrt()[:, :, None]
        return scaled.sum(1) + self.bias, after

    def _numbers(self, hashes: Tensor, exists: Tensor) -> Tensor:
        """LabelledBatches of n-grams, 0 for those that were not kept or do not exist."""
        return self.index[hashes % len(self.index)].to(torch.int64) * exists

    def _sums(self, read: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """For each [R, K] of row numbers: scaled rows summed over K, [R, L], and the squares of the scales, [R]."""
        rows, places = self.rows(torch.cat([numbers.flatten() for numbers in read]))
        split = places.split([numbers.numel() for numbers in read])
        scales = [self.scale[numbers] for numbers in read]
        parts = [(part.view_as(weights), weights) for part, weights in zip(split, scales, strict=True)]
        return list(zip(sum_rows(rows, parts), [weights.square().sum(1) for weights in scales], strict=True))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        """Take the sizes from what is loaded: they were learned from data, not set."""
        self._allocate(len(state_dict[prefix + "scale"]) - 1, len(state_dict[prefix + "index"]))
        super()._load_from_state_dict(state_dict, prefix, *rest)
