"""Text to tokens, each token to a number and to its characters.

A token outside the vocabulary still has its characters, so nets can tell unknown words apart.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer, models

from cellgate.batch import Array, Floats, Ids, Ints, Ragged, TextSizes, chunked, pad
from cellgate.config import TextConfig
from cellgate.errors import DataError, UsageError
from cellgate.text.tokens import UNKNOWN, Unit, han_share, learn_tokenizer, whole
from cellgate.text.vectors import read_vectors, read_words

UNKNOWN_ID, EMPTY_ID = 0, 1
WORD_START, WORD_END = 1, 2  # code points no text contains as letters: they mark a spelling's ends
_SPELLED = 18  # characters of a token that are kept as its spelling
_SAMPLE = 2_000  # texts looked at to choose the unit and to measure the usual length
_TOKEN_CHARACTERS = 16  # characters per token, on average, that are read of a text before it is cut
_GROUP_CHARACTERS = 1_000_000  # characters tokenised at once: their offsets take a hundred times as many bytes


class Coverage(NamedTuple):
    """How much of the training texts has a pretrained vector."""

    words: int
    """Words of the training texts' own vocabulary that have one."""
    of: int
    """Words of that vocabulary."""
    tokens: float
    """Share of the tokens, by a sample of the texts."""


@dataclass(frozen=True)
class TextCodec:
    """A learned tokeniser and what was seen while learning it."""

    tokenizer: Tokenizer
    unit: Unit
    mean_tokens: float  # of the training texts
    max_tokens: int
    spellings: Ints  # [vocabulary, characters], see `_spell`
    coverage: Coverage | None = None  # of the pretrained vectors, if any

    @classmethod
    def learn(cls, config: TextConfig, texts: Iterable[str]) -> "TextCodec":
        """Learn a vocabulary from training texts, which are iterated more than once."""
        limit = _TOKEN_CHARACTERS * config.max_tokens
        sample = [whole(text) for text in _spread((text[:limit] for text in texts), _SAMPLE)]
        unit: Unit
        unit = config.unit if config.unit != "auto" else "character" if han_share(sample) > 0.5 else "word"
        tokenizer = learn_tokenizer(
            texts,
            unit,
            lowercase=config.lowercase,
            nfkc=config.nfkc,
            min_count=config.min_count,
            max_vocabulary=config.max_vocabulary,
        )
        lengths = [min(len(tokenizer.encode(text)), config.max_tokens) for text in sample]
        if not any(lengths) and tokenizer.get_vocab_size() <= 2:
            raise DataError("every text is empty; name the column that holds the texts")
        coverage = _add_words(tokenizer, unit, config, sample) if config.vectors else None
        return cls._of(tokenizer, unit, float(np.mean(lengths)), config.max_tokens, coverage)

    @classmethod
    def _of(
        cls, tokenizer: Tokenizer, unit: Unit, mean_tokens: float, max_tokens: int, coverage: Coverage | None = None
    ) -> "TextCodec":
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        spellings = _spell([token for token, _ in vocabulary])
        spellings[[UNKNOWN_ID, EMPTY_ID]] = 0  # these two are no words: they have no spelling
        tokenizer.encode_special_tokens = True  # a text that says "[UNK]" holds that word and two brackets
        return cls(tokenizer, unit, mean_tokens, max_tokens, spellings, coverage)

    def __len__(self) -> int:
        return len(self.spellings)

    @property
    def sizes(self) -> TextSizes:
        """What a net must know of this codec."""
        return TextSizes(len(self), self.unit, self.mean_tokens)

    def vectors(self, path: str) -> Floats:
        """Pretrained vectors [vocabulary, D] of a file, zeros where it has none."""
        return read_vectors(
            path, self.tokenizer.get_vocab(), lambda word: self.tokenizer.normalizer.normalize_str(whole(word))
        )

    def encode(self, texts: Sequence[str]) -> dict[str, Ragged]:
        """Encode B texts: "tokens" (ids) and "unknown" (characters of tokens with id 0, each ended by 0).

        An empty text is one EMPTY token. "cut" is 1 where only a text's beginning was read, else 0.
        """
        tokens: list[Ids] = []
        unknown: list[Ids] = []
        cut: list[bool] = []
        read = (self.tokenizer.normalizer.normalize_str(self._read(text)) for text in texts)
        for group in chunked(read, size=len, limit=len(texts), total=_GROUP_CHARACTERS):
            # To normalise again changes nothing; done before, offsets are places in what the tokens were cut from.
            for normal, encoding in zip(group, self.tokenizer.encode_batch(group), strict=True):
                ids = encoding.ids
                cut.append(len(ids) > self.max_tokens or len(texts[len(cut)]) > self._limit)
                ids = ids[: self.max_tokens] or [EMPTY_ID]
                tokens.append(np.array(ids, np.int32))
                words = self._unknown_words(normal, encoding) if UNKNOWN_ID in ids else ""
                unknown.append(np.frombuffer(words.encode("utf-32-le", "replace"), np.int32))
        return {
            "tokens": Ragged.of(tokens),
            "unknown": Ragged.of(unknown),
            "cut": Ragged(np.array(cut, np.int32), np.arange(len(texts) + 1)),
        }

    @property
    def _limit(self) -> int:
        """Characters that are read of a text."""
        return _TOKEN_CHARACTERS * self.max_tokens

    def _read(self, text: str) -> str:
        """What is read of a text; places in it are places in the text."""
        return whole(text[: self._limit])

    def _unknown_words(self, normal: str, encoding: Encoding) -> str:
        """Spell the unknown tokens of one normalised text in order, each followed by NUL."""
        offsets = encoding.offsets
        words = [
            normal[slice(*offsets[place])][:_SPELLED].replace("\0", " ")
            for place, token in enumerate(encoding.ids[: self.max_tokens])
            if token == UNKNOWN_ID
        ]
        return "".join(word + "\0" for word in words)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Place of each token in `text`: half-open, in code points; none for an empty text."""
        text = self._read(text)
        spans: list[tuple[int, int]] = self.tokenizer.encode(text).offsets
        following = [start for start, _ in spans[1:]] + [len(text)]
        # Where e and an accent became one letter the tokeniser leaves the accent out; all but spaces is some token's.
        wide = zip(spans[: self.max_tokens], following, strict=False)
        return [(start, max(end, start + len(text[start:after].rstrip()))) for (start, end), after in wide]

    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as the net's inputs.

        tokens [B, T]: rows of the table below; lengths [B]; and a table of the U distinct tokens:
        words [U]: vocabulary ids; spelling [U, C]: characters between WORD_START and WORD_END, 0 past the end.
        """
        ids = columns["tokens"]
        is_unknown = ids.values == UNKNOWN_ID
        known, index = np.unique(ids.values[~is_unknown], return_inverse=True)
        unknown = _unknown_spellings(columns["unknown"].values)
        table = np.empty(len(ids.values), np.int32)
        table[~is_unknown] = index
        table[is_unknown] = len(known) + np.arange(len(unknown))
        spelling = np.concatenate([self.spellings[known], unknown])
        width = max(1, int(np.count_nonzero(spelling.any(axis=0))))
        return {
            "tokens": pad(Ragged(table, ids.offsets)),
            "lengths": ids.lengths,
            "words": np.concatenate([known, np.full(len(unknown), UNKNOWN_ID)]).astype(np.int64),
            "spelling": np.ascontiguousarray(spelling[:, :width]),
        }

    def save(self, folder: Path) -> dict[str, Any]:
        """Write tokenizer.json; return the rest."""
        (folder / "tokenizer.json").write_text(self.tokenizer.to_str(), "utf-8")
        state = {"unit": self.unit, "mean_tokens": self.mean_tokens, "max_tokens": self.max_tokens}
        return state if self.coverage is None else state | {"coverage": self.coverage}

    @classmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> "TextCodec":
        """Read back what `save` wrote."""
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        coverage = Coverage(*state["coverage"]) if "coverage" in state else None
        return cls._of(tokenizer, state["unit"], state["mean_tokens"], state["max_tokens"], coverage)


