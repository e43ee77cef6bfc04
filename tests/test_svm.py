"""The linear half's solver, beside scikit-learn's liblinear."""

import numpy as np
import pytest

from cellgate.nets.svm import Features, solve

svm = pytest.importorskip("sklearn.svm", reason="scikit-learn is the judge here")
sparse = pytest.importorskip("scipy.sparse", reason="scikit-learn is the judge here")


def problem(labels: int, rows: int = 300, count: int = 60, seed: int = 0):
    random = np.random.default_rng(seed)
    dense = random.normal(size=(rows, count)) * (random.random((rows, count)) < 0.2)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True).clip(min=1e-9)  # as a bag's are
    hidden = random.normal(size=(count, labels))
    target = (dense @ hidden + 0.3 * random.normal(size=(rows, labels))).argmax(1)
    x = sparse.csr_matrix(dense.astype(np.float32))
    return x, target, Features(x.indices.astype(np.int32), x.data, x.indptr.astype(np.int64))


@pytest.mark.parametrize("labels", [2, 3, 7])
@pytest.mark.parametrize("cost", [0.1, 2.0])
def test_weights_are_those_of_liblinear(labels: int, cost: float) -> None:
    x, target, rows = problem(labels)
    costs = np.full(len(target), cost, np.float32)
    weights, bias = solve(rows, x.shape[1], np.eye(labels, dtype=np.float32)[target], costs, np.random.default_rng(1))
    judge = svm.LinearSVC(C=cost, tol=1e-6, max_iter=100_000, random_state=0).fit(x, target)
    wanted = judge.decision_function(x)
    wanted = np.stack([-wanted, wanted], 1) if labels == 2 else wanted
    found = x @ weights + bias
    # liblinear ran to its end; ours stops where no dual moves by more than a tenth of its gradient's scale.
    assert np.abs(found - wanted).max() < 0.1
    assert (found.argmax(1) == wanted.argmax(1)).mean() > 0.98


def test_a_row_that_costs_more_counts_more() -> None:
    rows = Features(np.zeros(2, np.int32), np.ones(2, np.float32), np.arange(3))
    present = np.eye(2, dtype=np.float32)
    costs = np.array([1.0, 9.0], np.float32)
    _, bias = solve(rows, 1, present, costs, np.random.default_rng(0))
    assert bias[1] > bias[0]


def test_rows_without_features_learn_the_bias() -> None:
    rows = Features(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(5, np.int64))
    present = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    weights, bias = solve(rows, 3, present, np.ones(4, np.float32), np.random.default_rng(0))
    assert not weights.any()
    assert bias[0] > 0 > bias[1]
