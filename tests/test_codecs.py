"""Codecs: values to integers and back, for every codec that is known, and what texts and labels ask beyond that."""

import hashlib
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import regex
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cellgate import codecs
from cellgate.batch import Array, Ragged, Scores
from cellgate.codecs import (
    Decision,
    LabelCodec,
    LabelSetCodec,
    NextCodec,
    SourceCodec,
    SpanCodec,
    TextCodec,
    TokenTagCodec,
    UnitsCodec,
    learn_labels,
)
from cellgate.codecs.spellings import WORD_END, WORD_START
from cellgate.codecs.target import NEVER_SEEN, OUTSIDE, UNSEEN
from cellgate.codecs.text import EMPTY_ID, UNKNOWN_ID
from cellgate.codecs.units import cut
from cellgate.config import TextConfig, UnitsConfig
from cellgate.errors import BundleError, DataError
from cellgate.spans import Span
from cellgate.text.lexicon import Lexicon
from cellgate.text.tokens import Unit

UNITS: tuple[Unit, ...] = ("word", "subword", "character")
SPELLED = 18  # characters of a token that nets see

ENGLISH = ["The cat sat on the mat.", "The dog sat; the cat ran!", "Can't the café open at 9?", "A cat, a dog, a mat"]
CHINESE = ["这家店的服务很好", "服务太差，不会再来", "我的 chat 机器人很好"]
TEXTS = ENGLISH + CHINESE


def text_codec(unit: Unit = "word", max_tokens: int = 1_000, min_count: int = 1) -> TextCodec:
    return TextCodec.learn(TextConfig(unit=unit, min_count=min_count, max_tokens=max_tokens), TEXTS)


def units_codec(unit: Unit) -> UnitsCodec:
    return UnitsCodec.learn(UnitsConfig(unit=unit, min_count=1, max_vocabulary=300), [*cut((t, None) for t in TEXTS)])


LEXICON = Lexicon(["服务", "很好", "好", "这家店"], [5, 3, 2, 1], 4, 0.5)
CODECS = {unit: text_codec(unit) for unit in UNITS}


# What every codec that encodes keeps, by discovery: a new one needs a line in EXAMPLES and no test of its own.


class Example(NamedTuple):
    learn: Callable[[], Any]
    seen: Sequence[Any]
    strange: Sequence[Any]


EXAMPLES: dict[str, list[Example]] = {
    "TextCodec": [
        Example(partial(text_codec, unit), TEXTS, ["", " ", "zebra 𠀀", "the\0cat", "\ud800", "[UNK]"])
        for unit in UNITS
    ]
    + [
        Example(
            lambda: replace(text_codec("character"), lexicon=LEXICON),
            CHINESE,
            ["", "很 好", "服务好吗", ("很好", "好")],
        )
    ],
    "LabelCodec": [Example(lambda: LabelCodec.learn(["b", "a", "ü"] * 2), ["ü", "a", "b", "a"], ["", "never"])],
    "LabelSetCodec": [
        Example(lambda: LabelSetCodec.learn([("a", "b"), (), ("ü",), "a"] * 2), [("a", "ü"), (), "b"], [("never", "a")])
    ],
    "SpanCodec": [
        Example(
            lambda: SpanCodec(("person", "place"), (2, 1)),
            [(Span(0, 7, "person"), Span(15, 19, "place")), (), (Span(0, 19, "person"),)],
            [(Span(8, 11, "never"),), (Span(0, 2, "place"), Span(17, 19, "person"))],
        )
    ],
    "TokenTagCodec": [
        Example(
            lambda: TokenTagCodec(("ADP", "NOUN", "VERB"), (1, 2, 1)),
            [("NOUN", "NOUN", "VERB", "ADP", "NOUN")],
            [("X",) * 5],
        )
    ],
    "UnitsCodec": [
        Example(partial(units_codec, unit), TEXTS, ["", " ", "zebra 𠀀", "the\ncat\n", "\ud800"]) for unit in UNITS
    ],
}
FIVE = ("Ada", "Bob", "met", "in", "Oslo")  # the tokens of every row in which spans and tags are placed


