"""Sentences a token a line, an empty line behind each: CoNLL's columns, and CoNLL-U (universaldependencies.org).

    Ada   B-PERSON          1  Ada   Ada   PROPN  NNP  ...
    slept O                 2  slept sleep VERB   VBD  ...

Where the tags of a file mark spans, its rows are texts with spans; else they are tokens with a tag each.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar, Literal, NamedTuple

from cellgate.data import files
from cellgate.data.rows import Cell, Problems, RowFile, TableRow, bad_row, no_column
from cellgate.errors import DataError
from cellgate.spans import Span, Survey, is_scheme, spans_of_tags
from cellgate.text.tokens import han_share

TOKENS, TAGS, RAW, WORDS = "tokens", "tags", "raw", "words"
_U_COLUMNS = {"lemma": 2, "upos": 3, "xpos": 4, "feats": 5}  # and the place of each in a line
_U_HEADING = (TOKENS, RAW, *_U_COLUMNS, WORDS)
_U_WIDTH = 10
_DOCUMENT = "-DOCSTART-"
_SAMPLE_SENTENCES = 1000


class Sentence(NamedTuple):
    """The lines of a sentence, each cut into its columns, and the comments above them."""

    line: int  # its first, from 1
    rows: list[list[str]]
    comments: list[str]


@dataclass(frozen=True)
class ConllFile(RowFile):
    """A file of sentences; `joiner` stands between the tokens of a text."""

    newline: str
    kind: Literal["conll", "conllu"]
    width: int  # columns of a line
    joiner: str
    marks: bool  # whether the last column's tags mark spans

    named: ClassVar[bool] = True

    def check(self, columns: Mapping[str, str], *, header: bool) -> None:  # noqa: ARG002
        """Stop with DataError unless all `columns` are there, by name or number."""
        for name in columns.values():
            numbered = self.kind == "conll" and name.isdecimal() and 1 <= int(name) <= self.width
            if name not in self.heading and not numbered:
                raise no_column(self, name)

    def rows(
        self,
        columns: Mapping[str, str],
        skipped: Problems | None,
        *,
        several: Collection[str],  # noqa: ARG002
        header: bool,
    ) -> Iterator[TableRow]:
        """Read from the start, a row a sentence."""
        self.check(columns, header=header)
        for sentence in self._sentences(mark_bad=skipped is not None):
            row = TableRow({}, self.name, sentence.line)
            if complaint := self._complaint(sentence):
                bad_row(row.place, complaint, skipped)
                continue
            row.values.update({field: self._cell(sentence, column) for field, column in columns.items()})
            yield row

    def sample(self) -> Iterator[Sequence[str]]:
        """Yield the columns of each sentence, tokens between spaces."""
        for sentence in self._sentences(mark_bad=True):
            if not self._complaint(sentence):
                cells = (self._cell(sentence, column) for column in self.heading)
                yield [cell if isinstance(cell, str) else " ".join(map(str, cell)) for cell in cells]

    def survey(self, column: str = TAGS) -> Survey:
        """Count the tags of the whole file."""
        found = Survey()
        for sentence in self._sentences(mark_bad=True):
            if not self._complaint(sentence):
                found.add(self._column(sentence, column))
        return found

    def _sentences(self, *, mark_bad: bool) -> Iterator[Sentence]:
        first, rows, comments = 0, list[list[str]](), list[str]()
        lines = files.lines(self.path, self.name, self.encoding, self.newline, mark_bad=mark_bad)
        for number, line in enumerate(lines, 1):
            content = line.rstrip("\r\n")
            if content.strip():
                if self._is_comment(content):
                    comments.append(content)
                else:
                    first = first or number
                    rows.append(self._cut(content))
                continue
            if rows and rows[0][0] != _DOCUMENT:
                yield Sentence(first, rows, comments)
            first, rows, comments = 0, [], []
        if rows and rows[0][0] != _DOCUMENT:
            yield Sentence(first, rows, comments)

    def _cut(self, line: str) -> list[str]:
        if self.kind == "conllu" or "\t" in line:
            return line.split("\t")
        return line.rsplit(None, self.width - 1) if self.width > 1 else [line.strip()]

    def _is_comment(self, line: str) -> bool:
        """In CoNLL `#` may be a token too, of a line with as many columns as the others."""
        return line.startswith("#") and (self.kind == "conllu" or len(line.split()) != self.width)

    def _complaint(self, sentence: Sentence) -> str:
        for place, cells in enumerate(sentence.rows):
            if len(cells) != self.width or not cells[0].strip():
                shown = " ".join(cells)[:40]
                return f"line {sentence.line + place} has {len(cells)} columns, not {self.width} ({shown!r})"
            if not files.is_clean("".join(cells)):
                return f"line {sentence.line + place} has a byte that is not {self.encoding}, or a NUL"
        return ""

    def _cell(self, sentence: Sentence, column: str) -> Cell:
        if self.kind == "conllu":
            return _u_cell(sentence, column, self.joiner)
        tokens = self._column(sentence, TOKENS)
        if self.marks and column in (TOKENS, "1"):
            return self.joiner.join(tokens)
        values = self._column(sentence, column)
        return spans_of_tags(tokens, values, self.joiner) if self.marks and column != TOKENS else tuple(values)

    def _column(self, sentence: Sentence, column: str) -> list[str]:
        place = {TOKENS: 0, TAGS: self.width - 1}.get(column)
        return [cells[int(column) - 1 if place is None else place] for cells in sentence.rows]


def _u_cell(sentence: Sentence, column: str, joiner: str) -> Cell:
    """A column of CoNLL-U: of the words, but in a raw text of what is written, where several words may be one."""
    words = [cells for cells in sentence.rows if cells[0].isdecimal()]
    if column == TOKENS:
        return tuple(cells[1] for cells in words)
    if column == RAW:
        return _raw(sentence, joiner)
    if column == WORDS:
        places = _written(sentence, _raw(sentence, joiner))
        return tuple(Span(start, end, "word") for start, end in places)
    return tuple(cells[_U_COLUMNS[column]] for cells in words)


def _surface(sentence: Sentence) -> Iterator[list[str]]:
    """The lines of what is written: those of words that one line stands for together are left out."""
    behind = 0
    for cells in sentence.rows:
        number = cells[0]
        if "." in number:
            continue
        if "-" in number:
            behind = int(number.partition("-")[2])
            yield cells
        elif int(number) > behind:
            yield cells


def _raw(sentence: Sentence, joiner: str) -> str:
    for comment in sentence.comments:
        name, _, text = comment.removeprefix("#").partition("=")
        if name.strip() == "text":
            return text.strip()
    parts = [cells[1] + ("" if "SpaceAfter=No" in cells[-1] else joiner) for cells in _surface(sentence)]
    return "".join(parts).removesuffix(joiner) if joiner else "".join(parts)


def _written(sentence: Sentence, text: str) -> Iterator[tuple[int, int]]:
    """Where each thing written stands in the text."""
    end = 0
    for cells in _surface(sentence):
        start = text.find(cells[1], end)
        if start < 0:
            raise DataError(
                f"the sentence at line {sentence.line}: {cells[1]!r} does not stand in its text {text!r:.80}"
            )
        end = start + len(cells[1])
        yield start, end


def is_conll(text: str) -> bool:
    """Whether the beginning of a file is sentences in columns, by tags that mark spans in the last one."""
    lines = [line.rstrip("\r") for line in text.split("\n")[:_SAMPLE_SENTENCES]]
    cut = [line.split("\t") if "\t" in line else line.rsplit(None, 1) for line in lines if line.strip()]
    tags = [cells[-1] for cells in cut if len(cells) > 1]
    marked = any(tag != "O" for tag in tags)
    return "" in lines[1:-1] and marked and len(tags) * 20 > len(cut) * 19 and is_scheme(tags)


def open_conll(path: str, name: str, sample: files.Sample, kind: Literal["conll", "conllu"]) -> ConllFile:
    """Find out the columns, what stands between tokens, and which scheme the tags are written by."""
    lines = [line.rstrip("\r") for line in sample.text.split("\n") if line.strip() and not line.startswith("#")]
    width = _U_WIDTH if kind == "conllu" else _usual_width(lines)
    file = ConllFile(path, name, sample.encoding, (), sample.notes, sample.newline, kind, width, " ", marks=False)
    tokens = [cells[1 if kind == "conllu" else 0] for cells in map(file._cut, lines) if len(cells) == width]
    spaced = kind == "conllu" and ("SpaceAfter=No" in sample.text or "\n# text =" in f"\n{sample.text}")
    joiner = "" if not spaced and han_share(tokens) > 0.5 else " "
    if kind == "conllu":
        return replace(file, heading=_U_HEADING, joiner=joiner)
    between = tuple(str(number) for number in range(2, width))
    file = replace(file, heading=(TOKENS, *between, TAGS) if width > 1 else (TOKENS,), joiner=joiner)
    if width == 1:
        return file
    first = islice(file._sentences(mark_bad=True), _SAMPLE_SENTENCES)
    if not all(is_scheme(file._column(sentence, TAGS)) for sentence in first if not file._complaint(sentence)):
        return file
    found = file.survey()
    return replace(file, marks=True, notes=(*file.notes, _told(name, found, joiner)))


def _usual_width(lines: Sequence[str]) -> int:
    widths = [len(line.split("\t")) if "\t" in line else len(line.split()) for line in lines]
    return max(set(widths), key=widths.count)


def _told(name: str, found: Survey, joiner: str) -> str:
    scheme = f"tags of the scheme {found.scheme}" if found.scheme else "tags of mixed schemes"
    broken = f"; {found.broken:,} spans break it and are read as conlleval does" if found.broken else ""
    between = "spaces" if joiner else "nothing"
    return f"{name}: {scheme} are read as spans{broken}; between tokens stand{'s' if not joiner else ''} {between}"
