"""A classifier of one half: it trains, answers alike from torch and from its graphs, and says what it is."""

from pathlib import Path

import pytest

import cellgate
from cellgate.bundle import open_bundle
from cellgate.errors import UsageError
from cellgate.fit.dev import halves_in_words

ROWS = [
    {"text": f"{text} {number}", "label": label}
    for number in range(40)
    for text, label in (("a fine day", "good"), ("an awful day", "bad"))
]


@pytest.mark.parametrize("left_out", ["encoder", "linear"])
def test_one_half_is_a_classifier(left_out: str, tmp_path: Path) -> None:
    config = {left_out: {"enabled": False}, "train": {"epochs": 6}}
    bundle = cellgate.train("classify", ROWS, folder=tmp_path / "model", config=config)
    assert [answer.value for answer in bundle.predict(["a fine one", "how awful"])] == ["good", "bad"]
    told = bundle.manifest["calibration"]
    assert told["linear_share"] == (1 if left_out == "encoder" else 0)
    assert ("recurrent_alone" in told) == (left_out == "linear")
    # There is no LSTM to quantise in a linear model, and it can be read piece by piece.
    assert (tmp_path / "model" / "model.int8.onnx").exists() == (left_out == "linear")
    assert bool(bundle.manifest["graph"]["state"]) == (left_out == "encoder")
    again = open_bundle(tmp_path / "model").predict(["a fine one"])[0]
    assert again == bundle.predict(["a fine one"])[0]


def test_no_half_is_refused(tmp_path: Path) -> None:
    config = {"encoder": {"enabled": False}, "linear": {"enabled": False}}
    with pytest.raises(UsageError, match="leave one of the halves"):
        cellgate.train("classify", ROWS, folder=tmp_path / "model", config=config)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"recurrent_alone": 0.9, "linear_alone": 0.8, "together": 0.9}, "--linear.enabled false leaves it out"),
        ({"recurrent_alone": 0.8, "linear_alone": 0.9, "together": 0.9}, "--encoder.enabled false leaves it out"),
        ({"recurrent_alone": 0.6, "linear_alone": 0.9, "together": 0.5}, "--encoder.enabled false leaves it out"),
        ({"recurrent_alone": 0.8, "linear_alone": 0.9, "together": 0.95}, "with a weight of 0.40"),
        ({"recurrent_alone": 0.8, "together": 0.8}, "recurrent half 80.0%; the other half is left out"),
        ({"linear_alone": 0.8, "together": 0.8}, "linear half 80.0%; the other half is left out"),
    ],
)
def test_a_half_that_adds_nothing_is_named(told: dict[str, float], words: str) -> None:
    assert words in halves_in_words(told | {"linear_share": 0.4}, 200)


def test_few_rows_do_not_tell_which_half_helps() -> None:
    told = {"recurrent_alone": 0.9, "linear_alone": 0.8, "together": 0.9, "linear_share": 0.4}
    said = halves_in_words(told, 40)
    assert said.endswith("together 90.0%; 40 rows are too few to tell which half helps")