def encoded(codec: Any, values: Sequence[Any]) -> dict[str, Ragged]:
    if isinstance(codec, SourceCodec):
        return codec.encode(values)
    columns = replace(CODECS["word"], places=True).encode([FIVE] * len(values))
    found: dict[str, Ragged] = codec.encode(values, columns)
    return found


CASES = [
    pytest.param(name, example, id=f"{name}-{n}")
    for name in codecs._KNOWN
    for n, example in enumerate(EXAMPLES.get(name, []))
]


def listed(columns: dict[str, Ragged]) -> dict[str, list[list[int]]]:
    return {name: [column[row].tolist() for row in range(len(column))] for name, column in columns.items()}


def test_every_codec_has_examples() -> None:
    encoding = {name for name, kind in codecs._KNOWN.items() if hasattr(kind, "encode")}
    assert set(EXAMPLES) == encoding, "a codec without an example is a codec without tests"


@pytest.mark.parametrize(("name", "example"), CASES)
def test_a_row_is_encoded_alike_alone_and_in_company(name: str, example: Example) -> None:
    codec = example.learn()
    values = [*example.seen, *example.strange]
    together = listed(encoded(codec, values))
    alone = [listed(encoded(codec, [value])) for value in values]
    assert together == {column: [row[column][0] for row in alone] for column in together}


@pytest.mark.parametrize(("name", "example"), CASES)
def test_columns_have_a_row_for_each_value_and_collate_to_the_same_rows(name: str, example: Example) -> None:
    codec = example.learn()
    values = [*example.seen, *example.strange]
    columns = encoded(codec, values)
    assert {len(column) for column in columns.values()} == {len(values)}
    assert all(column.values.dtype == np.int32 for column in columns.values())
    arrays = codec.collate(columns)
    of_floats = {"label", "lexicon_weights"} if name == "LabelSetCodec" else {"lexicon_weights"}
    assert all(array.dtype == (np.float32 if key in of_floats else np.int64) for key, array in arrays.items())
    assert len(next(iter(arrays.values()))) == len(values)
    order = np.arange(len(values))[::-1]
    taken = {column: value.take(order) for column, value in columns.items()}
    assert listed(taken) == listed(encoded(codec, values[::-1]))


@pytest.mark.parametrize(("name", "example"), CASES)
def test_a_saved_codec_encodes_as_before(name: str, example: Example, tmp_path: Path) -> None:
    codec = example.learn()
    state = codecs.save(codec, tmp_path)
    again: Any = codecs.load(tmp_path, state)
    values = [*example.seen, *example.strange]
    assert type(again) is type(codec)
    assert len(again) == len(codec)
    assert listed(encoded(again, values)) == listed(encoded(codec, values))
    before, after = codec.collate(encoded(codec, values)), again.collate(encoded(again, values))
    assert {name: array.tolist() for name, array in after.items()} == {k: array.tolist() for k, array in before.items()}


def test_the_next_token_is_the_likeliest_and_its_codec_is_saved(tmp_path: Path) -> None:
    codec = NextCodec(("[UNK]", "a", "b"), (1, 3, 2))
    assert codecs.load(tmp_path, codecs.save(codec, tmp_path)) == codec
    scores = Scores([np.log(np.array([0.1, 0.6, 0.3], np.float32))])
    (answer,) = codec.decode(scores, {}, Decision(), top=2)
    assert answer.value == "a"
    assert [label for label, _ in answer.alternatives] == ["b"]
    assert codec.decode(scores, {}, Decision(abstain_below=0.9))[0].value is None


def test_an_unknown_codec_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"codec\.json names the codec 'Pickle'; known: TextCodec, UnitsCodec, LabelCodec, "
    ):
        codecs.load(tmp_path, {"codec": "Pickle"})


