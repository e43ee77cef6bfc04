"""A classifier as a plain torch user writes it, and the three ways to run its recurrence.

Legend: B texts, T tokens of the longest, E width of a word's vector, H hidden units a direction; ids [B, T], 0 past a
text's end; lengths [B]; y [B, T, 2 H].
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cellgate.ops import Rows, Weights, lstm

EMBEDDING, HIDDEN = 100, 128  # E, H


class Padded(nn.Module):
    """torch's LSTM over padded batches, for which it has oneDNN. The reverse pass reads the padding first."""

    def __init__(self, embedding: nn.Embedding, recurrence: nn.LSTM) -> None:
        super().__init__()
        self.embedding, self.recurrence = embedding, recurrence

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002  padding is left to the pooling
        """Run both directions -> y, with anything past a text's end."""
        y: Tensor = self.recurrence(self.embedding(ids))[0]
        return y


class Packed(nn.Module):
    """torch's LSTM over packed sequences: right, and without oneDNN."""

    def __init__(self, embedding: nn.Embedding, recurrence: nn.LSTM) -> None:
        super().__init__()
        self.embedding, self.recurrence = embedding, recurrence

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Run both directions -> y."""
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.recurrence(packed)[0], batch_first=True, total_length=ids.shape[1])[0]


class Ours(nn.Module):
    """Cellgate's lstm, a call a direction; a word that stands several times in a batch is projected once.

    The nn.LSTM only holds the weights, two biases a direction as torch has them: so all arms begin with, and Adam
    steps on, the very same tensors.
    """

    def __init__(self, embedding: nn.Embedding, recurrence: nn.LSTM) -> None:
        super().__init__()
        self.embedding, self.recurrence = embedding, recurrence

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Run both directions -> y."""
        words, index = torch.unique(ids, return_inverse=True)
        x = Rows(self.embedding(words), index)
        outputs = []
        for direction, (w_x, w_h, b_x, b_h) in enumerate(self.recurrence.all_weights):
            y, _ = lstm(x, Weights(w_x, w_h, b_x + b_h), lengths=lengths, reverse=direction == 1)
            outputs.append(y)
        return torch.cat(outputs, 2)


ARMS: dict[str, Callable[[nn.Embedding, nn.LSTM], nn.Module]] = {"ours": Ours, "padded": Padded, "packed": Packed}


class Classifier(nn.Module):
    """Word vectors, an arm's recurrence, maximum and mean over the text, one linear map."""

    def __init__(self, arm: str, words: int, labels: int) -> None:
        super().__init__()
        embedding = nn.Embedding(words, EMBEDDING, padding_idx=0)
        recurrence = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True, bidirectional=True)
        self.read = ARMS[arm](embedding, recurrence)
        self.linear = nn.Linear(4 * HIDDEN, labels)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Scores [B, labels] of ids [B, T]."""
        y = self.read(ids, lengths)
        past = (torch.arange(ids.shape[1]) >= lengths[:, None])[:, :, None]
        largest = y.masked_fill(past, -torch.inf).amax(1)
        mean = y.masked_fill(past, 0).sum(1) / lengths[:, None]
        scores: Tensor = self.linear(torch.cat([largest, mean], 1))
        return scores


def classifier(arm: str, words: int, labels: int, seed: int) -> Classifier:
    """Make a net with torch's own initial weights: the same for every arm with the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Classifier(arm, words, labels)
