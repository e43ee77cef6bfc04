"""cellgate inspect FOLDER: what a Bundle is, and that its files are whole."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from cellgate.bundle import Bundle, open_bundle
from cellgate.cli.about import About, about, parity_of
from cellgate.cli.words import megabytes, row

APP = App(
    name="inspect", usage="Usage: cellgate inspect FOLDER [--json]", help_epilogue="Example: cellgate inspect intents"
)
_ABOUT = {
    "bundle.json": "what it is, with checksums of the files",
    "codec.json": "what the codecs learned",
    "tokenizer.json": "how text becomes tokens",
    "weights.safetensors": "the net's weights",
    "model.onnx": "the graph that answers",
    "model.int8.onnx": "the same, smaller and faster one text at a time",
    "parity.json": "how far torch, float and int8 answers are apart",
    "events.jsonl": "how training went",
    "README.md": "the model card",
    "report.html": "how training went, where the model is wrong",
}


@APP.default
def inspect(
    folder: Annotated[str, Parameter(help="The Bundle.")],
    /,
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="Print one JSON object.", show_default=False)
    ] = False,
) -> None:
    """Open a Bundle, which checks its files, and say what it is."""
    bundle = open_bundle(folder)
    sizes = {path.name: path.stat().st_size for path in sorted(bundle.folder.iterdir()) if path.is_file()}
    parity = parity_of(bundle)
    if as_json:
        facts = {"folder": folder, "intact": True, **bundle.manifest, "parity": parity, "sizes_bytes": sizes}
        print(json.dumps(facts, ensure_ascii=False))
        return
    told = about(bundle)
    parts = (
        _what(bundle, folder),
        _data(bundle, told),
        _settings(bundle),
        _quality(told, parity),
        _files(bundle, sizes),
    )
    print("\n\n".join("\n".join(part) for part in parts))


def _what(bundle: Bundle, folder: str) -> Iterator[str]:
    manifest = bundle.manifest
    made_with = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    yield f"{folder}: a Bundle of the task {manifest['task']}, intact"
    yield row("does", bundle.task.about)
    yield row("made by", f"cellgate {manifest['cellgate']}, {made_with}")


def _data(bundle: Bundle, told: About) -> Iterator[str]:
    data = bundle.manifest["data"]
    yield "Data"
    if "files" in data:
        yield row("files", ", ".join(f"{file['name']} ({megabytes(file['bytes'])})" for file in data["files"]))
        yield row("columns", ", ".join(f"{field}: {column!r}" for field, column in data["columns"].items()))
    yield from told.data


def _settings(bundle: Bundle) -> Iterator[str]:
    yield "Settings"
    for group, settings in bundle.manifest["config"].items():
        yield row(group, ", ".join(f"{name} {_plain(value)}" for name, value in settings.items()))
    graph = bundle.manifest["graph"]
    state = ", ".join(f"{entry['name']} {entry['shape']} {entry['dtype']}" for entry in graph["state"])
    yield row("graph", f"{', '.join(graph['inputs'])} -> {', '.join(graph['outputs'])}")
    yield row("state", state or f"none, so a text is read whole: {bundle.whole}")


def _quality(told: About, parity: Mapping[str, Any]) -> Iterator[str]:
    yield f"On its {told.judged:,} dev {told.part}s, which {told.role}"
    yield from told.metrics
    yield from told.measured
    for name, value in parity.items():
        if isinstance(value, float):
            pair = name.removesuffix("_difference").replace("_", " and ")
            yield row(pair, f"differ by at most {value:.1e}")


def _files(bundle: Bundle, sizes: Mapping[str, int]) -> Iterator[str]:
    yield f"Files, {megabytes(sum(sizes.values()))}"
    for name, size in sizes.items():
        checked = "" if name in bundle.manifest["files"] or name == "bundle.json" else " (not checked)"
        yield f"{name:<22}{megabytes(size):>10}  {_ABOUT.get(name, '')}{checked}".rstrip()


def _plain(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
