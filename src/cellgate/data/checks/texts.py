"""The texts themselves: empty, damaged, marked up, too long, and in which script."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from cellgate.batch import Ids, Ints
from cellgate.config import TextConfig
from cellgate.data.checks.findings import (
    Facts,
    Finding,
    Part,
    Severity,
    Wanted,
    examples_of,
    part,
    percent,
    rows_of,
    spread,
)
from cellgate.data.checks.marks import Mark, place_of
from cellgate.data.checks.survey import LabelNames, Survey, script_shares
from cellgate.errors import counted

_MANY = 0.01  # share of the rows from which damage is grave
_SOME = 0.005  # share of the texts from which a second script is worth a word
_SENTENCE = 1_000  # tokens that no sentence has
_LENGTHS = {"median": 50, "90 %": 90, "99 %": 99, "longest": 100}  # percent of the texts that are no longer


class _Damage(NamedTuple):
    """A mark, and what is said of the texts that bear it."""

    mark: Mark
    code: str
    seen: str  # `1 text` or `5 texts` goes before
    remedy: str
    few: Severity
    many: Severity


_DAMAGES = (
    _Damage(
        Mark.EMPTY,
        "empty_texts",
        "without any content",
        "Drop them, or name the text column with --text COLUMN: training would learn what an empty text means.",
        "warning",
        "problem",
    ),
    _Damage(
        Mark.REPLACED,
        "characters_lost",
        "with a replacement character (U+FFFD) where a letter was lost",
        "Export the data anew from where they come from, as UTF-8: what is lost cannot be told from the file.",
        "warning",
        "problem",
    ),
    _Damage(
        Mark.MISREAD,
        "misread_encoding",
        "in UTF-8 that was once read as another encoding, it seems",
        "Convert the data anew from where they come from, or mend the texts (the library ftfy does).",
        "warning",
        "problem",
    ),
    _Damage(
        Mark.CONTROL,
        "control_characters",
        "with control characters",
        "Those from \\x80 to \\x9f are quotes and dashes of Windows-1252 once read as Latin-1. Mend them if texts to "
        "come will not have them.",
        "note",
        "note",
    ),
    _Damage(
        Mark.HTML,
        "html",
        "with HTML tags or entities, such as <br> or &amp;",
        "Training takes them for words: take them out if texts to come will not have them.",
        "note",
        "note",
    ),
)


def facts_of(survey: Survey, names: LabelNames) -> Facts:
    """What a split is made of."""
    return Facts(
        survey.name,
        len(survey),
        int(np.isin(survey.label, [number for number, labels in enumerate(names.sets()) if not labels]).sum()),
        dict(survey.rows_by_label(names).most_common()),
        survey.unit,
        _lengths(survey.characters),
        _lengths(survey.tokens),
        script_shares(survey.script),
    )


def text_findings(surveys: Sequence[Survey], config: TextConfig, wanted: Wanted) -> Iterator[Finding]:
    """What the texts of all splits tell; the first one is trained on."""
    for survey in surveys:
        yield from _bad_rows(survey)
    for damage in _DAMAGES:
        parts = _parts(surveys, [survey.marked(damage.mark) for survey in surveys])
        if parts:
            worst = max(each.share for each in parts)
            yield Finding(
                damage.many if worst >= _MANY else damage.few,
                damage.code,
                rows_of(parts),
                f"{counted(rows_of(parts), 'text')} {damage.seen}",
                (f"{spread(parts, len(surveys))}.",),
                damage.remedy,
                examples_of(parts),
                partial(place_of, damage.mark),
            )
    yield from _cut(surveys, config) if wanted == "label" else _long(surveys)
    yield from _scripts(surveys[0])


def _bad_rows(survey: Survey) -> Iterator[Finding]:
    bad, name = survey.problems, survey.name
    if bad.count:
        share = bad.count / (len(survey) + bad.count)
        yield Finding(
            "warning" if survey.split.skip else "problem",
            f"bad_rows_in_{name}",
            bad.count,
            f"{counted(bad.count, f'{name} row', f'{name} rows')} cannot be read",
            (f"{percent(share)} of {name}.", *bad.first),
            "Mend them; --skip-bad-rows leaves them out."
            if survey.split.skip
            else "Mend them, or train with --skip-bad-rows.",
        )


def _long(surveys: Sequence[Survey]) -> Iterator[Finding]:
    """Texts that are read whole, but cost more than they are worth."""
    parts = _parts(surveys, [np.flatnonzero(survey.tokens > _SENTENCE) for survey in surveys])
    if parts:
        yield Finding(
            "warning" if max(each.share for each in parts) >= _MANY else "note",
            "long_texts",
            rows_of(parts),
            f"{counted(rows_of(parts), 'text')} longer than {_SENTENCE:,} tokens",
            (f"{spread(parts, len(surveys))}.",),
            "Cut them at ends of sentences or paragraphs: tags depend on the words near by, and a batch is as long as "
            "its longest text.",
            examples_of(parts),
        )


def _cut(surveys: Sequence[Survey], config: TextConfig) -> Iterator[Finding]:
    parts = _parts(surveys, [np.flatnonzero(survey.tokens > config.max_tokens) for survey in surveys])
    if not parts:
        return
    enough = int(np.ceil(np.quantile(surveys[0].tokens, 0.999) / 100)) * 100
    yield Finding(
        "warning" if max(each.share for each in parts) >= _MANY else "note",
        "long_texts",
        rows_of(parts),
        f"{counted(rows_of(parts), 'text')} longer than {config.max_tokens:,} tokens",
        (f"{spread(parts, len(surveys))}.",),
        f"Training reads the first {config.max_tokens:,} tokens. Where they do not tell enough, raise --text.max-tokens"
        + (f": with {enough:,}, 999 of 1,000 texts are read whole." if enough > config.max_tokens else "."),
        examples_of(parts),
    )


def _scripts(survey: Survey) -> Iterator[Finding]:
    shares = [(name, share) for name, share in script_shares(survey.script).items() if name != "no letters"]
    others = sum(share for _, share in shares[1:])
    if others >= _SOME:
        yield Finding(
            "note",
            "scripts_mixed",
            round(others * len(survey)),
            f"{percent(others)} of the texts are in another script than most",
            (", ".join(f"{name} {percent(share)}" for name, share in shares) + ".",),
            "One model can read them all; evaluate each language by itself: the rarer ones are learned less well.",
        )


def _parts(surveys: Sequence[Survey], rows: Sequence[Ints]) -> list[Part]:
    """The splits that have such rows."""
    return [
        part(survey.name, len(survey), (survey.place, found))
        for survey, found in zip(surveys, rows, strict=True)
        if len(found)
    ]


def _lengths(lengths: Ids) -> dict[str, int]:
    return {name: round(float(np.percentile(lengths, share))) for name, share in _LENGTHS.items() if len(lengths)}
