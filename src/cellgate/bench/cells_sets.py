"""Each cell on a public set: the recurrent half alone, reading one way and both, by the command line a user has."""

import json
import tempfile
from pathlib import Path

from cellgate.bench.cells_lags import CELLS
from cellgate.bench.child import CELLGATE, run
from cellgate.bench.machine import Record
from cellgate.bench.sets import Splits, write_csv
from cellgate.bench.sizes import Sizes

_DIRECTIONS = (1, 2)


def measured(splits: Splits, seed: int, threads: int, sizes: Sizes) -> Record:
    """Train each cell and return what dev and test say of it.

    All settings but cell and directions are the same; dev chooses the epoch that is kept, test is answered once.
    """
    train = splits.train[: sizes.rows]
    with tempfile.TemporaryDirectory(prefix="cellgate-bench-") as place:
        folder = Path(place)
        for part, given in (("train", train), ("dev", splits.dev or []), ("test", splits.test)):
            write_csv(folder / f"{part}.csv", given)
        trainings = []
        for directions in _DIRECTIONS:
            for cell in CELLS:
                options = ["--encoder.cell", cell, "--encoder.directions", str(directions)]
                options += ["--train.seed", str(seed), "--train.epochs", str(sizes.epochs)]
                options += ["--train.threads", str(threads)]
                figures = _trained(folder, f"{cell}{directions}", options)
                trainings.append({"cell": cell, "directions": directions, **figures})
    return {
        "threads": threads,
        "train_rows": len(train),
        "test_rows": len(splits.test),
        "epochs": sizes.epochs,
        "trainings": trainings,
    }


def _trained(folder: Path, name: str, options: list[str]) -> Record:
    columns = ["--text", "text", "--label", "label"]
    command = ["train", "classify", "train.csv", "--dev", "dev.csv", *columns, "--linear.enabled", "false"]
    done = run([*CELLGATE, *command, *options, "-o", name], folder)
    dev = json.loads((folder / name / "bundle.json").read_text("utf-8"))["metrics"]["dev"]
    test = json.loads(run([*CELLGATE, "evaluate", name, "test.csv", "--json"], folder).stdout)
    return {
        "dev_accuracy": dev["accuracy"],
        "accuracy": test["accuracy"],
        "macro_f1": test["macro_f1"],
        "train_seconds": round(done.seconds, 1),
    }
