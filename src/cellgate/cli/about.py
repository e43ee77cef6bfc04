"""A trained Bundle in words, for every verb that tells of one: one that answers rows, or one that writes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cellgate.bundle import Bundle
from cellgate.card import dev_role
from cellgate.cli.figures import metric_rows, running_rows
from cellgate.cli.words import row
from cellgate.errors import counted


@dataclass(frozen=True, slots=True)
class About:
    """What is told of a Bundle; lines stand as they are printed."""

    data: tuple[str, ...]
    """Of what it was trained on, below how it was given."""
    judged: int
    """Parts of dev that its figures are of."""
    part: str
    """What those are: row, token."""
    role: str
    """What they did in training."""
    metrics: tuple[str, ...]
    epochs: tuple[str, ...]
    """How those told after each epoch differ, where they do."""
    measured: tuple[str, ...]
    """What else was measured on dev."""
    shown: str
    """What report.html shows besides how training went."""
    test_file: str
    uses: tuple[str, ...]
    """What to do with it, and by which commands."""


def about(bundle: Bundle) -> About:
    """Tell of a Bundle what those of its kind have to tell."""
    return _about_language(bundle) if bundle.task.running else _about_answers(bundle)


def parity_of(bundle: Bundle) -> dict[str, Any]:
    """How far its graphs are from torch and from each other."""
    parity: dict[str, Any] = json.loads((bundle.folder / "parity.json").read_text("utf-8"))
    return parity


def _about_answers(bundle: Bundle) -> About:
    data, dev = bundle.manifest["data"], bundle.manifest["metrics"]["dev"]
    labels: Mapping[str, int] = data["rows_by_label"]
    named = _counted(sorted(labels.items(), key=lambda item: (-item[1], item[0])))
    left_out = (row("left out", counted(data["skipped_rows"], "bad row")),) if data.get("skipped_rows") else ()
    return About(
        data=(
            row("rows", f"{data['rows'] - data['dev_rows']:,} trained on, {data['dev_rows']:,} dev ({_how(data)})"),
            row(
                "texts",
                f"{data['mean_tokens']:.0f} tokens each ({bundle.source.unit}s), {data['cut_texts']:,} cut at "
                f"{bundle.source.max_tokens:,}, {data['empty_texts']:,} empty",
            ),
            *left_out,
            row("labels", f"{len(bundle.target)}, and how often each stands in the rows: {named}"),
        ),
        judged=data["dev_rows"],
        part="row",
        role=dev_role(data["dev_rows"]),
        metrics=tuple(metric_rows(bundle.supervised, dev)),
        epochs=(),
        measured=tuple(
            row(name.replace("_", " "), f"{value:.4f}") for name, value in bundle.manifest["calibration"].items()
        ),
        shown="where it is wrong",
        test_file="TEST.csv",
        uses=("Ask it something:", f'  cellgate predict {bundle.folder} "a text"'),
    )


def _about_language(bundle: Bundle) -> About:
    data, dev = bundle.manifest["data"], bundle.manifest["metrics"]["dev"]
    labels = (row("labels", _counted(data["rows_by_label"].items())),) if data["rows_by_label"] else ()
    return About(
        data=(
            row("text", f"{counted(data['rows'], 'document')}, {counted(data['characters'], 'character')}"),
            row(
                "tokens",
                f"{data['tokens']:,} trained on, {data['dev_tokens']:,} dev ({_how(data)}); {bundle.source.unit}s",
            ),
            row("vocabulary", f"{data['vocabulary']:,} tokens"),
            *labels,
        ),
        judged=dev["n"],
        part="token",
        role="chose the checkpoint",
        metrics=tuple(running_rows(dev)),
        epochs=("Read as one text; each epoch above read it in up to 8 parts, usually worse.",),
        measured=(row("int8", f"perplexity {parity_of(bundle)['int8']['perplexity']:.4f}"),),
        shown="what surprises it",
        test_file="TEST.txt",
        uses=(
            "Have it write, or judge a text:",
            f'  cellgate write {bundle.folder} "the beginning of a text"',
            f'  cellgate score {bundle.folder} "a text"',
        ),
    )


def _how(data: Mapping[str, Any]) -> str:
    return "given" if data["dev_given"] else "held out"


def _counted(labels: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{label} {count:,}" for label, count in labels)
