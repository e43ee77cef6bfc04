"""Text to tokens, each token to a number and to its characters.

A token outside the vocabulary still has its characters, so nets can tell unknown words apart. A text may come as its
tokens: each is a word then, whatever it holds, and the text is taken as these words between spaces.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from tokenizers import Encoding, Tokenizer, models

from cellgate.batch import Array, Floats, Ids, Ints, Ragged, TextSizes, chunked, pad
from cellgate.codecs.known import Known, read_known
from cellgate.codecs.source import Given, SourceCodec
from cellgate.codecs.spellings import LONGEST, read_spellings, spell
from cellgate.config import TextConfig
from cellgate.errors import DataError, UsageError
from cellgate.text.lexicon import Lexicon
from cellgate.text.pieces import Tail, settled, stream_safe
from cellgate.text.places import Normal, Normaliser
from cellgate.text.tokens import UNKNOWN, Unit, han_share, learn_vocabulary, make_tokenizer, whole
from cellgate.text.vectors import read_vectors, read_words

UNKNOWN_ID, EMPTY_ID = 0, 1
_SAMPLE = 2_000  # texts looked at to choose the unit and to measure the usual length
_TOKEN_CHARACTERS = 16  # characters per token, on average, that are read of a text before it is cut
_GROUP_CHARACTERS = 1_000_000  # characters tokenised at once: their offsets take a hundred times as many bytes
_LETTER = "a"  # goes on with every word, before an apostrophe and behind one, and is never skipped


def token_places(tokens: Given) -> list[tuple[int, int]]:
    """Where each token stands in `text_of(tokens)`: half-open, in code points."""
    ends = list(accumulate(len(token) + 1 for token in tokens))
    return [(end - 1 - len(token), end - 1) for token, end in zip(tokens, ends, strict=True)]


def text_of(given: Given) -> str:
    """The text itself, which places refer to."""
    return given if isinstance(given, str) else " ".join(given)


class Coverage(NamedTuple):
    """How much of the training texts has a pretrained vector."""

    words: int
    """Words of the training texts' own vocabulary that have one."""
    of: int
    """Words of that vocabulary."""
    tokens: float
    """Share of the tokens, by a sample of the texts."""


