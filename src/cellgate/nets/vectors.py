"""TokenVectors: tokens [B, T], by the table of those that differ, to vectors [B, T, width]."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellgate.batch import TextSizes
from cellgate.config import EncoderConfig
from cellgate.nets.dropout import blank, blank_places, drop_rows, locked, locked_types
from cellgate.nets.hashing import character_ngrams, first_tail, next_tail, token_hashes, token_ngrams
from cellgate.nets.spelling import Spelling, folded
from cellgate.nets.tables import Table, sum_rows
from cellgate.ops import Inputs, Rows
from cellgate.text.lexicon import SETS

# Inputs of a graph that reads tokens and their axes; the state's arrays follow, axis 0 the batch.
AXES = {
    "tokens": ("batch", "time"),
    "lengths": ("batch",),
    "words": ("types",),
    "spelling": ("types", "characters"),
    "lexicon": ("batch", "time", str(SETS), "slots"),
    "lexicon_weights": ("batch", "time", str(SETS), "slots"),
}
_SHORTEST, _LONGEST = 3, 5  # characters of an n-gram inside a word
_UNKNOWN = 0  # the number of words outside the vocabulary
_AT_ONCE = 1_024  # words that are read together when a net settles
_WORD_WIDTH = 50  # of a word's vector


class TokenVectors(nn.Module):
    """A vector for each token: its own, plus one made of hashed n-grams that unknown tokens have too.

    Where pretrained vectors [vocabulary, D] are given, a linear map of the token's is added.
    Words: the mean over their character n-grams; beside both, where `spelling` is set, what a recurrent layer reads in
    their letters. Characters: the pair of a character and the one before it, where `pairs` is "both" also the next;
    beside both, where there is a word list, the means of the words of each of its four sets (Ma et al. 2020).
    """

    def __init__(self, config: EncoderConfig, sizes: TextSizes, vectors: Tensor | None) -> None:
        super().__init__()
        self.config = config
        self.pairs = sizes.unit == "character"
        own = torch.randn(sizes.vocabulary, config.embedding) * 0.1
        own[:2] = 0  # the unknown token and the empty text begin as nothing
        self.own = Table(own)
        self.shared = Table(torch.randn(config.buckets, config.embedding) * 0.1)
        spelled = config.spelling > 0 and not self.pairs
        words = [Table(torch.randn(sizes.lexicon, _WORD_WIDTH) * 0.1)] if sizes.lexicon else []
        self._words = tuple(words)  # none or one; the same module as below, with its type
        self.words = nn.ModuleList(words)
        self.width = config.embedding + (2 * config.spelling if spelled else 0) + len(words) * SETS * _WORD_WIDTH
        self._spelling = (Spelling(config.spelling),) if spelled else ()  # none or one, with its type
        self.spelling = nn.ModuleList(self._spelling)
        given: list[Table] = []
        if vectors is not None:
            given.append(Table(vectors))
            given[0].weight.requires_grad = config.tune_vectors
            self.map = nn.Linear(vectors.shape[1], config.embedding, bias=False)
        self._given = tuple(given)  # none or one; the same module as below, with its type
        self.given = nn.ModuleList(given)
        self.settled: Table | None = None

    @property
    def whole(self) -> tuple[str, ...]:
        """Why a token's vector depends on those behind it, and what to do about it; none: it does not."""
        if not self.pairs:
            return ()
        next_pair = "a character is told its pair with the next: train with --encoder.pairs before"
        words = "a character is told the words of a list that it begins: train without --text.lexicon"
        told = ((next_pair, self.config.pairs == "both"), (words, len(self._words) > 0))
        return tuple(reason for reason, holds in told if holds)

    @property
    def tables(self) -> list[Table]:
        """Those of which a batch reads few rows; n-grams of the characters of its words are most of all n-grams."""
        tuned = [table for table in self._given if table.weight.requires_grad]
        return [self.own, self.shared, *self._words, *tuned] if self.pairs else [self.own, *tuned]

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """The token before the first one, where pairs are read."""
        return {"vectors.tail": first_tail(rows, 2)} if self.pairs else {}

    def forward(self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[Inputs, dict[str, Tensor]]:
        """Vectors [B, T, width], of words as rows of a table, and the state after them."""
        return self._of_characters(inputs, state) if self.pairs else (self._of_words(inputs), {})

    @torch.no_grad()
    def settle(self, spelling: Tensor) -> None:
        """Keep one vector of each word of the vocabulary, spelled [vocabulary, C], in place of all that makes it.

        For when training is over: then only words outside the vocabulary are read by their letters. Vectors are rounded
        to half precision, as a Bundle keeps them. Characters stay as they are.
        """
        if self.pairs:
            return
        words = torch.arange(len(spelling))
        parts = zip(torch.split(words, _AT_ONCE), torch.split(spelling, _AT_ONCE), strict=True)
        self.settled = Table(torch.cat([self._table(*part) for part in parts]).half().float())
        for each in (self.own, *self._given):
            each.weight.data = each.weight.data[_UNKNOWN : _UNKNOWN + 1].clone()

    def _own(self, words: Tensor) -> Tensor:
        """What words [U] have of their own [U, embedding]: a vector, and the map of a pretrained one."""
        rows, places = self.own(words)
        own = F.embedding(places, rows).float()
        for given in self._given:
            rows, places = given(words)
            own = own + self.map(F.embedding(places, rows).float())
        return drop_rows(own, self.config.own_dropout) if self.training else own

    def _of_characters(
        self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]
    ) -> tuple[Inputs, dict[str, Tensor]]:
        own = self._own(inputs["words"])
        tokens, lengths = inputs["tokens"], inputs["lengths"]
        hashes = token_hashes(inputs["spelling"])[tokens]
        grams, _ = token_ngrams(hashes, state["vectors.tail"], 2)
        rows, places = self.shared(grams[:, :, 1] % len(self.shared))
        after = {"vectors.tail": next_tail(hashes, state["vectors.tail"], lengths)}
        pairs = F.embedding(places, rows).float()  # [B, T, embedding]
        x = F.embedding(tokens, own) + pairs
        if self.config.pairs == "both":  # the pair that ends at the next character begins at this one
            last = torch.arange(pairs.shape[1])[None, :] >= lengths[:, None] - 1
            x = x + torch.where(last[:, :, None], 0.0, pairs.roll(-1, 1))
        for words in self._words:
            x = torch.cat([x, self._of_sets(words, inputs)], 2)
        if self.training:
            x = locked(blank(x, self.config.word_dropout), self.config.embedding_dropout)
        return x, after

    def _of_sets(self, words: Table, inputs: Mapping[str, Tensor]) -> Tensor:
        """The means of each set's words [B, T, 4 * width]; of a set without words 0."""
        numbers, weights = inputs["lexicon"], inputs["lexicon_weights"]
        rows, places = words(numbers)
        (means,) = sum_rows(rows, [(places.flatten(0, 2), weights.flatten(0, 2))])
        return means.view(numbers.shape[0], numbers.shape[1], SETS * _WORD_WIDTH)

    def _of_words(self, inputs: Mapping[str, Tensor]) -> Rows:
        tokens, words, spelling = inputs["tokens"], inputs["words"], inputs["spelling"]
        if self.settled is not None:
            return Rows(self._looked_up(self.settled, words, spelling), tokens)
        table = self._table(words, spelling)
        if self.training:
            table = locked_types(table, self.config.embedding_dropout)
            return blank_places(Rows(table, tokens), self.config.word_dropout)
        return Rows(table, tokens)

    def _table(self, words: Tensor, spelling: Tensor) -> Tensor:
        """Vectors [U, width] of words [U] spelled [U, C]."""
        grams, exists = character_ngrams(folded(spelling) if self._spelling else spelling, _SHORTEST, _LONGEST)
        rows, places = self.shared(grams % len(self.shared))  # [U, K]
        (mean,) = sum_rows(rows, [(places, exists / exists.sum(1, keepdim=True).clamp(min=1))])
        return torch.cat([self._own(words) + mean, *(read(spelling) for read in self._spelling)], 1)

    def _looked_up(self, settled: Table, words: Tensor, spelling: Tensor) -> Tensor:
        """As `_table`, but only unknown words are read, and a row is put under it.

        That row is read too, so that a graph never has nothing to read.
        """
        words, spelling = F.pad(words, (0, 1), value=_UNKNOWN), F.pad(spelling, (0, 0, 0, 1), value=1)
        rows, places = settled(words)
        unknown = torch.nonzero(words == _UNKNOWN)[:, 0]
        read = self._table(words[unknown], spelling[unknown])
        return F.embedding(places, rows).float().index_copy(0, unknown, read)
