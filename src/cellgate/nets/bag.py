"""Bag: the linear half of a classifier, on a bag of word and character n-grams.

For a text with n-grams g (each occurrence counted): logits = sum_g idf_g R_g / sqrt(sum_g idf_g^2) + bias.
Sums over occurrences only, so it streams with constant memory and splits exactly among the words. Counting
occurrences instead of their logarithm costs 0.1-0.3 points of accuracy on dev, and buys both.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from cellgate.batch import Array, TextSizes
from cellgate.config import BagConfig
from cellgate.nets.hashing import character_ngrams, first_tail, next_tail, token_hashes, token_ngrams
from cellgate.nets.tables import Table, sum_rows

_SHORTEST, _LONGEST = 2, 5  # characters of an n-gram inside a word
_LONG_TEXT = 100  # tokens from which a text counts as long
_COUNT_BUCKETS = 2**22  # n-grams are told apart by this many hash values at most


class Bag(nn.Module):
    """The n-grams kept, their weights R [kept + 1, L] and their rarity idf [kept + 1]; row 0 is no n-gram.

    `index` [buckets] maps a hash to a row. `prepare` fills all three from the training texts.
    """

    index: Tensor
    idf: Tensor

    def __init__(self, config: BagConfig, sizes: TextSizes, labels: int) -> None:
        super().__init__()
        long_text = sizes.mean_tokens > _LONG_TEXT
        short_words = sizes.unit != "character" and not long_text
        self.longest = (2 if short_words else 3) if config.words == "auto" else config.words
        self.characters = short_words if config.characters == "auto" else config.characters
        self.min_count = (1 if short_words else 2) if config.min_count == "auto" else config.min_count
        self.max_kept = max(1, config.max_weights // labels)
        self.learning_rate = config.learning_rate
        self.bias = nn.Parameter(torch.zeros(labels))
        self._allocate(kept=0, buckets=1)

    def _allocate(self, kept: int, buckets: int) -> None:
        self.rows = Table(torch.zeros(kept + 1, len(self.bias)))
        self.register_buffer("idf", torch.zeros(kept + 1))
        self.register_buffer("index", torch.zeros(buckets, dtype=torch.int32))

    def prepare(self, batches: Iterable[Mapping[str, Array]]) -> None:
        """Choose the n-grams to keep: the most frequent ones, by the number of training texts they stand in."""
        counts = np.zeros(_COUNT_BUCKETS, np.int64)
        texts = 0
        for inputs in batches:
            tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in inputs.items()}
            for buckets in self._buckets_by_text(tensors, _COUNT_BUCKETS):
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
        self.idf[1:] = torch.from_numpy(np.log((1 + texts) / (1 + counts[best])) + 1)

    def _buckets_by_text(self, inputs: Mapping[str, Tensor], buckets: int) -> Iterable[Array]:
        """For each text of a batch, the distinct hash values of its n-grams."""
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
            "bag.sum": torch.zeros(rows, len(self.bias)),
            "bag.squares": torch.zeros(rows),
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
        (total, squares), *of_types = self._sums(read)
        for of_type, type_squares in of_types:  # [U, L], [U]
            total = total + sum_rows(of_type, [(tokens, inside.to(total.dtype))])[0]
            squares = squares + (type_squares[tokens] * inside).sum(1)
        after = {
            "bag.tail": next_tail(hashes, state["bag.tail"], lengths),
            "bag.sum": state["bag.sum"] + total,
            "bag.squares": state["bag.squares"] + squares,
        }
        logits = after["bag.sum"] / after["bag.squares"].clamp(min=1e-6).sqrt()[:, None] + self.bias
        return logits, after

    def _numbers(self, hashes: Tensor, exists: Tensor) -> Tensor:
        """Rows of n-grams, 0 for those that were not kept or do not exist."""
        return self.index[hashes % len(self.index)].to(torch.int64) * exists

    def _sums(self, read: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """For each [R, K] of row numbers: idf-weighted rows summed over K, [R, L], and the squares of idf, [R]."""
        rows, places = self.rows(torch.cat([numbers.flatten() for numbers in read]))
        split = places.split([numbers.numel() for numbers in read])
        idf = [self.idf[numbers] for numbers in read]
        parts = [(part.view_as(weights), weights) for part, weights in zip(split, idf, strict=True)]
        return list(zip(sum_rows(rows, parts), [weights.square().sum(1) for weights in idf], strict=True))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        """Take the sizes from what is loaded: they were learned from data, not set."""
        self._allocate(len(state_dict[prefix + "idf"]) - 1, len(state_dict[prefix + "index"]))
        super()._load_from_state_dict(state_dict, prefix, *rest)
