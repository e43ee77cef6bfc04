"""Texts that stand more than once: in one split, with other labels, and in two splits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cellgate.batch import Ints
from cellgate.data.checks.findings import Finding, Wanted, examples_of, gravest, part, percent, rows_of, spread
from cellgate.data.checks.marks import Mark
from cellgate.data.checks.survey import Survey
from cellgate.errors import counted

_MANY = 0.01  # share of a split from which repeats and overlaps are graver
_MANY_CONFLICTS = 0.1
_MENDED: Mapping[Wanted, str] = {
    "label": "Decide which label is right and drop the other rows; where both are, give such rows several labels.",
    "tags": "Decide which tags are right and mend the other rows.",
}


@dataclass(frozen=True)
class _Equals:
    """The rows of a split that have a text, and for each the first row with the same: all [N]."""

    survey: Survey
    rows: Ints
    to_letter: Ints
    alike: Ints

    @classmethod
    def of(cls, survey: Survey) -> "_Equals":
        rows = np.flatnonzero((survey.marks & Mark.EMPTY) == 0)
        return cls(survey, rows, _first(survey.exact, rows), _first(survey.loose, rows))

    def differs(self, first: Ints) -> npt.NDArray[np.bool_]:
        """Which rows are answered otherwise than the first row with their text."""
        differs: npt.NDArray[np.bool_] = self.survey.answer[self.rows] != self.survey.answer[first]
        return differs


def repeated(surveys: Sequence[Survey], wanted: Wanted) -> Iterator[Finding]:
    """Rows that repeat an earlier one of their split, and equal texts with different answers."""
    equals = [_Equals.of(survey) for survey in surveys]
    yield from _repeats(equals, wanted)
    yield from _conflicts(equals, wanted)


def _repeats(equals: Sequence[_Equals], wanted: Wanted) -> Iterator[Finding]:
    parts, exact = [], 0
    for each in equals:
        chosen = (each.alike != each.rows) & ~each.differs(each.alike)
        if not chosen.any():
            continue
        survey = each.survey
        exact += int((each.to_letter != each.rows)[chosen].sum())
        place = survey.place
        parts.append(part(survey.name, len(survey), (place, each.rows[chosen]), (place, each.alike[chosen])))
    if parts:
        total = rows_of(parts)
        yield Finding(
            "warning" if max(each.share for each in parts) >= _MANY else "note",
            "repeated_rows",
            total,
            f"{counted(total, 'row repeats', 'rows repeat')} an earlier text and its {wanted}",
            (f"{spread(parts, len(equals))}; {_how(exact, total)}.",),
            "Keep one of each. Where dev rows are held out of train, copies of some stay there and the scores come out "
            "too good.",
            examples_of(parts),
        )


def _conflicts(equals: Sequence[_Equals], wanted: Wanted) -> Iterator[Finding]:
    parts, texts, exact = [], 0, 0
    for each in equals:
        differs = each.differs(each.alike)
        if not differs.any():
            continue
        survey, place = each.survey, each.survey.place
        disputed, which = np.unique(each.alike[differs], return_index=True)
        involved = np.isin(each.alike, disputed)
        texts += len(disputed)
        exact += len(np.unique(each.alike[each.differs(each.to_letter)]))
        pairs = part(survey.name, len(survey), (place, disputed), (place, each.rows[differs][which]))
        parts.append(replace(pairs, rows=int(involved.sum())))
    if parts:
        rows, plural = rows_of(parts), wanted.removesuffix("s") + "s"
        yield Finding(
            gravest("problem" if each.share > _MANY_CONFLICTS else "warning" for each in parts),
            f"conflicting_{plural}",
            rows,
            f"{counted(texts, 'text has', 'texts have')} different {plural} in different rows",
            (f"{spread(parts, len(equals))}; {_how(exact, texts)}.",),
            _MENDED[wanted] + " No model can be right on both.",
            examples_of(parts),
        )


def overlap(earlier: Survey, later: Survey, wanted: Wanted) -> Iterator[Finding]:
    """Rows of a later split (dev, test) that stand in an earlier one."""
    rows = np.flatnonzero((later.marks & Mark.EMPTY) == 0)
    rows = rows[np.isin(later.loose[rows], earlier.loose)]
    if not len(rows):
        return
    order = np.argsort(earlier.loose, kind="stable")
    sources = order[np.searchsorted(earlier.loose, later.loose[rows], sorter=order)]
    exact = int(np.isin(later.exact[rows], earlier.exact).sum())
    changed = int((later.answer[rows] != earlier.answer[sources]).sum())
    another = "another label" if wanted == "label" else "other tags"
    other = f"; {changed:,} with {another} there" if changed else ""
    found = part(later.name, len(later), (later.place, rows), (earlier.place, sources))
    stand = counted(len(rows), f"{later.name} row stands", f"{later.name} rows stand")
    yield Finding(
        "problem" if found.share >= _MANY else "warning",
        f"{later.name}_in_{earlier.name}",
        len(rows),
        f"{stand} in {earlier.name} too",
        (f"{percent(found.share)} of {later.name}; {_how(exact, len(rows))}{other}.",),
        f"Take them out of {earlier.name}: what was seen there proves nothing in {later.name}, whose scores come out "
        "too good.",
        found.examples,
    )


def _how(exact: int, total: int) -> str:
    """Say how far texts are equal."""
    loosely = "equal but for case, spaces or punctuation"
    if exact == total:
        return "equal to the letter"
    return f"{exact:,} equal to the letter, {total - exact:,} {loosely}" if exact else loosely


def _first(hashes: npt.NDArray[np.int64], rows: Ints) -> Ints:
    """For each of the rows, the first of them with the same hash."""
    _, first, inverse = np.unique(hashes[rows], return_index=True, return_inverse=True)
    return rows[first[inverse]]
