"""Attention: one head of a language model that looks back at what followed places like this one in its own text."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellgate.nets.net import Tensors

_SHARPNESS = 10.0  # of the shares at the beginning
_LEAST = -1e9  # below any likeness, and finite


class Attention(nn.Module):
    """Outputs h [B, T, H] of a recurrence and the vectors x [B, T, D] it reads -> what they recall [B, T, D].

        shares_t = softmax over j in t-N+1..t of s * cos(W h_t, h_{j-1})
        z_t = sigmoid(g) * sum_j shares_tj x_j

    One head with keys as they are: Merity, "Single Headed Attention RNN" (2019). What is found are the tokens that came
    behind outputs like this one, in the space of their vectors, where the scores are made: so W begins as the identity,
    a cache of the text (Grave et al. 2017) that has yet to be learned from. Nothing tells how far back they stand.
    """

    def __init__(self, width: int, vectors: int, reach: int) -> None:
        super().__init__()
        self.sizes = {"keys": width, "vectors": vectors}  # H, D
        self.reach = reach  # N
        self.query = nn.Parameter(torch.eye(width))
        self.sharpness = nn.Parameter(torch.tensor(_SHARPNESS))
        self.gate = nn.Parameter(torch.zeros(vectors))

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """Places for N tokens, the newest the last: the output before each, of length 1, its vector; N are free."""
        state = {f"attention.{name}": torch.zeros(rows, self.reach, size) for name, size in self.sizes.items()}
        return state | {"attention.count": torch.zeros(rows, dtype=torch.int64)}

    def forward(
        self, h: Tensor, before: Tensor, x: Tensor, lengths: Tensor, state: Tensors
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """z [B, T, D], and the state after the first `lengths` of each row; `before` is h_{-1} [B, H]."""
        count = state["attention.count"]
        past = F.normalize(torch.cat([before[:, None], h[:, :-1]], 1), dim=2)
        keys = torch.cat([state["attention.keys"], past], 1)  # [B, N + T, H]
        vectors = torch.cat([state["attention.vectors"], x], 1)  # [B, N + T, D]
        places = torch.arange(keys.shape[1])
        ages = self.reach + torch.arange(h.shape[1])[:, None] - places  # [T, N + T], of a token as each one sees it
        near = (ages >= 0) & (ages < self.reach)
        taken = places >= self.reach - count[:, None]  # [B, N + T]
        query = F.normalize(F.linear(h, self.query), dim=2) * self.sharpness
        likeness = torch.where(near & taken[:, None], query @ keys.transpose(1, 2), _LEAST)  # [B, T, N + T]
        # Rows of one matrix, which a graph gathers as a whole: kept are the N up to each row's own end.
        begins = torch.arange(h.shape[0]) * keys.shape[1] + lengths
        kept = begins[:, None] + torch.arange(self.reach)
        after = {
            "attention.keys": F.embedding(kept, keys.flatten(0, 1)),
            "attention.vectors": F.embedding(kept, vectors.flatten(0, 1)),
            "attention.count": (count + lengths).clamp(max=self.reach),
        }
        return self.gate.sigmoid() * (likeness.softmax(2) @ vectors), after
