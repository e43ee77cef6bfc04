"""Word lists: their files, what is wrong with them, which words are found, and what a net makes of them."""

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cellgate
from cellgate import bundle as bundle_room
from cellgate.batch import Ragged
from cellgate.bundle import Bundle
from cellgate.cli import run
from cellgate.codecs import TextCodec
from cellgate.config import EncoderConfig, TextConfig
from cellgate.errors import DataError, UsageError
from cellgate.nets import Encoder
from cellgate.ops.values import dense
from cellgate.text.lexicon import Lexicon
from cellgate.text.tokens import Unit

TEXTS = ["我在北京大学学习", "他在北京工作", "北京大学生很多"]
WORDS = "北京 9\n大学 6\n北京大学 3\n大学生 2\n学习 1\n在 5\n工作 4\n"
BEGIN, MIDDLE, END, SINGLE = range(4)


def written(path: Path, text: str, encoding: str = "utf-8") -> str:
    path.write_bytes(text.encode(encoding))
    return str(path)


def learned(path: str, texts: Sequence[str] = TEXTS, min_count: int = 1) -> dict[str, int]:
    lexicon = Lexicon.learn(path, texts, str.lower, min_count)
    return dict(zip(lexicon.words, lexicon.counts, strict=True))


def codec_of(path: str, **settings: Any) -> TextCodec:
    return TextCodec.learn(TextConfig(lexicon=path, min_count=1, **settings), TEXTS, places=True)


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> TextCodec:
    return codec_of(written(tmp_path_factory.mktemp("list") / "words.txt", WORDS))


# The file


@pytest.mark.parametrize(
    "text",
    [
        "北京 9\n大学 6\n",
        "北京 9 ns\r\n大学 6 n\r\n",
        "\ufeff北京\t9\t\n\n \u3000\n大学\t6\tn\n",
        "北京 4\n大学 6\n北京 5 ns",
        "北京 9\n大学 6\n上海 3\n" + "长" * 33 + " 1\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_lines_of_words_and_counts_are_read(text: str, encoding: str, tmp_path: Path) -> None:
    path = written(tmp_path / "words.txt", text, encoding)
    assert learned(path) == {"北京": 9, "大学": 6}
    packed = tmp_path / "words.txt.gz"
    packed.write_bytes(gzip.compress(Path(path).read_bytes()))
    assert learned(str(packed)) == learned(path)


def test_a_list_in_an_older_encoding_is_read(tmp_path: Path) -> None:
    others = "上海\n广州\n中国\n我们\n你们\n他们\n今天\n明天\n学校\n老师\n先生\n经济\n发展\n公司\n技术\n管理"
    path = written(tmp_path / "words.txt", f"北京 9\n大学 6\n{others}", "gb18030")
    assert learned(path) == {"北京": 9, "大学": 6}


def test_without_counts_words_are_counted_where_no_longer_one_covers_them(tmp_path: Path) -> None:
    path = written(tmp_path / "words.txt", "北京\n北京大学 ns\n大学\n学习\n大学生\n")
    assert learned(path) == {"北京": 1, "北京大学": 2, "大学": 1, "学习": 1, "大学生": 1}


def test_words_and_texts_are_written_alike_and_rare_words_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "words.txt", "AB 2\nab 3\ncd 1\na b\t7\n")
    assert learned(path, ["xAbcd", "ABx a b"], min_count=2) == {"ab": 5}
    assert learned(path, ["xAbcd", "ABx a b"]) == {"ab": 5, "cd": 1, "a b": 7}


def test_how_much_of_the_texts_is_part_of_a_word_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "words.txt", "北京\n京大\n在\n上海\n")
    lexicon = Lexicon.learn(path, ["我在 北京大学"], str.lower, 1)
    assert (lexicon.words, lexicon.of) == (["北京", "京大", "在"], 4)
    assert lexicon.covered == pytest.approx(3 / 6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no words"),
        (b"\n \n", "holds no words"),
        (("长" * 33).encode(), "holds no words of up to 32 characters"),
        (bytes(range(256)) * 9, "is a binary file"),
        (b"PK\x03\x04..", "is an Excel"),
        ("上海\n廣州\n".encode(), r"none of its 2 words stands 1 times .* language and script"),
    ],
)
def test_what_is_no_list_for_these_texts_is_told(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        codec_of(str(path))


def test_a_missing_or_broken_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file '.*nowhere.txt' of words"):
        codec_of(str(tmp_path / "nowhere.txt"))
    broken = tmp_path / "words.txt.gz"
    broken.write_bytes(gzip.compress(np.random.default_rng(0).bytes(9999))[:-20])
    with pytest.raises(DataError, match=r"words.txt.gz is no"):
        codec_of(str(broken))


@pytest.mark.parametrize("unit", ["word", "subword", "auto"])
def test_only_texts_of_characters_take_a_list(unit: Unit, tmp_path: Path) -> None:
    config = TextConfig(lexicon=written(tmp_path / "words.txt", WORDS), unit=unit)
    with pytest.raises(UsageError, match=r"text.lexicon: .* set text.unit to character"):
        TextCodec.learn(config, ["read by word"])


# Words in texts

letters = st.text("abc ", max_size=12)
often = settings(max_examples=60, deadline=None, derandomize=True)


@often
@given(st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=8, unique=True), letters)
def test_every_word_is_found_wherever_it_stands(words: list[str], text: str) -> None:
    lexicon = Lexicon(tuple(words), (1,) * len(words), len(words), 0.0)
    wanted = [
        (start, end, words.index(text[start:end]))
        for start in range(len(text))
        for end in range(len(text), start, -1)
        if text[start:end] in words
    ]
    assert lexicon.found(text) == wanted


