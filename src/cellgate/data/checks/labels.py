"""The labels themselves: too few rows, too many labels, two spellings of one, and one that outweighs all others."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cellgate.data.checks.columns import telling
from cellgate.data.checks.findings import EXAMPLES, Finding, Spot, part, percent
from cellgate.data.checks.marks import Mark
from cellgate.data.checks.survey import LabelNames, Survey
from cellgate.errors import counted, listed

_TOO_RARE, _RARE = 3, 10  # rows of a label
_OUTWEIGHS = 0.95  # share of the rows that makes any other answer a rare event
_LEANS = 0.8
_TIMES = 20  # as many rows as the median label has
_NAMED = 5  # labels listed in a sentence
_LONG = 40  # characters of a label in a sentence
_TELLS = 0.8  # share of rows that name their own label
_TELLS_ONE = 0.9
_ENOUGH = 10  # rows of a label before a share says anything


def tag_findings(survey: Survey, names: LabelNames) -> Iterator[Finding]:
    """What the labels of the training rows' spans or tags tell: many may stand in a row, and one may be enough."""
    counts = survey.rows_by_label(names)
    if not counts:
        yield Finding(
            "problem",
            "no_tags",
            len(survey),
            "no row has a span or a tag",
            (),
            "Name the column of the tags (--spans).",
        )
        return
    yield from _spellings(survey, names, counts)
    yield from _rare(counts)


def label_findings(survey: Survey, names: LabelNames) -> Iterator[Finding]:
    """What the labels of the training rows tell."""
    counts = survey.rows_by_label(names)
    unfit = list(_unfit(survey, counts))
    yield from unfit
    if not unfit:
        yield from _spellings(survey, names, counts)
        yield from _rare(counts)
        yield from _uneven(survey, counts)
        yield from _sorted(survey)
    yield from _named_in_text(survey, names)


def unseen_labels(train: Survey, later: Survey, names: LabelNames) -> Iterator[Finding]:
    """Labels of dev or test that no training row has."""
    known, counts = train.rows_by_label(names), later.rows_by_label(names)
    unseen = {label: count for label, count in counts.items() if label not in known}
    if not unseen:
        return
    rows = len(later.rows_with(names, unseen))
    yield Finding(
        "problem" if len(unseen) == len(counts) else "warning",
        f"labels_of_{later.name}_unseen",
        rows,
        f"{counted(rows, f'{later.name} row has', f'{later.name} rows have')} a label that no row of {train.name} has",
        (f"{percent(rows / len(later))} of {later.name}; {counted(len(unseen), 'label')}: {_with_rows(unseen)}.",),
        f"No answer can be right on them: make the labels of both agree, add such rows to {train.name}, or take them "
        f"out of {later.name}.",
        _examples(later, names, list(unseen)),
    )


