"""Sentences a token a line, an empty line behind each: CoNLL's columns, and CoNLL-U (universaldependencies.org).

    Ada   B-PERSON          1  Ada   Ada   PROPN  NNP  ...
    slept O                 2  slept sleep VERB   VBD  ...

Where the tags of a file mark spans, its rows are texts with spans; else they are tokens with a tag each.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar, Literal, NamedTuple

from cellgate.data import files
from cellgate.data.rows import Cell, Problems, RowFile, TableRow, bad_row, no_column
from cellgate.errors import counted
from cellgate.spans import OUTSIDE, Span, Survey, is_scheme, marks_span, spans_of_tags
from cellgate.text.tokens import han_share

TOKENS, TAGS, RAW, WORDS = "tokens", "tags", "raw", "words"
_U_COLUMNS = {"lemma": 2, "upos": 3, "xpos": 4, "feats": 5}  # and the place of each in a line
_U_HEADING = (TOKENS, RAW, *_U_COLUMNS, WORDS)
_U_WIDTH = 10
_DOCUMENT = "-DOCSTART-"
_SAMPLE_SENTENCES = 1000
_EMPTY_LINE = re.compile(r"^[^\S\n]*\n", re.MULTILINE)
_U_NUMBER = re.compile(r"\d+([-.]\d+)?")


class Complaint(NamedTuple):
    """What is wrong with a line."""

    line: int
    what: str


class Sentence(NamedTuple):
    """A sentence's lines, T of them, by columns, and the comments among them."""

    numbers: Sequence[int]  # [T] of the lines, from 1
    columns: Sequence[Sequence[str]]  # [columns, T]
    comments: Sequence[str] = ()
    uneven: Complaint | None = None  # a line that has not as many columns as the file; then there are none


