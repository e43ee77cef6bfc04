"""The public data sets quality is measured on, read from the folder that CELLGATE_DATA names.

Nothing here fetches anything; every set keeps the split of its source, so test rows never reach a training.
"""

import csv
import gzip
import json
import os
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cellgate.errors import DataError, UsageError, listed, nearest

_VARIABLE = "CELLGATE_DATA"

Example = tuple[str, str]  # a text and its label


@dataclass(frozen=True)
class Splits:
    """A data set's rows, each a text and its label; without `dev`, dev is held out from `train` by the trainer."""

    train: list[Example]
    dev: list[Example] | None
    test: list[Example]

    @property
    def test_texts_in_train(self) -> int:
        """How many test rows have a text that also stands in `train` (some sources repeat themselves)."""
        seen = {text for text, _ in self.train}
        return sum(text in seen for text, _ in self.test)


def names() -> list[str]:
    """Names of the sets that can be measured."""
    return sorted(_READERS)


def find(name: str) -> Path:
    """Return the folder of a set; UsageError where the name, CELLGATE_DATA or the folder is wrong."""
    if name not in _READERS:
        raise UsageError(f"no data set {name!r}{nearest(name, names()) or f'; data sets: {listed(names())}'}")
    root = os.environ.get(_VARIABLE)
    if not root:
        raise UsageError(f"{_VARIABLE} is not set; let it name the folder that holds the data set's folder {name!r}")
    folder = Path(root) / name
    if not folder.is_dir():
        raise UsageError(f"no folder {str(folder)!r}; put the data set there, or let {_VARIABLE} name another folder")
    return folder


def load(name: str) -> Splits:
    """Read a set whole."""
    folder = find(name)
    try:
        splits = _READERS[name](folder)
    except (OSError, EOFError, zlib.error, ValueError, LookupError, csv.Error) as error:
        raise DataError(f"{folder} is not as the data set {name!r} should be ({error}); copy it there again") from error
    for part, rows in (("train", splits.train), ("dev", splits.dev), ("test", splits.test)):
        if rows is not None and not rows:
            raise DataError(f"{folder}: no {part} rows of the data set {name!r}; copy it there again")
    return splits


def write_csv(path: Path, rows: Iterable[Example]) -> None:
    """Write rows as a user would have them: UTF-8, columns `text` and `label`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(rows)


def _lines(path: Path) -> Iterator[str]:
    r"""Yield a file's lines, ended by \n alone: some texts hold \r, U+0085 or other line ends of Unicode."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") if path.suffix == ".gz" else _plain(path) as file:
        for line in file:
            yield line.removesuffix("\n")


def _plain(path: Path) -> TextIO:
    return path.open(encoding="utf-8", newline="\n")


def _columns(path: Path, columns: Sequence[str] = ()) -> Iterator[list[str]]:
    """Yield the cells between tabs, where quotes are text; `columns` is the header the file must have, if any."""
    lines = _lines(path)
    width = len(columns) or 2
    if columns and next(lines, "").split("\t") != list(columns):
        raise ValueError(f"{path.name} does not begin with {' '.join(columns)}")
    for number, line in enumerate(lines, start=2 if columns else 1):
        cells = line.split("\t")
        if len(cells) != width:
            raise ValueError(f"{path.name} line {number} has {len(cells)} cells, not {width}")
        yield cells


def _shuffled(rows: list[Example]) -> list[Example]:
    """Mix rows that lie sorted by label, in the same way every time."""
    random.Random(0).shuffle(rows)
    return rows


def _imdb(folder: Path) -> Splits:
    def rows(part: str) -> list[Example]:
        cells = _columns(folder / f"{part}.tsv.gz", ("label", "rating", "id", "text"))
        return _shuffled([(text, label) for label, _, _, text in cells])

    return Splits(rows("train"), None, rows("test"))


def _banking77(folder: Path) -> Splits:
    def rows(part: str) -> list[Example]:
        with (folder / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            return [(row["text"], row["category"]) for row in csv.DictReader(file, strict=True)]

    return Splits(rows("train"), None, rows("test"))


def _chnsenticorp(folder: Path) -> Splits:
    def rows(name: str) -> list[Example]:
        return [(text, label) for label, text in _columns(folder / name, ("label", "text_a"))]

    return Splits(rows("train.tsv.gz"), rows("dev.tsv"), rows("test.tsv"))


def _sst2(folder: Path) -> Splits:
    def rows(part: str) -> list[Example]:
        return [(text, label) for text, label in _columns(folder / f"{part}.tsv")]

    return Splits(rows("train"), rows("dev"), rows("test"))


def _trec(folder: Path) -> Splits:
    def rows(part: str) -> list[Example]:
        found = []
        for line in _lines(folder / f"TREC.{part}"):
            kind, _, text = line.partition(" ")
            found.append((text, kind.partition(":")[0]))
        return found

    return Splits(rows("train"), None, rows("test"))


def _clinc150(folder: Path) -> Splits:
    parts = json.loads("\n".join(_lines(folder / "data_full.json.gz")))

    def rows(part: str) -> list[Example]:  # the parts named oos_* are out of scope: no intent of the 150
        return [(text, intent) for text, intent in parts[part]]

    return Splits(_shuffled(rows("train")), rows("val"), rows("test"))


def _thucnews_titles(folder: Path) -> Splits:
    labels = list(_lines(folder / "class.txt"))

    def rows(name: str) -> list[Example]:
        return [(text, labels[int(number)]) for text, number in _columns(folder / name)]

    return Splits(_shuffled(rows("train_60k.txt.gz")), rows("dev.txt"), rows("test.txt"))


_READERS: dict[str, Callable[[Path], Splits]] = {
    "banking77": _banking77,
    "chnsenticorp": _chnsenticorp,
    "clinc150": _clinc150,
    "imdb": _imdb,
    "sst2": _sst2,
    "thucnews_titles": _thucnews_titles,
    "trec": _trec,
}
