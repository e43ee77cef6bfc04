"""The recurrence: LSTM with and without peepholes, GRU and plain RNN as pure functions of tensors.

    y, state = lstm(x, weights, state, lengths, reverse=False)

Weights are arguments, so weight-drop is `lstm(x, weights._replace(w_h=drop(weights.w_h)))`; the state is
a value passed in and handed back; nothing is remembered here. One call is one layer in one direction.

Legend of axes, for every module in this folder:

    B  rows of the batch        T  positions in time      I  inputs of one token
    H  hidden units             G  gates: lstm and peephole 4, gru 3, rnn 1
    x [B, T, I]   y [B, T, H]   state.h, state.c [B, H]   lengths [B], int64, 0 to T

A position past its row's length is not computed: y is zero there and the state is left alone; what x holds
there changes nothing. A reverse pass starts at each row's own last token; y keeps the order of x. No state
is a state of zeros, no lengths is T in every row.

Where inputs repeat, x may be `Rows(table [U, I], index [B, T])`: each row of the table is projected once.

Who computes is a table (`choice.BACKENDS`); `backends(cell, x, weights)` tells who serves and why others
refuse. While a graph is exported each cell is one operator, `cellgate::lstm` and so on, which
`translations()` turns into one ONNX node.
"""

from cellgate.ops.choice import Verdict, backends
from cellgate.ops.initial import init_weights
from cellgate.ops.onnx import translations
from cellgate.ops.recurrence import gru, lstm, peephole, rnn
from cellgate.ops.values import GATES, MEMORY, Cell, Inputs, Rows, State, Weights

__all__ = [
    "GATES",
    "MEMORY",
    "Cell",
    "Inputs",
    "Rows",
    "State",
    "Verdict",
    "Weights",
    "backends",
    "gru",
    "init_weights",
    "lstm",
    "peephole",
    "rnn",
    "translations",
]
