"""The scikit-learn estimator: labels in their own type, a life in searches and pickles, and what it refuses.

scikit-learn's checks make tables of numbers, so they run on a pipeline that writes numbers as texts. Of those, the API
checks run (one fit each, 4 s); the "legacy" ones would be some sixty fits more: what they ask is asked below of one
fitted estimator, but for idempotence, which is theirs. Checks that fit nothing run on the bare class.
"""

import copy
import enum
import gc
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    check_do_not_raise_errors_in_init_or_set_params,
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimator_tags_renamed,
    check_estimators_unfitted,
    check_fit_idempotent,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
    parametrize_with_checks,
)

import cellgate
from cellgate.errors import DataError, UsageError
from cellgate.sklearn import TextClassifier

QUICK = {
    "encoder": {"cell": "gru", "embedding": 8, "buckets": 64},
    "linear.enabled": False,
    "train.max_steps": 4,
}


def _quick() -> TextClassifier:
    return TextClassifier(hidden=4, threads=1, settings=QUICK)


class _Said:
    """A table of numbers as texts. Not a function, whose address would stand in the names of tests."""

    def __call__(self, numbers):
        return np.array([" ".join(f"column{c}is{v:.0f}" for c, v in enumerate(row)) for row in numbers])

    def __repr__(self):
        return "said"


def _on_numbers() -> Pipeline:
    return make_pipeline(FunctionTransformer(_Said(), validate=True), _quick())


@pytest.fixture(scope="module")
def stars(reviews):
    """Texts [N] and ints [N] that sort otherwise as numbers (9, 10) than as names ("10", "9")."""
    stars = {"positive": 10, "negative": 9}
    return np.array([row["text"] for row in reviews]), np.array([stars[row["label"]] for row in reviews])


@pytest.fixture(scope="module")
def fitted(stars):
    """A classifier that learned `stars`; not to be changed."""
    return TextClassifier(hidden=8, threads=1, settings=QUICK | {"linear.enabled": True, "train.max_steps": 30}).fit(
        *stars
    )


def _pipelines_way(_estimator):
    reason = "a pipeline fits its steps in place, so its parameter `steps` changes"
    return {"check_estimators_overwrite_params": reason, "check_dont_overwrite_parameters": reason}


@parametrize_with_checks([_on_numbers()], legacy=False, expected_failed_checks=_pipelines_way, xfail_strict=True)
def test_the_api_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_a_second_fit_gives_the_same_answers():
    check_fit_idempotent("Pipeline", _on_numbers())


@pytest.mark.parametrize(
    "check",
    [
        check_do_not_raise_errors_in_init_or_set_params,
        check_estimator_cloneable,
        check_estimator_repr,
        check_estimator_tags_renamed,
        check_estimators_unfitted,
        check_get_params_invariance,
        check_mixin_order,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
        check_valid_tag_types,
    ],
)
def test_the_checks_of_scikit_learn_that_fit_nothing(check):
    check("TextClassifier", TextClassifier())


def test_tags_say_that_it_takes_texts():
    tags = get_tags(TextClassifier())
    assert tags.input_tags.string
    assert tags.input_tags.one_d_array
    assert not tags.input_tags.two_d_array
    assert tags.target_tags.required


def test_ints_come_back_as_ints_and_columns_follow_classes(fitted, stars):
    texts, labels = stars
    assert fitted.classes_.tolist() == [9, 10]
    assert fitted.classes_.dtype == labels.dtype
    chances = fitted.predict_proba(texts)
    assert np.allclose(chances.sum(axis=1), 1, rtol=0, atol=1e-12)
    answers = fitted.bundle_.predict(texts.tolist())
    assert fitted.predict(texts).tolist() == [int(answer.value) for answer in answers]
    assert np.allclose(chances.max(axis=1), [answer.confidence for answer in answers], rtol=0, atol=1e-5)
    assert fitted.score(texts, labels) > 0.7
    assert fitted.predict([]).shape == (0,)
    assert fitted.predict_proba([]).shape == (0, 2)


