"""Spans of a text, and the tags that mark them token by token.

Tags are a prefix and a label, such as B-PERSON, or O outside all spans. Schemes differ in their prefixes: BIO; IOB1,
where B only parts neighbours of one label; BIOES, also written BILOU; BMES, which is BIOES with M for I.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

OUTSIDE = "O"
_SCHEMES = {"BIO": "BIO", "BIOES": "BIOES", "BILOU": "BILOU", "BMES": "BMESO"}  # and the prefixes of each
_OTHER_NAMES = {"tokens": "text", "tags": "spans"}
_PREFIXES = {"B": "B", "I": "I", "M": "I", "O": "O", "E": "E", "L": "E", "S": "S", "U": "S"}


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A part of a text with its label: code points from `start` up to, not including, `end`.

    Of an answer, `text` is that part and `confidence` how sure it is, 0 to 1; neither counts when spans are compared.
    """

    start: int
    end: int
    label: str
    text: str = field(default="", compare=False)
    confidence: float = field(default=1.0, compare=False)


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens from `first` up to, not including, `last` that make one span."""

    first: int
    last: int
    label: str


def is_scheme(tags: Iterable[str]) -> bool:
    """Whether tags mark spans: each is O, or a prefix, a hyphen and a label."""
    return all(map(marks_span, tags))


def marks_span(tag: str) -> bool:
    """Whether a tag is O, or a prefix, a hyphen and a label."""
    return tag == OUTSIDE or (tag[:1] in _PREFIXES and tag[1:2] == "-" and len(tag) > 2)


def parse_tag(tag: str) -> tuple[str, str]:
    """Prefix, as one of B I O E S, and label of a tag."""
    return _PREFIXES[tag[0]], tag[2:]


def runs_of_tags(tags: Sequence[str]) -> list[Run]:
    """The spans that tags mark, in any scheme; where they break it, as conlleval (Tjong Kim Sang 2000) reads them."""
    found: list[Run] = []
    first, end, before, label = 0, 0, "O", ""  # of the last run; end 0: none yet
    for place in [place for place, tag in enumerate(tags) if tag != OUTSIDE]:
        prefix, of = parse_tag(tags[place])
        goes_on = place == end and prefix in "IE" and before in "BI" and of == label
        if not goes_on:
            if end:
                found.append(Run(first, end, label))
            first = place
        end, before, label = place + 1, prefix, of
    if end:
        found.append(Run(first, end, label))
    return found


@dataclass
class Survey:
    """What the tags of a file are, counted sentence by sentence."""

    tags: Counter[str] = field(default_factory=Counter)
    opened_by_i: int = 0  # spans whose first tag is I or E
    needless_b: int = 0  # spans that begin with B, and not right behind one of the same label
    unclosed: int = 0  # spans of several tokens without E, of one without S

    def add(self, tags: Sequence[str]) -> None:
        """Count the tags of one sentence."""
        self.tags.update(tags)
        end, label = -1, ""
        for run in runs_of_tags(tags):
            head, tail = parse_tag(tags[run.first])[0], parse_tag(tags[run.last - 1])[0]
            self.opened_by_i += head in "IE"
            self.needless_b += head == "B" and (run.first, run.label) != (end, label)
            self.unclosed += tail not in "ES"
            end, label = run.last, run.label

    @property
    def scheme(self) -> str:
        """What the scheme is called; empty where prefixes of several are mixed."""
        found = {tag[0] for tag in self.tags}
        name = next((name for name, prefixes in _SCHEMES.items() if found <= set(prefixes)), "")
        return "IOB1" if name == "BIO" and self.opened_by_i and not self.needless_b else name

    @property
    def broken(self) -> int:
        """Spans that are not written as the scheme asks."""
        ends = 0 if self.scheme in ("BIO", "IOB1") else self.unclosed
        return ends + (0 if self.scheme == "IOB1" else self.opened_by_i)


def bioes(count: int, runs: Iterable[Run]) -> list[str]:
    """Tags of `count` tokens by scheme BIOES; runs do not overlap."""
    tags = [OUTSIDE] * count
    for run in runs:
        if run.last - run.first == 1:
            tags[run.first] = f"S-{run.label}"
            continue
        tags[run.first : run.last] = [f"I-{run.label}"] * (run.last - run.first)
        tags[run.first], tags[run.last - 1] = f"B-{run.label}", f"E-{run.label}"
    return tags


def spans_of_tags(tokens: Sequence[str], tags: Sequence[str], joiner: str = " ") -> tuple[Span, ...]:
    """The spans that tags mark in the text that its tokens make, joined by `joiner`."""
    runs = runs_of_tags(tags)
    if not runs:
        return ()
    ends, between = [0, *accumulate(map(len, tokens))], len(joiner)
    return tuple(
        Span(ends[run.first] + run.first * between, ends[run.last] + (run.last - 1) * between, run.label)
        for run in runs
    )


def read_marked(row: Mapping[str, object]) -> dict[str, object]:
    """A row's `text` (or `tokens`) and `spans` (or `tags`), with spans as Span.

    They may be written as (start, end, label), as {"start", "end", "label"}, or as tags that mark spans of the tokens,
    between which spaces stand. Other tags, one a token, are left as they are.
    """
    read = {_OTHER_NAMES.get(name, name): value for name, value in row.items()}
    text, marks = read.get("text"), read.get("spans")
    if isinstance(marks, list | tuple):
        marks = read["spans"] = tuple(mark if isinstance(mark, str) else read_span(mark) for mark in marks)
        tags = [mark for mark in marks if isinstance(mark, str)]
        if isinstance(text, list | tuple) and len(text) == len(tags) == len(marks) and is_scheme(tags):
            read["text"] = " ".join(map(str, text))
            read["spans"] = spans_of_tags([str(token) for token in text], tags)
    return read


def read_span(value: object) -> Span:
    """A span as {"start", "end", "label"} or (start, end, label); ValueError for anything else."""
    match value:
        case Span():
            return value
        case {"start": start, "end": end, "label": label} | (start, end, label):
            return Span(_whole(start), _whole(end), _name(label))
    raise ValueError(f'{value!r:.60} is no span; write {{"start": 0, "end": 3, "label": "person"}} or [0, 3, "person"]')


def _whole(value: object) -> int:
    if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
        return int(value)
    raise ValueError(f"{value!r:.40} is no place in a text; give the number of a character")


def _name(value: object) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    shown = "null" if value is None else f"{value!r:.40}"
    raise ValueError(f'{shown} is no label of a span; give a name, such as "person", or leave the span out')


def check_marks(text: str | Sequence[str], marks: Sequence[Span | str]) -> None:
    """Stop with ValueError where spans do not fit a text, or overlap; or where tags are not one a token."""
    spans = sorted(mark for mark in marks if isinstance(mark, Span))
    if not isinstance(text, str):
        if spans or (marks and len(marks) != len(text)):
            raise ValueError(f"{len(text)} tokens, {len(marks) - len(spans)} tags; give one a token")
        for token, tag in zip(text, marks, strict=bool(marks)):
            if not str(tag).strip():
                raise ValueError(f"the token {token!r:.40} has no tag")
        return
    if len(spans) < len(marks):
        raise ValueError("tags need tokens: give the text as a list of them")
    before: Span | None = None
    for span in spans:
        if not span.label.strip():
            raise ValueError(f"the span {span.start} to {span.end} has no label")
        if not 0 <= span.start < span.end <= len(text):
            raise ValueError(f"the span {_named(span)} lies outside its text of {len(text)} characters")
        if before is not None and span.start < before.end:
            kept = "--overlaps longest keeps the longer one"
            raise ValueError(f"the spans {_named(before)} and {_named(span)} overlap ({kept})")
        before = span


def _named(span: Span) -> str:
    return f"{span.start} to {span.end} ({span.label})"


def longest(spans: Iterable[Span]) -> list[Span]:
    """Of spans that overlap keep the longest, of equally long ones the first; sorted."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.start - each.end, each.start, each.label)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept)
