"""How a task that reads a running text is trained: prepare, fit, export, compare; the Bundle is left staged."""

import math
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellgate.batch import Ids
from cellgate.bundle import Bundle, open_bundle
from cellgate.card import language_card
from cellgate.codecs.units import END_ID
from cellgate.fit.events import Event, Work
from cellgate.fit.prepare import is_prepared
from cellgate.fit.prepare_text import PreparedText, load_prepared_text, prepare_text, text_notes
from cellgate.language import Language, Length, surprise
from cellgate.plan import Plan
from cellgate.report import LanguageReport, LearningCurves, language_html
from cellgate.staging import stage
from cellgate.task import Task

if TYPE_CHECKING:
    from cellgate.nets import Net

_COMPARED = 1_000  # dev tokens that the graphs are compared with torch on
_SHOWN, _SAMPLES = 2_000, 3  # dev tokens and texts written, for the report
_JUDGED = 60_000  # dev tokens that judge, at most: each epoch, and the Bundle


def train_text(plan: Plan, task: Task, work: Path) -> Generator[Event, None, Mapping[str, float]]:
    """Train in the folder `work`, from where it was left; leave the Bundle in `work/bundle` and return its metrics."""
    import torch

    from cellgate.fit.lanes import DevText, Lanes
    from cellgate.fit.loop import fit

    if not is_prepared(work / "data"):
        yield from prepare_text(task, plan.config, plan.train, plan.dev, work / "data")
    prepared = load_prepared_text(work / "data")
    yield from text_notes(prepared, plan.config)
    torch.manual_seed(plan.config.train.seed)
    net = task.net(plan.config, prepared.source, prepared.target)
    lanes = Lanes(prepared.train, END_ID)
    judged = prepared.dev[:_JUDGED]
    dev = DevText(judged, END_ID, prepared.source.first)
    progress = yield from fit(net, lanes, plan.config.train, lambda: dev.verdict(net), work / "checkpoint.safetensors")
    yield Work("exporting", 0, None)
    staged = work / "bundle"
    course = {"losses": progress.losses, "scores": progress.scores, "kept_epoch": progress.kept_epoch}

    def compare(graph: Bundle, int8: Bundle | None) -> dict[str, Any]:
        return _parity(judged, net, graph, int8)

    told = {"calibration": {}, "course": course}
    parity = stage(plan, prepared, net, dev.example(), told, compare, language_card, staged)
    report = _report(plan.folder.name, prepared, Language.of(open_bundle(staged)))
    (staged / "report.html").write_text(language_html(report), "utf-8")
    metrics: Mapping[str, float] = parity["float"]
    return metrics


def _report(name: str, prepared: PreparedText, language: Language) -> LanguageReport:
    manifest = language.bundle.manifest
    course = manifest["course"]
    perplexities = tuple(math.exp(-score) for score in course["scores"])
    scored = language.scored(prepared.dev[:_SHOWN])
    chances = scored.log_probabilities.tolist()
    return LanguageReport(
        name=name,
        task=manifest["task"],
        unit=prepared.source.unit,
        tokens=prepared.facts.tokens,
        metrics=manifest["metrics"]["dev"],
        curves=LearningCurves(course["losses"], perplexities, course["kept_epoch"]),
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
        "float": language.metrics(dev),
    }
    if int8 is None:
        return told
    quantised = replace(language, bundle=int8)
    return told | {
        "float_int8_difference": float(np.abs(np.exp(from_float) - np.exp(quantised.chances(few))).max()),
        "int8": quantised.metrics(dev),
    }
