"""report.html: what training knows, gathered for whoever wants to see how it went and where the model is wrong."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cellgate.batch import Floats
from cellgate.bundle import Bundle
from cellgate.codecs import Decision, SupervisedCodec, text_of
from cellgate.codecs.target import Ranked
from cellgate.errors import DataError
from cellgate.fit.checkpoint import Progress
from cellgate.fit.dev import Dev
from cellgate.fit.prepare import Prepared
from cellgate.metrics import Value, with_texts
from cellgate.nets import Net
from cellgate.report import Certainty, DevAnswers, Disagreement, LearningCurves, Report, Texts, report_html, worst
from cellgate.task import Row, Task

_SUSPECT_ROWS = 20_000  # training rows, spread over all, that are answered to find labels that look wrong


@dataclass(frozen=True)
class Known:
    """What training knows when its Bundle stands, but for the report."""

    name: str  # what the Bundle will be called
    task: Task
    bundle: Bundle
    train: Iterable[Row]
    dev: Iterable[Row] | None  # None: held out from `train`
    prepared: Prepared
    progress: Progress
    uncalibrated: Certainty

    @property
    def first_dev(self) -> int:
        """Number of the first row of a dev file among all rows; 0 where dev is held out: those keep their numbers."""
        return len(self.prepared.own) if self.dev is not None else 0


def certainty(target: SupervisedCodec, ranked: Sequence[Ranked], truth: Sequence[Value]) -> Certainty:
    """How sure the answers given to dev rows are, part by part."""
    judged = target.judge(truth, [each.value for each in ranked], [each.confidence for each in ranked])
    return Certainty(judged.confidence, judged.right)


def _confidence(ranked: Sequence[Ranked]) -> Floats:
    return np.array([each.confidence for each in ranked], np.float32)


def write_report(known: Known, dev: Dev, net: Net, folder: Path) -> str:
    """Write report.html into the Bundle's folder; returns what it lacks, in words, or nothing."""
    bundle, prepared = known.bundle, known.prepared
    manifest: Mapping[str, Any] = bundle.manifest
    ranked, truth = dev.answers(bundle), dev.truth
    wrong = _disagreements(dev, ranked)
    suspects = _suspects(prepared, dev, net, bundle.decision)
    texts, missing = _texts(known, {each.row for each in (*wrong, *suspects)})
    lengths = prepared.rows.columns["tokens"].lengths
    facts = prepared.facts
    report = Report(
        name=known.name,
        task=manifest["task"],
        part=dev.target.part,
        version=manifest["cellgate"],
        rows_by_label=facts.rows_by_label,
        metrics=manifest["metrics"]["dev"],
        halves={
            name.removesuffix("_alone"): value
            for name, value in manifest["calibration"].items()
            if name.endswith("_alone") or name == "together"
        },
        curves=LearningCurves(known.progress.losses, known.progress.scores, known.progress.kept_epoch),
        texts=Texts(
            lengths[prepared.train],
            prepared.source.unit,
            prepared.source.max_tokens,
            facts.cut_texts,
            facts.empty_texts,
            manifest["data"].get("skipped_rows", 0),
            facts.unseen_dev_rows,
        ),
        dev=DevAnswers(
            tuple(truth),
            tuple(each.value for each in ranked),
            certainty(dev.target, ranked, truth),
            known.uncalibrated,
            bundle.decision.abstain_below,
            facts.dev_given,
        ),
        errors=tuple(_with_text(each, texts.get(each.row, ""), known.first_dev) for each in wrong),
        suspects=tuple(_with_text(each, texts.get(each.row, ""), 0) for each in suspects),
        looked_at=min(len(prepared.own), _SUSPECT_ROWS),
    )
    (folder / "report.html").write_text(report_html(report), "utf-8")
    return missing


def _with_text(found: Disagreement, text: str, first: int) -> Disagreement:
    """A disagreement as it is shown; rows are counted from `first`."""
    given, believed = with_texts(found.given, text), with_texts(found.believed, text)
    return replace(found, row=found.row + 1 - first, text=text, given=given, believed=believed)


def _disagreements(rows: Dev, ranked: Sequence[Ranked]) -> list[Disagreement]:
    """The surest wrong answers of those rows, without their texts; rows count from 0."""
    order, truth, found = rows.order, rows.truth, []
    for place in worst(truth, [each.value for each in ranked], _confidence(ranked)).tolist():
        answer = ranked[place]
        if answer.value is not None:
            found.append(Disagreement(int(order[place]), "", truth[place], answer.value, answer.confidence))
    return found


def _suspects(prepared: Prepared, dev: Dev, net: Net, decision: Decision) -> list[Disagreement]:
    """The training rows that the model most surely answers otherwise than their labels say."""
    count = min(len(prepared.own), _SUSPECT_ROWS)
    rows = prepared.own[np.linspace(0, len(prepared.own) - 1, count).astype(np.int64)]
    taught = replace(dev, rows=rows)
    always = replace(decision, abstain_below=0.0)
    return _disagreements(taught, dev.target.decode(taught.scores(net), taught.columns, always, top=1))


def _texts(known: Known, rows: set[int]) -> tuple[dict[int, str], str]:
    """Texts of rows by their place, the rows of a dev file behind those of the training files.

    Also why some are missing, or nothing: files that were changed or moved while training ran must not cost its result.
    """
    found: dict[int, str] = {}
    try:
        for first, records in ((0, known.train), (known.first_dev, known.dev or ())):
            for place, record in enumerate(records, start=first):
                if place in rows:
                    found[place] = text_of(getattr(record, known.task.given[0]))
    except (DataError, OSError) as error:
        return found, f"report.html lacks texts of rows: {error}"
    return found, "" if len(found) == len(rows) else "report.html lacks texts of rows: the files have fewer rows by now"
