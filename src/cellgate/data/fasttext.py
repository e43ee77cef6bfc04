"""fastText's format, a row a line: `__label__good __label__short Nice.`"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from cellgate.data import files
from cellgate.data.rows import Problems, RowFile, TableRow, bad_row, check_names

_PREFIX = "__label__"
_HEADING = ("text", "label")
_LABELS = re.compile(rf"(?:\s*{_PREFIX}\S*)*")


@dataclass(frozen=True)
class FastTextFile(RowFile):
    """A file of fastText lines; `several`: a line may have any number of labels, not one only."""

    newline: str
    several: bool

    named: ClassVar[bool] = True

    def check(self, columns: Mapping[str, str], *, header: bool) -> None:  # noqa: ARG002
        """Stop with DataError unless all `columns` are text and label."""
        check_names(self, columns)

    def rows(
        self,
        columns: Mapping[str, str],
        skipped: Problems | None,
        *,
        several: Collection[str],
        header: bool,  # noqa: ARG002
    ) -> Iterator[TableRow]:
        """Read from the start."""
        check_names(self, columns)
        lines = files.lines(self.path, self.name, self.encoding, self.newline, mark_bad=skipped is not None)
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            labels, text = _split(line)
            row = TableRow({}, self.name, number)
            complaint = "" if files.is_clean(line) else f"a byte that is not {self.encoding}, or a NUL"
            for field, column in columns.items():
                if column == "text":
                    row.values[field] = text
                elif field in several and (self.several or len(labels) > 1):
                    row.values[field] = labels
                elif len(labels) == 1:
                    row.values[field] = labels[0]
                else:
                    complaint = complaint or f"{len(labels) or 'no'} labels ({_PREFIX}...) at its beginning"
            if complaint:
                bad_row(row.place, complaint, skipped)
            else:
                yield row

    def sample(self) -> Iterator[Sequence[str]]:
        """Yield texts and labels."""
        lines = files.lines(self.path, self.name, self.encoding, self.newline, mark_bad=True)
        for labels, text in map(_split, lines):
            yield text, ", ".join(labels)


def is_fasttext(text: str) -> bool:
    """Whether the beginning of a file is fastText's format."""
    return text.lstrip().startswith(_PREFIX)


def open_fasttext(path: str, name: str, sample: files.Sample) -> FastTextFile:
    """See by the sample whether lines have one label each."""
    several = any(len(_split(line)[0]) > 1 for line in sample.text.split("\n"))
    count = "several labels" if several else "one label"
    note = f"{name}: read as fastText lines ({_PREFIX}NAME TEXT), {count} a line, by its first lines"
    return FastTextFile(path, name, sample.encoding, _HEADING, (*sample.notes, note), sample.newline, several)


def _split(line: str) -> tuple[tuple[str, ...], str]:
    """Return the labels at a line's beginning and the text behind them."""
    found = _LABELS.match(line)
    end = found.end() if found else 0
    return tuple(label.removeprefix(_PREFIX) for label in line[:end].split()), line[end:].strip()