# Labels

NAMES = st.lists(st.text(max_size=6), min_size=2, max_size=12, unique=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(NAMES, st.integers(1, 8), st.randoms(use_true_random=False))
def test_decoding_what_was_encoded_gives_the_labels_back(names: list[str], top: int, random: Any) -> None:
    codec = LabelCodec.learn(names * 2)
    assert codec.labels == tuple(sorted(names))
    values = [random.choice(names) for _ in range(5)]
    numbers = codec.collate(codec.encode(values))["label"]
    scores = np.log(np.where(np.eye(len(codec))[numbers] == 1, 0.9, 0.1 / (len(codec) - 1))).astype(np.float32)
    for value, answer in zip(values, codec.decode(Scores(scores), {}, Decision(), top), strict=True):
        assert answer.value == value
        assert answer.confidence == pytest.approx(0.9)
        shown = [answer.value, *(name for name, _ in answer.alternatives)]
        assert len(shown) == len(set(shown)) == min(top, len(codec))


def test_alternatives_come_by_falling_probability() -> None:
    codec = LabelCodec(("a", "b", "c"), (1, 1, 1))
    (answer,) = codec.decode(Scores(np.log(np.array([[0.2, 0.3, 0.5]], np.float32))), {}, Decision())
    assert answer.value == "c"
    assert [name for name, _ in answer.alternatives] == ["b", "a"]
    assert [chance for _, chance in answer.alternatives] == pytest.approx([0.3, 0.2])


def test_a_label_never_seen_has_a_number_of_its_own_and_a_hint() -> None:
    codec = LabelCodec.learn(["praise", "complaint", "praise", "complaint"])
    assert codec.encode(["prais", "praise"])["label"].values.tolist() == [UNSEEN, 1]
    assert codec.unseen("prais") == "label 'prais' was never seen in training; did you mean 'praise'?"
    assert codec.unseen("zzz") == "label 'zzz' was never seen in training; known: complaint, praise"
    assert codec.all_unseen({"zzz": 1, "prais": 2000}) == (
        f"{codec.unseen('prais')}; all of them, with their rows: 'prais' (2,000), 'zzz' (1)"
    )


def test_the_label_out_of_scope_is_told_from_others_never_seen(tmp_path: Path) -> None:
    codec = LabelCodec(("a", "b"), (2, 2), "strange")
    columns = codec.encode(["strange", "b", "b?"])
    assert columns["label"].values.tolist() == [OUTSIDE, 1, UNSEEN]
    assert codec.truth(columns) == ["strange", "b", NEVER_SEEN]
    assert codecs.load(tmp_path, codecs.save(codec, tmp_path)) == codec
    assert LabelCodec(("a", "b"), (2, 2), "b").encode(["b"])["label"].values.tolist() == [1]


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        ([], ["no rows", "at least two labels"]),
        (["spam"] * 5, ["'spam'", "at least two labels", "another label column"]),
        ([f"id{n}" for n in range(9)], ["9 distinct labels in 9 rows", "id0, id1, id2", "name the label column"]),
        (["a", "b", "c", "a"], ["3 distinct labels in 4 rows", "name the label column"]),
    ],
)
def test_labels_that_cannot_be_learned(labels: list[str], parts: list[str]) -> None:
    with pytest.raises(DataError) as error:
        LabelCodec.learn(labels)
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "a"], ["a", "a", "b", "b", "c", "c"]])
def test_few_rows_of_each_label_are_enough(labels: list[str]) -> None:
    assert LabelCodec.learn(labels).labels == tuple(sorted(set(labels)))


# Texts, against a literal tokeniser written here in plain Python

