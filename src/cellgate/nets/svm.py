"""A linear support vector machine, solved and not stepped: one label against all others, squared hinge loss.

Dual coordinate descent (Hsieh et al. 2008): min over w of |w|^2 / 2 + C sum_i max(0, 1 - y_i w x_i)^2. All labels are
solved side by side: a text's features are read once for all of them.
"""

from dataclasses import dataclass

import numpy as np

from cellgate.batch import Floats, Ids, Ints

_PASSES = 40  # over the rows, at most
_TOLERANCE = 0.1  # of the gradient's largest part, where y w x is about 1


@dataclass(frozen=True, slots=True)
class Features:
    """Sparse features of N rows: those of row i are `numbers` and `values` from offsets[i] up to offsets[i + 1]."""

    numbers: Ids
    values: Floats
    offsets: Ints  # [N + 1]


def solve(
    rows: Features, count: int, present: Floats, costs: Floats, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Weights [count, L] and bias [L] by rows of `count` features, their labels [N, L] (0 or 1) and costs C [N]."""
    labels = present.shape[1]
    y = (2 * present - 1).astype(np.float32)
    weights, bias = np.zeros((count, labels), np.float32), np.zeros(labels, np.float32)
    duals = np.zeros_like(y)
    soft = (0.5 / costs).astype(np.float32)
    squares = np.add.reduceat(np.append(rows.values**2, 0), rows.offsets[:-1]) * (np.diff(rows.offsets) > 0) + 1
    bounds, curvature = rows.offsets.tolist(), (squares + soft).tolist()
    for _ in range(_PASSES):
        violation = 0.0
        for row in random.permutation(len(y)).tolist():
            inside = slice(bounds[row], bounds[row + 1])
            numbers, values = rows.numbers[inside], rows.values[inside]
            sign, dual = y[row], duals[row]
            slope = sign * (values @ weights[numbers] + bias) - 1 + soft[row] * dual
            moved = np.maximum(dual - slope / curvature[row], 0)
            step = moved - dual
            active = np.flatnonzero(step)
            if not len(active):
                continue
            violation = max(violation, float(np.abs(step).max()) * curvature[row])
            duals[row] = moved
            step *= sign
            bias += step
            if 2 * len(active) > labels:
                weights[numbers] += values[:, None] * step
            else:
                weights[numbers[:, None], active] += values[:, None] * step[active]
        if violation < _TOLERANCE:
            break
    return weights, bias
