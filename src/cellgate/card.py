"""The model card: what a Bundle is, in words, for whoever finds the folder."""

from collections.abc import Mapping
from typing import Any

from cellgate.errors import listed
from cellgate.metrics import TELLING_ROWS


def dev_role(rows: int) -> str:
    """What so many dev rows did in training, so that their figures are the kinder ones."""
    return f"chose {'the checkpoint and ' if rows >= TELLING_ROWS else ''}the calibration"


def model_card(manifest: Mapping[str, Any]) -> str:
    """README.md of a Bundle, from its manifest."""
    data, dev = manifest["data"], manifest["metrics"]["dev"]
    how = "given" if data["dev_given"] else "held out at random from the same rows"
    train_rows = data["rows"] - data["dev_rows"]
    figures = "\n".join(f"| {name.replace('_', ' ')} | {value:.4g} |" for name, value in dev.items())
    return f"""# A Cellgate model: {manifest["task"]}

Trained by Cellgate {manifest["cellgate"]} on {train_rows:,} rows.
Labels ({len(data["rows_by_label"])}): {listed(data["rows_by_label"], 30)}.

On {data["dev_rows"]:,} dev rows ({how}; they {dev_role(data["dev_rows"])}, so a test on other rows is
the fairer figure):

| metric | value |
|---|---|
{figures}

Use it:

    cellgate predict FOLDER "a text"
    cellgate evaluate FOLDER test.csv

or in Python, without torch:

    import cellgate
    cellgate.open("FOLDER").predict(["a text"])

It knows what its training rows showed and nothing else: texts of another kind, time or place get answers too, and
those are worth less than the figures above say.
"""