UNSPACED = ("CJK UNIFIED", "HIRAGANA", "KATAKANA", "THAI")
# Every kind of trouble: composing marks and jamo, ligatures and full-width forms that NFKC takes apart, letters that
# lower case makes longer, astral Han, joined emoji, NUL, halves of surrogate pairs, spaces of several kinds.
PARTS = [
    *"abcz  \n\t.,!?'’-_9",
    *"éüñ我的家かカกﬁｆＡ½…¨İẞΣßÅ가٣ऀ",
    *"e\u0301c\u0327a\u0308\u0323\u1100\u1161\u11a8\u0345",
    *"𠀀𠀁😀👩\u200d\u200b\ufe0f\u3000\xa0\u2028",
    "\0",
    "\ud800",
    "\udfff",
    "[UNK]",
    "[EMPTY]",
    "the",
    "cat",
    "服务",
    "can't",
    "antidisestablishmentarianism",
]
TROUBLE = st.lists(st.sampled_from(PARTS), max_size=14).map("".join)


def whole(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


def normal(text: str) -> str:
    small = "".join(c.lower() for c in unicodedata.normalize("NFKC", whole(text)))
    return unicodedata.normalize("NFKC", small)


def kind(character: str) -> str:
    """space, word (of a run of letters, marks, digits), or alone."""
    if character.isspace():
        return "space"
    if unicodedata.category(character)[0] in "LMN" and not unicodedata.name(character, "").startswith(UNSPACED):
        return "word"
    return "alone"


def run(text: str, start: int, inside: Callable[[str], bool]) -> int:
    end = start
    while end < len(text) and inside(text[end]):
        end += 1
    return end


def pieces(text: str, unit: Unit) -> list[str]:
    """Tokens of a normalised text, of words or characters."""
    found, start = [], 0
    while start < len(text):
        end = start + 1
        if unit != "character" and kind(text[start]) == "word":
            end = run(text, start, lambda c: kind(c) == "word")
            if text[end : end + 1] in ("'", "’"):
                after = run(text, end + 1, lambda c: unicodedata.category(c)[0] == "L")
                end = after if after > end + 1 else end
        if kind(text[start]) != "space":
            found.append(text[start:end])
        start = end
    return found


def spelled(arrays: dict[str, Array], row: int) -> list[str]:
    """What a net sees of each token of a row: the characters between the marks."""
    words = []
    for place in arrays["tokens"][row, : arrays["lengths"][row]]:
        points = [int(point) for point in arrays["spelling"][place]]
        end = points.index(WORD_END)
        assert points[0] == WORD_START
        assert not any(points[end + 1 :])
        words.append("".join(map(chr, points[1:end])))
    return words


def expected(piece: str) -> str:
    return piece[:SPELLED].replace("\0", " ")


@pytest.mark.parametrize("unit", UNITS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(TROUBLE, min_size=1, max_size=4))
@example(["cafe\u0301 zoé", "ﬁ…¨½", "İẞΣ", "\u1100\u1161\u11a8"])
def test_tokens_are_spelled_as_they_stand_in_the_normalised_text(unit: Unit, texts: list[str]) -> None:
    codec = CODECS[unit]
    columns = codec.encode(texts)
    arrays = codec.collate(columns)
    tokens = {number: token for token, number in codec.tokenizer.get_vocab().items()}
    for row, text in enumerate(texts):
        wanted = pieces(normal(text), unit)
        ids = columns["tokens"][row].tolist()
        if not wanted:
            assert ids == [EMPTY_ID]
            continue
        found = spelled(arrays, row)
        if unit == "subword":
            assert "".join(found) == "".join(wanted).replace("\0", " ")
            assert all(number != UNKNOWN_ID or len(word) == 1 for number, word in zip(ids, found, strict=True))
        else:
            assert found == [expected(piece) for piece in wanted]
        known = [(tokens[n], word) for n, word in zip(ids, found, strict=True) if n != UNKNOWN_ID]
        assert all(expected(token) == word for token, word in known)
        assert EMPTY_ID not in ids


def reordered(text: str) -> bool:
    """Whether NFKC puts marks in another order; the tokeniser then takes places for characters."""
    return unicodedata.normalize("NFKD", text) != "".join(unicodedata.normalize("NFKD", c) for c in text)


@pytest.mark.parametrize("unit", UNITS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(TROUBLE)
@example("cafe\u0301")
@example("a\u0323\u0308b ok")
@example("\u1100\u1161\u11a8 \u1100\u1161")
@example("¨x ﬁn…")
def test_offsets_hold_the_characters_that_made_the_token(unit: Unit, text: str) -> None:
    codec = CODECS[unit]
    columns = codec.encode([text])
    spans = codec.offsets(text)
    if not pieces(normal(text), unit):
        assert spans == []
        return
    words = spelled(codec.collate(columns), 0)
    assert len(spans) == len(words)
    for (start, end), word in zip(spans, words, strict=True):
        assert 0 <= start < end <= len(text)
        inside = text[start:end]
        if reordered(text):
            continue
        assert word in normal(inside).replace("\0", " ")
        # What a reader takes for one character is never parted, though tokens may share it; else all is exact.
        if all(len(normal(cluster)) == 1 for cluster in regex.findall(r"\X", inside)):
            assert expected(normal(inside)) == word
    places = {place for start, end in spans for place in range(start, end)}
    assert all(place in places for place, character in enumerate(text) if not character.isspace())
    assert spans == sorted(spans)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=12))