def test_fit_sets_and_predict_changes_nothing_else(fitted, stars):
    before = vars(fitted).copy()
    fitted.predict(stars[0])
    assert vars(fitted) == before
    assert set(before) - set(TextClassifier().get_params()) == {"bundle_", "classes_"}
    assert fitted.settings["encoder"] is QUICK["encoder"]
    with pytest.raises(NotFittedError):
        clone(fitted).predict(stars[0])


@pytest.mark.parametrize("copied", [lambda fitted: pickle.loads(pickle.dumps(fitted)), copy.deepcopy])
def test_a_pickle_is_whole_and_its_files_live_as_long_as_it(fitted, stars, copied):
    other = copied(fitted)
    folder = other.bundle_.folder
    assert folder != fitted.bundle_.folder
    assert np.array_equal(other.predict_proba(stars[0]), fitted.predict_proba(stars[0]))
    bundle = other.bundle_
    del other
    gc.collect()
    assert folder.is_dir(), "the Bundle is still held"
    del bundle
    gc.collect()
    assert not folder.parent.exists()
    assert fitted.bundle_.folder.is_dir()


def test_save_leaves_a_bundle_and_replaces_only_bundles(fitted, stars, tmp_path):
    text = str(stars[0][0])
    for _ in range(2):
        fitted.save(tmp_path / "models" / "stars")
    opened = cellgate.open(tmp_path / "models" / "stars")
    assert opened.predict([text])[0].value == str(fitted.predict([text])[0])
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["stars"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match="is no Bundle"):
        fitted.save(tmp_path / "mine")
    (tmp_path / "new.training").mkdir()
    with pytest.raises(UsageError, match="unfinished training"):
        fitted.save(tmp_path / "new")
    with pytest.raises(NotFittedError):
        TextClassifier().save(tmp_path / "none")


def test_it_is_searched_and_cross_validated(stars):
    texts, labels = stars
    (split,) = [(np.arange(0, len(texts), 2), np.arange(1, len(texts), 2))]
    search = GridSearchCV(
        Pipeline([("shout", FunctionTransformer(np.char.upper)), ("classify", _quick())]),
        {"classify__hidden": np.array([3, 5]), "classify__random_state": np.array([1])},
        cv=[split],
        error_score="raise",
    )
    search.fit(texts, labels)
    config = search.best_estimator_["classify"].bundle_.manifest["config"]
    assert config["encoder"]["hidden"] == search.best_params_["classify__hidden"]
    assert config["train"]["seed"] == 1
    assert set(search.predict(texts)) <= {9, 10}
    (score,) = cross_val_score(_quick(), texts.tolist(), labels.tolist(), cv=[split], error_score="raise")
    assert 0 < score <= 1


class Verdict(enum.Enum):
    """Labels that are hashable and no more."""

    GOOD = 10
    BAD = 9

    def __str__(self):
        return str(self.value)


@pytest.fixture
def trained(monkeypatch, fitted):
    """What `train` is asked for, while the Bundle of `fitted` is all that it gives."""
    asked: dict[str, Any] = {}

    def train(task, rows, *, folder, config):
        asked.update(task=task, rows=rows, config=config)
        return fitted.bundle_

    monkeypatch.setattr("cellgate.training.train", train)
    return asked


