"""Quality: train on a public data set with the real command line and its default settings, and answer its test.

Beside each figure stands the linear yardstick on the same rows, so that a recurrent model that earns nothing shows.
"""

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellgate.batch import Ids
from cellgate.bench import linear, sets, tag_sets, text_sets
from cellgate.bench.child import CELLGATE, Finished, folder_bytes, run
from cellgate.bench.kneser_ney import KneserNey
from cellgate.bench.machine import Record, require_extra, stamp
from cellgate.bench.sets import Splits
from cellgate.bundle import Bundle, open_bundle
from cellgate.data.readers import open_table
from cellgate.errors import WorkError
from cellgate.language import Language
from cellgate.metrics import LabelScore, running_metrics

SEEDS = (0,)
_ABLATED: dict[str, tuple[str, ...]] = {  # what is left out or put in place, and the settings that do it
    "all": (),
    "recurrent half alone": ("--linear.enabled", "false"),
    "forward only": ("--encoder.directions", "1"),
    "GRU": ("--encoder.cell", "gru"),
    "no spelling vectors": ("--encoder.buckets", "1"),
    "no word dropout": ("--encoder.word-dropout", "0"),
    "no embedding dropout": ("--encoder.embedding-dropout", "0"),
    "no dropout before the labels": ("--head.dropout", "0"),
    "no label smoothing": ("--head.label-smoothing", "0"),
    "linear half: words alone": ("--linear.characters", "false", "--linear.words", "1"),
}
ABLATION_SETS = ("trec", "sst2", "toutiao_5k")


def quality(names: Sequence[str], seeds: Sequence[int] = SEEDS) -> Iterator[Record]:
    """Yield one record a set and seed, as each is measured: accuracy and macro F1 on test, n, time, memory, size.

    Of a set in folds the figures are means over them. `train_seconds` and `peak_mb` are of the whole
    `cellgate train` process, preparing and exporting included.
    """
    require_extra()
    own = {"tag": (tag_sets.SETS, _measure_tags), "generate": (text_sets.SETS, _measure_text)}
    kinds = {name: task for task, (known, _) in own.items() for name in known.names}
    for name in names:  # a wrong name stops before hours of work
        (own[kinds[name]][0].find if name in kinds else sets.find)(name)
    for name in names:
        if name in kinds:
            measure = own[kinds[name]][1]
            for seed in seeds:
                yield {"bench": "quality", "set": name, "seed": seed, "task": kinds[name], **measure(name, seed)}
            continue
        folds = sets.folds(name)
        yardstick = _mean([linear.yardstick(splits) for splits in folds])
        for seed in seeds:
            measured = _mean([_measure(name, splits, seed) for splits in folds])
            yield {"bench": "quality", "set": name, "seed": seed, "folds": len(folds), **measured, "linear": yardstick}


def ablation(names: Sequence[str], seeds: Sequence[int] = SEEDS) -> Iterator[Record]:
    """Yield a record a set, part and seed: what the default recipe is without the part, judged on test alike."""
    require_extra()
    for name in names:
        sets.find(name)
    for name in names:
        splits = sets.load(name)
        for part, settings in _ABLATED.items():
            for seed in seeds:
                yield {"bench": "ablation", "set": name, "part": part, "seed": seed} | _measure(
                    name, splits, seed, settings
                )


def _measure(name: str, splits: Splits, seed: int, settings: Sequence[str] = ()) -> Record:
    with tempfile.TemporaryDirectory(prefix="cellgate-bench-") as made:
        folder = Path(made)
        command = _command(name, splits, seed, folder)
        about = stamp([*command, *settings])
        trained = run([*command, *settings], folder)
        asked = _ask(name, splits, folder)
        manifest = json.loads((folder / name / "bundle.json").read_text("utf-8"))
        taught: Record = {}
        if splits.unlabelled:
            taught["teacher"] = _metrics(_ask(f"{name}.teacher", splits, folder).stdout, splits)
            taught["self_trained_rows"] = manifest["data"]["self_trained_rows"]
        return {
            **_metrics(asked.stdout, splits),
            **taught,
            "train_rows": len(splits.train),
            "test_texts_in_train": splits.test_texts_in_train,
            "train_seconds": round(trained.seconds, 1),
            "peak_mb": round(trained.memory.peak_rss / 1e6, 1),
            "evaluate_seconds": round(asked.seconds, 1),
            "bundle_mb": round(folder_bytes(folder / name) / 1e6, 2),
            "halves_on_dev": manifest["calibration"],
            **about,
        }


def _measure_tags(name: str, seed: int) -> Record:
    with tempfile.TemporaryDirectory(prefix="cellgate-bench-") as made:
        folder = Path(made)
        found = tag_sets.SETS.files(name, folder)
        dev = [] if found.dev is None else ["--dev", str(found.dev)]
        command = [*CELLGATE, "train", "tag", str(found.train), *found.flags, *dev, "-o", name]
        command += ["--train.seed", str(seed)]
        about = stamp([word if "/" not in word else Path(word).name for word in command])
        trained = run(command, folder)
        asked = run([*CELLGATE, "evaluate", name, str(found.test), *found.flags, "--json"], folder)
        told = json.loads(asked.stdout)
        kept = ("span_f1", "span_precision", "span_recall", "token_accuracy", "calibration_error", "n")
        return {
            **{key: told[key] for key in kept if key in told},
            "train_seconds": round(trained.seconds, 1),
            "peak_mb": round(trained.memory.peak_rss / 1e6, 1),
            "evaluate_seconds": round(asked.seconds, 1),
            "bundle_mb": round(folder_bytes(folder / name) / 1e6, 2),
            **about,
        }


