"""Tagging: how fast a Bundle answers a file, and how fast it is trained, beside Flair's tagger of the same sizes.

Answers are those of the command line, in a process of its own; less what the same command takes for the first text
alone, so that starting Python and opening the Bundle do not count. Trainings take turns, a block of steps each, on the
same tokens in the same batches; each is a process of its own, Flair's under an interpreter that has it.
"""

import gzip
import itertools
import json
import math
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellgate.bench import flair_steps, tag_sets
from cellgate.bench.blocks import Batches, Contestant, contestant
from cellgate.bench.child import CELLGATE, run
from cellgate.bench.file_sets import SetFiles
from cellgate.bench.machine import Record, stamp
from cellgate.bench.rounds import Kept, Round, checked_threads, gathered, sgemm_gflops, significant, torch_threads
from cellgate.bench.sizes import Sizes
from cellgate.bundle import open_bundle
from cellgate.codecs import Given, text_of
from cellgate.data.batching import epoch_order
from cellgate.data.columns import choose_columns
from cellgate.data.readers import open_table
from cellgate.data.records import Records
from cellgate.data.wanted import Marks
from cellgate.errors import UsageError, WorkError
from cellgate.fit.prepare import Prepared, load_prepared, prepare
from cellgate.fit.rows import rows_a_step
from cellgate.nets.spelling import LETTER_WIDTH
from cellgate.tasks.tag import TASK, Config
from cellgate.tasks.tag import Record as Row

SETS = {"ud_english_ewt": "conll", "wikiann_en": "jsonl"}  # parts of speech, names; and how answers are written
_ASKED_TOKENS = 200_000  # in the file that is answered: the test rows as often as it takes
_BLOCK_STEPS, _FIRST_STEPS = 10, 2
_LEFT_OUT = "no --flair-python: name an interpreter of an environment with Flair"


def tagging(sizes: Sizes) -> Iterator[Record]:
    """Yield one record a set: tokens a second of answers and of training, ours and Flair's."""
    for name in SETS:
        tag_sets.SETS.find(name)  # a set that is not here stops before any work
    if sizes.flair_python is not None:
        _check_flair(sizes.flair_python)
    for name in SETS:
        yield _measured(name, sizes)


