"""Codecs: a value of a record to integers and back. Learned once from training data, saved as JSON.

A codec has `learn` (class method), `encode`, `collate`, `decode` or `offsets` where they make sense, `save` and
`load`. `load` below finds the class by its name, which must be one of ours.
"""

from pathlib import Path
from typing import Any

from cellgate.codecs.decision import Decision
from cellgate.codecs.known import Known, read_known
from cellgate.codecs.labels import LabelCodec, LabelsCodec, LabelSetCodec, learn_labels
from cellgate.codecs.next import NextCodec
from cellgate.codecs.source import Given, SourceCodec
from cellgate.codecs.tags import ChainCodec, SpanCodec, TokenTagCodec, learn_tags
from cellgate.codecs.target import SupervisedCodec, TargetCodec
from cellgate.codecs.text import TextCodec, text_of
from cellgate.codecs.units import UnitsCodec
from cellgate.errors import BundleError

__all__ = [
    "ChainCodec",
    "Codec",
    "Decision",
    "Given",
    "Known",
    "LabelCodec",
    "LabelSetCodec",
    "LabelsCodec",
    "NextCodec",
    "SourceCodec",
    "SpanCodec",
    "SupervisedCodec",
    "TargetCodec",
    "TextCodec",
    "TokenTagCodec",
    "UnitsCodec",
    "learn_labels",
    "learn_tags",
    "load",
    "read_known",
    "save",
    "text_of",
]

Codec = SourceCodec | TargetCodec
_KNOWN: dict[str, type[SourceCodec] | type[TargetCodec]] = {
    known.__name__: known
    for known in (TextCodec, UnitsCodec, LabelCodec, LabelSetCodec, SpanCodec, TokenTagCodec, NextCodec)
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