def _measure_text(name: str, seed: int) -> Record:
    """A language model's figures on test as it stands, and while it learns from what it has read; n-grams' beside."""
    with tempfile.TemporaryDirectory(prefix="cellgate-bench-") as made:
        folder = Path(made)
        found = text_sets.SETS.files(name, folder)
        dev = [] if found.dev is None else ["--dev", str(found.dev)]
        command = [*CELLGATE, "train", "generate", str(found.train), *dev, "-o", name, *found.flags]
        command += ["--train.seed", str(seed)]
        about = stamp([word if "/" not in word else Path(word).name for word in command])
        trained = run(command, folder)
        asked = run([*CELLGATE, "evaluate", name, str(found.test), "--adapt", "--json"], folder)
        told = json.loads(asked.stdout)
        manifest = json.loads((folder / name / "bundle.json").read_text("utf-8"))
        return {
            **{key: told[key] for key in ("perplexity", "nats", "bits_per_character", "unknown", "n", "adapted")},
            "dev": manifest["metrics"]["dev"],
            "kneser_ney": ngrams(open_bundle(folder / name), [found.train], found.test),
            "train_tokens": manifest["data"]["tokens"],
            "train_seconds": round(trained.seconds, 1),
            "peak_mb": round(trained.memory.peak_rss / 1e6, 1),
            "evaluate_seconds": round(asked.seconds, 1),
            "bundle_mb": round(folder_bytes(folder / name) / 1e6, 2),
            **about,
        }


def ngrams(bundle: Bundle, train: Sequence[Path], test: Path) -> Record:
    """How well 5-grams of the training files foretell `test`, with the tokens of a Bundle."""
    language = Language.of(bundle)

    def tokens(paths: Sequence[Path]) -> Ids:
        table = open_table(paths, plain="stream")
        rows = ({"text": row.values["text"]} for row in table.rows({"text": "text"}))
        return np.concatenate(language.codec.stream(language.pieces(rows)))

    learned, judged = KneserNey.learn(tokens(train), len(language.codec)), tokens([test])
    return {**running_metrics(-float(learned.log_probabilities(judged).sum()), len(judged)), "longest": 5}


def _command(name: str, splits: Splits, seed: int, folder: Path) -> list[str]:
    """Write the rows into `folder`; return the command that trains on them."""
    sets.write_csv(folder / "train.csv", splits.train)
    sets.write_csv(folder / "test.csv", splits.test)
    command = [*CELLGATE, "train", "classify", "train.csv", "--text", "text", "--label", "label", "-o", name]
    if splits.dev is not None:
        sets.write_csv(folder / "dev.csv", splits.dev)
        command += ["--dev", "dev.csv"]
    if splits.unlabelled:
        sets.write_texts(folder / "unlabelled.csv", splits.unlabelled)
        command += ["--pretrain", "unlabelled.csv", "--self-train", "unlabelled.csv"]
    command += _separator(splits)
    if splits.out_of_scope:
        command += ["--answer.out-of-scope", splits.out_of_scope]
    return [*command, "--train.seed", str(seed)]


def _ask(bundle: str, splits: Splits, folder: Path) -> Finished:
    """Have a Bundle in `folder` answer the test rows there."""
    return run([*CELLGATE, "evaluate", bundle, "test.csv", *_separator(splits), "--json"], folder)


def _separator(splits: Splits) -> list[str]:
    return ["--label-separator", sets.LABELS_END] if splits.several else []


def _metrics(text: str, splits: Splits) -> dict[str, Any]:
    """Read what `evaluate --json` wrote, and see that every test row was answered."""
    wanted = ("micro_f1", "macro_f1") if splits.several else ("accuracy", "macro_f1")
    try:
        told = json.loads(text)
        metrics = {key: told[key] for key in (*wanted, "calibration_error", "n")}
        labels = {label: LabelScore(**score) for label, score in told["labels"].items()}
    except (ValueError, LookupError, TypeError) as error:
        raise WorkError(f"`cellgate evaluate --json` wrote no metrics ({error}): {text[:200]!r}") from None
    if metrics["n"] != len(splits.test):
        rows = len(splits.test)
        raise WorkError(f"`cellgate evaluate` answered {metrics['n']} of {rows} test rows; look for rows it skipped")
    return metrics | linear.of_labels(splits, labels)


def _mean(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of the figures over the folds, at any depth; anything else is the first fold's."""
    if len(folds) == 1:
        return dict(folds[0])
    mean: dict[str, Any] = {}
    for name, first in folds[0].items():
        found = [fold[name] for fold in folds]
        if isinstance(first, Mapping):
            mean[name] = _mean(found)
        elif isinstance(first, float):
            mean[name] = round(statistics.mean(found), 6)
        else:
            mean[name] = sum(found) if name in ("n", "test_texts_in_train") else first
    return mean
