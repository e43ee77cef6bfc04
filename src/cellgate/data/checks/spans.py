"""Spans: those that begin or end with white space, and words that are marked in some rows and not in others."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from cellgate.data.checks.findings import EXAMPLES, Finding, Spot
from cellgate.data.checks.survey import PlacedRow, Split
from cellgate.data.rows import Problems
from cellgate.errors import counted, listed

_TOKEN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+|\S")
_LONGEST = 12  # tokens of a form that is looked for
_SHORTEST = 2  # characters
_FORMS = 50_000  # looked for, the most frequent
_ENOUGH = 10  # times that a form is marked before leaving it out looks like an oversight
_SELDOM = 0.1  # share of a form's places that are not marked
_NAMED = 5  # forms listed in a sentence


@dataclass
class _Form:
    """Words that are marked somewhere; rows count from 0."""

    marked: int = 0
    bare: int = 0
    marked_row: int = 0  # the first
    bare_row: int = 0  # the first


@dataclass
class _Forms:
    """Forms by their words; `longest` of those that begin with a token has so many tokens."""

    forms: dict[str, _Form] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)

    def mark(self, row: int, text: str) -> None:
        tokens = _TOKEN.findall(text)
        if len(text) < _SHORTEST or not 0 < len(tokens) <= _LONGEST or not any(map(str.isalpha, text)):
            return
        form = self.forms.setdefault(text, _Form(marked_row=row))
        form.marked += 1
        self.longest[tokens[0]] = max(len(tokens), self.longest.get(tokens[0], 0))

    def count_bare(self, row: int, text: str) -> None:
        """Count the forms that stand in a text without spans, the longest one at each place."""
        tokens = list(_TOKEN.finditer(text))
        place = 0
        while place < len(tokens):
            most = min(self.longest.get(tokens[place].group(), 0), len(tokens) - place)
            for count in range(most, 0, -1):
                form = self.forms.get(text[tokens[place].start() : tokens[place + count - 1].end()])
                if form:
                    form.bare_row = form.bare_row if form.bare else row
                    form.bare += 1
                    place += count - 1
                    break
            place += 1


class _Padded(NamedTuple):
    rows: list[int]
    spans: int


def scheme_findings(broken: Mapping[str, int]) -> Iterator[Finding]:
    """Spans, by split, whose tags are not as their scheme has them."""
    told = {name: count for name, count in broken.items() if count}
    if told:
        total = sum(told.values())
        yield Finding(
            "note",
            "tags_broken",
            total,
            f"the tags of {counted(total, 'span')} break their scheme",
            (", ".join(f"{name}: {count:,}" for name, count in told.items()) + ".",),
            "They are read as conlleval reads them: a span begins where its label does. Mend what is not meant.",
        )


def span_findings(split: Split) -> Iterator[Finding]:
    """What the spans of the split that is trained on tell; its rows are read twice."""
    forms, padded = _look(split)
    if padded.spans:
        yield Finding(
            "warning",
            "spans_padded",
            len(padded.rows),
            f"{counted(padded.spans, 'span begins or ends', 'spans begin or end')} with white space",
            (f"In {counted(len(padded.rows), f'{split.name} row')}.",),
            "Mend the places: they are often counted in bytes or UTF-16 units, or from 1, where characters from 0 are "
            "meant.",
            tuple((Spot(0, row),) for row in padded.rows[:EXAMPLES]),
        )
    mostly = {form: found for form, found in forms.items() if found.marked > 1 and found.bare > found.marked}
    seldom = {
        form: found
        for form, found in forms.items()
        if found.marked >= _ENOUGH and 0 < found.bare <= _SELDOM * (found.marked + found.bare)
    }
    for code, chosen, how in (
        ("forms_mostly_bare", mostly, "marked in some places and not in most others"),
        ("forms_seldom_bare", seldom, "marked in most places and not in a few others"),
    ):
        if chosen:
            yield _told(split, code, chosen, how)


def _told(split: Split, code: str, chosen: dict[str, _Form], how: str) -> Finding:
    ranked = sorted(chosen.items(), key=lambda item: (-min(item[1].marked, item[1].bare), item[0]))
    named = listed((f"{form!r} ({found.marked:,} to {found.bare:,})" for form, found in ranked), _NAMED)
    return Finding(
        "note",
        code,
        sum(found.bare for found in chosen.values()),
        f"{counted(len(chosen), 'form is', 'forms are')} {how} of {split.name}",
        (f"Marked and not: {named}.",),
        "Look at them: words of several meanings are among them, and so are marks that were forgotten, which teach the "
        "model to leave such words out.",
        tuple((Spot(0, found.bare_row), Spot(0, found.marked_row)) for _, found in ranked[:EXAMPLES]),
        partial(_place_of, [form for form, _ in ranked[:EXAMPLES]]),
    )


def _place_of(forms: Sequence[str], text: str) -> int | None:
    """Where in a text one of the forms first stands."""
    return min((text.find(form) for form in forms if form in text), default=None)


def _look(split: Split) -> tuple[dict[str, _Form], _Padded]:
    found, padded, spans = _Forms(), list[int](), 0
    for number, row in enumerate(split.read(Problems())):
        texts = [row.text[span.start : span.end] for span in row.spans]
        wrong = sum(text != text.strip() for text in texts)
        spans += wrong
        if wrong:
            padded.append(number)
        for text in texts:
            found.mark(number, text)
    counts = Counter({form: each.marked for form, each in found.forms.items()})
    found.forms = {form: found.forms[form] for form, _ in counts.most_common(_FORMS)}
    if found.forms:
        for number, row in enumerate(split.read(Problems())):
            for part in _bare(row):
                found.count_bare(number, part)
    return found.forms, _Padded(padded, spans)


def _bare(row: PlacedRow) -> Iterator[str]:
    """What stands between a row's spans."""
    end = 0
    for span in sorted(row.spans):
        yield row.text[end : span.start]
        end = span.end
    yield row.text[end:]
