"""How a task that reads a running text is trained: prepare, fit, export, compare; the Bundle is left staged."""

import math
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellgate.batch import Ids
from cellgate.bundle import Bundle, open_bundle
from cellgate.card import language_card
from cellgate.codecs.units import END_ID
from cellgate.config import TaskConfig
from cellgate.fit.events import Event, Work
from cellgate.fit.prepare import is_prepared
from cellgate.fit.prepare_text import PreparedText, load_prepared_text, prepare_text, text_notes
from cellgate.language import Language, Length, surprise
from cellgate.report import Course, LanguageReport, language_html
from cellgate.staging import stage
from cellgate.task import Row, Task

if TYPE_CHECKING:
    from cellgate.nets import Net

_COMPARED = 1_000  # dev tokens that the graphs are compared with torch on
_SHOWN, _SAMPLES = 2_000, 3  # dev tokens and texts written, for the report
_JUDGED = 50_000  # dev tokens the Bundle's metrics are of, at most


@dataclass(frozen=True)
class Written:
    """What is to be trained, as `training.Plan` has it, with its task."""

    name: str
    folder_name: str  # what the Bundle will be called
    task: Task
    config: TaskConfig
    train: Iterable[Row]
    dev: Iterable[Row] | None
    origin: Mapping[str, Any]


def train_text(given: Written, work: Path) -> Generator[Event, None, Mapping[str, float]]:
    """Train in the folder `work`, from where it was left; leave the Bundle in `work/bundle` and return its metrics."""
    import torch

    from cellgate.fit.lanes import Heard, Lanes
    from cellgate.fit.loop import fit

    if not is_prepared(work / "data"):
        yield from prepare_text(given.task, given.config, given.train, given.dev, work / "data")
    prepared = load_prepared_text(work / "data")
    yield from text_notes(prepared)
    torch.manual_seed(given.config.train.seed)
    net = given.task.net(given.config, prepared.source, prepared.target)
    lanes = Lanes(prepared.train, END_ID)
    dev = Heard(prepared.dev, END_ID, prepared.source.first)
    progress = yield from fit(net, lanes, given.config.train, lambda: dev.verdict(net), work / "checkpoint.safetensors")
    yield Work("exporting", 0, None)
    staged = work / "bundle"
    manifest = {
        "task": given.name,
        "config": given.config.model_dump(mode="json"),
        "calibration": {},
        "course": {"losses": progress.losses, "scores": progress.scores, "kept_epoch": progress.kept_epoch},
        "data": {**given.origin, **asdict(prepared.facts)},
    }
    parity = stage(
        staged,
        net,
        dev.example(),
        prepared.source,
        prepared.target,
        manifest,
        lambda *graphs: _parity(prepared.dev, net, *graphs),
        language_card,
    )
    report = _report(given.folder_name, prepared, Language.of(open_bundle(staged)))
    (staged / "report.html").write_text(language_html(report), "utf-8")
    metrics: Mapping[str, float] = parity["float"]
    return metrics


def _report(name: str, prepared: PreparedText, language: Language) -> LanguageReport:
    manifest = language.bundle.manifest
    course = manifest["course"]
    scored = language.scored(prepared.dev[:_SHOWN])
    chances = scored.log_probabilities.tolist()
    return LanguageReport(
        name=name,
        task=manifest["task"],
        unit=prepared.source.unit,
        tokens=prepared.facts.tokens,
        metrics=manifest["metrics"]["dev"],
        course=Course(course["losses"], tuple(math.exp(-score) for score in course["scores"]), course["kept_epoch"]),
        judged=tuple((token, surprise(chance)) for token, chance in zip(scored.tokens, chances, strict=True)),
        written=tuple("".join(language.write(length=Length(200), number=number)) for number in range(_SAMPLES)),
    )


def _parity(dev: Ids, net: "Net", graph: Bundle, int8: Bundle | None) -> dict[str, Any]:
    """How far the graphs are from torch on dev [largest difference of a probability], and how well each foretells."""
    import torch

    language = Language.of(graph)
    few = dev[:_COMPARED]
    inputs = {"tokens": np.append(language.codec.before(), few[:-1])[None], "lengths": np.array([len(few)])}
    with torch.no_grad():
        outputs, _ = net({name: torch.from_numpy(value) for name, value in inputs.items()}, {})
    from_torch = outputs["scores"][0].numpy()[np.arange(len(few)), few]
    from_float = language.chances(few)
    told = {
        "rows": len(few),
        "torch_float_difference": float(np.abs(np.exp(from_torch) - np.exp(from_float)).max()),
        "float": language.metrics(dev[:_JUDGED]),
    }
    if int8 is None:
        return told
    quantised = replace(language, bundle=int8)
    return told | {
        "float_int8_difference": float(np.abs(np.exp(from_float) - np.exp(quantised.chances(few))).max()),
        "int8": quantised.metrics(dev[:_JUDGED]),
    }
