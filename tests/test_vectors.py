"""Pretrained vectors: their files, what is wrong with them, and what a net makes of them."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import cellgate
from cellgate.codecs import TextCodec
from cellgate.config import EncoderConfig, TextConfig
from cellgate.errors import DataError, UsageError
from cellgate.nets import Encoder
from cellgate.text.vectors import read_vectors, read_words

VOCABULARY = {"[UNK]": 0, "[EMPTY]": 1, "cat": 2, "dog": 3, "horse": 4}
TEXTS = ["a cat sat", "a dog sat", "a cat and a dog"]


def written(path: Path, text: str) -> str:
    path.write_bytes(text.encode("utf-8"))
    return str(path)


def of(path: str) -> list[list[float]]:
    values = read_vectors(path, VOCABULARY, str.lower)
    rows: list[list[float]] = (values / max(1e-9, np.abs(values).max())).round(5).tolist()
    return rows


@pytest.mark.parametrize("header", ["", "3 2\n"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n"])
def test_both_formats_are_read(header: str, ending: str, tmp_path: Path) -> None:
    lines = ["cat 1 2", "bird 9 9", "dog -4 0.5"]
    path = written(tmp_path / "v.txt", header + "".join(line + ending for line in lines))
    assert of(path) == [[0, 0], [0, 0], [0.25, 0.5], [-1, 0.125], [0, 0]]
    packed = tmp_path / "v.txt.gz"
    packed.write_bytes(gzip.compress(Path(path).read_bytes()))
    assert of(str(packed)) == of(path)


def test_the_word_as_it_is_written_goes_before_its_capitals(tmp_path: Path) -> None:
    path = written(tmp_path / "v.txt", "Cat 8 0\ncat 1 0\nCAT 4 0\nDog 2 0\nDOG 4 0\n")
    assert of(path) == [[0, 0], [0, 0], [0.5, 0], [1, 0], [0, 0]]


def test_a_word_may_hold_spaces(tmp_path: Path) -> None:
    path = written(tmp_path / "v.txt", "cat 1 2\n. . . 3 4\n")
    assert list(read_words(path)) == ["cat", ". . ."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat 1 2\ndog 1\n", "line 2: 1 numbers, the lines before have 2"),
        ("cat 1 2\ndog 1 2 3\n", "line 2: 3 numbers, the lines before have 2"),
        ("cat 1 2\ndog 1 x\n", "line 2: not all of its 2 values are numbers"),
        ("cat 1 nan\n", "line 1: not all of its 2 values are numbers"),
        ("cat\n", "line 1: 0 numbers, a word and its numbers are wanted"),
        ("", "holds no vectors"),
        ("300 2\n", "holds no vectors"),
    ],
)
def test_what_are_no_vectors_is_told_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        of(written(tmp_path / "v.txt", text))


def test_a_missing_or_broken_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file '.*nowhere.txt' of vectors"):
        of(str(tmp_path / "nowhere.txt"))
    broken = tmp_path / "v.txt.gz"
    broken.write_bytes(gzip.compress(b"cat 1 2\n" * 9999)[:-20])
    with pytest.raises(DataError, match="no whole gzip file"):
        of(str(broken))


def test_its_words_fill_the_vocabulary_up_to_its_limit(tmp_path: Path) -> None:
    path = written(tmp_path / "v.txt", "the 1 2\na 0 1\ncat 1 1\nnew york 3 3\nzebra 5 5\nlion 6 6\n")
    config = TextConfig(vectors=path, min_count=1, max_vocabulary=9)
    codec = TextCodec.learn(config, TEXTS)
    assert codec.coverage is not None
    assert codec.coverage[:2] == (2, 5)
    assert codec.coverage.tokens == pytest.approx(6 / 11)  # a and cat, of a, cat, dog, sat, and
    vocabulary = codec.tokenizer.get_vocab()
    assert {"the", "zebra"} <= vocabulary.keys()
    assert not {"lion", "new york"} & vocabulary.keys()
    assert np.count_nonzero(codec.vectors(path).any(1)) == 4
    codec.save(tmp_path)
    assert TextCodec.load(tmp_path, codec.save(tmp_path)).coverage == codec.coverage


def test_subwords_have_no_vectors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="subwords have no pretrained vectors"):
        TextCodec.learn(TextConfig(vectors=written(tmp_path / "v.txt", "a 1 2\n"), unit="subword"), TEXTS)


@pytest.mark.parametrize("tuned", [True, False])
def test_frozen_vectors_stay_and_tuned_ones_learn(tuned: bool, tmp_path: Path) -> None:
    import torch

    codec = TextCodec.learn(TextConfig(vectors=written(tmp_path / "v.txt", "cat 1 2\ndog 2 1\n"), min_count=1), TEXTS)
    config = EncoderConfig(embedding=4, hidden=3, buckets=8, tune_vectors=tuned)
    encoder = Encoder(config, codec.sizes, torch.from_numpy(codec.vectors(str(tmp_path / "v.txt"))))
    inputs = {name: torch.from_numpy(np.asarray(value)) for name, value in codec.collate(codec.encode(TEXTS)).items()}
    y, _ = encoder(inputs, encoder.initial_state(len(TEXTS)))
    y.sum().backward()
    (given,) = encoder.vectors.given
    assert (given.weight.grad is not None) == tuned
    assert (given in encoder.vectors.tables) == tuned
    learned = encoder.vectors.map.weight.grad
    assert learned is not None
    assert learned.abs().sum() > 0


def test_a_model_answers_without_the_file(tmp_path: Path) -> None:
    path = Path(written(tmp_path / "v.txt", "good 1 2\nbad -1 -2\nsuperb 1 2.1\nlousy -1 -2.1\n"))
    rows = [{"text": text, "label": label} for text, label in (("good", "yes"), ("bad", "no")) for _ in range(40)]
    config = {"text": {"vectors": str(path)}, "linear": {"enabled": False}, "train": {"epochs": 8}}
    bundle = cellgate.train("classify", rows, folder=tmp_path / "model", config=config)
    path.unlink()
    assert [answer.value for answer in bundle.predict(["superb", "lousy"])] == ["yes", "no"]
