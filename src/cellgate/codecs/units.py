"""A running text to tokens and back: spaces and line ends are part of it, and case is kept unless that is not wanted.

A text is a document: its tokens stand between two ends of documents (END). Where it ends with a line end, it goes on in
the next text: so the lines of a file, given with their ends, are one document.
"""

import codecs
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from cellgate.batch import Array, Ids, Ragged, pad
from cellgate.codecs.source import Given, SourceCodec
from cellgate.config import UnitsConfig
from cellgate.errors import DataError, listed
from cellgate.text.pieces import Tail
from cellgate.text.tokens import Unit, han_share, whole
from cellgate.text.units import LINE_END, PIECE, WordEnds, cut_words, needs_space, parted, pieces, words_of

UNKNOWN_ID, END_ID = 0, 1
_SPECIAL = ("[UNK]", "[END]")  # names of the two, for people
_SHORT = 5_000_000  # characters of a corpus under which `auto` reads characters
_SAMPLE = 200  # pieces looked at to choose
_USUAL = {"subword": 8_000, "word": 50_000, "character": 1_000_000}
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a document."""

    text: str
    begins: bool
    ends: bool
    label: str | None = None  # of the document, where it has one


def cut(texts: Iterable[tuple[str, str | None]], size: int = PIECE) -> Iterator[Piece]:
    """Texts and their labels as pieces of documents, each of at most `size` characters."""
    begins = True
    for text, label in texts:
        ends = not text.endswith(LINE_END)
        parts = list(pieces(whole(text), size))
        for place, part in enumerate(parts):
            last = place + 1 == len(parts)
            yield Piece(part, begins and not place, ends and last, label)
        begins = ends


def most_tokens(config: UnitsConfig, unit: Unit) -> int:
    """The largest vocabulary of such tokens."""
    return _USUAL[unit] if config.max_vocabulary == "auto" else config.max_vocabulary


@dataclass(frozen=True)
class UnitsCodec(SourceCodec):
    """A learned vocabulary: UNKNOWN, END, the labels, then tokens. Words or characters by frequency; or a tokeniser."""

    unit: Unit
    words: WordEnds
    labels: tuple[str, ...]
    tokens: tuple[str, ...]  # without those before them; of subwords as the tokeniser writes them
    mean_tokens: float  # of a document
    tokenizer: Tokenizer | None = None  # of subwords
    lowercase: bool = False
    max_tokens: int = field(default=_LARGEST, init=False)

    @classmethod
    def learn(cls, config: UnitsConfig, texts: Iterable[Piece]) -> "UnitsCodec":
        """Learn a vocabulary from training texts, which are iterated more than once; DataError where they are empty."""
        sample: list[str] = []
        labels: set[str] = set()
        characters = documents = 0
        for piece in texts:
            characters += len(piece.text)
            documents += piece.ends
            if len(sample) < _SAMPLE:
                sample.append(piece.text)
            if piece.label is not None:
                labels.add(piece.label)
        if not characters:
            raise DataError("every text is empty; give a file with text to learn from")
        unit = config.unit
        if unit == "auto":
            unit = "character" if characters < _SHORT or han_share(sample) > 0.5 else "subword"
        words = config.words if config.words != "auto" else words_of(sample)
        most = most_tokens(config, unit)
        tokenizer = None
        if unit == "subword":
            tokenizer = _learn_subwords(config, most, texts)
            vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
            tokens = tuple(token for token, _ in vocabulary)
        else:
            counts: Counter[str] = Counter()
            for piece in texts:
                text = _folded(piece.text) if config.lowercase else piece.text
                counts.update(text if unit == "character" else cut_words(text, words))
            kept = sorted((t for t, n in counts.items() if n >= config.min_count), key=lambda t: (-counts[t], t))
            tokens = tuple(kept[:most])
        codec = cls(unit, words, tuple(sorted(labels)), tokens, 0.0, tokenizer, config.lowercase)
        share = sum(len(codec.ids(text)) for text in sample) / max(1, sum(map(len, sample)))
        return replace(codec, mean_tokens=characters * share / max(1, documents))

    def __len__(self) -> int:
        return self.first + len(self.tokens)

    @property
    def first(self) -> int:
        """The number of the first token that is text."""
        return len(_SPECIAL) + len(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """What each token is called, in the order of their numbers."""
        return (*_SPECIAL, *(f"[{label}]" for label in self.labels), *map(self.text_of, range(self.first, len(self))))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens, self.first)}

    def ids(self, text: str) -> list[int]:
        """Numbers of a text's tokens, UNKNOWN for those never learned."""
        if self.tokenizer is not None:
            text = whole(text)
            return [n + self.first for n in self.tokenizer.encode(_folded(text) if self.lowercase else text).ids]
        numbers = self._numbers
        return [numbers.get(cell, UNKNOWN_ID) for cell in self.cells(text)]

    def cells(self, text: str) -> Sequence[str]:
        """A text's words or characters; of subwords, which are all known, none."""
        if self.tokenizer is not None:
            return ()
        text = _folded(text) if self.lowercase else text
        return text if self.unit == "character" else cut_words(text, self.words)

    def is_text(self, ids: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
        """Which tokens are text, or its end; the others are labels, which are given."""
        found: npt.NDArray[np.bool_] = (ids <= END_ID) | (ids >= self.first)
        return found

    def label_id(self, label: str) -> int:
        """Number of a label; DataError for one that training never had."""
        if label not in self.labels:
            known = listed(self.labels) if self.labels else "none: the training texts had no labels"
            raise DataError(f"no label {label!r} was trained; labels: {known}")
        return len(_SPECIAL) + self.labels.index(label)

    def before(self, label: str | None = None) -> list[int]:
        """What stands before a document that has this label."""
        return [END_ID] if label is None else [END_ID, self.label_id(label)]

    def stream(self, texts: Iterable[Piece]) -> list[Ids]:
        """Tokens of each piece of documents, with the label where one begins and END where one ends."""
        found: list[Ids] = []
        for piece in texts:
            label = [self.label_id(piece.label)] if piece.begins and piece.label is not None else []
            found.append(np.array([*label, *self.ids(piece.text), *([END_ID] if piece.ends else [])], np.int32))
        return found

    def written(self, texts: Iterable[Piece]) -> list[str]:
        """What each token of pieces without labels adds to the text, known or not; of an end its name."""
        typing, found = self.typing(), list[str]()
        for piece in texts:
            if self.tokenizer is None:
                found += map(typing.word, self.cells(piece.text))
            else:
                found += map(typing.of, self.ids(piece.text))
            found += [_SPECIAL[END_ID]] if piece.ends else []
        return found

    def encode(self, texts: Sequence[Given]) -> dict[str, Ragged]:
        """Encode B texts as beginnings of documents: "tokens", END the first; "cut" is 0."""
        rows = [np.array([END_ID, *self.ids("".join(text))], np.int32) for text in texts]
        return {
            "tokens": Ragged.of(rows),
            "cut": Ragged(np.zeros(len(rows), np.int32), np.arange(len(rows) + 1)),
        }

    def certain(self, tail: Tail, piece: str, *, last: bool) -> tuple[dict[str, Ragged], Tail]:
        """The tokens that a piece of a document makes certain, END before the first.

        Of words and subwords what stands behind the last space may go on, and is held back up to 8,192 characters.
        """
        text = tail.word + whole(piece)
        end = len(text) if last or self.unit == "character" else parted(text)
        ids = [*(() if tail.begun else (END_ID,)), *self.ids(text[:end])]
        row = Ragged.of([np.array(ids, np.int32)])
        return {"tokens": row, "cut": Ragged(np.zeros(1, np.int32), np.arange(2))}, Tail("", text[end:], begun=True)

    def part(self, columns: Mapping[str, Ragged], first: int, last: int) -> dict[str, Ragged]:
        """Of one encoded text the tokens from `first` up to, not including, `last`."""
        return {"tokens": Ragged.of([columns["tokens"].values[first:last]])}

    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as the net's inputs: tokens [B, T], lengths [B]."""
        return {"tokens": pad(columns["tokens"]), "lengths": columns["tokens"].lengths}

    def text_of(self, token: int) -> str:
        """A token of text by itself."""
        if self.tokenizer is None:
            return self.tokens[token - self.first]
        return bytes(_BYTES[letter] for letter in self.tokens[token - self.first]).decode("utf-8", "replace")

    def typing(self, before: str = "") -> "Typing":
        """Write tokens one after the other, behind a text."""
        return Typing(self, before)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write tokenizer.json where there are subwords; return the rest."""
        state: dict[str, Any] = {"unit": self.unit, "words": self.words, "labels": self.labels}
        state |= {"mean_tokens": self.mean_tokens, "lowercase": self.lowercase}
        if self.tokenizer is None:
            return state | {"tokens": self.tokens}
        (folder / "tokenizer.json").write_text(self.tokenizer.to_str(), "utf-8")
        return state

    @classmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> "UnitsCodec":
        """Read back what `save` wrote."""
        tokenizer = None if "tokens" in state else Tokenizer.from_file(str(folder / "tokenizer.json"))
        if tokenizer is None:
            tokens = tuple(state["tokens"])
        else:
            tokens = tuple(token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
        return cls(
            state["unit"],
            state["words"],
            tuple(state["labels"]),
            tokens,
            state["mean_tokens"],
            tokenizer,
            state.get("lowercase", False),
        )


class Typing:
    """Tokens as text, one after the other: a character whose bytes are several tokens comes with its last one."""

    def __init__(self, codec: UnitsCodec, before: str) -> None:
        self._codec = codec
        self._last = before[-1:]
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def of(self, token: int) -> str:
        """The text that one more token adds; of an end or a label none."""
        codec = self._codec
        if token < codec.first:
            return ""
        word = codec.tokens[token - codec.first]
        if codec.tokenizer is not None:
            return self._bytes.decode(bytes(_BYTES[letter] for letter in word))
        return self.word(word)

    def word(self, word: str) -> str:
        """The text that one more word or character adds, whether a token is kept for it or not."""
        space = self._codec.unit == "word" and needs_space(self._last, word, self._codec.words)
        self._last = word
        return f" {word}" if space else word


def _folded(text: str) -> str:
    """In small letters, each by itself: a sigma does not look at what follows, which may be still to come."""
    return text.replace("\u03a3", "\u03c3").lower()


def _learn_subwords(config: UnitsConfig, most: int, texts: Iterable[Piece]) -> Tokenizer:
    """A tokeniser over bytes, so that there is no unknown token."""
    kind, fold = config.subwords, _folded if config.lowercase else str
    letters = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE() if kind == "bpe" else models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    make = trainers.BpeTrainer if kind == "bpe" else trainers.UnigramTrainer
    trainer = make(vocab_size=most, initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator((fold(piece.text) for piece in texts), trainer)
    return tokenizer


def _byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in a tokeniser of bytes: its own where it is printed, else one from U+0100.

    As in Radford et al., "Language models are unsupervised multitask learners", 2019.
    """
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    letters = {chr(byte): byte for byte in printed}
    return letters | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_letters()
