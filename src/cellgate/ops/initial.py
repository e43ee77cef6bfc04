"""The weights that training starts from. Legend of axes: see `cellgate.ops`."""

import torch
from torch.nn.init import orthogonal_, xavier_uniform_

from cellgate.ops.values import GATES, MEMORY, Cell, Weights


def init_weights(cell: Cell, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> Weights:
    """Draw float32 weights: w_x Xavier uniform, w_h orthogonal, gate by gate; biases 0, but 1 where a gate f
    keeps the memory; peepholes 0, so that training begins with an lstm.

    A forget gate that starts open lets gradients through: Jozefowicz, Zaremba & Sutskever, "An empirical
    exploration of recurrent network architectures", ICML 2015.
    """
    gates = GATES[cell]
    w_x = torch.empty(gates, hidden_size, input_size)
    w_h = torch.empty(gates, hidden_size, hidden_size)
    b = torch.zeros(gates, hidden_size)
    for gate in range(gates):
        xavier_uniform_(w_x[gate], generator=generator)
        orthogonal_(w_h[gate], generator=generator)
    if cell in MEMORY:
        b[1] = 1
    b_h = torch.zeros(hidden_size) if cell == "gru" else None
    p = torch.zeros(3, hidden_size) if cell == "peephole" else None
    return Weights(w_x.flatten(0, 1), w_h.flatten(0, 1), b.flatten(), b_h, p)
