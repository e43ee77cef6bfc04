"""Metrics against scikit-learn, and the calibration error against its definition written as a loop."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import seqeval.metrics as seqeval
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.preprocessing import MultiLabelBinarizer

from cellgate.metrics import (
    accuracy,
    by_label,
    calibration_error,
    exact_match,
    log_loss,
    macro_f1,
    micro_f1,
    mistake_counts,
    span_f1,
    span_mistakes,
    span_precision,
    span_recall,
    token_accuracy,
)
from cellgate.spans import Span, spans_of_tags

ANSWERS = st.lists(st.tuples(st.sampled_from("abcdé"), st.sampled_from("abcdéz")), min_size=1, max_size=40)
Metric = Callable[[Sequence[str], Sequence[str]], float]
SEEDS = st.integers(0, 2**32 - 1)
often = settings(max_examples=60, deadline=None, derandomize=True)


@often
@given(ANSWERS)
def test_accuracy_and_macro_f1_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    truth, answers = zip(*pairs, strict=True)
    assert accuracy(truth, answers) == pytest.approx(accuracy_score(truth, answers), abs=1e-12)
    assert macro_f1(truth, answers) == pytest.approx(f1_score(truth, answers, average="macro"), abs=1e-12)


SETS = st.lists(
    st.tuples(*(st.lists(st.sampled_from("abcd"), unique=True).map(lambda x: tuple(sorted(x))) for _ in "ta")),
    min_size=1,
    max_size=30,
)


@often
@given(SETS)
def test_f1_of_several_labels_is_scikit_learns(pairs: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
    truth, answers = zip(*pairs, strict=True)
    names = sorted({label for value in (*truth, *answers) for label in value})
    assume(len(names) > 1)  # scikit-learn takes one column for a label of two kinds
    binary = MultiLabelBinarizer(classes=names)
    wanted, found = binary.fit_transform(truth), binary.transform(answers)
    assert micro_f1(truth, answers) == pytest.approx(f1_score(wanted, found, average="micro", zero_division=0))
    assert macro_f1(truth, answers) == pytest.approx(f1_score(wanted, found, average="macro", zero_division=0))
    assert exact_match(truth, answers) == pytest.approx(accuracy_score(wanted, found))


def test_f1_without_any_label_is_zero() -> None:
    assert micro_f1([(), ()], [(), ()]) == macro_f1([(), ()], [(), ()]) == 0


def test_an_answer_not_given_is_wrong_and_no_label() -> None:
    assert accuracy(["a", "b"], ["a", None]) == 0.5
    assert macro_f1(["a", "b"], ["a", None]) == pytest.approx(0.5)
    assert micro_f1(["a", "b"], ["a", None]) == pytest.approx(2 / 3)


@often
@given(ANSWERS)
def test_scores_by_label_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    truth, answers = zip(*pairs, strict=True)
    found = by_label(truth, answers)
    wanted = precision_recall_fscore_support(truth, answers, labels=list(found), zero_division=0)
    for label, *figures in zip(found, *wanted, strict=True):
        score = found[label]
        assert [score.precision, score.recall, score.f1, score.rows] == pytest.approx(figures)


def test_macro_f1_counts_labels_that_were_only_said() -> None:
    assert macro_f1(["a", "a"], ["a", "b"]) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize("metric", [accuracy, macro_f1])
def test_sequences_of_different_length_are_refused(metric: Metric) -> None:
    with pytest.raises(ValueError, match="shorter"):
        metric(["a", "b"], ["a"])


@often
@given(st.integers(1, 30), st.integers(2, 7), SEEDS)
def test_log_loss_is_scikit_learns(rows: int, labels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    chances = random.dirichlet(np.ones(labels), rows) * 0.99 + 0.01 / labels
    target = random.integers(0, labels, rows)
    # scikit-learn is given float64, ours float32 of size up to 7: 1e-6 is its rounding.
    wanted = sklearn_log_loss(target, chances, labels=range(labels))
    assert log_loss(np.log(chances).astype(np.float32), target) == pytest.approx(wanted, abs=1e-5)


def literal_calibration_error(confidence: list[float], right: list[bool], bins: int) -> float:
    """Guo et al. 2017, equation 3: sum over bins of share of rows x |accuracy - mean confidence|."""
    total = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        last = number == bins - 1
        inside = [n for n, c in enumerate(confidence) if low <= c < high or (last and c == 1.0)]
        if inside:
            hit = sum(right[n] for n in inside) / len(inside)
            sure = sum(confidence[n] for n in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(hit - sure)
    return total


@often
@given(st.integers(1, 60), st.sampled_from([1, 5, 15]), SEEDS)
def test_calibration_error_is_its_definition(rows: int, bins: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    confidence = random.random(rows).astype(np.float32)
    confidence[random.random(rows) < 0.2] = 1.0
    confidence[random.random(rows) < 0.1] = 0.0
    # Exactly on a border rounding decides the bin, here as there; keep off all but 0 and 1.
    confidence = np.where(
        np.abs(confidence * bins - np.round(confidence * bins)) < 1e-4, np.round(confidence), confidence
    )
    right = (random.random(rows) < 0.6).tolist()
    wanted = literal_calibration_error(confidence.tolist(), right, bins)
    assert calibration_error(confidence.astype(np.float32), right, bins) == pytest.approx(wanted, abs=1e-6)


def test_calibration_error_by_hand() -> None:
    assert calibration_error(np.array([1.0, 1.0], np.float32), [True, True]) == 0.0
    assert calibration_error(np.array([1.0, 1.0], np.float32), [False, False]) == 1.0
    # Four rows of 0.8, three right: |0.75 - 0.8|.
    assert calibration_error(np.full(4, 0.8, np.float32), [True, True, True, False]) == pytest.approx(0.05, abs=1e-6)
    # Over- and underconfident rows of different bins do not cancel out.
    sure = np.array([0.9, 0.5], np.float32)
    assert calibration_error(sure, [False, True]) == pytest.approx((0.9 + 0.5) / 2, abs=1e-6)


TAGS = st.lists(st.sampled_from(["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "S-Y"]), min_size=1, max_size=12)


@often
@given(st.lists(TAGS.flatmap(lambda tags: st.tuples(st.just(tags), st.permutations(tags))), min_size=1, max_size=5))
def test_span_metrics_are_seqevals(sentences: list[tuple[list[str], list[str]]]) -> None:
    """Its default mode reads what breaks a scheme as conlleval does, and so do we."""
    truth, answers = [list(tags) for tags in zip(*sentences, strict=True)]
    tokens = [[f"t{place}" for place in range(len(tags))] for tags in truth]
    wanted, given_ = [
        [spans_of_tags(t, tags) for t, tags in zip(tokens, each, strict=True)] for each in (truth, answers)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where a figure has nothing to stand on
        judged = (seqeval.f1_score, seqeval.precision_score, seqeval.recall_score)
        for ours, theirs in zip((span_f1, span_precision, span_recall), judged, strict=True):
            assert ours(wanted, given_) == pytest.approx(theirs(truth, answers), abs=1e-12)
        report = seqeval.classification_report(truth, answers, output_dict=True)
    for label, score in by_label(wanted, given_).items():
        assert score.f1 == pytest.approx(report.get(label, {"f1-score": 0.0})["f1-score"], abs=1e-12)
    tagged = [tuple(Span(place, place + 1, tag) for place, tag in enumerate(tags)) for tags in truth]
    said = [tuple(Span(place, place + 1, tag) for place, tag in enumerate(tags)) for tags in answers]
    assert token_accuracy(tagged, said) == pytest.approx(seqeval.accuracy_score(truth, answers), abs=1e-12)


def placed(*spans: tuple[int, int, str]) -> tuple[Span, ...]:
    return tuple(Span(*span) for span in spans)


@pytest.mark.parametrize(
    ("true", "found", "kinds"),
    [
        ([(0, 5, "a")], [(0, 5, "a")], []),
        ([(0, 5, "a")], [(1, 5, "a")], ["boundary"]),
        ([(0, 5, "a")], [(0, 5, "b")], ["type"]),
        ([(0, 5, "a")], [(4, 7, "b")], ["boundary_and_type"]),
        ([(0, 5, "a")], [(5, 7, "a")], ["missed", "invented"]),
        ([(0, 5, "a")], [(0, 2, "a"), (3, 5, "a")], ["boundary", "invented"]),
        ([(0, 5, "a"), (5, 9, "b")], [(0, 9, "b")], ["boundary", "missed"]),  # of one label before one that is first
        ([(0, 5, "a"), (5, 9, "b")], [(4, 5, "b"), (5, 9, "a")], ["type", "boundary_and_type"]),
    ],
)
def test_mistakes_are_told_by_kind(
    true: list[tuple[int, int, str]], found: list[tuple[int, int, str]], kinds: list[str]
) -> None:
    assert [mistake.kind for mistake in span_mistakes(placed(*true), placed(*found))] == kinds
    counted = mistake_counts([placed(*true)] * 2, [placed(*found), placed(*true)])
    assert {kind: count for kind, count in counted.items() if count} == {kind: kinds.count(kind) for kind in kinds}


PLACED = st.sets(st.tuples(st.integers(0, 9), st.integers(1, 4), st.sampled_from("ab")), max_size=5)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(PLACED, PLACED)
def test_each_wrong_span_stands_in_one_mistake(
    true: set[tuple[int, int, str]], found: set[tuple[int, int, str]]
) -> None:
    wanted, answer = (placed(*((start, start + size, label) for start, size, label in side)) for side in (true, found))
    mistakes = span_mistakes(wanted, answer)
    assert sorted(each.true for each in mistakes if each.true) == sorted(set(wanted) - set(answer))
    assert sorted(each.found for each in mistakes if each.found) == sorted(set(answer) - set(wanted))
