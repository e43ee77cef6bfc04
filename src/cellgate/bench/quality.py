"""Quality: train on a public data set with the real command line and its default settings, and answer its test.

Beside each figure stands the linear yardstick on the same rows, so that a recurrent model that earns nothing shows.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cellgate.bench import linear, sets
from cellgate.bench.child import CELLGATE, folder_bytes, run
from cellgate.bench.machine import Record, require_extra, stamp
from cellgate.bench.sets import Splits
from cellgate.errors import WorkError

SEEDS = (0,)


def quality(names: Sequence[str], seeds: Sequence[int] = SEEDS) -> Iterator[Record]:
    """Yield one record a set and seed, as each is measured: accuracy and macro F1 on test, n, time, memory, size.

    `train_seconds` and `peak_mb` are of the whole `cellgate train` process, preparing and exporting included.
    """
    require_extra()
    for name in names:
        sets.find(name)  # a wrong name stops before hours of work, not after
    for name in names:
        splits = sets.load(name)
        yardstick = linear.yardstick(splits)
        for seed in seeds:
            with tempfile.TemporaryDirectory(prefix="cellgate-bench-") as folder:
                measured = _measure(name, splits, seed, Path(folder))
            yield {"bench": "quality", "set": name, "seed": seed, **measured, "linear": yardstick}


def _measure(name: str, splits: Splits, seed: int, folder: Path) -> Record:
    sets.write_csv(folder / "train.csv", splits.train)
    sets.write_csv(folder / "test.csv", splits.test)
    command = [*CELLGATE, "train", "classify", "train.csv", "--text", "text", "--label", "label", "-o", name]
    if splits.dev is not None:
        sets.write_csv(folder / "dev.csv", splits.dev)
        command += ["--dev", "dev.csv"]
    command += ["--train.seed", str(seed)]
    about = stamp(command)
    trained = run(command, folder)
    asked = run([*CELLGATE, "evaluate", name, "test.csv", "--json"], folder)
    metrics = _metrics(asked.stdout, len(splits.test))
    manifest = json.loads((folder / name / "bundle.json").read_text("utf-8"))
    return {
        **metrics,
        "train_rows": len(splits.train),
        "test_texts_in_train": splits.test_texts_in_train,
        "train_seconds": round(trained.seconds, 1),
        "peak_mb": round(trained.memory.peak_rss / 1e6, 1),
        "evaluate_seconds": round(asked.seconds, 1),
        "bundle_mb": round(folder_bytes(folder / name) / 1e6, 2),
        "halves_on_dev": manifest["calibration"],
        **about,
    }


def _metrics(text: str, rows: int) -> dict[str, Any]:
    """Read what `evaluate --json` wrote, and see that every test row was answered."""
    try:
        told = json.loads(text)
        metrics = {key: told[key] for key in ("accuracy", "macro_f1", "calibration_error", "n")}
    except (ValueError, LookupError, TypeError) as error:
        raise WorkError(f"`cellgate evaluate --json` wrote no metrics ({error}): {text[:200]!r}") from None
    if metrics["n"] != rows:
        raise WorkError(f"`cellgate evaluate` answered {metrics['n']} of {rows} test rows; look for rows it skipped")
    return metrics
