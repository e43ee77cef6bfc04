"""The model card: what a Bundle is, in words, for whoever finds the folder."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cellgate.errors import counted
from cellgate.metrics import MISTAKES, TELLING_ROWS

_LABELS = 30  # named with their rows; of more, those with most rows


def dev_role(rows: int) -> str:
    """What so many dev rows did in training, so that their figures are the kinder ones."""
    return f"chose {'the checkpoint and ' if rows >= TELLING_ROWS else ''}the calibration"


def model_card(manifest: Mapping[str, Any]) -> str:
    """README.md of a Bundle, from its manifest."""
    parts = (_what(manifest), _quality(manifest), _use(manifest), _limits(manifest))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def language_card(manifest: Mapping[str, Any]) -> str:
    """README.md of a Bundle that writes, from its manifest."""
    data, dev = manifest["data"], manifest["metrics"]["dev"]
    how = "given" if data["dev_given"] else "held out from the same text"
    labels = ", ".join(f"{_plain(label)} ({rows:,})" for label, rows in data["rows_by_label"].items())
    write_as = f"\n**Labels it writes like, and their documents:** {labels}.\n" if labels else ""
    return f"""# A Cellgate model: {manifest["task"]}

Trained by Cellgate {manifest["cellgate"]} on {data["tokens"]:,} tokens in {counted(data["rows"], "document")}; it knows
{data["vocabulary"]:,} tokens.
{write_as}
## How good it is

On {dev["n"]:,} dev tokens ({how}; they chose the checkpoint, so a test on another text is the fairer figure):

| metric | value |
|---|---|
| perplexity | {dev["perplexity"]:.3f} |
| nats a token | {dev["nats"]:.4f} |
| bits a token | {dev["bits"]:.4f} |

## How to use it

    cellgate write FOLDER "the beginning of a text"
    cellgate score FOLDER "a text"
    cellgate evaluate FOLDER test.txt

or in Python, without torch:

    import cellgate
    from cellgate.language import Language
    "".join(Language.of(cellgate.open("FOLDER")).write("the beginning of a text"))

## What it is for, and what not

It writes text like the one it was trained on: its manner, its words, its mistakes and its prejudices. It knows no
facts, and what it says is made up. What it was trained on may come back word by word: do not train it on what must not
be told.
"""


def _what(manifest: Mapping[str, Any]) -> Iterator[str]:
    data = manifest["data"]
    train_rows = data["rows"] - data["dev_rows"]
    labels = sorted(data["rows_by_label"].items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{_plain(label)} ({rows:,})" for label, rows in labels[:_LABELS])
    more = f", and {len(labels) - _LABELS} labels more" if len(labels) > _LABELS else ""
    yield f"# A Cellgate model: {manifest['task']}\n"
    yield f"Trained by Cellgate {manifest['cellgate']} on {train_rows:,} rows, {data['mean_tokens']:.0f} tokens each"
    yield "on average. [report.html](report.html) shows how training went and where the model is wrong.\n"
    if answered := data.get("self_trained_rows", 0):
        yield f"It also learned from {answered:,} texts without answers, by those that an earlier model was sure of.\n"
    yield f"**Labels ({len(labels)}), and how often each stands in the rows:** {named}{more}.\n"
    yield from _losses(manifest)


def _losses(manifest: Mapping[str, Any]) -> Iterator[str]:
    data = manifest["data"]
    most = manifest["config"]["text"]["max_tokens"]
    counts = (
        (data["cut_texts"], f"longer than {most:,} tokens, and cut there"),
        (data["empty_texts"], "empty, and kept"),
        (data.get("skipped_rows", 0), "bad rows, and left out"),
        (data["unseen_dev_rows"], "dev rows with a label that no training row has"),
    )
    said = "; ".join(f"{count:,} {what}" for count, what in counts if count)
    yield f"**Cut, empty, left out:** {said or 'nothing'}."


def _quality(manifest: Mapping[str, Any]) -> Iterator[str]:
    data, dev, calibration = manifest["data"], manifest["metrics"]["dev"], manifest["calibration"]
    how = "given" if data["dev_given"] else "held out at random from the same rows"
    yield "## How good it is\n"
    yield f"On {data['dev_rows']:,} dev rows ({how}; they {dev_role(data['dev_rows'])}, so a test on other rows is"
    yield "the fairer figure):\n"
    yield "| metric | value |\n|---|---|"
    figures = {name: value for name, value in dev.items() if name != "n"}
    if "calibration_error_before" in calibration:
        figures["calibration_error, uncalibrated"] = calibration["calibration_error_before"]
    for name, value in figures.items():
        yield f"| {name.replace('_', ' ').replace('f1', 'F1')} | {value:.4f} |"
    if kinds := manifest.get("mistakes"):
        yield f"\nOf the spans, {sum(kinds.values()):,} are wrong or missing:\n"
        yield "| mistake | spans | what it is |\n|---|---|---|"
        for kind, what in MISTAKES.items():
            yield f"| {kind.replace('_', ' ')} | {kinds[kind]:,} | {what} |"
    if data["dev_rows"] < TELLING_ROWS:
        yield f"\nSo few dev rows tell little: each one moves a share by {1 / data['dev_rows']:.1%}."


def _use(manifest: Mapping[str, Any]) -> Iterator[str]:
    decision = manifest.get("decision", {})
    below, outside = decision.get("abstain_below", 0.0), decision.get("out_of_scope", "")
    yield "## How to use it\n"
    yield '    cellgate predict FOLDER "a text"'
    yield "    cellgate evaluate FOLDER test.csv\n"
    yield "or in Python, without torch:\n"
    yield "    import cellgate"
    yield '    cellgate.open("FOLDER").predict(["a text"])\n'
    if outside:
        yield f"A text is told to fit none of the labels ({_plain(outside)}) where that is at least"
        yield f"{decision['scope_ends']:.1%} probable: the threshold was chosen on the dev rows.\n"
    if below:
        yield f"An answer less than {below:.1%} sure is not given: the model says that it does not know."
    else:
        yield "It never says that it does not know. Where a wrong answer costs much, train it with"
        yield "`--answer.precision 0.95`, say: it then knows how sure it must be, and says so where it is not."


def _limits(manifest: Mapping[str, Any]) -> Iterator[str]:
    rows = sorted(manifest["data"]["rows_by_label"].values())
    yield "## What it is for, and what not\n"
    yield "It is for texts like those it was trained on, to be answered with the labels above. It knows what those rows"
    yield "showed and nothing else: texts of another kind, language, place or time get answers too, and those are worth"
    yield "less than the figures above say. What was wrong or one-sided in the rows is so in the answers."
    if rows[-1] >= 10 * max(1, rows[0]):
        yield f"Its labels are uneven, {rows[0]:,} to {rows[-1]:,} rows: expect the rare ones to be missed more often."
    yield "Do not let it alone decide about people."


def _plain(label: str) -> str:
    """A label in one line in which Markdown sees no mark-up."""
    return re.sub(r"([\\`*_\[\]<>|~#&$])", r"\\\1", " ".join(label.split()))
