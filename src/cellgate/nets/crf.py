"""Crf: a linear chain over the tags of a text's tokens (Lafferty et al. 2001); the arithmetic is `cellgate.chain`."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cellgate import chain
from cellgate.batch import Array


class Crf(nn.Module):
    """Scores of tag after tag [K + 1, K + 1], and the loss by them; tag K stands before and behind each text.

    Not `learned`, they are 0: each token is then answered by itself, but for what is forbidden.
    """

    forbidden: Tensor

    def __init__(self, forbidden: Array, *, learned: bool) -> None:
        super().__init__()
        self.learned = learned
        self.moves = nn.Parameter(torch.zeros(forbidden.shape), requires_grad=learned)
        self.register_buffer("forbidden", torch.from_numpy(np.ascontiguousarray(forbidden)), persistent=False)

    @property
    def tags(self) -> int:
        """How many there are, K."""
        return len(self.moves) - 1

    def transitions(self) -> Tensor:
        """Scores of each tag (axis 1) after each (axis 0)."""
        return self.moves.masked_fill(self.forbidden, chain.FORBIDDEN)

    def loss(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """Sum over the texts of the negative log-likelihood [nats]; emissions [B, T, K], tags [B, T]."""
        return self.loss_of(emissions, self.transitions() if self.learned else self.moves, tags, lengths)

    @staticmethod
    def loss_of(emissions: Tensor, transitions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """As `loss`, by any transitions."""
        loss: Tensor = _Likelihood.apply(emissions, transitions, tags, lengths)  # type: ignore[no-untyped-call]
        return loss


class _Likelihood(torch.autograd.Function):
    """The gradient of a sum over all paths is what it expects: marginals, less the true path."""

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, transitions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:  # noqa: ANN401
        e, moves = emissions.detach().numpy(), transitions.detach().numpy()
        paths, count = tags.numpy(), lengths.numpy()
        found = chain.sums(e, moves, count)
        loss = found.log_partition.sum() - chain.path_scores(e, moves, count, paths).sum()
        by_emission = found.marginals.astype(np.float32)
        rows, times = np.nonzero(np.arange(e.shape[1]) < count[:, None])
        by_emission[rows, times, paths[rows, times]] -= 1
        by_move = chain.expected_moves(found, moves, count) - chain.moves_of(paths, count, e.shape[2])
        ctx.save_for_backward(torch.from_numpy(by_emission), torch.from_numpy(by_move.astype(np.float32)))
        return emissions.new_tensor(loss)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None, None]:  # noqa: ANN401
        by_emission, by_move = ctx.saved_tensors
        return by_emission * upstream, by_move * upstream, None, None
