"""A trained net and its codecs as a Bundle in a folder that nothing answers from yet."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cellgate import codecs
from cellgate.bundle import Bundle, open_bundle, seal
from cellgate.codecs import SourceCodec, TargetCodec
from cellgate.plan import Plan
from cellgate.version import __version__

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import Tensor

    from cellgate.nets import Net

Compare = Callable[[Bundle, Bundle | None], dict[str, Any]]
"""Says how the float graph and the int8 one, if there is one, compare with torch; "float" holds the metrics on dev."""


class Prepared(Protocol):
    """What preparing the data left: both codecs, and what was counted."""

    @property
    def source(self) -> SourceCodec:
        """Of what is given."""

    @property
    def target(self) -> TargetCodec:
        """Of what is wanted."""

    @property
    def facts(self) -> "DataclassInstance":
        """They stand in bundle.json."""


def stage(
    plan: Plan,
    prepared: Prepared,
    net: "Net",
    example: "Mapping[str, Tensor]",
    told: Mapping[str, Any],
    compare: Compare,
    card: Callable[[Mapping[str, Any]], str],
    staged: Path,
) -> dict[str, Any]:
    """Write a whole Bundle into `staged`, `told` in its manifest; returns what `compare` says of its graphs."""
    from cellgate.export import export

    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    graph = export(net, example, staged)
    state = {"source": codecs.save(prepared.source, staged), "target": codecs.save(prepared.target, staged)}
    (staged / "codec.json").write_text(json.dumps(state, ensure_ascii=False), "utf-8")
    manifest = {
        "cellgate": __version__,
        "task": plan.task,
        "config": plan.config.model_dump(mode="json"),
        "graph": graph,
        **told,
        "data": {**plan.origin, **asdict(prepared.facts)},
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