@dataclass(frozen=True)
class ConllFile(RowFile):
    """A file of sentences; `joiner` stands between the tokens of a text."""

    newline: str
    kind: Literal["conll", "conllu"]
    width: int  # columns of a line
    joiner: str
    marks: frozenset[int]  # the columns, from 0, whose tags mark spans
    tags: Survey | None = None  # those of the last column, where they mark spans

    named: ClassVar[bool] = True

    @property
    def broken_spans(self) -> int:
        """How many spans of the last column are not as their scheme has them; they are read as conlleval does."""
        return self.tags.broken if self.tags else 0

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
        marks = self._marks_among(columns.values())
        for sentence in self._sentences(mark_bad=skipped is not None):
            row = TableRow({}, self.name, sentence.numbers[0])
            if complaint := self._complaint(sentence, marks):
                bad_row(row._replace(line=complaint.line).place, complaint.what, skipped)
                continue
            try:
                row.values.update({field: self._cell(sentence, column, marks) for field, column in columns.items()})
            except ValueError as error:
                bad_row(row.place, str(error), skipped)
            else:
                yield row

    def sample(self) -> Iterator[Sequence[str]]:
        """Yield the columns of each sentence, tokens between spaces."""
        for sentence in self._sentences(mark_bad=True):
            if not self._complaint(sentence, self.marks):
                cells = (self._cell(sentence, column, self.marks) for column in self.heading)
                yield [cell if isinstance(cell, str) else " ".join(map(str, cell)) for cell in cells]

    def survey(self) -> Survey:
        """Count the tags of the whole file, those of the last column."""
        found = Survey()
        for sentence in self._sentences(mark_bad=True):
            if not self._complaint(sentence, self.marks):
                found.add(sentence.columns[-1])
        return found

    def _marks_among(self, columns: Collection[str]) -> frozenset[int]:
        """Those of the columns asked for that mark spans; where tokens alone are asked for, of all."""
        places = {self._place(column) for column in columns} - {0} if self.kind == "conll" else set[int]()
        return self.marks & places if places else self.marks

    def _place(self, column: str) -> int:
        named = {TOKENS: 0, TAGS: self.width - 1}
        return named[column] if column in named else int(column) - 1

    def _sentences(self, *, mark_bad: bool) -> Iterator[Sentence]:
        parts, first = list[str](), 1
        for piece in files.pieces(self.path, self.name, self.encoding, self.newline, mark_bad=mark_bad):
            *ended, rest = _EMPTY_LINE.split(_with_one_end(piece, self.newline))
            for part in ended:
                text = "".join((*parts, part))
                yield from self._between_empty_lines(text, first)
                parts, first = [], first + text.count("\n") + 1
            parts.append(rest)
        yield from self._between_empty_lines("".join(parts), first)

    def _between_empty_lines(self, text: str, first: int) -> Iterator[Sentence]:
        """The sentence of these lines, counted from `first`; a document that begins among them parts it."""
        text = text.removesuffix("\n")
        if not text or text.isspace():
            return
        columns = None if "#" in text or _DOCUMENT in text else self._columns(text)
        if columns:
            yield Sentence(range(first, first + len(columns[0])), columns)
            return
        numbers, rows, comments = list[int](), list[list[str]](), list[str]()
        for number, line in enumerate(text.split("\n"), first):
            if line.startswith(_DOCUMENT):
                if rows:
                    yield self._sentence(numbers, rows, comments)
                numbers, rows, comments = [], [], []
            elif self._is_comment(line):
                comments.append(line)
            else:
                numbers.append(number)
                rows.append(self._cut(line))
        if rows:
            yield self._sentence(numbers, rows, comments)

    def _columns(self, text: str) -> list[list[str]] | None:
        """The columns of lines, all split at once, which is quick; None where they are not even."""
        tab = "\t" if "\t" in text else None
        cells = text.replace("\n", "\t\0\t" if tab else " \0 ").split(tab)  # NUL stands in no text
        step, breaks = self.width + 1, text.count("\n")
        if len(cells) != step * (breaks + 1) - 1 or cells[self.width :: step].count("\0") != breaks:
            return None
        return [cells[place::step] for place in range(self.width)]

    def _sentence(self, numbers: list[int], rows: list[list[str]], comments: list[str]) -> Sentence:
        for number, cells in zip(numbers, rows, strict=True):
            if len(cells) != self.width:
                have = counted(len(cells), "column")
                return Sentence(numbers, (), comments, Complaint(number, f"{have}, not {self.width} ({_shown(cells)})"))
        return Sentence(numbers, list(zip(*rows, strict=True)), comments)

    def _cut(self, line: str) -> list[str]:
        if self.kind == "conllu" or "\t" in line:
            return line.split("\t")
        return line.split() if self.width > 1 else [line.strip()]

    def _is_comment(self, line: str) -> bool:
        """In CoNLL `#` may be a token too, of a line with as many columns as the others."""
        return line.startswith("#") and (self.kind == "conllu" or len(line.split()) != self.width)

    def _complaint(self, sentence: Sentence, marks: frozenset[int]) -> Complaint | None:
        """What is wrong with the first line that is not as it should be."""
        if sentence.uneven or self._fits(sentence.columns, marks):
            return sentence.uneven
        lines = zip(sentence.numbers, zip(*sentence.columns, strict=True), strict=True)
        number, cells = next(line for line in lines if not self._fits([[cell] for cell in line[1]], marks))
        if not files.is_clean("".join(cells)):
            return Complaint(number, f"a byte that is not {self.encoding}, or a NUL")
        if self.kind == "conllu" and not _U_NUMBER.fullmatch(cells[0]):
            return Complaint(number, f"{cells[0]!r:.40} is no number of a word ({_shown(cells)})")
        if not cells[0].strip():
            return Complaint(number, f"a tag without a token ({_shown(cells)})")
        tag = next(cells[place] for place in sorted(marks) if not marks_span(cells[place]))
        return Complaint(number, f"the tag {tag!r:.40} is neither O nor one such as B-PERSON ({_shown(cells)})")

    def _fits(self, columns: Sequence[Sequence[str]], marks: frozenset[int]) -> bool:
        """Whether the cells of lines are as they should be; quick because it is asked of many at once."""
        return (
            all(map(_U_NUMBER.fullmatch if self.kind == "conllu" else str.strip, columns[0]))
            and files.is_clean("".join(map("".join, columns)))
            and all(is_scheme(set(columns[place])) for place in marks)
        )

    def _cell(self, sentence: Sentence, column: str, marks: frozenset[int]) -> Cell:
        """A column of a sentence; tokens are a text where tags mark spans of it."""
        if self.kind == "conllu":
            return _u_cell(sentence, column, self.joiner)
        place, tokens = self._place(column), sentence.columns[0]
        if place == 0:
            return self.joiner.join(tokens) if marks else tuple(tokens)
        values = sentence.columns[place]
        return spans_of_tags(tokens, values, self.joiner) if place in marks else tuple(values)


def _shown(cells: Sequence[str]) -> str:
    return repr(" ".join(cells)[:40])


