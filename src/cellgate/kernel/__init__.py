"""The recurrence in C++, for numpy arrays; needs no torch. `cellgate.ops` computes gradients with it.

    if missing is None:                                    built on this machine
        y, state = lstm(x, Weights(w_x, w_h, b), state, lengths)

Axes, equations and the order of gates are those of `cellgate.ops`; all arrays are float32. The sources lie in
cpp/; docs/kernel.md says how it works and what it reaches.
"""

from cellgate.kernel.arrays import State, Weights, gru, lstm, peephole, rnn
from cellgate.kernel.built import missing, rounding_widths, widths

__all__ = ["State", "Weights", "gru", "lstm", "missing", "peephole", "rnn", "rounding_widths", "widths"]
