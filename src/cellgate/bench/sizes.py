"""How much is measured: the one place of these defaults. Smaller sizes are for trying a benchmark out."""

from dataclasses import dataclass, fields
from pathlib import Path

from cellgate.errors import UsageError


@dataclass(frozen=True)
class Sizes:
    """Sizes of the measurements; those that a benchmark uses stand in its record."""

    threads: int | None = None
    """Threads of kernels, train, cells and the trainings of tagging; none: all usable cores."""
    rounds: int = 15
    """Good rounds of kernels, train and tagging; medians over them count."""
    steps: int = 800
    """Steps of each training of train whose accuracy is told."""
    packed_accuracy: bool = False
    """Also train torch packed to the end in train: slow."""
    epochs: int = 4
    """Passes of each training of cells over a set."""
    rows: int | None = None
    """Rows of a set that cells trains on; none: all."""
    lag_steps: int = 1_000
    """Steps of cells at each lag of a problem, at most."""
    longest_lag: int = 400
    """Longest lag of a problem of cells."""
    repeats: int = 5
    """Starts of startup; the median counts."""
    lines: int = 5_000_000
    """Lines of lines, sent through one process."""
    tokens: int = 10_000_000
    """Tokens of stream, read before its late ones."""
    gigabytes: float = 3.0
    """Size of the CSV file of large [GB]."""
    max_steps: int = 200
    """Steps of the training of large, and of the one whose Bundle answers in tagging."""
    flair_python: Path | None = None
    """A Python that has Flair, for tagging; none: Flair is left out."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
                raise UsageError(f"{field.name.replace('_', '-')}: expected more than 0, got {value}")