def test_no_text_stops_the_codec(text: str) -> None:
    for codec in CODECS.values():
        columns = codec.encode([text])
        arrays = codec.collate(columns)
        assert arrays["lengths"].tolist() == [len(columns["tokens"][0])]
        assert len(codec.offsets(text)) in (len(columns["tokens"][0]), 0)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(TROUBLE | st.text(max_size=8))
def test_normalising_twice_changes_nothing(text: str) -> None:
    normalize = CODECS["word"].tokenizer.normalizer.normalize_str
    once = normalize(whole(text))
    assert normalize(once) == once


def test_unknown_tokens_of_several_rows_keep_their_order() -> None:
    codec = CODECS["word"]
    texts = ["zebra the yak", "", "the cat", "yak zebra yak sat", "supercalifragilisticexpialidocious"]
    columns = codec.encode(texts)
    arrays = codec.collate(columns)
    assert [spelled(arrays, row) for row in (0, 2, 3, 4)] == [
        ["zebra", "the", "yak"],
        ["the", "cat"],
        ["yak", "zebra", "yak", "sat"],
        ["supercalifragilist"],
    ]
    empty = arrays["tokens"][1, 0]
    assert arrays["words"][empty] == EMPTY_ID
    # Known tokens stand once in the table, unknown ones each time.
    known = [word for word in arrays["words"] if word != UNKNOWN_ID]
    assert len(known) == len(set(known)) == 4
    assert np.count_nonzero(arrays["words"] == UNKNOWN_ID) == 6
    assert arrays["tokens"].shape == (5, 4)
    assert arrays["spelling"].shape == (len(arrays["words"]), SPELLED + 2)
    # Rows taken out of the encoded columns read the same.
    some = codec.collate({name: column.take(np.array([3, 0])) for name, column in columns.items()})
    assert spelled(some, 0) == ["yak", "zebra", "yak", "sat"]
    assert spelled(some, 1) == ["zebra", "the", "yak"]


def test_a_known_long_word_is_spelled_as_far_as_an_unknown_one() -> None:
    long = "pneumonoultramicroscopic"
    codec = TextCodec.learn(TextConfig(unit="word", min_count=1), [long, "cat"])
    arrays = codec.collate(codec.encode([long, long + "x"]))
    assert spelled(arrays, 0) == spelled(arrays, 1) == [long[:SPELLED]]


def test_the_spelling_is_as_wide_as_its_longest_word() -> None:
    codec = CODECS["word"]
    assert codec.collate(codec.encode(["a", "cat"]))["spelling"].shape[1] == len("cat") + 2
    assert codec.collate(codec.encode([""]))["spelling"].tolist() == [[0]]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u3000\xa0", "\u2028"])
