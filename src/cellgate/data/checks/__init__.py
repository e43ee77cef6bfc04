"""What is wrong, odd or worth knowing about a labelled data set, found before anything is trained on it.

    splits (rows in) -> survey: arrays of hashes and numbers -> duplicates, labels, texts, columns: findings out

A text is held only while its row is read: of each row some 50 bytes are kept, and 16 more for each other
column: a million rows of a few columns fit anywhere.
"""

from collections.abc import Iterator, Sequence

from cellgate.config import TextConfig
from cellgate.data.checks.columns import column_findings
from cellgate.data.checks.duplicates import overlap, repeated
from cellgate.data.checks.findings import Excerpt, Facts, Finding, Report, Shown, Spot, Wanted, by_weight
from cellgate.data.checks.labels import label_findings, tag_findings, unseen_labels
from cellgate.data.checks.rows import LabelledRows, TaggedRows
from cellgate.data.checks.spans import scheme_findings, span_findings
from cellgate.data.checks.survey import PlacedRow, Split, survey_splits
from cellgate.data.checks.texts import facts_of, text_findings
from cellgate.data.rows import Problems

__all__ = [
    "Excerpt",
    "Facts",
    "Finding",
    "LabelledRows",
    "PlacedRow",
    "Report",
    "Shown",
    "Split",
    "TaggedRows",
    "check_splits",
    "column_findings",
    "scheme_findings",
]


def check_splits(
    splits: Sequence[Split], config: TextConfig, more: Sequence[Finding] = (), wanted: Wanted = "label"
) -> Report:
    """Check a data set of which the first split is trained on; its rows are read twice, with tags four times.

    config: how training would make tokens of the texts. more: findings about what these rows do not tell. A split
    without rows is a DataError.
    """
    surveys, names = survey_splits(splits, config)
    train, *others = surveys
    found = [*more, *repeated(surveys, wanted)]
    for place, later in enumerate(surveys):
        for earlier in surveys[:place]:
            found += overlap(earlier, later, wanted)
    if wanted == "label":
        found += label_findings(train, names)
    else:
        found += tag_findings(train, names)
        found += span_findings(splits[0])
    for later in others:
        found += unseen_labels(train, later, names)
    found += text_findings(surveys, config, wanted)
    facts = tuple(facts_of(survey, names) for survey in surveys)
    return Report(facts, tuple(_shown(splits, by_weight(found))))


def _shown(splits: Sequence[Split], found: Sequence[Finding]) -> Iterator[Shown]:
    """Read the rows again that stand as examples."""
    wanted = {spot for finding in found for example in finding.examples for spot in example}
    rows: dict[Spot, PlacedRow] = {}
    for place, split in enumerate(splits):
        numbers = {spot.row for spot in wanted if spot.split == place}
        pairs = zip(range(max(numbers, default=-1) + 1), split.read(Problems()), strict=False)
        rows.update({Spot(place, number): row for number, row in pairs if number in numbers})
    for finding in found:
        yield Shown(finding, tuple(tuple(_excerpt(finding, rows[s]) for s in each) for each in finding.examples))


def _excerpt(finding: Finding, row: PlacedRow) -> Excerpt:
    labels = ", ".join(dict.fromkeys(row.labels))
    return Excerpt(row.path, row.unit, row.line, labels, finding.excerpt(row.text))
