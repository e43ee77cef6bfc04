"""The model card says what stands in the manifest, and no more."""

import copy
from typing import Any

import pytest

from cellgate.card import dev_role, model_card

MANIFEST: dict[str, Any] = {
    "cellgate": "0.1.0",
    "task": "classify",
    "config": {"text": {"max_tokens": 1_000}},
    "calibration": {"recurrent_alone": 0.9, "linear_share": 0.4},
    "data": {
        "rows": 1_200,
        "dev_rows": 200,
        "dev_given": False,
        "cut_texts": 0,
        "empty_texts": 0,
        "unseen_dev_rows": 0,
        "rows_by_label": {"negative": 500, "positive": 700},
        "mean_tokens": 17.6,
    },
    "metrics": {"dev": {"accuracy": 0.91, "macro_f1": 0.9, "calibration_error": 0.0213, "n": 200}},
}


@pytest.fixture
def manifest():
    return copy.deepcopy(MANIFEST)


def test_an_old_manifest_makes_a_card(manifest):
    card = model_card(manifest)
    assert "on 1,000 rows" in card
    assert "positive (700), negative (500)." in card
    assert "**Cut, empty, left out:** nothing." in card
    assert "| macro F1 | 0.9000 |" in card
    assert "uncalibrated" not in card
    assert "It never says that it does not know" in card
    assert "fit none of the labels" not in card
    assert "uneven" not in card
    assert "tell little" not in card
    assert "(report.html)" in card


def test_what_was_lost_chosen_and_measured_is_said(manifest):
    manifest["calibration"]["calibration_error_before"] = 0.0871
    manifest["decision"] = {"abstain_below": 0.625, "thresholds": []}
    manifest["data"] |= {"cut_texts": 1_234, "empty_texts": 2, "skipped_rows": 3, "unseen_dev_rows": 4, "dev_rows": 8}
    manifest["data"]["rows_by_label"] = {"a": 5_000, "b": 3}
    card = model_card(manifest)
    assert "1,234 longer than 1,000 tokens, and cut there; 2 empty, and kept; 3 bad rows" in card
    assert "4 dev rows with a label that no training row has" in card
    assert "| calibration error, uncalibrated | 0.0871 |" in card
    assert "less than 62.5% sure is not given" in card
    manifest["decision"] |= {"out_of_scope": "other_things", "scope_ends": 0.02}
    assert r"none of the labels (other\_things) where that is at least" in " ".join(model_card(manifest).split())
    assert "3 to 5,000 rows" in card
    assert "each one moves a share by 12.5%" in card
    assert dev_role(8) in card


def test_many_and_odd_labels_keep_the_card_one_page(manifest):
    manifest["data"]["rows_by_label"] = {f"label_{place}": 200 - place for place in range(150)} | {"a|b\n<c>": 900}
    card = model_card(manifest)
    assert r"a\|b \<c\> (900), label\_0 (200)" in card
    assert "and 121 labels more" in card
    assert "label\\_29" not in card
    assert len(card.splitlines()) < 60


def test_a_trained_bundle_has_its_card(bundle):
    card = (bundle.folder / "README.md").read_text("utf-8")
    assert card == model_card(bundle.manifest)
