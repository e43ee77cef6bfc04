"""Self-training: an earlier model answers texts, and those it is sure of are learned from as well (Scudder 1965)."""

import hashlib
import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path

from cellgate.bundle import open_bundle
from cellgate.codecs import Given, text_of
from cellgate.errors import DataError, UsageError
from cellgate.fit.events import Event, Note, Work
from cellgate.plan import Plan, SelfTraining
from cellgate.task import Row, Task

_TOLD_EVERY = 1_000  # texts


@dataclass(frozen=True, slots=True)
class Answered:
    """Rows as they were answered, read from their file again at each iteration."""

    task: Task
    path: Path

    def __iter__(self) -> Iterator[Row]:
        with self.path.open(encoding="utf-8") as lines:
            for line in lines:
                yield self.task.record.model_validate_json(line)


def answers(plan: Plan, by: SelfTraining, least: float, task: Task, work: Path) -> Generator[Event, None, Answered]:
    """Answer the texts into a file in the folder `work`, but for those that the teacher is less sure of than `least`.

    Texts of the rows that are trained on or held out are left out: their answers are known. DataError where nothing is
    left.
    """
    teacher = open_bundle(by.teacher)
    if teacher.task is not task:
        raise UsageError(f"{by.teacher} is no teacher: it was trained to {teacher.manifest['task']}, not {plan.task}")
    given = attrgetter(task.given[0])
    known = {_digest(given(row)) for row in chain(plan.train, plan.dev or ())}
    found = Answered(task, work / "answers.jsonl")
    read = kept = 0
    with found.path.open("w", encoding="utf-8") as file:
        for answer in teacher.predict_each(by.texts):
            read += 1
            sure = answer.value is not None and answer.confidence >= least
            if sure and _digest(given(answer.record)) not in known:
                kept += 1
                taught = teacher.supervised.as_taught(given(answer.record), answer.value or ())
                record = answer.record.model_copy(update=dict(zip((task.given[0], task.wanted), taught, strict=True)))
                file.write(json.dumps(record.model_dump(mode="json")) + "\n")
            if read % _TOLD_EVERY == 0:
                yield Work("answering texts to learn from", read, None)
    if not kept:
        raise DataError(
            f"{by.teacher} is sure of none of {read:,} texts: lower --train.sure, which is {least:g}, or train without "
            "--self-train"
        )
    yield Note(
        f"learns from {kept:,} of {read:,} texts too, by answers that {by.teacher} is at least {least:.0%} sure of"
    )
    return found


def _digest(given: Given) -> bytes:
    """Of a text however its tokens are parted: rows may have them, and texts without answers not."""
    return hashlib.blake2b("".join(text_of(given).split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()