@dataclass(frozen=True)
class TextCodec(SourceCodec):
    """A learned tokeniser and what was seen while learning it."""

    tokenizer: Tokenizer
    unit: Unit
    mean_tokens: float  # of the training texts
    max_tokens: int
    spellings: Ints  # [vocabulary, characters], see `spell`
    places: bool = False  # whether encoded rows tell where their tokens stand
    coverage: Coverage | None = None  # of the pretrained vectors, if any
    lexicon: Lexicon | None = None  # of the words that are told of characters, if any

    @classmethod
    def learn(
        cls, config: TextConfig, texts: Iterable[Given], *, places: bool = False, language: str = ""
    ) -> "TextCodec":
        """Learn a vocabulary from training texts, which are iterated more than once.

        Where one comes as its tokens, a token is a word. The vocabulary is filled up with the words of a language
        model, where its folder is given, or with those that have pretrained vectors.
        """
        known = read_known(language) if language else None
        limit = _TOKEN_CHARACTERS * config.max_tokens
        sample = list(_spread(texts, _SAMPLE))
        strings = [whole(text[:limit]) for text in sample if isinstance(text, str)]
        counted = len(strings) < len(sample)
        unit: Unit = "word"
        if not counted:
            unit = config.unit if config.unit != "auto" else "character" if han_share(strings) > 0.5 else "word"
        if known and known.unit != unit:
            raise UsageError(
                f"--from {known.folder}: it reads {known.unit}s, these texts are read by {unit}; "
                f"train it with --text.unit {unit}"
            )
        if known and config.vectors:
            raise UsageError("--from and --text.vectors both give words their vectors; leave one of them out")
        if config.lexicon and unit != "character":
            raise UsageError(
                f"text.lexicon: a word list is for texts of characters, and these are read by {unit}; "
                "set text.unit to character, or leave the list out"
            )
        tokenizer = make_tokenizer(unit, lowercase=config.lowercase, nfkc=config.nfkc)
        learn_vocabulary(
            tokenizer, texts, counted=counted, min_count=config.min_count, max_vocabulary=config.max_vocabulary
        )
        lengths = [
            min(len(tokenizer.encode(text[:limit]) if isinstance(text, str) else text), config.max_tokens)
            for text in map(_whole, sample)
        ]
        if not any(lengths) and tokenizer.get_vocab_size() <= 2:
            raise DataError("every text is empty; name the column that holds the texts")
        coverage = None
        if known:
            coverage = _add_words(tokenizer, (word for word, _ in known.words), config.max_vocabulary, sample)
        elif config.vectors:
            if unit == "subword":
                raise UsageError(
                    "text.vectors: subwords have no pretrained vectors; set text.unit to word or character"
                )
            coverage = _add_words(tokenizer, read_words(config.vectors), config.max_vocabulary, sample)
        lexicon = None
        if config.lexicon:
            read = (whole(text_of(text)[:limit]) for text in texts)
            lexicon = Lexicon.learn(config.lexicon, read, tokenizer.normalizer.normalize_str, config.min_count)
        codec = cls._of(tokenizer, unit, float(np.mean(lengths)), config.max_tokens)
        return replace(codec, places=places, coverage=coverage, lexicon=lexicon)

    @classmethod
    def _of(cls, tokenizer: Tokenizer, unit: Unit, mean_tokens: float, max_tokens: int) -> "TextCodec":
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        spellings = spell([token for token, _ in vocabulary])
        spellings[[UNKNOWN_ID, EMPTY_ID]] = 0  # these two are no words: they have no spelling
        tokenizer.encode_special_tokens = True  # a text that says "[UNK]" holds that word and two brackets
        return cls(tokenizer, unit, mean_tokens, max_tokens, spellings)

    def __len__(self) -> int:
        return len(self.spellings)

    @property
    def sizes(self) -> TextSizes:
        """What a net must know of this codec."""
        return TextSizes(len(self), self.unit, self.mean_tokens, len(self.lexicon.words) if self.lexicon else 0)

    def vectors(self, path: str) -> Floats:
        """Pretrained vectors [vocabulary, D] of a file, zeros where it has none."""
        return read_vectors(
            path, self.tokenizer.get_vocab(), lambda word: self.tokenizer.normalizer.normalize_str(whole(word))
        )

    def numbers_of(self, known: Known) -> Ids:
        """Of each word of the vocabulary [V] the number of the language model's word that is written so, else UNKNOWN.

        Of several that become one, the word that is written so counts, else the most frequent.
        """
        found = np.full(len(self), UNKNOWN_ID, np.int32)
        exact: set[int] = set()
        for word, number in known.words:
            as_written = self.normalise(whole(word))
            place = self._vocabulary.get(as_written)
            if place is None or place in exact or (found[place] != UNKNOWN_ID and word != as_written):
                continue
            found[place] = number
            if word == as_written:
                exact.add(place)
        return found

    def encode(self, texts: Sequence[Given]) -> dict[str, Ragged]:
        """Encode B texts: "tokens" (ids) and "unknown" (characters of tokens with id 0, each ended by 0).

        An empty text is one EMPTY token. "cut" is 1 where only a text's beginning was read, else 0. Of a codec with
        places, "starts" and "ends" are those of each token: half-open, in code points of the text (`text_of`). Of one
        with a word list, "lexicon" is of each word found the first token, that behind its last, and its number.
        """
        return self._columns(list(self._rows(texts)))

    def certain(self, tail: Tail, piece: str, *, last: bool) -> tuple[dict[str, Ragged], Tail]:
        """The tokens that a piece makes certain, without places; an empty text has none."""
        raw = stream_safe(tail.raw + whole(piece))
        place = len(raw) if last else settled(raw)
        text = tail.word + self.normalise(raw[:place])
        end = len(text)
        if not last:  # with a letter put behind, the last token begins where tokens may still change
            end = self.tokenizer.pre_tokenizer.pre_tokenize_str(text + _LETTER)[-1][1][0]
        encoding = self.tokenizer.encode(text[:end])
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        unknown = _written(text[first:behind] for token, (first, behind) in pairs if token == UNKNOWN_ID)
        row = _Row(encoding.ids, unknown, False, _NOWHERE, _NOWHERE, _NOWHERE)
        return self._columns([row]), Tail(raw[place:], text[end:], begun=True)

    def _columns(self, rows: Sequence["_Row"]) -> dict[str, Ragged]:
        columns = {
            "tokens": Ragged.of([np.array(row.ids, np.int32) for row in rows]),
            "unknown": Ragged.of([np.frombuffer(row.unknown.encode("utf-32-le", "replace"), np.int32) for row in rows]),
            "cut": Ragged(np.array([row.cut for row in rows], np.int32), np.arange(len(rows) + 1)),
        }
        if self.places:
            columns |= {
                "starts": Ragged.of([row.starts for row in rows]),
                "ends": Ragged.of([row.ends for row in rows]),
            }
        if self.lexicon:
            columns["lexicon"] = Ragged.of([row.words for row in rows])
        return columns

    def offsets(self, text: Given) -> list[tuple[int, int]]:
        """Place of each token in a text: half-open, in code points; none for an empty text."""
        (row,) = replace(self, places=True)._rows([text])
        places = zip(row.starts.tolist(), row.ends.tolist(), strict=True)
        return [place for place, token in zip(places, row.ids, strict=True) if token != EMPTY_ID]

    def _rows(self, texts: Sequence[Given]) -> Iterator["_Row"]:
        """Each text's tokens; texts are tokenised in groups, each run of strings by itself."""
        for strings, run in groupby(texts, key=lambda text: isinstance(text, str)):
            if not strings:
                yield from map(self._row_of_tokens, cast(Iterator[tuple[str, ...]], run))
                continue
            for group in chunked(cast(Iterator[str], run), size=len, limit=len(texts), total=_GROUP_CHARACTERS):
                normal = [self._normal(whole(text[: self._limit])) for text in group]
                # To normalise again changes nothing; done before, offsets are places in what the tokens were cut from.
                encodings = self.tokenizer.encode_batch([each.text for each in normal])
                for text, each, encoding in zip(group, normal, encodings, strict=True):
                    yield self._row(each, encoding, cut=len(text) > self._limit)

    def _row(self, normal: Normal, encoding: Encoding, *, cut: bool) -> "_Row":
        """The tokens of a normalised text."""
        ids = encoding.ids[: self.max_tokens]
        if not ids:
            return _EMPTY_ROW
        offsets = encoding.offsets
        words = (normal.text[slice(*offsets[place])] for place, token in enumerate(ids) if token == UNKNOWN_ID)
        starts = ends = _NOWHERE
        if self.places:
            places = np.array(offsets[: self.max_tokens])
            starts, ends = normal.starts[places[:, 0]], normal.ends[places[:, 1] - 1]
        unknown = _written(words) if UNKNOWN_ID in ids else ""
        found = self.lexicon.at_tokens(normal.text, offsets[: self.max_tokens]) if self.lexicon else _NOWHERE
        return _Row(ids, unknown, cut or len(encoding.ids) > len(ids), starts, ends, found)

    def _row_of_tokens(self, tokens: tuple[str, ...]) -> "_Row":
        """Tokens as they were given, with their places in the text that they make."""
        if not tokens:
            return _EMPTY_ROW
        words = [self._normaliser.piece(whole(token)) for token in tokens[: self.max_tokens]]
        ids = [self._vocabulary.get(word, UNKNOWN_ID) for word in words]
        unknown = _written(word for word, token in zip(words, ids, strict=True) if token == UNKNOWN_ID)
        places = np.array(token_places(tokens[: len(ids)]), np.int32)
        found = self.lexicon.at_tokens(" ".join(words), token_places(tuple(words))) if self.lexicon else _NOWHERE
        return _Row(ids, unknown, len(tokens) > len(ids), places[:, 0], places[:, 1], found)

    @property
    def _limit(self) -> int:
        """Characters that are read of a text."""
        return _TOKEN_CHARACTERS * self.max_tokens

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        return vocabulary

    @cached_property
    def _normaliser(self) -> Normaliser:
        return Normaliser(self.normalise)

    def _normal(self, text: str) -> Normal:
        """A text as the tokeniser reads it; where its characters come from is found out only if it is asked."""
        if self.places:
            return self._normaliser(text)
        return Normal(self.normalise(text), _NOWHERE, _NOWHERE)

    def normalise(self, text: str) -> str:
        """A text as the tokeniser reads it."""
        normal: str = self.tokenizer.normalizer.normalize_str(stream_safe(text))
        return normal

    def part(self, columns: Mapping[str, Ragged], first: int, last: int) -> dict[str, Ragged]:
        """Of one encoded text the tokens from `first` up to, not including, `last`."""
        tokens, unknown = columns["tokens"].values, columns["unknown"].values
        ends = np.concatenate(([0], np.flatnonzero(unknown == 0) + 1))  # behind each unknown token's characters
        before, inside = (np.count_nonzero(part == UNKNOWN_ID) for part in (tokens[:first], tokens[first:last]))
        spelled = unknown[ends[before] : ends[before + inside]]
        cut = {"tokens": Ragged.of([tokens[first:last]]), "unknown": Ragged.of([spelled])}
        if self.lexicon:
            words = columns["lexicon"].values.reshape(-1, 3)
            words = words[(words[:, 0] >= first) & (words[:, 1] <= last)]
            cut["lexicon"] = Ragged.of([(words - np.array([first, first, 0], np.int32)).flatten()])
        return cut

    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as the net's inputs.

        tokens [B, T]: rows of the table below; lengths [B]; and a table of the U distinct tokens:
        words [U]: vocabulary ids; spelling [U, C]: characters between WORD_START and WORD_END, 0 past the end.
        Of a codec with a word list also what `Lexicon.sets` tells.
        """
        ids = columns["tokens"]
        is_unknown = ids.values == UNKNOWN_ID
        known, index = np.unique(ids.values[~is_unknown], return_inverse=True)
        unknown = read_spellings(columns["unknown"].values)
        table = np.empty(len(ids.values), np.int32)
        table[~is_unknown] = index
        table[is_unknown] = len(known) + np.arange(len(unknown))
        spelling = np.concatenate([self.spellings[known], unknown])
        width = max(1, int(np.count_nonzero(spelling.any(axis=0))))
        tokens = pad(Ragged(table, ids.offsets))
        sets = self.lexicon.sets(columns["lexicon"], tokens.shape[1]) if self.lexicon else {}
        return {
            "tokens": tokens,
            "lengths": ids.lengths,
            "words": np.concatenate([known, np.full(len(unknown), UNKNOWN_ID)]).astype(np.int64),
            "spelling": np.ascontiguousarray(spelling[:, :width]),
            **sets,
        }

    def save(self, folder: Path) -> dict[str, Any]:
        """Write tokenizer.json; return the rest."""
        (folder / "tokenizer.json").write_text(self.tokenizer.to_str(), "utf-8")
        state: dict[str, Any] = {"unit": self.unit, "mean_tokens": self.mean_tokens, "max_tokens": self.max_tokens}
        state |= {"places": True} if self.places else {}
        state |= {"coverage": self.coverage} if self.coverage else {}
        return state | ({"lexicon": asdict(self.lexicon)} if self.lexicon else {})

    @classmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> "TextCodec":
        """Read back what `save` wrote."""
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        coverage = Coverage(*state["coverage"]) if "coverage" in state else None
        lexicon = Lexicon(**state["lexicon"]) if "lexicon" in state else None
        codec = cls._of(tokenizer, state["unit"], state["mean_tokens"], state["max_tokens"])
        return replace(codec, places=state.get("places", False), coverage=coverage, lexicon=lexicon)


class _Row(NamedTuple):
    """An encoded text."""

    ids: list[int]
    unknown: str
    cut: bool
    starts: Ids
    ends: Ids
    words: Ids


_NOWHERE = np.zeros(0, np.int32)
_EMPTY_ROW = _Row([EMPTY_ID], "", False, np.zeros(1, np.int32), np.zeros(1, np.int32), _NOWHERE)


def _written(words: Iterable[str]) -> str:
    """Spell words one behind the other, each followed by NUL."""
    return "".join(word[:LONGEST].replace("\0", " ") + "\0" for word in words)


def _whole(text: Given) -> Given:
    return whole(text) if isinstance(text, str) else text


def _add_words(tokenizer: Tokenizer, words: Iterable[str], most: int, sample: Sequence[Given]) -> Coverage:
    """Fill the vocabulary up with words that have a pretrained vector: a text to come may hold them."""
    vocabulary = tokenizer.get_vocab()
    own, with_vector = len(vocabulary) - 2, 0
    seen: set[str] = set()
    normal, cut = tokenizer.normalizer.normalize_str, tokenizer.pre_tokenizer.pre_tokenize_str
    for word in words:
        as_written = normal(whole(word))
        if as_written in seen:
            continue
        seen.add(as_written)
        if as_written in vocabulary:
            with_vector += 1
        elif len(vocabulary) < most and len(cut(as_written)) == 1:
            vocabulary[as_written] = len(vocabulary)
    tokens: list[str] = []
    for text in map(_whole, sample):
        tokens += [token for token, _ in cut(normal(text))] if isinstance(text, str) else map(normal, text)
    tokenizer.model = models.WordLevel(vocabulary, unk_token=UNKNOWN)
    covered = sum(token in seen for token in tokens) / max(1, len(tokens))
    return Coverage(with_vector, own, covered)


def _spread(texts: Iterable[Given], count: int) -> Iterator[Given]:
    """At least `count` texts, evenly spread over all (fewer where there are fewer), and less than twice as many."""
    chosen: list[Given] = []
    every = 1
    for place, text in enumerate(texts):
        if place % every == 0:
            chosen.append(text)
            if len(chosen) == 2 * count:
                chosen, every = chosen[::2], every * 2
    return iter(chosen)