@often
@given(st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=8, unique=True), st.lists(letters))
def test_sets_are_those_of_the_paper(words: list[str], texts: list[str]) -> None:
    lexicon = Lexicon(tuple(words), tuple(range(1, len(words) + 1)), len(words), 0.0)
    rows = [np.array(lexicon.found(text), np.int32).flatten() for text in texts]
    width = max(map(len, texts), default=0)
    arrays = lexicon.sets(Ragged.of(rows), width)
    numbers, weights = arrays["lexicon"], arrays["lexicon_weights"]
    assert numbers.shape[:3] == (len(texts), width, 4)
    for row, text in enumerate(texts):
        for place in range(width):
            sets: list[list[int]] = [[], [], [], []]
            for start, end, number in lexicon.found(text):
                if start <= place < end:
                    first, last = place == start, place == end - 1
                    sets[SINGLE if first and last else BEGIN if first else END if last else MIDDLE].append(number)
            for of_set, found, shares in zip(sets, numbers[row, place], weights[row, place], strict=True):
                counts = [lexicon.counts[number] for number in of_set]
                told = dict(zip(found[shares > 0].tolist(), shares[shares > 0].tolist(), strict=True))
                wanted = {number: count / sum(counts) for number, count in zip(of_set, counts, strict=True)}
                assert told == pytest.approx(wanted)


def words_of(codec: TextCodec, columns: dict[str, Ragged], row: int) -> list[tuple[int, int, str]]:
    assert codec.lexicon is not None
    return [(first, last, codec.lexicon.words[n]) for first, last, n in columns["lexicon"][row].reshape(-1, 3).tolist()]


def test_words_stand_at_their_tokens_and_end_at_spaces(codec: TextCodec) -> None:
    columns = codec.encode(["我 在北京", "在 北 京", "", tuple("在北京"), ("在", "北京")])
    assert words_of(codec, columns, 0) == [(1, 2, "在"), (2, 4, "北京")]
    assert words_of(codec, columns, 1) == [(0, 1, "在")]
    assert words_of(codec, columns, 2) == []
    assert words_of(codec, columns, 3) == [(0, 1, "在")]
    assert words_of(codec, columns, 4) == [(0, 1, "在"), (1, 2, "北京")]


def test_a_cut_text_has_the_words_of_its_beginning(codec: TextCodec) -> None:
    columns = replace(codec, max_tokens=4).encode(["他在北京大学"])
    assert words_of(codec, columns, 0) == [(1, 2, "在"), (2, 4, "北京")]


def test_a_part_of_a_text_has_the_words_inside_it(codec: TextCodec) -> None:
    columns = codec.encode(["他在北京大学学习"])
    part = codec.part(columns, 2, 6)
    alone = codec.encode(["北京大学"])
    assert words_of(codec, part, 0) == words_of(codec, alone, 0)
    assert {name: value.tolist() for name, value in codec.collate(part).items()} == {
        name: value.tolist() for name, value in codec.collate(alone).items()
    }


# The net


@torch.no_grad()
def test_a_characters_vector_ends_with_the_means_of_its_sets(codec: TextCodec) -> None:
    assert codec.lexicon is not None
    encoder = Encoder(EncoderConfig(embedding=6, hidden=5, buckets=64), codec.sizes).eval()
    text = "在北京大学生"
    inputs = {name: torch.from_numpy(value) for name, value in codec.collate(codec.encode([text, "学"])).items()}
    x, _ = encoder.vectors(inputs, encoder.vectors.initial_state(2))
    (table,) = encoder.vectors._words
    means = dense(x)[:, :, 6:].reshape(2, len(text), 4, -1)
    of = dict(zip(codec.lexicon.words, table.weight, strict=True))
    wanted = torch.zeros_like(means)
    wanted[0, 0, SINGLE] = of["在"]
    wanted[0, 1, BEGIN] = (9 * of["北京"] + 3 * of["北京大学"]) / 12
    wanted[0, 2, MIDDLE] = of["北京大学"]
    wanted[0, 2, END] = of["北京"]
    wanted[0, 3, BEGIN] = (6 * of["大学"] + 2 * of["大学生"]) / 8
    wanted[0, 3, MIDDLE] = of["北京大学"]
    wanted[0, 4, MIDDLE] = of["大学生"]
    wanted[0, 4, END] = (6 * of["大学"] + 3 * of["北京大学"]) / 9
    wanted[0, 5, END] = of["大学生"]
    torch.testing.assert_close(means, wanted)


