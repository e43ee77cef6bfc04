"""Head: outputs [B, T, W] pooled over time, then one linear map to L scores."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cellgate.config import HeadConfig

_LEAST = -1e9  # below any output or attention score, and finite


class Head(nn.Module):
    """Max, mean and attention pooling side by side [B, 3 W], then a linear map: scores split by word."""

    def __init__(self, config: HeadConfig, width: int, labels: int) -> None:
        super().__init__()
        self.config = config
        self.width = width
        self.attention = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(3 * width, labels)

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """Running maximum, sums and count of the outputs read so far.

        Sums are doubles: a stream has no end, and a float that counts stands still at 16,777,216.
        """
        return {
            "pool.max": torch.full((rows, self.width), _LEAST),
            "pool.sum": torch.zeros(rows, self.width, dtype=torch.float64),
            "pool.count": torch.zeros(rows, dtype=torch.float64),
            "pool.attended": torch.zeros(rows, self.width, dtype=torch.float64),
            "pool.attention": torch.zeros(rows, dtype=torch.float64),
            "pool.peak": torch.full((rows,), _LEAST),
        }

    def forward(self, y: Tensor, lengths: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores [B, L] of all outputs so far (y [B, T, W], zero past `lengths`), and the state after them."""
        inside = torch.arange(y.shape[1])[None, :] < lengths[:, None]  # [B, T]
        largest = torch.where(inside[:, :, None], y, _LEAST).amax(1)
        attention = torch.where(inside, y @ self.attention, _LEAST)  # [B, T]
        # The softmax over time is kept as sums scaled by its largest exponent so far (online softmax).
        peak = torch.maximum(state["pool.peak"], attention.amax(1))
        scale = (state["pool.peak"] - peak).exp()
        share = (attention - peak[:, None]).exp() * inside
        after = {
            "pool.max": torch.maximum(state["pool.max"], largest),
            "pool.sum": state["pool.sum"] + y.sum(1),
            "pool.count": state["pool.count"] + lengths,
            "pool.attended": state["pool.attended"] * scale[:, None] + (share[:, :, None] * y).sum(1),
            "pool.attention": state["pool.attention"] * scale + share.sum(1),
            "pool.peak": peak,
        }
        mean = after["pool.sum"] / after["pool.count"][:, None]
        attended = after["pool.attended"] / after["pool.attention"][:, None]
        pooled = torch.cat([after["pool.max"], mean.float(), attended.float()], 1)
        return self.linear(self.dropout(pooled)), after
