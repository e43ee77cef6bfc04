"""Plain text: a file as one running text, as a document a line, or as documents between empty lines."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from cellgate.data import files
from cellgate.data.rows import Problems, RowFile, TableRow, check_names

Layout = Literal["stream", "lines", "documents"]
_HEADING = ("text",)


@dataclass(frozen=True)
class PlainFile(RowFile):
    """A file without columns. As a stream its rows are its lines with their ends, so that each goes on in the next.

    The last one has none: there the text ends.
    """

    newline: str
    layout: Layout

    named: ClassVar[bool] = True

    def check(self, columns: Mapping[str, str], *, header: bool) -> None:  # noqa: ARG002
        """Stop with DataError unless the only column is the text."""
        check_names(self, columns)

    def rows(
        self,
        columns: Mapping[str, str],
        skipped: Problems | None,
        *,
        several: Collection[str],  # noqa: ARG002
        header: bool,  # noqa: ARG002
    ) -> Iterator[TableRow]:
        """Read from the start."""
        check_names(self, columns)
        for number, text in self._texts(skipped):
            yield TableRow(dict.fromkeys(columns, text), self.name, number)

    def sample(self) -> Iterator[Sequence[str]]:
        """Yield the texts."""
        return ((text,) for _, text in self._texts(Problems()))

    def _texts(self, skipped: Problems | None) -> Iterator[tuple[int, str]]:
        lines = self._lines(skipped)
        if self.layout == "stream":
            yield from _with_ends_between(lines)
        elif self.layout == "lines":
            yield from ((number, line.rstrip("\n")) for number, line in lines if line.strip())
        else:
            yield from _paragraphs(lines)

    def _lines(self, skipped: Problems | None) -> Iterator[tuple[int, str]]:
        r"""Lines with \n at their ends, from 1; bad ones are errors, or counted."""
        found = files.lines(self.path, self.name, self.encoding, self.newline, mark_bad=skipped is not None)
        for number, line in enumerate(found, 1):
            if skipped is not None and (wrong := files.flaw(line, self.encoding)):
                skipped.add(f"{self.name} line {number}: {wrong}")
                continue
            text = line.rstrip("\r\n")
            yield number, text if text == line else text + "\n"


def _with_ends_between(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The lines, the last one without its end."""
    held: tuple[int, str] | None = None
    for line in lines:
        if held is not None:
            yield held
        held = line
    if held is not None:
        yield held[0], held[1].removesuffix("\n")


def _paragraphs(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Lines between empty ones as one text, with the number of its first line."""
    first, held = 0, list[str]()
    for number, line in lines:
        if line.strip():
            first = first if held else number
            held.append(line)
        elif held:
            yield first, "".join(held).rstrip("\n")
            held = []
    if held:
        yield first, "".join(held).rstrip("\n")


def open_plain(path: str, name: str, sample: files.Sample, layout: Layout) -> PlainFile:
    """Say how the file is read."""
    how = {
        "stream": "one running text",
        "lines": "a document a line",
        "documents": "documents between empty lines",
    }[layout]
    note = f"{name}: read as {how} (--layout)"
    return PlainFile(path, name, sample.encoding, _HEADING, (*sample.notes, note), sample.newline, layout)
