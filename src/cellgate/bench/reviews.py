"""A data set as word ids in batches of texts of like length, for nets that are written in plain torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from cellgate.batch import Ids, Ints, Ragged, pad
from cellgate.bench import sets
from cellgate.bench.sets import Example
from cellgate.data.batching import by_length, epoch_order
from cellgate.metrics import Labels
from cellgate.text.tokens import learn_vocabulary, make_tokenizer, whole

BATCH_ROWS = 64
MAX_TOKENS = 400  # a longer text is cut
_MIN_COUNT, _MOST_WORDS = 2, 30_000
_TEXTS_AT_ONCE = 1_000
_EMPTY = 1  # the tokenizer's id of the one token of a text without any
_SHIFT = 1  # 0 is padding here


@dataclass(frozen=True)
class Texts:
    """Rows of word ids and their labels."""

    rows: Ragged
    labels: Ints  # [rows]


@dataclass(frozen=True)
class Reviews:
    """What is trained on and what is tested on; ids are below `words`, labels below `kinds`."""

    train: Texts
    test: Texts
    words: int
    kinds: int


class Batch(NamedTuple):
    """Rows of like length."""

    ids: Tensor
    """int64 [B, T], 0 past a row's end"""
    lengths: Tensor
    """int64 [B]"""
    labels: Tensor
    """int64 [B]"""


def load(name: str) -> Reviews:
    """Read a set: words seen twice in train, the most frequent 30,000, have an id; texts are cut."""
    splits = sets.load(name)
    texts = [text for text, _ in splits.train]
    tokenizer = make_tokenizer("word", lowercase=True, nfkc=True)
    learn_vocabulary(tokenizer, texts, counted=False, min_count=_MIN_COUNT, max_vocabulary=_MOST_WORDS)
    tokenizer.enable_truncation(MAX_TOKENS)
    kinds = sorted({str(label) for _, label in splits.train})
    train, test = (_encoded(rows, tokenizer, kinds) for rows in (splits.train, splits.test))
    return Reviews(train, test, tokenizer.get_vocab_size() + _SHIFT, len(kinds))


def training_batches(texts: Texts, seed: int) -> Iterator[Batch]:
    """Yield batches without end, epoch after epoch, each in an order of its own."""
    for epoch in count():
        tokens = BATCH_ROWS * MAX_TOKENS  # no batch has more: rows alone limit it
        for rows in epoch_order(texts.rows.lengths, rows=BATCH_ROWS, tokens=tokens, seed=seed, epoch=epoch):
            yield _batch(texts, rows)


def answer_batches(texts: Texts) -> Iterator[Batch]:
    """Yield every row once."""
    for rows in by_length(texts.rows.lengths, rows=BATCH_ROWS, tokens=BATCH_ROWS * MAX_TOKENS):
        yield _batch(texts, rows)


def _batch(texts: Texts, rows: Ints) -> Batch:
    taken = texts.rows.take(rows)
    parts = (pad(taken), taken.lengths, texts.labels[rows])
    return Batch(*(torch.from_numpy(part) for part in parts))


def _encoded(rows: Sequence[Example], tokenizer: Tokenizer, kinds: Sequence[str]) -> Texts:
    place: dict[Labels, int] = {label: number for number, label in enumerate(kinds)}
    found: list[Ids] = []
    for start in range(0, len(rows), _TEXTS_AT_ONCE):
        texts = [whole(text) for text, _ in rows[start : start + _TEXTS_AT_ONCE]]
        for encoding in tokenizer.encode_batch_fast(texts):
            found.append(np.array(encoding.ids or [_EMPTY], np.int32) + np.int32(_SHIFT))
    return Texts(Ragged.of(found), np.array([place[label] for _, label in rows], np.int64))
