"""The words of a language model, which a task that starts from it knows from the beginning."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cellgate.codecs.units import UNKNOWN_ID, UnitsCodec
from cellgate.errors import UsageError
from cellgate.text.tokens import Unit


class Known(NamedTuple):
    """What a language model reads: its tokens' names in the order of their numbers."""

    folder: str
    unit: Unit
    names: tuple[str, ...]

    @property
    def words(self) -> Iterator[tuple[str, int]]:
        """Its words or characters without spaces, the most frequent first, and their numbers."""
        return ((name.strip(), number) for number, name in enumerate(self.names) if number and name.strip())


def read_known(folder: str) -> Known:
    """Read them of the Bundle in a folder; UsageError where its tokens are not those of a text's reader."""
    path = Path(folder) / "codec.json"
    try:
        state = json.loads(path.read_text("utf-8"))["source"]
    except FileNotFoundError:
        raise UsageError(f"--from {folder}: no Bundle is there; name the folder of a language model") from None
    if state.get("codec") != UnitsCodec.__name__:
        raise UsageError(f"--from {folder}: it is no language model; make one with `cellgate train generate`")
    codec = UnitsCodec.load(Path(folder), state)
    if codec.unit == "subword":
        raise UsageError(
            f"--from {folder}: it reads subwords of its own, which no other task does; "
            "train it with --text.unit word, or character for a script without spaces"
        )
    # Labels and the ends of documents are no words.
    names = tuple(
        name if codec.first <= number or number == UNKNOWN_ID else "" for number, name in enumerate(codec.names)
    )
    return Known(folder, codec.unit, names)
