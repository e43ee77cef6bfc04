"""Spelling: the letters of words [U, C], read in both directions, to vectors [U, 2 * hidden].

Words are often unseen, their letters hardly ever (Ling et al. 2015). A word is read once a batch, however often it
stands there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellgate.nets.tables import Table
from cellgate.ops import Weights, init_weights, lstm

_LETTERS = 2_048  # code points with a vector of their own; those beyond share them
LETTER_WIDTH = 32  # of a letter's vector


class Spelling(nn.Module):
    """A recurrent layer over letters, one in each direction: its last outputs side by side."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.letters = Table(torch.randn(_LETTERS, LETTER_WIDTH) * 0.3)
        layers = []
        for _ in range(2):
            made = init_weights("lstm", LETTER_WIDTH, hidden)
            parameters = {name: nn.Parameter(value) for name, value in made._asdict().items() if value is not None}
            layers.append(nn.ParameterDict(parameters))
        self._weights = tuple(layers)  # the same as below, with their type
        self.weights = nn.ModuleList(layers)

    def forward(self, spelling: Tensor) -> Tensor:
        """Vectors [U, 2 * hidden] of words spelled as code points [U, C], 0 past the end."""
        lengths = (spelling != 0).sum(1)
        rows, places = self.letters(spelling % _LETTERS)
        x = F.embedding(places, rows).float()
        last = [
            lstm(x, Weights(**weights), None, lengths, reverse=direction == 1)[1].h
            for direction, weights in enumerate(self._weights)
        ]
        return torch.cat(last, 1)


def folded(spelling: Tensor) -> Tensor:
    """Spelling with the capitals A to Z made small."""
    return torch.where((spelling >= ord("A")) & (spelling <= ord("Z")), spelling + 32, spelling)