def _unfit(survey: Survey, counts: Counter[str]) -> Iterator[Finding]:
    """Labels that training would refuse."""
    rows, single = len(survey), sum(count == 1 for count in counts.values())
    if len(counts) < 2:
        what = f"every row has the label {_quoted(next(iter(counts)))}" if counts else "no row has a label"
        yield Finding("problem", "one_label", rows, what, (), "Add rows of another label, or name the label column.")
    elif len(counts) > max(2, rows // 2):
        yield Finding(
            "problem",
            "labels_are_free_text",
            rows,
            f"{len(counts):,} different labels in {rows:,} rows look like free text or an id",
            (f"{single:,} of them stand in one row only; for example: {listed(map(_quoted, list(counts)[:_NAMED]))}.",),
            "Name the label column with --label COLUMN.",
        )


def _spellings(survey: Survey, names: LabelNames, counts: Counter[str]) -> Iterator[Finding]:
    """Labels that differ by case, or by the space in and around them, only."""
    alike: dict[str, list[str]] = {}
    for label in counts:
        alike.setdefault(" ".join(label.split()).casefold(), []).append(label)
    twins = [sorted(group, key=lambda label: -counts[label]) for group in alike.values() if len(group) > 1]
    if not twins:
        return
    rarer = [label for group in twins for label in group[1:]]
    written = listed(
        (" = ".join(f"{_quoted(label)} ({counts[label]:,})" for label in group) for group in twins), _NAMED
    )
    yield Finding(
        "problem",
        "labels_alike",
        len(survey.rows_with(names, rarer)),
        f"{counted(len(rarer), 'label differs', 'labels differ')} from another by case or space only",
        (f"{written}.",),
        "Write each label one way: training takes them for different answers.",
        _examples(survey, names, rarer),
    )


def _rare(counts: Counter[str]) -> Iterator[Finding]:
    too_rare = {label: count for label, count in counts.items() if count < _TOO_RARE}
    rare = {label: count for label, count in counts.items() if _TOO_RARE <= count < _RARE}
    for code, found, bounds in (
        ("labels_too_rare", too_rare, f"fewer than {_TOO_RARE} rows"),
        ("labels_rare", rare, f"{_TOO_RARE} to {_RARE - 1} rows"),
    ):
        if not found:
            continue
        single = sum(count == 1 for count in found.values())
        alone = f"{single:,} in one row only; " if single else ""
        have = "has" if len(found) == 1 else "have"
        yield Finding(
            "warning" if found is too_rare else "note",
            code,
            sum(found.values()),
            f"{len(found):,} of {counted(len(counts), 'label')} {have} {bounds}",
            (f"{alone}{_with_rows(found)}.",),
            "Add rows, merge such labels into others, or drop them: nothing general is learned from so few.",
        )


def _uneven(survey: Survey, counts: Counter[str]) -> Iterator[Finding]:
    rows = len(survey)
    (most, largest), median = counts.most_common(1)[0], float(np.median(list(counts.values())))
    share = largest / rows
    if share < _LEANS and largest < _TIMES * median:
        return
    least = min(counts, key=lambda label: counts[label])
    yield Finding(
        "warning" if share >= _OUTWEIGHS else "note",
        "labels_uneven",
        largest,
        f"the label {_quoted(most)} has {percent(share)} of the rows",
        (f"{largest:,} of {rows:,}; the rarest label, {_quoted(least)}, has {counts[least]:,}.",),
        f"Judge by macro F1: accuracy says little where one answer is right for {percent(share)}.",
    )


def _sorted(survey: Survey) -> Iterator[Finding]:
    labels = survey.label
    if len(labels) >= _ENOUGH and float(np.mean(labels[1:] == labels[:-1])) >= telling(labels):
        yield Finding(
            "note",
            "sorted_by_label",
            len(labels),
            "the rows stand in blocks, label by label",
            (),
            "Training shuffles them; a test set cut off the end would hold few labels, so draw it at random.",
        )


def _named_in_text(survey: Survey, names: LabelNames) -> Iterator[Finding]:
    """Rows whose text holds their own label as a word."""
    naming = survey.marked(Mark.NAMES_LABEL)
    if len(naming) >= max(_TELLS * len(survey), _ENOUGH):
        found = part(survey.name, len(survey), (survey.place, naming))
        yield Finding(
            "warning",
            "text_names_label",
            len(naming),
            f"{counted(len(naming), 'text names its label', 'texts name their own label')}",
            (f"{percent(found.share)} of the rows.",),
            "If the label was written into the texts (a tag, a prefix, a file name), take it out: new texts lack it.",
            found.examples,
        )
        return
    told = np.bincount(survey.label[naming], minlength=len(names)).tolist()
    total = np.bincount(survey.label, minlength=len(names)).tolist()
    told_by = {
        labels[0]: rows
        for labels, rows, among in zip(names.sets(), told, total, strict=True)
        if len(labels) == 1 and among >= _ENOUGH and rows >= _TELLS_ONE * among
    }
    if told_by:
        yield Finding(
            "note",
            "text_names_some_labels",
            sum(told_by.values()),
            counted(len(told_by), "label stands in nearly all its texts", "labels stand in nearly all their texts"),
            (f"{_with_rows(told_by)}.",),
            "Harmless where people just say the word; if it was written into the texts, take it out.",
            _examples(survey, names, list(told_by)),
        )


def _examples(survey: Survey, names: LabelNames, labels: Sequence[str]) -> tuple[tuple[Spot, ...], ...]:
    """The first row of each of the first few labels."""
    firsts = (survey.rows_with(names, [label])[0] for label in labels[:EXAMPLES])
    return tuple((Spot(survey.place, int(row)),) for row in firsts)


def _with_rows(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    return listed((f"{_quoted(label)} ({count:,})" for label, count in ranked), _NAMED)


def _quoted(label: str) -> str:
    return repr(label if len(label) <= _LONG else f"{label[: _LONG - 3]}...")
