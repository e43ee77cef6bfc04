"""Window: the linear half of a tagger, by what stands at a token and around it.

The features of a linear-chain conditional random field as they are usually written down by hand (Lafferty et al. 2001;
Sha & Pereira 2003): at each token those of the tokens around it, each by itself, and n-grams of them. Features are
hashed, and each kept one has a row of K scores of its own, so that rare ones need no other to be learned.

Of a token by itself: it, and its shape (Aaa, 00; of characters also whether they are Han or a Chinese digit). A word
also in small letters, its end, and, where it is the token that is tagged, all n-grams of its characters.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cellgate.batch import Array, Ints, TextSizes
from cellgate.config import TrainConfig, WindowConfig
from cellgate.nets.crf import Crf
from cellgate.nets.emitter import Emitter
from cellgate.nets.hashing import START, character_ngrams, chosen_hashes, feature_hashes, token_hashes
from cellgate.nets.net import Batches, Tensors
from cellgate.nets.spelling import folded
from cellgate.nets.tables import Table, sum_rows

_OFFSETS = (-2, -1, 0, 1, 2)  # places around a token whose own features it has
_HERE = _OFFSETS.index(0)
_NGRAMS = {  # places of the tokens that make one feature together
    "character": ((-2, -1), (-1, 0), (0, 1), (1, 2), (-1, 1), (-2, -1, 0), (-1, 0, 1), (0, 1, 2)),
    "word": ((-1, 0), (0, 1), (-1, 1)),
}
_HAN_DIGITS = "〇零一二三四五六七八九十百千万萬亿億兩两"
_SHAPES = ((-1, 0), (0, 1), (-1, 0, 1))  # and places whose shapes do
_SUFFIX = 4  # code points of a word's end: three letters, and the mark that ends every spelling
_LONGEST = 5  # characters of an n-gram inside a word
_UNKNOWN = 0  # the number of words outside the vocabulary
_AT_ONCE = 1_024  # words that are read together when it settles
_COUNT_BUCKETS = 2**22  # features are told apart by this many hash values at most


class Window(Emitter):
    """The features kept and their scores [kept + 1, K]; row 0 is no feature.

    `index` [buckets] maps a hash to a row. `prepare` chooses the features by how often they stand in the training rows.
    """

    index: Tensor
    hashes: Tensor
    rate = 5.0  # a feature is seen in few batches

    def __init__(self, config: WindowConfig, sizes: TextSizes, crf: Crf) -> None:
        super().__init__()
        self.config = config
        self.words = sizes.unit != "character"
        self.ngrams = _NGRAMS["word" if self.words else "character"]
        self.crf = crf
        self.settled: Table | None = None
        self._allocate(kept=0, buckets=1)

    def _allocate(self, kept: int, buckets: int) -> None:
        self.rows = Table(torch.zeros(kept + 1, self.crf.tags))
        self.register_buffer("index", torch.zeros(buckets, dtype=torch.int32))

    @property
    def tables(self) -> list[Table]:
        """The scores."""
        return [self.rows]

    def prepare(self, batches: Batches) -> None:
        """Choose the features to keep: the most frequent ones."""
        counts = np.zeros(_COUNT_BUCKETS, np.int64)
        for inputs, _ in batches():
            counts += np.bincount(self._occurrences(inputs) % _COUNT_BUCKETS, minlength=_COUNT_BUCKETS)
        counts[counts < self.config.min_count] = 0
        best, width = chosen_hashes(counts, max(1, self.config.max_weights // self.crf.tags))
        self._allocate(len(best), width)
        self.index[torch.from_numpy(best)] = torch.arange(1, len(best) + 1, dtype=torch.int32)

    def emitting(self, config: TrainConfig) -> list[dict[str, Any]]:
        """The scores."""
        rate = config.learning_rate * self.rate
        return [{"params": list(self.rows.parameters()), "lr": rate, "weight_decay": config.weight_decay}]

    def _occurrences(self, arrays: Mapping[str, Array]) -> Ints:
        """Hashes of the features of a batch, as often as they stand there."""
        inputs = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
        grams, inside = self._of_places(inputs)
        found = [grams[inside]]
        for (hashes, exists), around in zip(self._of_types(inputs["spelling"]), self._around(inputs), strict=True):
            types = around.flatten()[inside[:, 0]]
            found.append(hashes[types][exists[types]])
        return torch.cat(found).numpy()

    def forward(self, inputs: Tensors) -> Tensor:
        """Scores of the tags at each token [B, T, K]."""
        tokens = inputs["tokens"]
        parts = [self._kept(*self._of_places(inputs))]
        if self.settled is None:
            parts += [self._kept(*of_type) for of_type in self._of_types(inputs["spelling"])]
            of_places, *of_types = self._sums(parts)
        else:
            (of_places,) = self._sums(parts)
            of_types = list(self._looked_up(self.settled, inputs["words"], inputs["spelling"]))
        scores = of_places.view(*tokens.shape, self.crf.tags)
        for table, around in zip(of_types, self._around(inputs), strict=True):
            scores = scores + F.embedding(around, table)
        return scores

    @torch.no_grad()
    def settle(self, spelling: Tensor) -> None:
        """Keep the scores that each word of the vocabulary, spelled [vocabulary, C], brings to the places around it.

        For when training is over: then only words outside the vocabulary are read by their letters. Characters have one
        feature and stay as they are.
        """
        if self.words:
            parts = [torch.cat(self._read(part)[:, 1:].unbind(), 1) for part in torch.split(spelling, _AT_ONCE)]
            self.settled = Table(torch.cat(parts).half().float())
            self.register_buffer("hashes", _hashes(spelling))

    def _around(self, inputs: Tensors) -> list[Tensor]:
        """For each offset, the type that stands there [B, T], counted from 1; 0 is no token."""
        tokens, lengths = inputs["tokens"], inputs["lengths"]
        reach = max(_OFFSETS)
        inside = torch.arange(tokens.shape[1])[None, :] < lengths[:, None]
        padded = F.pad((tokens + 1) * inside, (reach, reach))
        return [padded[:, reach + offset : reach + offset + tokens.shape[1]] for offset in _OFFSETS]

    def _of_places(self, inputs: Tensors) -> tuple[Tensor, Tensor]:
        """Hashes of the n-grams at each token [B * T, templates] and whether it is one."""
        tokens, lengths = inputs["tokens"], inputs["lengths"]
        types = dict(zip(_OFFSETS, self._around(inputs), strict=True))
        found: list[Tensor] = []
        for hashes, ngrams in zip(self._views(inputs).unbind(1), (self.ngrams, _SHAPES), strict=True):
            for offsets in ngrams:
                kind = len(_OFFSETS) * 8 + len(found)
                found.append(feature_hashes(kind, [hashes[types[offset]] for offset in offsets]))
        grams = torch.stack(found, 2).flatten(0, 1)
        inside = (torch.arange(tokens.shape[1])[None, :] < lengths[:, None]).flatten()
        return grams, inside[:, None].expand(grams.shape)

    def _views(self, inputs: Tensors) -> Tensor:
        """Hashes of no token and of each type, as it is and of its shape [1 + U, 2]."""
        if self.settled is None:
            return F.pad(_hashes(inputs["spelling"]), (0, 0, 1, 0), value=START)
        words = inputs["words"]
        unknown = torch.nonzero(words == _UNKNOWN)[:, 0]
        known = F.pad(self.hashes[words], (0, 0, 1, 0), value=START)
        return known.index_copy(0, unknown + 1, _hashes(inputs["spelling"][unknown]))

    def _of_types(self, spelling: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each offset, hashes of the features of no token and of each type [1 + U, F], and whether they exist."""
        alone = [spelling, _shape(spelling)]
        if self.words:
            alone += [folded(spelling), _suffix(spelling)]
        views = [F.pad(token_hashes(each), (1, 0), value=START) for each in alone]
        found: list[tuple[Tensor, Tensor]] = []
        for place in range(len(_OFFSETS)):
            hashes = torch.stack([feature_hashes(place * 8 + kind, [view]) for kind, view in enumerate(views)], 1)
            exists = torch.ones_like(hashes, dtype=torch.bool)
            if self.words and place == _HERE:
                grams, there = character_ngrams(spelling, 1, _LONGEST)
                hashes = torch.cat([hashes, F.pad(grams, (0, 0, 1, 0))], 1)
                exists = torch.cat([exists, F.pad(there, (0, 0, 1, 0))], 1)
            found.append((hashes, exists))
        return found

    def _kept(self, hashes: Tensor, exists: Tensor) -> Tensor:
        """Rows of features, 0 for what was not kept or does not exist."""
        return self.index[hashes % len(self.index)].to(torch.int64) * exists

    def _sums(self, parts: list[Tensor]) -> list[Tensor]:
        """Scores [R, K] of each part's features [R, F], some of which are dropped in training."""
        rows, places = self.rows(torch.cat([numbers.flatten() for numbers in parts]))
        split = places.split([numbers.numel() for numbers in parts])
        found = [place.view_as(numbers) for place, numbers in zip(split, parts, strict=True)]
        if not self.training:
            return [F.embedding(place, rows).float().sum(1) for place in found]  # row 0 is all 0
        share = self.config.dropout
        kept = [((numbers > 0) & (torch.rand(numbers.shape) >= share)) / (1.0 - share) for numbers in parts]
        return sum_rows(rows, list(zip(found, kept, strict=True)))

    def _read(self, spelling: Tensor) -> Tensor:
        """What no token and types spelled [U, C] bring to the places around them [offsets, 1 + U, K]."""
        return torch.stack(self._sums([self._kept(*of_type) for of_type in self._of_types(spelling)]))

    def _looked_up(self, settled: Table, words: Tensor, spelling: Tensor) -> Tensor:
        """As `_read`, but only unknown words are read, and no token, so that there is always something to read."""
        unknown = torch.nonzero(words == _UNKNOWN)[:, 0]
        rows, places = settled(F.pad(words, (1, 0), value=_UNKNOWN))
        known = F.embedding(places, rows).float().view(-1, len(_OFFSETS), self.crf.tags).transpose(0, 1)
        return known.index_copy(1, F.pad(unknown + 1, (1, 0)), self._read(spelling[unknown]))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        """Take the sizes from what is loaded: they were learned from data, not set."""
        self._allocate(len(state_dict[prefix + "rows.weight"]) - 1, len(state_dict[prefix + "index"]))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _hashes(spelling: Tensor) -> Tensor:
    """Hashes of tokens spelled [U, C], as they are and of their shapes [U, 2]."""
    return torch.stack([token_hashes(spelling), token_hashes(_shape(spelling))], 1)


def _shape(spelling: Tensor) -> Tensor:
    """Spelling with each capital written A, each small letter a, digit 0, Han character 一, Han digit 〇."""
    shaped = spelling
    for first, last in ("AZ", "az", "09", "一鿿"):
        inside = (spelling >= ord(first)) & (spelling <= ord(last))
        shaped = torch.where(inside, ord(first), shaped)
    for digit in _HAN_DIGITS:
        shaped = torch.where(spelling == ord(digit), ord("〇"), shaped)
    return shaped


def _suffix(spelling: Tensor) -> Tensor:
    """The last code points of words [U, 4], small letters; in front of a shorter word 0."""
    lengths = (spelling != 0).sum(1, keepdim=True)
    padded = F.pad(folded(spelling), (_SUFFIX, 0))
    return padded.gather(1, lengths + torch.arange(_SUFFIX)[None, :])
