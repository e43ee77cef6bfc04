"""Dropout that keeps its mask through a text. Called in training only."""

import torch
from torch import Tensor


def locked(x: Tensor, share: float) -> Tensor:
    """Drop columns of x [B, T, D], the same ones at every step of a row (Gal & Ghahramani 2016)."""
    if share == 0.0:
        return x
    keep = torch.rand(x.shape[0], 1, x.shape[2]) >= share
    return x * (keep / (1.0 - share))


def blank(x: Tensor, share: float) -> Tensor:
    """Blank whole tokens of x [B, T, D] (word dropout, Iyyer et al. 2015)."""
    if share == 0.0:
        return x
    return x * (torch.rand(x.shape[0], x.shape[1], 1) >= share)
