"""Which column of a table holds the text, and which the label: as named, else guessed and said so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cellgate.data.readers import Table
from cellgate.errors import DataError, listed

# Other names that people give a field's column. A field that is not here is found by its own name only.
SYNONYMS: dict[str, str] = {
    "text": (
        "texts text_a review reviews review_body review_text sentence content contents message comment "
        "question query title body description instruction utterance tweet input document tokens "
        "文本 内容 评论 评论内容 正文 标题 句子 问题"
    ),
    "label": (
        "labels class classes category categories intent intents sentiment target topic topics tag tags polarity "
        "rating stars "
        "类别 标签 分类 类型 意图 情感"
    ),
    "spans": "tags entities ner_tags ner labels label upos",
    "source": "src input 原文",
    "target": "tgt output translation summary 译文",
}

_SAMPLE_ROWS = 1000
_SAMPLE_CELL = 1000  # characters of a cell that are looked at
_LONG_NAME = 50  # characters: a column's name is shorter, a row's text longer
_LABEL_LENGTH = 40  # characters of a label, on average


@dataclass(frozen=True)
class Choice:
    """The column of each field, for `Table.rows`, and sentences to say what was guessed."""

    columns: dict[str, str]
    notes: tuple[str, ...]


def choose_columns(table: Table, fields: Mapping[str, str | None]) -> Choice:
    """Find each field's column: the one named, else by the header's names, else by what the columns hold.

    Where the named ones are numbers of a file without a header, the guessed ones are numbers too.
    """
    chosen = {field: column for field, column in fields.items() if column is not None}
    table.check(chosen)
    header = table.has_header(chosen) if chosen else True
    if not header:
        _refuse_header_as_row(table, chosen)
    notes: list[str] = []
    for field in fields if header else ():
        if field not in chosen and (column := _by_name(table, field, chosen)):
            chosen[field] = column
            if column.casefold() != field:
                notes.append(f"{field}: column {column!r}, by its name (--{field} COLUMN says otherwise)")
    missing = [field for field in fields if field not in chosen]
    if missing:
        sample = _sample(table)
        names = table.columns if header else tuple(str(n) for n in range(1, len(table.columns) + 1))
        if not chosen and not table.named and _looks_like_a_row(table.columns, sample):
            raise DataError(_headless(table, missing, sample))
        for field in missing:
            column = _by_content(table, field, names, sample, taken=list(chosen.values()))
            chosen[field] = column
            notes.append(f"{field}: column {column!r}, by what it holds (--{field} COLUMN says otherwise)")
    ordered = {field: chosen[field] for field in fields}
    table.check(ordered)
    return Choice(ordered, tuple(notes))


def _by_name(table: Table, field: str, chosen: Mapping[str, str]) -> str | None:
    """Return the column that bears the field's name or one synonym of it."""
    free = [name for name in table.columns if name not in chosen.values()]
    for accepted in ((field,), _synonyms(field)):
        matches = [name for name in free if name.strip().casefold() in accepted]
        if len(set(matches)) > 1:
            raise DataError(_ambiguous(table, field, matches))
        if matches:
            return matches[0]
    return None


def _synonyms(field: str) -> list[str]:
    return SYNONYMS.get(field, "").split()


def _by_content(
    table: Table, field: str, names: Sequence[str], sample: Sequence[Sequence[str]], taken: Sequence[str]
) -> str:
    """Return the column whose cells look like the field's: long and distinct, or short and repeated."""
    found = _candidates(field, names, sample, taken)
    if not found:
        raise DataError(
            f"no column of {table.name} is plainly the {field}: name it with --{field} COLUMN; columns: {listed(names)}"
        )
    if len(found) > 1:
        number = names.index(found[0]) + 1
        hint = f", or by number where the first line is a row: --{field} {number}"
        raise DataError(_ambiguous(table, field, found) + hint)
    return found[0]


def _candidates(field: str, names: Sequence[str], sample: Sequence[Sequence[str]], taken: Sequence[str]) -> list[str]:
    free = {name: cells for name, cells in zip(names, zip(*sample, strict=True), strict=False) if name not in taken}
    length = {name: sum(map(len, cells)) / len(cells) for name, cells in free.items()}
    distinct = {name: len(set(cells)) for name, cells in free.items()}
    if field == "text":
        texts = [name for name in free if distinct[name] * 2 > len(sample) and not _numeric(free[name])]
        longest = max((length[name] for name in texts), default=0)
        return [name for name in texts if length[name] * 2 > longest]
    if field == "label":
        return [
            name
            for name in free
            if 2 <= distinct[name] <= len(sample) / 2 and 0 < length[name] <= _LABEL_LENGTH and all(free[name])
        ]
    return []


def _sample(table: Table) -> list[tuple[str, ...]]:
    rows = [tuple(cell[:_SAMPLE_CELL] for cell in row) for row in table.first_rows(_SAMPLE_ROWS)]
    if not rows:
        raise DataError(
            f"{table.name} has one row only ({listed(table.columns)}): name its columns, "
            "by number if it is no header (--text 1)"
        )
    return rows


def _looks_like_a_row(heading: Sequence[str], sample: Sequence[Sequence[str]]) -> bool:
    """Whether the first line is no header: a long cell, a number, or a value that its column repeats."""
    columns = list(zip(*sample, strict=True))
    return any(
        len(name) > _LONG_NAME or _numeric([name]) or (name and name in column)
        for name, column in zip(heading, columns, strict=True)
    )


def _headless(table: Table, missing: Sequence[str], sample: Sequence[Sequence[str]]) -> str:
    """Say that a file has no header and how to name its columns by number: which, where that is plain."""
    numbers = [str(number) for number in range(1, len(table.columns) + 1)]
    flags: list[str] = []
    taken: list[str] = []
    for field in missing:
        found = _candidates(field, numbers, sample, taken)
        flags.append(f"--{field} {found[0] if len(found) == 1 else 'NUMBER'}")
        taken += found[:1]
    first = listed(repr(cell if len(cell) <= 30 else f"{cell[:27]}...") for cell in table.columns)
    return (
        f"{table.name} seems to have no header (its first line is {first}): name its columns by "
        f"number: {' '.join(flags)}"
    )


def _refuse_header_as_row(table: Table, chosen: Mapping[str, str]) -> None:
    """A header read as a row would teach the model a label called 'label'."""
    for field, number in chosen.items():
        first = table.columns[int(number) - 1]
        if first.strip().casefold() in (field, *_synonyms(field)):
            names = listed(table.columns)
            raise DataError(f"{table.name} has a header ({names}): name its columns by it: --{field} {first}")


def _ambiguous(table: Table, field: str, names: Sequence[str]) -> str:
    return (
        f"more than one column of {table.name} could be the {field}: {listed(names)}; name one: --{field} {names[0]!r}"
    )


def _numeric(cells: Sequence[str]) -> bool:
    return all(cell.strip().replace(".", "", 1).lstrip("+-").isdecimal() for cell in cells)