def test_gradients_reach_the_words_that_were_read(codec: TextCodec) -> None:
    assert codec.lexicon is not None
    encoder = Encoder(EncoderConfig(embedding=6, hidden=5, buckets=64), codec.sizes)
    inputs = {name: torch.from_numpy(value) for name, value in codec.collate(codec.encode(["在北京"])).items()}
    y, _ = encoder.eval()(inputs, encoder.initial_state(1))
    torch.autograd.backward(y.sum())
    (table,) = encoder.vectors._words
    assert table in encoder.vectors.tables
    assert table.weight.grad is not None
    assert {codec.lexicon.words[row] for row in torch.nonzero(table.weight.grad.any(1))} == {"在", "北京"}


# The Bundle

NAMES, PLACES = ("小明", "王芳", "李大山"), ("北京", "上海", "石家庄")
ROWS = [
    {
        "text": f"{name}{verb}{place}{end}",
        "spans": [
            (0, len(name), "person"),
            (len(name) + len(verb), len(name) + len(verb) + len(place), "place"),
        ],
    }
    for name in NAMES
    for verb in ("去了", "住在")
    for place in PLACES
    for end in ("。", "，很好。")
]
SMALL = {"embedding": 12, "hidden": 12, "buckets": 256}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("lexicon")
    path = written(folder / "words.txt", "北京\n上海\n石家庄\n去了\n住在\n很好\n了\n")
    config = {
        "text": {"lexicon": path},
        "encoder": SMALL,
        "train": {"epochs": 12, "batch_rows": 8, "learning_rate": 0.02, "threads": 1},
    }
    made = cellgate.train("tag", ROWS, dev=ROWS, folder=folder / "names", config=config)
    Path(path).unlink()
    return made


def test_a_bundle_answers_without_the_file_and_as_its_net_does(bundle: Bundle) -> None:
    from safetensors.torch import load_file

    bundle = cellgate.open(bundle.folder)
    assert bundle.evaluate(ROWS)["span_f1"] == 1.0
    assert {"lexicon", "lexicon_weights"} <= set(bundle.manifest["graph"]["inputs"])
    config = bundle.task.config.parse(bundle.manifest["config"], "bundle.json")
    net = bundle.task.net(config, bundle.source, bundle.target)
    net.load_state_dict(load_file(bundle.folder / "weights.safetensors"))
    net.eval()
    texts = [*(str(row["text"]) for row in ROWS), "", "没有", "了"]
    inputs = {name: torch.from_numpy(v) for name, v in bundle.source.collate(bundle.source.encode(texts)).items()}
    with torch.no_grad():
        outputs, _ = net(inputs, {})
    found = bundle.scores(texts)
    for row, (scores, length) in enumerate(zip(found.rows, inputs["lengths"].tolist(), strict=True)):
        np.testing.assert_allclose(scores, outputs["scores"][row, :length].numpy(), atol=1e-4)
        np.testing.assert_allclose(scores, bundle.scores([texts[row]]).rows[0], atol=1e-4)


def test_a_long_text_is_answered_in_windows_as_in_one_piece(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(str(row["text"]) for row in ROWS * 4)
    wanted = bundle.predict([text])[0].value
    monkeypatch.setattr(bundle_room, "_WINDOW", 90)
    monkeypatch.setattr(bundle_room, "_MARGIN", 40)
    assert bundle.predict([text])[0].value == wanted


def test_a_classifier_with_a_list_reads_a_text_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "words.txt", "很好\n不好\n好\n")
    rows = [{"text": text, "label": text[2]} for text in ("这里很好", "这里不好") for _ in range(20)]
    config = {
        "text": {"lexicon": path},
        "encoder": {**SMALL, "directions": 1},
        "train": {"max_steps": 5, "threads": 1},
    }
    made = cellgate.train("classify", rows, folder=tmp_path / "model", config=config)
    assert made.manifest["graph"]["state"] == []
    assert made.predict(["很好"])[0].value in ("很", "不")


def test_the_command_line_says_how_much_is_covered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "words.txt", WORDS)
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"{text},{text[0]}\n" for text in TEXTS * 10), "utf-8")
    words = ["train", "classify", str(rows), "-o", str(tmp_path / "m"), "--text.lexicon", path]
    assert run([*words, "--train.max-steps", "2", "--encoder.hidden", "4"]) == 0
    said = capsys.readouterr().err
    assert "word list: 7 of its 7 words are learned" in said
    assert "of their characters are part of a word of two or more" in said
    assert run([*words, "--text.unit", "word"]) == 2
    assert "set text.unit to character" in capsys.readouterr().err