def _check_flair(python: Path) -> None:
    try:
        done = subprocess.run([python, "-I", "-c", "import flair"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(f"--flair-python {python}: {error}; name a Python that can import flair") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UsageError(f"--flair-python {python}: {last}; name a Python that can import flair")


def _measured(name: str, sizes: Sizes) -> Record:
    threads = checked_threads(sizes.threads)
    command = ["bench", "tagging", "--threads", str(threads), "--rounds", str(sizes.rounds)]
    command += ["--max-steps", str(sizes.max_steps)]
    about = stamp([*CELLGATE, *command, *(["--flair-python", "PYTHON"] if sizes.flair_python else [])])
    with tempfile.TemporaryDirectory(prefix="cellgate-bench-") as made, torch_threads(threads):
        folder = Path(made)
        files = tag_sets.SETS.files(name, folder)
        answering = _answering(name, files, folder, sizes)
        training = _training(files, folder, threads, sizes)
    return {
        "bench": "tagging",
        "set": name,
        "threads": threads,
        "left_out": {} if sizes.flair_python else {"flair": _LEFT_OUT},
        "answering": answering,
        **training,
        **about,
    }


# Answering


def _answering(name: str, files: SetFiles, folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Train a Bundle for a few steps and let it answer the test rows."""
    dev = [] if files.dev is None else ["--dev", str(files.dev)]
    command = [*CELLGATE, "train", "tag", str(files.train), *files.flags, *dev, "-o", "bundle"]
    run([*command, "--train.max-steps", str(sizes.max_steps)], folder)
    asked = _asked(files, folder)
    predict = [*CELLGATE, "predict", "bundle"]
    peaks: list[float] = []

    def measure(place: int) -> Mapping[str, Round]:  # noqa: ARG001  there is no turn to take
        before = sgemm_gflops()
        first = run([*predict, asked.first, "--format", SETS[name]], folder)
        whole = run([*predict, asked.whole, "--format", SETS[name]], folder)
        peaks.append(whole.memory.peak_rss / 1e6)
        rate = asked.tokens / (whole.seconds - first.seconds)
        return {"answers": Round(before, sgemm_gflops(), {"tokens": rate, "start": first.seconds})}

    kept = gathered(measure, sizes.rounds)["answers"]
    return {
        "tokens_per_second": round(kept.median("tokens")),
        "start_seconds": round(kept.median("start"), 3),
        "tokens": asked.tokens,
        "peak_mb": round(max(peaks), 1),
        "format": SETS[name],
        **_rounds(kept),
    }


@dataclass(frozen=True)
class _Asked:
    """Names of two files: the first text, and all; and the tokens that the second has more."""

    first: str
    whole: str
    tokens: int


def _asked(files: SetFiles, folder: Path) -> _Asked:
    """Write the test rows as often as makes enough tokens."""
    source = open_bundle(folder / "bundle").source
    texts: list[Given] = [row.text for row in _records(files.test, files.flags)]
    lengths = source.encode(texts)["tokens"].lengths
    times = math.ceil(_ASKED_TOKENS / int(lengths.sum()))
    opened = gzip.open if files.test.suffix == ".gz" else open
    with opened(files.test, "rt", encoding="utf-8") as file:
        content = file.read().strip("\n") + "\n\n"
    suffix = Path(files.test.name.removesuffix(".gz")).suffix
    (folder / f"first{suffix}").write_text(content.partition("\n\n")[0] + "\n\n", "utf-8")
    (folder / f"whole{suffix}").write_text(content * times, "utf-8")
    return _Asked(f"first{suffix}", f"whole{suffix}", times * int(lengths.sum()) - int(lengths[0]))


def _records(path: Path, flags: Sequence[str]) -> Records[Row]:
    """Rows of a file, by flags such as --text raw."""
    columns = {"text": None, "spans": None} | {
        flag.removeprefix("--"): column for flag, column in zip(flags[::2], flags[1::2], strict=True)
    }
    table = open_table([path])
    return Records(table, choose_columns(table, columns).columns, Row, ("spans",), answers=Marks())


# Training


def _training(files: SetFiles, folder: Path, threads: int, sizes: Sizes) -> dict[str, Any]:
    """Let the contestants take turns, each with the same next few batches."""
    config = Config()
    records = _records(files.train, files.flags)
    for _ in prepare(TASK, config, records, None, folder / "prepared"):
        pass
    prepared = load_prepared(folder / "prepared")
    commands = {"ours": [*CELLGATE[:2], "cellgate.bench.tag_steps", str(folder / "prepared"), str(threads)]}
    if sizes.flair_python is not None:
        (folder / "flair.json").write_text(json.dumps(_for_flair(config, prepared, records)), "utf-8")
        script = [str(flair_steps.__file__), str(folder / "flair.json"), str(threads)]
        commands["flair"] = [str(sizes.flair_python.absolute()), "-I", *script]
    waits = os.environ.get("GOMP_SPINCOUNT", "2000")  # alike for both; as training has it
    environment = {**os.environ, "GOMP_SPINCOUNT": waits, "HF_HUB_OFFLINE": "1", "FLAIR_CACHE_ROOT": str(folder)}
    batches = _batches(config, prepared)
    with ExitStack() as stack:
        arms = {
            name: stack.enter_context(contestant(command, folder, environment)) for name, command in commands.items()
        }
        first = list(itertools.islice(batches, _FIRST_STEPS))
        for arm in arms.values():
            arm.take(first)  # what is built once is built before anything is timed
        kept = gathered(lambda place: _block(arms, batches, place, prepared), sizes.rounds)["training"]
        told = {name: _told(kept, name, arm) for name, arm in arms.items()}
    training = {"arms": told, **_rounds(kept)}
    return {"gomp_spincount": waits, "trained": _in_words(config, prepared), "training": training}


def _batches(config: Config, prepared: Prepared) -> Iterator[list[int]]:
    """Yield the rows of each step, as `fit` takes them."""
    course = config.train
    lengths = prepared.rows.columns["tokens"].lengths[prepared.train]
    rows = rows_a_step(len(lengths), course, by_token=True)
    for epoch in itertools.count():
        for batch in epoch_order(lengths, rows=rows, tokens=course.batch_tokens, seed=course.seed, epoch=epoch):
            yield prepared.train[batch].tolist()


def _block(
    arms: Mapping[str, Contestant], batches: Iterator[list[int]], place: int, prepared: Prepared
) -> Mapping[str, Round]:
    """One turn of each; who begins moves on with each round."""
    block: Batches = list(itertools.islice(batches, _BLOCK_STEPS))
    tokens = int(prepared.rows.columns["tokens"].lengths[list(itertools.chain.from_iterable(block))].sum())
    names = list(arms)
    shift = place % len(names)
    before = sgemm_gflops()
    rates = {}
    for name in names[shift:] + names[:shift]:
        seconds, counted = arms[name].take(block)
        if counted != tokens:
            raise WorkError(
                f"{name} trained on {counted:,} tokens where the batches have {tokens:,}: not the same ones"
            )
        rates[name] = tokens / seconds
    return {"training": Round(before, sgemm_gflops(), {name: rates[name] for name in names})}


def _told(kept: Kept, name: str, arm: Contestant) -> dict[str, Any]:
    return {
        "tokens_per_second": round(kept.median(name)),
        "ours_is_faster": significant(kept.median("ours") / kept.median(name)),
        "peak_mb": round(arm.memory.peak_rss / 1e6, 1),
        "versions": dict(arm.versions),
    }


def _rounds(kept: Kept) -> dict[str, Any]:
    return {
        "rounds_kept": len(kept.rounds),
        "rounds_thrown_away": kept.thrown_away,
        "sgemm_gflops": significant(kept.sgemm),
    }


def _for_flair(config: Config, prepared: Prepared, records: Records[Row]) -> dict[str, Any]:
    """The training rows as our tokeniser cuts them, their tags as numbers, our vocabulary, and the sizes."""
    columns, encoder, course = prepared.rows.columns, config.encoder, config.train
    texts = []
    for row, record in enumerate(records):
        text = text_of(record.text)
        places = zip(columns["starts"][row].tolist(), columns["ends"][row].tolist(), strict=True)
        texts.append([text[start:end] for start, end in places])
    vocabulary = prepared.source.tokenizer.get_vocab()
    return {
        "texts": texts,
        "tags": [columns["tags"][row].tolist() for row in range(len(texts))],
        "words": sorted(vocabulary, key=vocabulary.__getitem__)[2:],  # the first two are no words
        "sizes": {
            "embedding": encoder.embedding,
            "letters": LETTER_WIDTH,
            "spelling": encoder.spelling,
            "hidden": encoder.hidden,
            "word_dropout": encoder.word_dropout,
            "locked_dropout": config.tagger.dropout,
            "learning_rate": course.learning_rate,
            "weight_decay": course.weight_decay,
            "clip": course.clip,
        },
    }


def _in_words(config: Config, prepared: Prepared) -> str:
    encoder, course, rows = config.encoder, config.train, len(prepared.train)
    return (
        f"vectors of {encoder.embedding} for {len(prepared.source):,} words, a BiLSTM of {encoder.spelling} a "
        f"direction over letters of {LETTER_WIDTH}, a BiLSTM of {encoder.hidden} over both, a linear chain; AdamW, "
        f"{rows_a_step(rows, course, by_token=True)} texts of like length a step, of {rows:,}; ours, here without its "
        "linear half, has vectors of n-grams besides"
    )
