"""From text to tokens, with the `tokenizers` library: one `tokenizer.json` that Python and JavaScript read."""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

Unit = Literal["word", "subword", "character"]

UNKNOWN, EMPTY = (
    "[UNK]",
    "[EMPTY]",
)  # ids 0 and 1: any token unknown in training; the one token of an empty text

# Scripts written without spaces: each character is a token of its own.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
# A run of letters, marks and digits with one apostrophe part (can't), or any single other mark.
_WORD = rf"[\p{{L}}\p{{M}}\p{{N}}&&[^{_UNSPACED}]]+(?:['’]\p{{L}}+)?|\S"
_CHARACTER = r"\S"
_HALVES = re.compile("[\ud800-\udfff]")
_LEARN_CHARACTERS = 200_000_000  # text the vocabulary is learned from, at most


def whole(text: str) -> str:
    """Put U+FFFD in place of halves of surrogate pairs: they are no characters, and `tokenizers` stops at them."""
    return _HALVES.sub("\ufffd", text)


def han_share(texts: Iterable[str]) -> float:
    """Share of Han characters among the letters of `texts`, 0 to 1."""
    han = letters = 0
    for text in texts:
        for character in text:
            if character.isalpha():
                letters += 1
                han += "\u3400" <= character <= "\u9fff" or "\U00020000" <= character <= "\U0003ffff"
    return han / letters if letters else 0.0


def learn_tokenizer(
    texts: Iterable[str], unit: Unit, *, lowercase: bool, nfkc: bool, min_count: int, max_vocabulary: int
) -> Tokenizer:
    """Learn a vocabulary: the `max_vocabulary` most frequent tokens seen at least `min_count` times."""
    special = [UNKNOWN, EMPTY]
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN) if unit == "subword" else models.WordLevel(unk_token=UNKNOWN))
    steps: list[normalizers.Normalizer] = [normalizers.NFKC()] if nfkc else []
    steps += [normalizers.Lowercase()] if lowercase else []
    steps += [normalizers.NFKC()] if nfkc and lowercase else []  # small letters may compose where capitals did not
    tokenizer.normalizer = normalizers.Sequence(steps)
    pattern = _CHARACTER if unit == "character" else _WORD
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    trainer: trainers.Trainer
    if unit == "subword":
        trainer = trainers.BpeTrainer(
            vocab_size=max_vocabulary, min_frequency=min_count, special_tokens=special, show_progress=False
        )
    else:
        trainer = trainers.WordLevelTrainer(
            vocab_size=max_vocabulary, min_frequency=min_count, special_tokens=special, show_progress=False
        )
    tokenizer.train_from_iterator(_first_characters(texts), trainer)
    return tokenizer


def _first_characters(texts: Iterable[str]) -> Iterator[str]:
    """Pass texts on until enough was seen: a vocabulary of thousands needs no more."""
    seen = 0
    for text in texts:
        yield whole(text)
        seen += len(text)
        if seen > _LEARN_CHARACTERS:
            return