def _add_words(tokenizer: Tokenizer, unit: Unit, config: TextConfig, sample: Sequence[str]) -> Coverage:
    """Fill the vocabulary up with words that have a pretrained vector: a text to come may hold them."""
    if unit == "subword":
        raise UsageError("text.vectors: subwords have no pretrained vectors; set text.unit to word or character")
    vocabulary = tokenizer.get_vocab()
    own, with_vector = len(vocabulary) - 2, 0
    seen: set[str] = set()
    normal, cut = tokenizer.normalizer.normalize_str, tokenizer.pre_tokenizer.pre_tokenize_str
    for word in read_words(config.vectors):
        as_written = normal(whole(word))
        if as_written in seen:
            continue
        seen.add(as_written)
        if as_written in vocabulary:
            with_vector += 1
        elif len(vocabulary) < config.max_vocabulary and len(cut(as_written)) == 1:
            vocabulary[as_written] = len(vocabulary)
    tokens = [token for text in sample for token, _ in cut(normal(text))]
    tokenizer.model = models.WordLevel(vocabulary, unk_token=UNKNOWN)
    covered = sum(token in seen for token in tokens) / max(1, len(tokens))
    return Coverage(with_vector, own, covered)


def _spread(texts: Iterable[str], count: int) -> Iterator[str]:
    """At least `count` texts, evenly spread over all (fewer where there are fewer), and less than twice as many."""
    chosen: list[str] = []
    every = 1
    for place, text in enumerate(texts):
        if place % every == 0:
            chosen.append(text)
            if len(chosen) == 2 * count:
                chosen, every = chosen[::2], every * 2
    return iter(chosen)


def _spell(words: Sequence[str]) -> Ints:
    """Characters of each word [N, 2 + 18] as code points between WORD_START and WORD_END, then 0."""
    letters = np.array(words, dtype=f"<U{_SPELLED}").view(np.uint32).reshape(len(words), _SPELLED)
    return _marked(letters.astype(np.int64))


def _marked(letters: Ints) -> Ints:
    """Put the end marks around rows of code points [N, 18] that end with zeros."""
    count = len(letters)
    out = np.zeros((count, _SPELLED + 2), np.int64)
    out[:, 0] = WORD_START
    out[:, 1:-1] = letters
    out[np.arange(count), 1 + np.count_nonzero(letters, axis=1)] = WORD_END
    return out


def _unknown_spellings(flat: Ids) -> Ints:
    """Rows of `_spell` for words given as one run of code points, each ended by 0."""
    ends = np.flatnonzero(flat == 0)
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    words = Ragged(flat[flat != 0].astype(np.int32), np.concatenate(([0], np.cumsum(ends - starts))))
    letters = np.zeros((len(ends), _SPELLED), np.int64)
    padded = pad(words)
    letters[:, : padded.shape[1]] = padded
    return _marked(letters)
