"""Dropout that keeps its mask through a text. Called in training only."""

import torch
from torch import Tensor

from cellgate.ops import Rows


def locked(x: Tensor, share: float) -> Tensor:
    """Drop columns of x [B, T, D], the same ones at every step of a row (Gal & Ghahramani 2016)."""
    if share == 0.0:
        return x
    keep = torch.rand(x.shape[0], 1, x.shape[2]) >= share
    return x * (keep / (1.0 - share))


def dropped(weights: Tensor, share: float) -> Tensor:
    """Drop single weights (DropConnect, Wan et al. 2013)."""
    if share == 0.0:
        return weights
    return weights * ((torch.rand(weights.shape) >= share) / (1.0 - share))


def blank(x: Tensor, share: float) -> Tensor:
    """Blank whole tokens of x [B, T, D] (word dropout, Iyyer et al. 2015)."""
    if share == 0.0:
        return x
    return x * (torch.rand(x.shape[0], x.shape[1], 1) >= share)


def locked_types(table: Tensor, share: float) -> Tensor:
    """Drop columns of each word's vector, table [U, D], the same ones wherever it stands in the batch.

    Gal & Ghahramani (2016) drop a word as a whole, everywhere; by column it still is one vector a word, which is
    projected once.
    """
    if share == 0.0:
        return table
    return table * ((torch.rand(table.shape) >= share) / (1.0 - share))


def blank_places(x: Rows, share: float) -> Rows:
    """Blank whole tokens of x: they read a row of zeros that is put under the table."""
    if share == 0.0:
        return x
    table = torch.cat([x.table, x.table.new_zeros(1, x.table.shape[1])])
    return Rows(table, torch.where(torch.rand(x.index.shape) < share, len(x.table), x.index))


def drop_rows(table: Tensor, share: float) -> Tensor:
    """Blank whole rows of table [U, D], so that what else tells of a word is learned to be read."""
    if share == 0.0:
        return table
    return table * (torch.rand(table.shape[0], 1) >= share)
