"""The verb `train`: records in, events out, and at the end a Bundle in its folder.

It joins what stands below it: split, codecs, cache, fit, export, seal. All that is unfinished lies in
`FOLDER.training`, from which `resume` goes on; the Bundle replaces what `FOLDER` held in one move.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellgate.atomic import replace_file
from cellgate.bundle import Bundle, open_bundle, replace_bundle, undo_half_replacing, work_folder
from cellgate.card import model_card
from cellgate.codecs import ChainCodec
from cellgate.config import AnsweringConfig, TaskConfig, usable_cores
from cellgate.data.batching import even_chances
from cellgate.errors import DataError, UsageError, WorkError, listed
from cellgate.fit.events import Done, Event, Note, Work
from cellgate.fit.prepare import Prepared, is_prepared, load_prepared, notes, prepare
from cellgate.metrics import calibration_error
from cellgate.plan import Plan
from cellgate.self_training import answers
from cellgate.staging import stage
from cellgate.starting import language_of, narrowed, start, started
from cellgate.task import Row, Task, find
from cellgate.text_training import train_text

if TYPE_CHECKING:
    from cellgate.fit.dev import Dev
    from cellgate.nets import Net


def train_events(plan: Plan, *, resume: bool = False) -> Generator[Event, None, None]:
    """Train and write the Bundle, telling what happens; close the iterator to stop with a checkpoint.

    With `resume`, go on from the work folder: the Bundle is the same to the byte as without the stop.
    """
    require_training()
    task = find(plan.task)
    check_folder(plan)
    plan, asked = _begun(plan), plan.config
    work = work_folder(plan.folder)
    _check_work(plan, work, resume=resume)
    undo_half_replacing(plan.folder)
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "plan.json").exists():
        replace_file(work / "plan.json", _describe(plan).encode())
    try:
        if (plan.folder / "bundle.json").is_file():
            yield Note(f"{plan.folder} holds a Bundle already: this one takes its place when it is done")
        if note := narrowed(asked, plan.config):
            yield Note(note)
        yield from _running(plan, task, work) if task.running else _answering(plan, task, work)
        shutil.rmtree(work)
    except (DataError, UsageError):
        if not is_prepared(work / "data"):  # nothing was learned: mended data need no --resume, which would refuse them
            shutil.rmtree(work)
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise WorkError(
            f"the disk is full at {work}; the old Bundle, if any, stands: make room and go on with --resume"
        ) from None


def _begun(plan: Plan) -> Plan:
    """The plan with the sizes of the language model it begins with; that one and a teacher count as its data."""
    config = started(plan.config)
    used = {"language": language_of(config), "teacher": plan.self_training.teacher if plan.self_training else ""}
    sums = {name: open_bundle(folder).manifest["checksum"] for name, folder in used.items() if folder}
    return replace(plan, config=config, origin={**plan.origin, **sums})


def is_trained(plan: Plan) -> bool:
    """Whether the Bundle of this very plan is there already; UsageError where another one is."""
    manifest = plan.folder / "bundle.json"
    if not manifest.is_file():
        return False
    found = json.loads(manifest.read_text("utf-8"))
    plan = _begun(plan)
    wanted = json.loads(json.dumps({"config": plan.config.model_dump(mode="json"), "data": plan.origin}))
    same = {"config": found["config"], "data": {name: found["data"].get(name) for name in wanted["data"]}}
    if same != wanted:
        raise UsageError(
            f"{plan.folder} holds another Bundle ({_difference(same, wanted)}): give the same, or move it away"
        )
    return True


def _running(plan: Plan, task: Task, work: Path) -> Iterator[Event]:
    """Train on a running text."""
    metrics = yield from train_text(plan, task, work)
    replace_bundle(work / "bundle", plan.folder)
    yield Done("the Bundle is written", metrics)


def _answering(plan: Plan, task: Task, work: Path) -> Iterator[Event]:
    """Train on rows, each with its answer."""
    if not isinstance(plan.config, AnsweringConfig):
        raise UsageError(f"settings of another task than {plan.task!r}: give a mapping, or a value of its own Config")
    if not is_prepared(work / "data"):
        answered: Iterable[Row] = ()
        if plan.self_training:
            answered = yield from answers(plan, plan.self_training, plan.config.train.sure, task, work)
        yield from prepare(task, plan.config, plan.train, plan.dev, work / "data", answered)
    prepared = load_prepared(work / "data")
    yield from notes(prepared)
    yield from _fit_and_write(plan, plan.config, task, prepared, work)


def _fit_and_write(plan: Plan, config: AnsweringConfig, task: Task, prepared: Prepared, work: Path) -> Iterator[Event]:
    import torch

    from cellgate.fit.decide import decide
    from cellgate.fit.dev import Dev, halves_in_words
    from cellgate.fit.loop import fit
    from cellgate.fit.rows import RowFeed, verdict
    from cellgate.nets import settle
    from cellgate.reporting import Known, certainty, write_report

    torch.manual_seed(config.train.seed)
    net = task.net(config, prepared.source, prepared.target)
    source, target = prepared.source, prepared.target
    lengths = prepared.rows.columns["tokens"].lengths
    chances = None
    if config.train.imbalance == "sampling":
        chances = even_chances(prepared.groups)
    by_token = isinstance(target, ChainCodec)
    data = RowFeed(prepared.rows, prepared.train, lengths, source.collate, target.collate, chances, by_token)
    dev = Dev(data, prepared.dev, target)
    checkpoint = work / "checkpoint.safetensors"
    if (language := language_of(config)) and not checkpoint.exists():
        yield Note(start(net, source, language))
    progress = yield from fit(net, data, config.train, lambda: verdict(dev.metrics(net)), checkpoint)
    settle(net, torch.from_numpy(source.spellings))
    yield Work("calibrating", 0, None)
    scores = dev.scores(net)
    chosen = target.decide(scores, dev.truth)
    before = target.decode(scores, dev.columns, chosen, top=1)
    told: dict[str, float] = dict(net.calibrate(dev.batches(), lambda: next(iter(dev.metrics(net).values()))))
    if worth := halves_in_words(told, len(dev.truth)):
        yield Note(worth)
    scores = dev.scores(net)
    decision, words = decide(config.answer, target, scores, dev.columns, dev.truth)
    yield from map(Note, words)
    given = [each.value is not None for each in target.decode(scores, dev.columns, decision, top=1)]
    truth = [value for value, kept in zip(dev.truth, given, strict=True) if kept]
    uncalibrated = certainty(target, [each for each, kept in zip(before, given, strict=True) if kept], truth)
    if len(uncalibrated.right):  # of the same answers as the error after calibration
        told["calibration_error_before"] = calibration_error(uncalibrated.confidence, uncalibrated.right)
    yield Work("exporting", 0, None)
    staged = work / "bundle"
    parity = _stage(plan, prepared, net, dev, {"calibration": told, "decision": asdict(decision)}, staged)
    yield Work("writing the report", 0, None)
    known = Known(
        plan.folder.name,
        task,
        open_bundle(staged),
        plan.train,
        plan.dev,
        prepared,
        progress,
        uncalibrated,
    )
    if lacking := write_report(known, dev, net, staged):
        yield Note(lacking)
    replace_bundle(work / "bundle", plan.folder)
    yield Done("the Bundle is written", parity["float"])


def _stage(
    plan: Plan, prepared: Prepared, net: "Net", dev: "Dev", chosen: Mapping[str, Any], staged: Path
) -> dict[str, Any]:
    def compare(graph: Bundle, int8: Bundle | None) -> dict[str, Any]:
        return dev.parity(net, graph, int8)

    return stage(plan, prepared, net, dev.example(), chosen, compare, model_card, staged)


def train(
    task: str,
    rows: Sequence[Row | Mapping[str, Any]],
    *,
    dev: Sequence[Row | Mapping[str, Any]] | None = None,
    folder: str | Path | None = None,
    config: TaskConfig | Mapping[str, Any] | None = None,
    resume: bool = False,
) -> Bundle:
    """Train a task on rows in memory and return its open Bundle.

    rows: mappings or records with the task's fields, e.g. {"text": ..., "label": ...}. folder: where the Bundle
    is kept; None: a temporary folder. config: settings as a value or a nested mapping. Errors: UsageError for a
    wrong setting, DataError for unfit rows.
    """
    found = find(task)
    settings = config if isinstance(config, TaskConfig) else found.config.parse(dict(config or {}), "config")
    records = [found.read_answered(row) for row in rows]
    held = None if dev is None else [found.read_answered(row) for row in dev]
    target = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="cellgate-")) / task
    origin = {"rows": len(records), "sha256": _digest(records), "dev_sha256": _digest(held or [])}
    for _ in train_events(Plan(task, settings, records, held, target, origin), resume=resume):
        pass
    return open_bundle(target)


def require_training() -> None:
    """Stop with a UsageError where what training needs is not installed."""
    # Beside a busy process, threads that spin while they wait can make a small step 40 times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # read once, when torch is first imported
    missing = [
        name for name in ("torch", "onnx", "onnxscript", "safetensors", "jinja2", "matplotlib") if not _installed(name)
    ]
    if missing:
        raise UsageError(f"training needs {listed(missing)}, not installed here; pip install 'cellgate[train]'")


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # an import that is blocked says so here
        return False


def _digest(records: Iterable[Row]) -> str:
    digest = hashlib.sha256()
    for record in records:
        digest.update(repr(record).encode("utf-8", "replace"))
    return digest.hexdigest()


def _describe(plan: Plan) -> str:
    """What a resumed training must have in common with the one it goes on from."""
    described = {
        "task": plan.task,
        "config": plan.config.model_dump(mode="json"),
        "data": plan.origin,
        "threads": plan.config.train.threads or usable_cores(),  # sums are rounded in another order by more or fewer
    }
    return json.dumps(described, indent=1)


def check_folder(plan: Plan) -> None:
    """UsageError where the plan's Bundle cannot go into its folder."""
    folder = plan.folder
    if not folder.name or folder.name == ".." or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{str(folder)!r} cannot be a Bundle's folder; name a new one with -o, such as models/reviews")
    if folder.exists() and not (folder / "bundle.json").is_file() and any(folder.iterdir()):
        raise UsageError(f"{folder} exists and is no Bundle; it is not overwritten: name another folder with -o")
    if (folder / "bundle.json").is_file() and (other := _task_of(folder)) not in (plan.task, ""):
        raise UsageError(
            f"{folder} holds a Bundle that was trained to {other}: name another folder with -o, or move it"
        )


def _check_work(plan: Plan, work: Path, *, resume: bool) -> None:
    described = work / "plan.json"
    if not described.exists():
        if resume and not work.exists():
            raise UsageError(f"nothing to resume: {work} does not exist; train without --resume")
        return
    if not resume:
        raise UsageError(f"{work} holds an unfinished training; finish it with --resume, or delete that folder")
    before, now = json.loads(described.read_text("utf-8")), json.loads(_describe(plan))
    for part, value in now.items():
        if before[part] != value:
            raise UsageError(
                f"--resume: {part} differs from the unfinished training in {work}: "
                f"{_difference(before[part], value)}; give the same, or delete that folder to begin anew"
            )


def _task_of(folder: Path) -> str:
    """The task of the Bundle in a folder; "" of one that is damaged, which may be replaced by any."""
    try:
        return str(json.loads((folder / "bundle.json").read_text("utf-8"))["task"])
    except (ValueError, KeyError, TypeError):
        return ""


def _difference(before: Any, now: Any, name: str = "") -> str:  # noqa: ANN401  JSON of any kind
    """Name the first thing that differs between two JSON values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                return _difference(before.get(key), now.get(key), f"{name}.{key}".strip("."))
    return f"{name} was {before!r}, is {now!r}".strip()