def test_labels_of_any_hashable_type(trained, fitted, stars):
    texts, labels = stars
    classifier = TextClassifier().fit(texts, [Verdict(label) for label in labels])
    assert trained["rows"][0] == {"text": texts[0], "label": str(labels[0])}
    assert classifier.classes_.tolist() == [Verdict.GOOD, Verdict.BAD], "by name where values cannot be compared"
    assert [verdict.value for verdict in classifier.predict(texts)] == fitted.predict(texts).tolist()
    classifier.fit(["a", "b"], ["9 ", "10"])
    assert trained["rows"][0]["label"] == "9"
    assert set(classifier.predict(texts)) == {"9 ", "10"}
    classifier.fit(["a", "b"], [9.0, 10.0])
    assert trained["rows"][0]["label"] == "9"
    assert set(classifier.predict(texts)) == {9.0, 10.0}


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([True, False], [False, True]),
        ([("b", 2), ("a", 1)], [("a", 1), ("b", 2)]),
        (["b", 1], [1, "b"]),
        (np.array(["b", "a"], object), ["a", "b"]),
        (np.array([2, 1], np.uint8), [1, 2]),
    ],
)
def test_classes_keep_their_type(trained, labels, classes):
    found = TextClassifier().fit(["x", "y"], labels).classes_
    assert found.tolist() == classes
    assert [type(label) for label in found.tolist()] == [type(label) for label in classes]


def test_settings_by_dotted_and_by_nested_name(trained):
    def config(classifier: TextClassifier) -> Any:
        classifier.fit(["a", "b"], [0, 1])
        return trained["config"]

    assert config(TextClassifier()) == type(trained["config"])()
    one = config(TextClassifier(learning_rate=0.5, settings={"encoder": {"cell": "rnn"}, "encoder.layers": 2}))
    other = config(TextClassifier(learning_rate=0.5, settings={"encoder.cell": "rnn", "encoder.layers": 2}))
    assert one == other
    assert (one.encoder.cell, one.encoder.layers, one.train.learning_rate) == ("rnn", 2, 0.5)
    drawn = config(TextClassifier(random_state=np.random.RandomState(5))).train.seed
    assert drawn == config(TextClassifier(random_state=np.random.RandomState(5))).train.seed != 0


def test_cut_texts_are_said(trained, fitted, monkeypatch):
    with warnings.catch_warnings(action="error"):
        TextClassifier().fit(["a", "b"], [0, 1])
    monkeypatch.setitem(fitted.bundle_.manifest["data"], "cut_texts", 1)
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 1,000 tokens"):
        TextClassifier().fit(["a", "b"], [0, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settings": {"encoder.sell": "gru"}}, "no setting 'encoder.sell' in settings; did you mean 'encoder.cell'?"),
        ({"settings": {"encoder": 3}}, "setting 'encoder' in settings: .*got 3"),
        ({"settings": {"encoder.hidden": 32}}, r"write TextClassifier\(hidden=32\)"),
        ({"settings": "mine.yaml"}, "settings is 'mine.yaml'; give a mapping"),
        ({"hidden": 0}, "setting 'encoder.hidden' in TextClassifier: .*got 0"),
    ],
)
def test_wrong_settings_are_named(trained, arguments, message):
    with pytest.raises(UsageError, match=message):
        TextClassifier(**arguments).fit(["a", "b"], [0, 1])


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ("one text", [0], r"X is 'one text' \(str\)"),
        (["a", "b"], None, r"y is None \(NoneType\)"),
        (np.array([["a"], ["b"]]), [0, 1], "X has 2 axes"),
        (["a", "b"], np.array([[0], [1]]), "y has 2 axes"),
        (["a", np.nan], [0, 1], r"X\[1\] is nan, not a text"),
        (["a", "b"], [0.0, np.nan], r"y\[1\] is nan: the label is missing"),
        (["a", "b"], ["yes", None], r"y\[1\] is None: the label is missing"),
        (["a", "b"], [["x"], ["y"]], r"y\[0\] is \['x'\]; a text has one label"),
        (["a", "b"], [0], "X has 2 texts, y has 1 labels"),
        (["a", "b"], [1, "1"], "1 and '1', which are written alike"),
        (["a", "b"], ["x", " "], "the label ' ', which is blank"),
    ],
)
def test_unfit_texts_and_labels_are_named(texts, labels, message):
    with pytest.raises(UsageError, match=message):
        TextClassifier().fit(texts, labels)


def test_a_training_that_fails_leaves_no_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(DataError, match="every row has the label"):
        TextClassifier().fit(["a", "b"], ["same", "same"])
    assert list(Path(tmp_path).iterdir()) == []
