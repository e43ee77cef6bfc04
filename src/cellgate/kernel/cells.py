"""The cells as the extension knows them. Legend of axes: see `cellgate.ops`."""

from typing import Literal

Cell = Literal["lstm", "peephole", "gru", "rnn"]

NUMBERS: dict[Cell, int] = {"lstm": 0, "gru": 1, "rnn": 2, "peephole": 3}
"""By which number the extension is asked for a cell."""

GATES: dict[Cell, int] = {"lstm": 4, "peephole": 4, "gru": 3, "rnn": 1}
"""Row blocks of H in the weights."""

KEPT: dict[Cell, int] = {"lstm": 4, "peephole": 4, "gru": 4, "rnn": 1}
"""Floats that forward keeps for backward, for each token and unit."""

MEMORY: frozenset[Cell] = frozenset({"lstm", "peephole"})
"""Cells whose state has a memory c beside h."""
