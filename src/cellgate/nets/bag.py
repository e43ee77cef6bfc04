"""Bag: the linear half of a classifier, on a bag of word and character n-grams.

For a text with n-grams g (each occurrence counted): logits = sum_g s_g R_g / sqrt(sum_g s_g^2) + bias, where words and
characters are each divided by a norm of their own: there are ten times as many n-grams of characters. Sums over
occurrences only, so it streams with constant memory and splits exactly among the words. Counting occurrences instead
of their logarithm costs 0.1-0.3 points of accuracy on dev, and buys both.

R is solved, not stepped: a linear support vector machine of the training rows, each label against all others. On rows
held out from training it is 0.5 to 2 points better than the same weights taught by cross-entropy, and takes seconds.

The scale s_g is the n-gram's rarity (inverse document frequency) times the root of how much it tells of the label: of
the root mean square of its naive-Bayes log-ratios (Wang & Manning 2012). Where labels are many, an n-gram that tells
much of one of them says little of the rest, and the ratio, which hurts there, is left out (docs/design.md).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cellgate.batch import Array, Floats, Ids, Ints, TextSizes
from cellgate.config import BagConfig, TrainConfig
from cellgate.nets.half import Half, LabelledBatches
from cellgate.nets.hashing import character_ngrams, chosen_hashes, first_tail, next_tail, token_hashes, token_ngrams
from cellgate.nets.svm import Features, solve
from cellgate.nets.tables import Table, sum_rows

_SHORTEST, _LONGEST = 2, 5  # characters of an n-gram inside a word
_LONG_TEXT = 100  # tokens from which a text counts as long
_FEW_LABELS = 20  # up to which n-grams are scaled by naive-Bayes ratios, and mistakes in training cost less
_COUNT_BUCKETS = 2**22  # n-grams are told apart by this many hash values at most
_MOST_FEATURES = 150_000_000  # that are solved for at once: 1.2 GB
_USUAL_SHARPNESS = 4.0  # of margins that are taken for log-odds, before dev tells it


class Bag(Half):
    """The n-grams kept, their weights R [kept + 1, L] and their scale [kept + 1]; row 0 is no n-gram.

    `index` [buckets] maps a hash to a row. `prepare` chooses the n-grams and their scale by the training rows.
    """

    index: Tensor
    scale: Tensor
    sharpness: Tensor
    steps = False
    smoothing = 0.0

    def __init__(self, config: BagConfig, sizes: TextSizes, costs: Floats) -> None:
        """`costs` [L]: how much a text of each label counts."""
        super().__init__()
        labels = len(costs)
        usual = 0.5 if labels <= _FEW_LABELS else 1.0
        self.costs = costs * (usual if config.penalty == "auto" else config.penalty)
        long_text = sizes.mean_tokens > _LONG_TEXT
        short_words = sizes.unit != "character" and not long_text
        self.longest = (2 if short_words else 3) if config.words == "auto" else config.words
        self.characters = short_words if config.characters == "auto" else config.characters
        self.kinds = 2 if self.characters else 1
        self.min_count = (1 if short_words else 2) if config.min_count == "auto" else config.min_count
        self.max_kept = max(1, config.max_weights // labels)
        self.bias = nn.Parameter(torch.zeros(labels), requires_grad=False)
        self.register_buffer("sharpness", torch.tensor(_USUAL_SHARPNESS))
        self._allocate(kept=0, buckets=1)

    def _allocate(self, kept: int, buckets: int) -> None:
        self.rows = Table(torch.zeros(kept + 1, len(self.bias)))
        self.rows.weight.requires_grad = False
        self.register_buffer("scale", torch.zeros(kept + 1))
        self.register_buffer("index", torch.zeros(buckets, dtype=torch.int32))

    @property
    def whole(self) -> tuple[str, ...]:
        """Nothing: it is made of sums."""
        return ()

    @property
    def tables(self) -> list[Table]:
        """The weights."""
        return [self.rows]

    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:  # noqa: ARG002
        """Nothing that steps would change."""
        return []

    def sharpen(self, factor: float) -> None:
        """Multiply the scores by a factor that dev chose."""
        self.sharpness *= factor

    def prepare(self, rows: LabelledBatches) -> None:
        """Choose the n-grams to keep, the most frequent by the training texts they stand in; scale them, solve."""
        counts = np.zeros(_COUNT_BUCKETS, np.int64)
        texts = features = 0
        for inputs, _ in rows():
            _, buckets, _ = self._counted(inputs, _COUNT_BUCKETS)
            counts += np.bincount(buckets, minlength=_COUNT_BUCKETS)
            texts += len(inputs["lengths"])
            features += len(buckets)
        counts[counts < self.min_count] = 0
        best, width = chosen_hashes(counts, self.max_kept)
        counts = counts.reshape(-1, width).sum(0)
        self._allocate(len(best), width)
        self.index[torch.from_numpy(best)] = torch.arange(1, len(best) + 1, dtype=torch.int32)
        scale = np.log((1 + texts) / (1 + counts[best])) + 1
        if len(self.bias) <= _FEW_LABELS:
            scale *= self._ratios(rows) ** 0.5
        self.scale[1:] = torch.from_numpy(scale)
        self._solve(rows, every=-(-features // _MOST_FEATURES))

    def _solve(self, rows: LabelledBatches, every: int) -> None:
        """Solve for the weights by each `every`-th text."""
        numbers: list[Ids] = []
        values: list[Floats] = []
        lengths: list[Ints] = []
        labels: list[Array] = []
        for inputs, of_batch in rows():
            of_text, found, scaled = self._features(inputs)
            chosen = np.arange(len(of_batch)) % every == 0
            taken = chosen[of_text]
            numbers.append(found[taken])
            values.append(scaled[taken])
            lengths.append(np.bincount(of_text, minlength=len(of_batch))[chosen])
            labels.append(of_batch[chosen])
        present: Floats = np.concatenate(labels).astype(np.float32)
        offsets = np.concatenate(([0], np.cumsum(np.concatenate(lengths))))
        costs = (present * self.costs).sum(1) / present.sum(1).clip(min=1)
        costs = np.where(present.any(1), costs, self.costs.mean()).astype(np.float32)
        features = Features(np.concatenate(numbers), np.concatenate(values), offsets)
        seed = int(torch.randint(2**31, ()))
        weights, bias = solve(features, len(self.scale), present, costs, np.random.default_rng(seed))
        self.rows.weight.data = torch.from_numpy(weights)
        self.bias.data = torch.from_numpy(bias)

    def _features(self, inputs: Mapping[str, Array]) -> tuple[Ints, Ids, Floats]:
        """Of each n-gram of the texts that was kept: the text, its row, and what the weights are multiplied by."""
        parts: list[tuple[Ints, Ids, Floats]] = []
        scale = self.scale.numpy()
        for of_text, hashes in self._occurrences(inputs):
            found = self.index.numpy()[hashes % len(self.index)]
            key, times = np.unique(of_text[found > 0] * len(scale) + found[found > 0], return_counts=True)
            text, row = key // len(scale), key % len(scale)
            norm = np.sqrt(np.bincount(text, times * scale[row] ** 2, minlength=len(inputs["lengths"])))
            parts.append((text, row.astype(np.int32), (times * scale[row] / norm[text]).astype(np.float32)))
        text, row, value = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.argsort(text, kind="stable")
        return text[order], row[order], value[order]

    def _ratios(self, rows: LabelledBatches) -> Floats:
        """Root mean square over the labels, by their share of the rows, of each kept n-gram's log-ratio [kept].

        The log-ratio: of the chance to stand in a text of the label to that in any other text, one text added to each.
        """
        labels, kept = len(self.bias), len(self.scale)
        found = np.zeros((kept, labels), np.float32)
        of_label, texts = np.zeros(labels), 0
        for inputs, present in rows():
            of_text, buckets, _ = self._counted(inputs, len(self.index))
            np.add.at(found, self.index.numpy()[buckets], present[of_text])
            of_label += present.sum(0)
            texts += len(present)
        everywhere = found.sum(1, keepdims=True)
        with_label = (found + 1) / (of_label + 2)
        without = (everywhere - found + 1) / (texts - of_label + 2)
        ratios: Floats = np.sqrt(np.average(np.log(with_label / without) ** 2, axis=1, weights=of_label))
        return ratios[1:]

    def _counted(self, inputs: Mapping[str, Array], buckets: int) -> tuple[Ints, Ints, Ints]:
        """The distinct hash values of each text's n-grams: the text, the value, and how often it stands there."""
        occurrences = self._occurrences(inputs)
        of_text, hashes = (np.concatenate(arrays) for arrays in zip(*occurrences, strict=True))
        key, times = np.unique(of_text * buckets + hashes % buckets, return_counts=True)
        return key // buckets, key % buckets, times

    def _occurrences(self, arrays: Mapping[str, Array]) -> list[tuple[Ints, Ints]]:
        """N-grams of a batch as often as they stand there, words and characters apart: the text and the hash."""
        inputs = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
        tokens, lengths = inputs["tokens"], inputs["lengths"]
        inside = torch.arange(tokens.shape[1])[None, :] < lengths[:, None]
        hashes = token_hashes(inputs["spelling"])[tokens]
        grams, exists = token_ngrams(hashes, first_tail(hashes.shape[0], self.longest), self.longest)
        read = exists & inside[:, :, None]
        found = [(torch.nonzero(read)[:, 0].numpy(), grams[read].numpy())]
        if self.characters:
            of_type, type_exists = character_ngrams(inputs["spelling"], _SHORTEST, _LONGEST)
            texts, places = torch.nonzero(inside, as_tuple=True)
            types = tokens[texts, places]
            read = type_exists[types]
            found.append((texts[:, None].expand(read.shape)[read].numpy(), of_type[types][read].numpy()))
        return found

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """What the bag remembers of a text read so far; sums are doubles, which a long stream still adds to."""
        return {
            "bag.tail": first_tail(rows, self.longest),
            "bag.sum": torch.zeros(rows, self.kinds, len(self.bias), dtype=torch.float64),
            "bag.squares": torch.zeros(rows, self.kinds, dtype=torch.float64),
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
        return (scaled.sum(1).float() + self.bias) * self.sharpness, after

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
