"""A Bundle answers like the net it came from, one row like many, and refuses to be damaged."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import cellgate
from cellgate.bundle import open_bundle, seal
from cellgate.errors import BundleError, DataError, UsageError


@pytest.fixture
def copy(bundle, tmp_path) -> Path:
    return Path(shutil.copytree(bundle.folder, tmp_path / "copy"))


def test_an_empty_list_is_answered_by_an_empty_list(bundle):
    assert bundle.predict([]) == []
    assert list(bundle.predict_each(iter([]))) == []


def test_a_row_gets_the_same_answer_alone_and_in_company(bundle, reviews):
    texts = [row["text"] for row in reviews]
    together = bundle.scores(texts).rows
    alone = [bundle.scores([text]).rows[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_answers_keep_the_order_of_the_rows(bundle, reviews):
    texts = [row["text"] for row in reviews] * 5  # more than one chunk
    assert [p.record.text for p in bundle.predict_each(texts)] == texts


def test_probabilities_are_ranked_and_sum_to_one(bundle):
    answer = bundle.predict(["wonderful, works well"])[0]
    chances = [answer.confidence, *(other.confidence for other in answer.alternatives)]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1, abs=1e-6)
    assert answer.record.label == answer.value


@pytest.mark.parametrize("text", ["", "   ", "\n", "qzxv wqpk jjkx", "\0", "👍🏽", "x" * 10_000_000])
def test_odd_texts_are_answered(bundle, text):
    answer = bundle.predict([text])[0]
    assert 0.5 <= answer.confidence <= 1


def test_rows_may_be_strings_mappings_or_records(bundle):
    record = bundle.task.record(text="good")
    answers = bundle.predict(["good", {"text": "good"}, record])
    assert len({answer.confidence for answer in answers}) == 1
    with pytest.raises(UsageError, match=r"one string; write predict\(\['good'\]\)"):
        bundle.predict("good")
    with pytest.raises(DataError, match="field 'text': field required; fields: text, label"):
        bundle.predict([{"texts": "good"}])
    with pytest.raises(DataError, match="field 'text'"):
        bundle.predict([{"text": None}])


def test_evaluate_counts_unseen_labels_as_wrong_and_tells_of_them(bundle):
    rows = [bundle.task.read({"text": "good", "label": label}) for label in ("positive", "neutral")]
    found = bundle.evaluate(rows)
    assert found["n"] == 2
    assert found["unseen"] == {"neutral": 1}
    assert found["accuracy"] <= 0.5
    with pytest.raises(DataError, match="'positiv' was never seen in training; did you mean 'positive'"):
        bundle.evaluate([bundle.task.read({"text": "good", "label": "positiv"})])
    with pytest.raises(DataError, match="no rows to evaluate"):
        bundle.evaluate([])


def test_int8_is_close_to_float(bundle, reviews):
    texts = [row["text"] for row in reviews[:40]]
    quantised = open_bundle(bundle.folder, "int8")
    floats = bundle.scores(texts).rows
    assert np.abs(np.exp(quantised.scores(texts).rows) - np.exp(floats)).max() < 0.05


def test_parity_is_written_and_small(bundle):
    parity = json.loads((bundle.folder / "parity.json").read_text())
    assert parity["torch_float_difference"] < 1e-4
    assert parity["float_int8_difference"] < 0.05


def test_what_reads_the_folder_needs_no_special_rights(bundle):
    for path in bundle.folder.iterdir():
        assert path.stat().st_mode & 0o044 == 0o044 & ~_umask(), path


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask


CHECKED = [
    "codec.json",
    "tokenizer.json",
    "weights.safetensors",
    "model.onnx",
    "model.int8.onnx",
    "parity.json",
    "bundle.json",
]


@pytest.mark.parametrize("name", CHECKED)
def test_one_altered_byte_is_noticed(copy, name):
    path = copy / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} (is damaged|has format)"):
        open_bundle(copy)


@pytest.mark.parametrize("name", CHECKED)
def test_a_truncated_file_is_noticed(copy, name):
    path = copy / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BundleError, match=rf"{name} is damaged"):
        open_bundle(copy)


@pytest.mark.parametrize("name", CHECKED)
def test_a_missing_file_is_noticed(copy, name):
    (copy / name).unlink()
    with pytest.raises(BundleError, match=name):
        open_bundle(copy)


def test_what_is_no_bundle_is_told_so(tmp_path):
    with pytest.raises(BundleError, match=r"no folder .*nowhere"):
        cellgate.open(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"is no Bundle: it has no bundle\.json"):
        cellgate.open(tmp_path)
    (tmp_path / "bundle.json").write_text("[1, 2]")
    with pytest.raises(BundleError, match="is not of Cellgate"):
        cellgate.open(tmp_path)


def _reseal(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    for name in ("format", "files", "checksum"):
        del manifest[name]
    seal(folder, {**manifest, **changes})


def test_a_newer_bundle_asks_for_a_newer_program(copy):
    path = copy / "bundle.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "format": 99, "cellgate": "9.1"}))
    with pytest.raises(BundleError, match=r"format 99, written by Cellgate 9\.1.*upgrade"):
        open_bundle(copy)


def test_a_bundle_cannot_name_a_task_or_codec_of_its_own(copy):
    _reseal(copy, task="os")
    with pytest.raises(UsageError, match="no task 'os'"):
        open_bundle(copy)
    _reseal(copy, task="classify")
    state = json.loads((copy / "codec.json").read_text())
    (copy / "codec.json").write_text(json.dumps({**state, "source": {"codec": "subprocess"}}))
    _reseal(copy)
    with pytest.raises(BundleError, match="names the codec 'subprocess'"):
        open_bundle(copy)


def test_predictions_do_not_change_what_they_were_asked(bundle):
    row = {"text": "good"}
    bundle.predict([row])
    assert row == {"text": "good"}


def test_a_cut_text_is_told_of(bundle):
    long = bundle.predict(["word " * 1_001, "short"])
    assert [answer.cut for answer in long] == [True, False]
    assert bundle.evaluate([{"text": "word " * 1_001, "label": "positive"}])["cut"] == 1


def test_numbers_are_labels_too_and_blank_ones_are_not(bundle):
    assert bundle.task.read_answered({"text": "a", "label": 1}).label == "1"
    assert bundle.task.read_answered({"text": "a", "label": " x "}).label == "x"
    with pytest.raises(DataError, match="has no label"):
        bundle.task.read_answered({"text": "a", "label": " "})
    with pytest.raises(UsageError, match="no precision 'fp16'; there are: float, int8"):
        open_bundle(bundle.folder, "fp16")  # type: ignore[arg-type]