def test_a_text_of_nothing_is_one_empty_token(unit: Unit, text: str) -> None:
    codec = CODECS[unit]
    columns = codec.encode([text, "cat"])
    assert columns["tokens"][0].tolist() == [EMPTY_ID]
    assert columns["unknown"][0].tolist() == []
    assert columns["cut"].values.tolist() == [0, 0]
    assert codec.offsets(text) == []


@pytest.mark.parametrize("unit", UNITS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(TROUBLE, st.integers(1, 6))
def test_a_longer_text_is_cut_and_counted(unit: Unit, text: str, most: int) -> None:
    assume(len(text) <= 16 * most)  # no more characters are read
    codec = CODECS[unit]
    short = replace(codec, max_tokens=most)
    full, cut = codec.encode([text]), short.encode([text])
    ids = full["tokens"][0].tolist()
    assert cut["tokens"][0].tolist() == ids[:most]
    assert cut["cut"].values.tolist() == [int(len(ids) > most)]
    assert short.offsets(text) == codec.offsets(text)[:most]
    if ids != [EMPTY_ID]:
        assert spelled(short.collate(cut), 0) == spelled(codec.collate(full), 0)[:most]


def test_only_so_many_characters_are_read() -> None:
    codec = text_codec(max_tokens=2)
    text = "z" * 31 + " cat"  # 16 characters a token are read: 32
    columns = codec.encode([text, "z" * 32])
    assert columns["tokens"][0].tolist() == [UNKNOWN_ID]
    assert columns["cut"].values.tolist() == [1, 0]
    assert codec.offsets(text) == [(0, 31)]


def test_auto_reads_chinese_by_character_and_english_by_word() -> None:
    config = TextConfig(min_count=1)
    assert TextCodec.learn(config, CHINESE).unit == "character"
    assert TextCodec.learn(config, ENGLISH).unit == "word"
    assert TextCodec.learn(config, ["𠀀𠀁𠀂 ab"]).unit == "character"
    assert TextCodec.learn(config, ["1, 2, 3!"]).unit == "word"


def test_chinese_among_words_is_one_token_a_character() -> None:
    codec = CODECS["word"]
    text = "my服务bot 2号"
    assert [text[start:end] for start, end in codec.offsets(text)] == ["my", "服", "务", "bot", "2", "号"]


def test_subwords_make_new_words_of_known_parts() -> None:
    codec = CODECS["subword"]
    columns = codec.encode(["catdog☃mat"])
    tokens = [codec.tokenizer.id_to_token(number) for number in columns["tokens"][0]]
    assert tokens == ["cat", "dog", "[UNK]", "mat"]
    assert spelled(codec.collate(columns), 0) == ["cat", "dog", "☃", "mat"]


def test_case_and_forms_are_kept_where_settings_say_so() -> None:
    config = TextConfig(unit="word", min_count=1, lowercase=False, nfkc=False)
    codec = TextCodec.learn(config, ["Cat ﬁn", "cat e\u0301"])
    columns = codec.encode(["Cat cat CAT ﬁn fin [UNK] e\u0301"])
    assert spelled(codec.collate(columns), 0) == ["Cat", "cat", "CAT", "ﬁn", "fin", "[", "UNK", "]", "e\u0301"]
    assert (columns["tokens"][0] == UNKNOWN_ID).tolist() == [False, False, True, False, True, True, True, True, False]


def test_rare_words_have_no_number_and_the_vocabulary_is_bounded() -> None:
    texts = ["a a a b b c", "a b d"]
    codec = TextCodec.learn(TextConfig(unit="word", min_count=2), texts)
    assert sorted(codec.tokenizer.get_vocab()) == ["[EMPTY]", "[UNK]", "a", "b"]
    codec = TextCodec.learn(TextConfig(unit="word", min_count=1, max_vocabulary=3), texts)
    assert sorted(codec.tokenizer.get_vocab()) == ["[EMPTY]", "[UNK]", "a"]
    assert len(TextCodec.learn(TextConfig(unit="word", max_vocabulary=1), texts)) == 2
    assert codec.sizes.vocabulary == len(codec) == 3


def test_the_usual_length_is_measured_on_what_is_read() -> None:
    texts = ["a a a a a a", "a a", ""]
    assert TextCodec.learn(TextConfig(min_count=1, max_tokens=4), texts).mean_tokens == pytest.approx((4 + 2 + 0) / 3)


@pytest.mark.parametrize("texts", [[], [""], [" ", "\n"]])
def test_no_text_at_all_is_an_error(texts: list[str]) -> None:
    with pytest.raises(DataError, match="every text is empty; name the column"):
        TextCodec.learn(TextConfig(), texts)


def test_halves_of_surrogate_pairs_are_read_as_one_strange_character() -> None:
    codec = TextCodec.learn(TextConfig(unit="word", min_count=1), ["cat \ud800 sat", "\udfff"])
    columns = codec.encode(["cat\ud800sat \udc00"])
    tokens = [codec.tokenizer.id_to_token(number) for number in columns["tokens"][0]]
    assert tokens == ["cat", "\ufffd", "sat", "\ufffd"]
    assert codec.offsets("cat\ud800sat \udc00") == [(0, 3), (3, 4), (4, 7), (8, 9)]


# Learning is the same every time, in every process

LEARN = """
import hashlib, sys
sys.path.insert(0, {here!r})
from test_codecs import UNITS, learned
print([learned(unit) for unit in UNITS])
"""


def learned(unit: Unit) -> str:
    """Digest of the tokeniser learned from many words that stand equally often."""
    texts = [f"{chr(97 + n % 26)}{chr(97 + n * 7 % 26)}{n % 13} 服{chr(0x4E00 + n % 50)}" for n in range(300)]
    codec = TextCodec.learn(TextConfig(unit=unit, min_count=1, max_vocabulary=120), TEXTS + texts)
    return hashlib.sha256(codec.tokenizer.to_str().encode()).hexdigest()


def test_learning_twice_gives_the_same_bytes() -> None:
    here = [learned(unit) for unit in UNITS]
    assert here == [learned(unit) for unit in UNITS]
    for seed, threads in (("1", "1"), ("2", "2")):
        there = subprocess.run(
            [sys.executable, "-c", LEARN.format(here=str(Path(__file__).parent))],
            env=os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == str(here)


def test_one_row_with_several_labels_makes_all_rows_sets() -> None:
    assert learn_labels(["a", "b", "a", "b"]) == LabelCodec(("a", "b"), (2, 2))
    codec = learn_labels(["a", ("b", "a"), (), "b"])
    assert codec == LabelSetCodec(("a", "b"), (2, 2))
    columns = codec.encode(["a", ("a", "b"), (), ("never", "b")])
    target = codec.collate(columns)
    assert target["label"].tolist() == [[1, 0], [1, 1], [0, 0], [0, 1]]
    assert codec.truth(columns) == [("a",), ("a", "b"), (), ("b", NEVER_SEEN)]
    assert codec.normal("a") == ("a",)
    assert LabelCodec(("a", "b"), (2, 2)).normal(("a",)) == "a"


def test_rows_are_grouped_by_their_rarest_label() -> None:
    codec = LabelSetCodec(("often", "rare"), (9, 2))
    assert codec.rarest([("often",), ("often", "rare"), (), ("never",)]).tolist() == [0, 1, UNSEEN, UNSEEN]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([("a",), ("a",), ()], "3 rows hold only the label 'a'"),
        ([(), ()], "2 rows hold no label at all"),
        ([(f"a{n}", f"b{n}") for n in range(9)], "18 distinct labels in 9 rows"),
    ],
)
def test_sets_of_labels_that_cannot_be_learned_are_refused(values: list[tuple[str, ...]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        LabelSetCodec.learn(values)
