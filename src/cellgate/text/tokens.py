"""From text to tokens, with the `tokenizers` library: one `tokenizer.json` that Python and JavaScript read."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

Unit = Literal["word", "subword", "character"]

UNKNOWN, EMPTY = (
    "[UNK]",
    "[EMPTY]",
)  # ids 0 and 1: any token unknown in training; the one token of an empty text

# Scripts written without spaces: each character is a token of its own.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
# A run of letters, marks and digits with one apostrophe part (can't), or any single other mark. No run is longer than
# 256, and what is that long takes no apostrophe: else the end of a text that comes in pieces could stay open for ever.
_PART_OF_WORD = rf"[\p{{L}}\p{{M}}\p{{N}}&&[^{UNSPACED}]]"
_WORD = rf"{_PART_OF_WORD}{{1,255}}(?:{_PART_OF_WORD}|['’]\p{{L}}{{1,255}})?|\S"
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


def make_tokenizer(unit: Unit, *, lowercase: bool, nfkc: bool) -> Tokenizer:
    """A tokeniser that knows no token yet."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN) if unit == "subword" else models.WordLevel(unk_token=UNKNOWN))
    steps: list[normalizers.Normalizer] = [normalizers.NFKC()] if nfkc else []
    steps += [normalizers.Lowercase()] if lowercase else []
    steps += [normalizers.NFKC()] if nfkc and lowercase else []  # small letters may compose where capitals did not
    tokenizer.normalizer = normalizers.Sequence(steps)
    pattern = _CHARACTER if unit == "character" else _WORD
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    return tokenizer


def learn_vocabulary(
    tokenizer: Tokenizer, texts: Iterable[str | tuple[str, ...]], *, counted: bool, min_count: int, max_vocabulary: int
) -> None:
    """Learn a vocabulary: the `max_vocabulary` most frequent tokens seen at least `min_count` times.

    `counted` is for texts of which some come as their tokens: these are counted, with those found in the others.
    """
    special = [UNKNOWN, EMPTY]
    if counted:
        counts = Counter(token for text in texts for token in _tokens(tokenizer, text))
        frequent = sorted(
            (token for token, count in counts.items() if count >= min_count), key=lambda t: (-counts[t], t)
        )
        vocabulary = {token: number for number, token in enumerate((special + frequent)[:max_vocabulary])}
        tokenizer.model = models.WordLevel(vocabulary, unk_token=UNKNOWN)
        tokenizer.add_special_tokens(special)
        return
    kind = trainers.BpeTrainer if isinstance(tokenizer.model, models.BPE) else trainers.WordLevelTrainer
    trainer = kind(vocab_size=max_vocabulary, min_frequency=min_count, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(_first_characters(text for text in texts if isinstance(text, str)), trainer)


def _tokens(tokenizer: Tokenizer, text: str | tuple[str, ...]) -> list[str]:
    normal = tokenizer.normalizer.normalize_str
    if isinstance(text, tuple):
        return [normal(whole(token)) for token in text]
    return [token for token, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal(whole(text)))]


def _first_characters(texts: Iterable[str]) -> Iterator[str]:
    """Pass texts on until enough was seen: a vocabulary of thousands needs no more."""
    seen = 0
    for text in texts:
        yield whole(text)
        seen += len(text)
        if seen > _LEARN_CHARACTERS:
            return
