"""A trained net and its codecs as a Bundle in a folder that nothing answers from yet."""

import json
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellgate import codecs
from cellgate.bundle import Bundle, open_bundle, seal
from cellgate.codecs import SourceCodec, TargetCodec
from cellgate.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from cellgate.nets import Net

Compare = Callable[[Bundle, Bundle | None], dict[str, Any]]
"""Says how the float graph and the int8 one, if there is one, compare with torch; "float" holds the metrics on dev."""


def stage(
    staged: Path,
    net: "Net",
    example: "Mapping[str, Tensor]",
    source: SourceCodec,
    target: TargetCodec,
    told: Mapping[str, Any],
    compare: Compare,
    card: Callable[[Mapping[str, Any]], str],
) -> dict[str, Any]:
    """Write a whole Bundle into `staged`, `told` in its manifest; returns what `compare` says of its graphs."""
    from cellgate.export import export

    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    graph = export(net, example, staged)
    state = {"source": codecs.save(source, staged), "target": codecs.save(target, staged)}
    (staged / "codec.json").write_text(json.dumps(state, ensure_ascii=False), "utf-8")
    manifest = {
        "cellgate": __version__,
        "graph": graph,
        **told,
        "versions": {name: version(name) for name in ("torch", "onnxruntime", "tokenizers", "numpy")},
    }
    seal(staged, manifest)  # a first time without metrics: they are measured with the Bundle itself
    int8 = open_bundle(staged, "int8") if (staged / "model.int8.onnx").exists() else None
    parity = compare(open_bundle(staged), int8)
    (staged / "parity.json").write_text(json.dumps(parity, indent=1), "utf-8")
    manifest |= {"metrics": {"dev": parity["float"]}, "mistakes": parity.get("mistakes", {})}
    (staged / "README.md").write_text(card(manifest), "utf-8")
    seal(staged, manifest)
    return parity
