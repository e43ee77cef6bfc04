"""What a task is given as numbers: the contract of a source codec."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from cellgate.batch import Array, Ragged
from cellgate.text.pieces import Tail
from cellgate.text.tokens import Unit

Given = str | tuple[str, ...]
"""A text, or its tokens."""


class SourceCodec(ABC):
    """Texts to tokens, numbered from 0, and tokens to a net's inputs."""

    unit: Unit
    mean_tokens: float
    """Of the training texts."""
    max_tokens: int
    """A longer text is cut to this many."""

    @abstractmethod
    def __len__(self) -> int:
        """Tokens that have a number of their own."""

    @abstractmethod
    def encode(self, texts: Sequence[Given]) -> dict[str, Ragged]:
        """Encode B texts: "tokens", "cut" (1 where only a text's beginning was read), and what else a net reads."""

    @abstractmethod
    def certain(self, tail: Tail, piece: str, *, last: bool) -> tuple[dict[str, Ragged], Tail]:
        """The tokens that a piece of a text makes certain, encoded as one row, and the tail behind them.

        With `last` the text ends here, and nothing is left over. The tokens of all pieces are those of the whole text,
        but that no text is cut.
        """

    @abstractmethod
    def part(self, columns: Mapping[str, Ragged], first: int, last: int) -> dict[str, Ragged]:
        """Of one encoded text the tokens from `first` up to, not including, `last`."""

    @abstractmethod
    def collate(self, columns: Mapping[str, Ragged]) -> dict[str, Array]:
        """Encoded rows as the net's inputs."""

    @abstractmethod
    def save(self, folder: Path) -> dict[str, Any]:
        """Write the codec's own files into `folder`; return the rest as JSON."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> Self:
        """Read back what `save` wrote."""