def _with_one_end(text: str, newline: str) -> str:
    r"""The text with lines that end at \n only."""
    if "\r" not in text:
        return text
    text = text.replace("\r\n", "\n")
    return text if newline else text.replace("\r", "\n")


def _u_cell(sentence: Sentence, column: str, joiner: str) -> Cell:
    """A column of CoNLL-U: of the words, but in a raw text of what is written, where several words may be one."""
    words = [cells for cells in zip(*sentence.columns, strict=True) if cells[0].isdecimal()]
    if column == TOKENS:
        return tuple(cells[1] for cells in words)
    if column == RAW:
        return _raw(sentence, joiner)
    if column == WORDS:
        places = _written(sentence, _raw(sentence, joiner))
        return tuple(Span(start, end, "word") for start, end in places)
    return tuple(cells[_U_COLUMNS[column]] for cells in words)


def _surface(sentence: Sentence) -> Iterator[tuple[str, ...]]:
    """The lines of what is written: those of words that one line stands for together are left out."""
    behind = 0
    for cells in zip(*sentence.columns, strict=True):
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
            raise ValueError(f"{cells[1]!r} does not stand in the sentence's text {text!r:.80}")
        end = start + len(cells[1])
        yield start, end


def is_conll(text: str) -> bool:
    """Whether the beginning of a file is sentences in columns, by tags that mark spans in the last one."""
    lines = [line.rstrip("\r") for line in text.split("\n")[:_SAMPLE_SENTENCES]]
    cut = [line.split("\t") if "\t" in line else line.rsplit(None, 1) for line in lines if line.strip()]
    tags = [cells[-1] for cells in cut if len(cells) > 1]
    even = len(tags) * 20 > len(cut) * 19
    return "" in lines[1:-1] and even and {*tags} != {OUTSIDE} and _mark(tags)


def _mark(tags: Sequence[str]) -> bool:
    """Whether tags mark spans; some that are miswritten do not count, those outside spans say nothing."""
    telling = [tag for tag in tags if tag != OUTSIDE]
    return 2 * sum(map(marks_span, telling)) >= len(telling)


def open_conll(path: str, name: str, sample: files.Sample, kind: Literal["conll", "conllu"]) -> ConllFile:
    """Find out the columns, what stands between tokens, and which scheme the tags are written by."""
    lines = [line.rstrip("\r") for line in sample.text.split("\n") if line.strip() and not line.startswith("#")]
    width = _U_WIDTH if kind == "conllu" else _usual_width(lines)
    unmarked = frozenset[int]()
    file = ConllFile(path, name, sample.encoding, (), sample.notes, sample.newline, kind, width, " ", unmarked)
    tokens = [cells[1 if kind == "conllu" else 0] for cells in map(file._cut, lines) if len(cells) == width]
    spaced = kind == "conllu" and ("SpaceAfter=No" in sample.text or "\n# text =" in f"\n{sample.text}")
    joiner = "" if not spaced and han_share(tokens) > 0.5 else " "
    if kind == "conllu":
        return replace(file, heading=_U_HEADING, joiner=joiner)
    between = tuple(str(number) for number in range(2, width))
    file = replace(file, heading=(TOKENS, *between, TAGS) if width > 1 else (TOKENS,), joiner=joiner)
    first = [each.columns for each in islice(file._sentences(mark_bad=True), _SAMPLE_SENTENCES) if not each.uneven]
    found = (place for place in range(1, width) if _mark([tag for columns in first for tag in columns[place]]))
    file = replace(file, marks=frozenset(found))
    if width - 1 not in file.marks:
        return file
    tags = file.survey()
    return replace(file, tags=tags, notes=(*file.notes, _told(name, tags, joiner)))


def _usual_width(lines: Sequence[str]) -> int:
    widths = [len(line.split("\t")) if "\t" in line else len(line.split()) for line in lines]
    return max(set(widths), key=widths.count)


def _told(name: str, found: Survey, joiner: str) -> str:
    scheme = f"tags of the scheme {found.scheme}" if found.scheme else "tags of mixed schemes"
    if not found.scheme:
        broken = ", as conlleval does"
    else:
        break_it = counted(found.broken, "span breaks it and is", "spans break it and are")
        broken = f"; {break_it} read as conlleval does" if found.broken else ""
    between = "spaces" if joiner else "nothing"
    return f"{name}: {scheme} are read as spans{broken}; between tokens stand{'s' if not joiner else ''} {between}"
