"""When an answer is given: thresholds against a search over all of them, and what codecs make of them."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from cellgate.batch import Scores
from cellgate.codecs import Decision, LabelCodec, LabelSetCodec
from cellgate.codecs.decision import abstaining, best_threshold, label_thresholds, trusted_threshold

ROWS = st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.booleans()), min_size=1, max_size=25)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(ROWS, st.sampled_from([0.5, 0.8, 0.95]))
def test_abstaining_answers_as_many_rows_as_the_precision_allows(
    rows: list[tuple[float, bool]], precision: float
) -> None:
    sure, right = zip(*rows, strict=True)
    found = abstaining(sure, right, precision)
    kept = [hit for confidence, hit in rows if confidence >= found.below]
    assert found.answered == pytest.approx(len(kept) / len(rows))
    assert found.precision == pytest.approx(sum(kept) / len(kept))
    others = [[hit for confidence, hit in rows if confidence >= below] for below in set(sure)]
    enough = [len(each) for each in others if sum(each) / len(each) >= precision]
    if enough:
        assert len(kept) == max(enough)
    else:
        assert found.precision == pytest.approx(max(sum(each) / len(each) for each in others))


def test_the_threshold_stands_between_the_rows_of_dev() -> None:
    assert abstaining([0.9, 0.6, 0.5], [True, False, False], 0.9).below == pytest.approx(0.75)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(ROWS)
def test_no_threshold_has_a_better_f1(rows: list[tuple[float, bool]]) -> None:
    probabilities, true = np.array(rows, np.float32).T

    def f1(threshold: float) -> float:
        return float(f1_score(true, probabilities >= threshold, zero_division=0))

    found = best_threshold(probabilities, true)
    assert f1(found) == pytest.approx(max(f1(each) for each in probabilities) if true.any() else 0)


def test_thresholds_of_a_hundred_labels_cost_an_epoch_little() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random((10_000, 100)).astype(np.float32)
    true = (random.random((10_000, 100)) < probabilities**4).astype(np.float32)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        label_thresholds(probabilities, true)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.2  # seconds; sorting rows with their places takes 0.3


def test_a_label_with_many_dev_rows_gets_its_own_best_threshold() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random((4_000, 2)).astype(np.float32)
    true = np.stack([probabilities[:, 0] > 0.2, probabilities[:, 1] > 0.8], 1).astype(np.float32)
    thresholds = label_thresholds(probabilities, true)
    assert thresholds == pytest.approx((0.2, 0.8), abs=0.02)
    for label, threshold in enumerate(thresholds):
        assert f1_score(true[:, label], probabilities[:, label] >= threshold) > 0.98


def test_a_label_without_dev_rows_takes_the_common_threshold() -> None:
    probabilities = np.array([[0.9, 0.2], [0.8, 0.1], [0.3, 0.1]] * 20, np.float32)
    true = np.array([[1, 0], [1, 0], [0, 0]] * 20, np.float32)
    assert label_thresholds(probabilities, true)[1] == pytest.approx(0.55, abs=1e-6)


def test_a_usual_threshold_far_away_does_not_hide_a_label_whose_probabilities_are_small() -> None:
    probabilities = np.concatenate((np.full(100, 0.05), np.full(3_000, 0.001))).astype(np.float32)
    true = (probabilities > 0.01).astype(np.float32)
    assert 0.001 < trusted_threshold(probabilities, true, 0.5) < 0.05


def test_below_its_threshold_an_answer_is_unknown_and_all_labels_are_alternatives() -> None:
    codec = LabelCodec(("a", "b"), (1, 1))
    scores = np.log(np.array([[0.6, 0.4], [0.9, 0.1]], np.float32))
    unsure, sure = codec.decode(Scores(scores), {}, Decision(abstain_below=0.7))
    assert unsure.value is None
    assert unsure.confidence == pytest.approx(0.6)
    assert [name for name, _ in unsure.alternatives] == ["a", "b"]
    assert sure.value == "a"


def test_labels_over_their_thresholds_are_given_with_the_probability_of_the_whole_answer() -> None:
    codec = LabelSetCodec(("a", "b", "c"), (1, 1, 1))
    scores = np.log(np.array([[0.6, 0.6, 0.1], [0.1, 0.1, 0.1]], np.float32))
    several, none = codec.decode(Scores(scores), {}, Decision(thresholds=(0.5, 0.7, 0.5)), top=2)
    assert several.value == ("a",)
    assert several.confidence == pytest.approx(0.6 * 0.4 * 0.9)
    assert [name for name, _ in several.alternatives] == ["a", "b"]
    assert none.value == ()
    (unsure,) = codec.decode(Scores(scores[:1]), {}, Decision(thresholds=(0.5, 0.7, 0.5), abstain_below=0.3))
    assert unsure.value is None


OOS = np.log(np.array([[0.7, 0.1, 0.2], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]], np.float32))


def test_a_label_out_of_scope_is_the_answer_from_its_threshold_on() -> None:
    codec = LabelCodec(("a", "b", "none"), (5, 5, 5))
    answers = codec.decode(Scores(OOS), {}, Decision(out_of_scope="none", scope_ends=0.15), top=2)
    assert [answer.value for answer in answers] == ["none", "a", "none"]
    assert [answer.confidence for answer in answers] == pytest.approx([0.2, 0.5, 0.6])
    assert [[name for name, _ in answer.alternatives] for answer in answers] == [["a"], ["b"], ["a"]]
    never = codec.decode(Scores(OOS), {}, Decision(out_of_scope="none", scope_ends=1.1))
    assert [answer.value for answer in never] == ["a", "a", "a"]


def test_without_training_rows_out_of_scope_is_what_no_label_fits() -> None:
    codec = LabelCodec(("a", "b", "c"), (5, 5, 5))
    answers = codec.decode(Scores(OOS), {}, Decision(out_of_scope="none", scope_ends=0.45), top=1)
    assert [answer.value for answer in answers] == ["a", "none", "c"]
    assert answers[1].confidence == pytest.approx(0.5)


def test_where_scope_ends_is_chosen_on_dev() -> None:
    codec = LabelCodec(("a", "b", "none"), (5, 5, 5), "none")
    decision = codec.decide(Scores(OOS), ["none", "a", "none"])
    assert 0.25 < decision.scope_ends < 1 / 3  # two rows: near the label's share in training
    rare = LabelCodec(("a", "b", "none"), (500, 499, 1), "none").decide(Scores(OOS), ["a", "a", "a"])
    assert rare.scope_ends == pytest.approx(0.001)  # no row
    many = codec.decide(Scores(np.repeat(OOS, 100, axis=0)), ["none"] * 100 + ["a"] * 100 + ["none"] * 100)
    assert 0.1 < many.scope_ends < 0.2
    strange = LabelCodec(("a", "b", "c"), (5, 5, 5), "none").decide(Scores(OOS), ["a", "none", "c"])
    assert 0.4 < strange.scope_ends <= 0.5
    assert LabelCodec(("a", "b", "c"), (5, 5, 5)).decide(Scores(OOS), ["a", "a", "a"]) == Decision()
