"""cellgate predict FOLDER [TEXT... | FILE... | -]: one answer a line, in the order of what was asked."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Annotated, Any

from cyclopts import App, Parameter

from cellgate.bundle import Bundle, open_bundle
from cellgate.cli.incoming import batches
from cellgate.cli.settings import field_flags, given
from cellgate.cli.sources import Reading, all_fields, is_file, named_columns, open_as_trained, read_as, reading_flags
from cellgate.cli.words import STANDARD_INPUT, cut_short, say
from cellgate.cli.writing import Format, writer
from cellgate.codecs.target import MOST
from cellgate.data.files import find_files, is_clean
from cellgate.data.readers import Problems, is_table, open_lines
from cellgate.errors import DataError, UsageError
from cellgate.task import Prediction, Row

_USAGE = "Usage: cellgate predict FOLDER [TEXT... | FILE... | -] [OPTIONS]"
_EXAMPLE = "Example: cellgate predict intents 'where is my parcel?'"
APP = App(name="predict", usage=_USAGE, help_epilogue=_EXAMPLE)
_ROWS_AT_ONCE = 512


@APP.default
def predict(
    folder: Annotated[str, Parameter(help="The Bundle.")],
    /,
    *inputs: Annotated[
        str,
        Parameter(
            name="TEXT",
            help="Texts as they are; files that exist (.csv, .tsv, .jsonl, .parquet by column, others one text a "
            "line); folders of texts; `-`: standard input, one text a line. After `--` a text may begin with a hyphen.",
        ),
    ],
    columns: object = None,
    reading: object = None,
    form: Annotated[
        Format,
        Parameter(
            name="--format",
            help="text: answer, tab, confidence, or the text with its spans marked; jsonl and csv repeat the text and "
            "name the fields; conll (a token a line) and html are for spans.",
        ),
    ] = "text",
    abstain_below: Annotated[
        float | None,
        Parameter(metavar="SHARE", help="Answer only where at least this sure, 0 to 1.", show_default="as trained"),
    ] = None,
    top: Annotated[
        int | None,
        Parameter(
            metavar="NUMBER", help=f"Answers a text, best first, at most {MOST}.", show_default=f"1; jsonl: {MOST}"
        ),
    ] = None,
) -> None:
    """Answer each text, and say how sure that is."""
    if top is not None and not 1 <= top <= MOST:
        raise UsageError(f"--top {top}: give a number from 1 to {MOST}")
    if not inputs and sys.stdin.isatty():
        raise UsageError("nothing to answer; give a text in quotes, a file, or - to type texts")
    bundle = open_bundle(folder)
    if abstain_below is not None:
        bundle = bundle.abstaining_below(abstain_below)
    asked = _Asked(bundle, given(columns), read_as(reading))
    written, counts = writer(form, bundle.task, bundle.target, top), _Counts()
    sys.stdout.write(written.head)
    for rows in asked.all(inputs or (STANDARD_INPUT,)):
        sys.stdout.write("".join(map(written.line, counts.of(bundle.predict_each(rows)))))
        sys.stdout.flush()
    if asked.problems.count:
        say(str(asked.problems))
    if counts.cut:
        say(cut_short(counts.cut, counts.texts, bundle.source.max_tokens))


@dataclass
class _Counts:
    """How many texts were answered, and how many of them were too long."""

    texts: int = 0
    cut: int = 0

    def of(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Hand predictions on, counting."""
        for prediction in predictions:
            self.texts += 1
            self.cut += prediction.cut
            yield prediction


@dataclass(frozen=True)
class _Asked:
    """What is to be answered, in order, in batches no larger than a chunk; bad rows are counted in `problems`."""

    bundle: Bundle
    named: Mapping[str, str]
    reading: Reading
    problems: Problems = field(default_factory=Problems)

    def all(self, inputs: Sequence[str]) -> Iterator[Sequence[Row | str]]:
        """Batches of all inputs; neighbouring texts share one."""
        texts: list[str] = []
        for place, each in enumerate(inputs, 1):
            rows: Iterator[Sequence[Row | str]]
            if each == STANDARD_INPUT:
                rows = self._standard_input()
            elif is_file(each):
                paths = [each] if os.path.isdir(each) else find_files([each])
                rows = chain.from_iterable(map(self._file, paths))
            elif is_clean(each):
                texts.append(each)
                continue
            else:
                raise DataError(f"text {place} is not UTF-8; give it in a file, with --encoding NAME")
            yield texts
            texts = []
            yield from rows
        yield texts

    def _standard_input(self) -> Iterator[Sequence[Row | str]]:
        if sys.stdin.isatty():
            say("type a text and press Enter; Ctrl-D ends")
        encoding = self.reading.encoding or "utf-8"
        return batches(sys.stdin.fileno(), encoding, _ROWS_AT_ONCE, self._skipped)

    @property
    def _skipped(self) -> Problems | None:
        return self.problems if self.reading.skip_bad_rows else None

    def _file(self, path: str) -> Iterator[Sequence[Row | str]]:
        task = self.bundle.task
        if not is_table(path, self.reading.encoding):
            lines = open_lines(path, self.reading.encoding)
            self._say(lines.notes)
            return _in_batches(lines.read(self._skipped))
        named = named_columns(self.named, task.given)
        source = open_as_trained((path,), task, named, self.reading, self.bundle.manifest["data"])
        self._say(source.notes)
        return _in_batches(source.records.read(self.problems))

    def _say(self, notes: Sequence[str]) -> None:
        for note in notes:
            say(note)


def _in_batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    """Rows by the batch; those before a bad one come before its DataError."""
    batch, wrong = [], None
    try:
        for row in rows:
            batch.append(row)
            if len(batch) == _ROWS_AT_ONCE:
                yield batch
                batch = []
    except DataError as error:
        wrong = error
    if batch:
        yield batch
    if wrong:
        raise wrong


predict.__annotations__ |= {
    "columns": Annotated[field_flags(all_fields(wanted=False)) | None, Parameter(name="*")],
    "reading": Annotated[reading_flags(("encoding", "skip_bad_rows")) | None, Parameter(name="*")],
}
