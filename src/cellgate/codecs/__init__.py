"""Codecs: a value of a record to integers and back. Learned once from training data, saved as JSON.

A codec has `learn` (class method), `encode`, `collate`, `decode` or `offsets` where they make sense, `save` and
`load`. `load` below finds the class by its name, which must be one of ours.
"""

from pathlib import Path
from typing import Any

from cellgate.codecs.decision import Decision
from cellgate.codecs.labels import LabelCodec, LabelsCodec, LabelSetCodec, learn_labels
from cellgate.codecs.tags import ChainCodec, SpanCodec, TokenTagCodec, learn_tags
from cellgate.codecs.target import TargetCodec
from cellgate.codecs.text import Given, TextCodec, text_of
from cellgate.errors import BundleError

__all__ = [
    "ChainCodec",
    "Codec",
    "Decision",
    "Given",
    "LabelCodec",
    "LabelSetCodec",
    "LabelsCodec",
    "SpanCodec",
    "TargetCodec",
    "TextCodec",
    "TokenTagCodec",
    "learn_labels",
    "learn_tags",
    "load",
    "save",
    "text_of",
]

Codec = TextCodec | TargetCodec
_KNOWN: dict[str, type[TextCodec] | type[TargetCodec]] = {
    known.__name__: known for known in (TextCodec, LabelCodec, LabelSetCodec, SpanCodec, TokenTagCodec)
}


def save(codec: Codec, folder: Path) -> dict[str, Any]:
    """Write the codec's own files into `folder`; return what `load` needs besides, as JSON."""
    return {"codec": type(codec).__name__, **codec.save(folder)}


def load(folder: Path, state: dict[str, Any]) -> Codec:
    """Read back what `save` wrote."""
    known = _KNOWN.get(state.get("codec", ""))
    if known is None:
        raise BundleError(f"{folder}/codec.json names the codec {state.get('codec')!r}; known: {', '.join(_KNOWN)}")
    return known.load(folder, state)
