"""Tables of which a batch reads few rows, and weighted sums of rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Table(nn.Module):
    """Rows [N, D] that are learned, read by number.

    A batch reads all its rows at once: of a large table only these need a gradient, and whoever trains may see to
    that with a forward hook that hands out the rows read in place of the table. `exact`: it is kept in full precision,
    for more than rows of it are read.
    """

    def __init__(self, rows: Tensor, *, exact: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(rows)
        self.exact = exact

    def __len__(self) -> int:
        return len(self.weight)

    def forward(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [M, D], and the place in them of each row asked for, of the shape of `numbers`."""
        return self.weight, numbers


def round_tables(net: nn.Module) -> None:
    """Round the rows of all tables of a trained net to what half precision can tell: so a Bundle keeps them."""
    for table in _tables(net):
        table.weight.data = table.weight.data.half().float()


@contextmanager
def half_tables(net: nn.Module) -> Iterator[None]:
    """Hold the rows of all tables in half precision, for a graph to be written; arithmetic stays in float32."""
    for table in _tables(net):
        table.weight.data = table.weight.data.half()
    try:
        yield
    finally:
        for table in _tables(net):
            table.weight.data = table.weight.data.float()


def _tables(net: nn.Module) -> list[Table]:
    return [module for module in net.modules() if isinstance(module, Table) and not module.exact]


def sum_rows(rows: Tensor, parts: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Weighted sums of rows [N, D], for each part of places [R, K] and weights [R, K]: [R, D].

    What has weight 0 is not read. Parts together cost one gradient of all rows, not one each.
    """
    if torch.compiler.is_exporting():  # a graph has no sums of uneven length
        return [(F.embedding(places, rows).float() * weights.unsqueeze(-1)).sum(1) for places, weights in parts]
    read = [weights != 0 for _, weights in parts]
    counts = torch.cat([mask.sum(1) for mask in read])
    sums = F.embedding_bag(
        torch.cat([places[mask] for (places, _), mask in zip(parts, read, strict=True)]),
        rows,
        counts.cumsum(0) - counts,
        mode="sum",
        per_sample_weights=torch.cat([weights[mask] for (_, weights), mask in zip(parts, read, strict=True)]),
    )
    return list(torch.split(sums, [len(weights) for _, weights in parts]))
