"""The public data sets quality is measured on, read from the folder that CELLGATE_DATA names.

Nothing here fetches anything; a set keeps the split of its source where it has one, so test rows never reach a
training. One without is split here, by distinct text: five folds, or a fifth held out.
"""

import csv
import gzip
import json
import os
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from cellgate.errors import DataError, UsageError, listed, nearest
from cellgate.metrics import Labels, labels_of

_VARIABLE = "CELLGATE_DATA"
LABELS_END = ";"

Example = tuple[str, Labels]  # a text and its label, or its labels
_FOLDS = 5
_FOLDERS = {  # of sets that are another use of a folder
    "ag_news_noisy": "ag_news",
    "chnsenticorp_unseen": "chnsenticorp",
    "clinc150_scope": "clinc150",
    "imdb_1000": "imdb",
    "imdb_1000_pretrained": "imdb",
    "imdb_to_mr": "mr",
    "imdb_to_sst2": "sst2",
}


@dataclass(frozen=True)
class Splits:
    """A data set's rows, each a text and its label; without `dev`, dev is held out from `train` by the trainer."""

    train: Sequence[Example]
    dev: Sequence[Example] | None
    test: Sequence[Example]
    positive: str = ""  # the label whose F1 is told, where one of two is what is looked for
    out_of_scope: str = ""  # the label of texts that fit none
    unlabelled: Sequence[str] = ()  # texts whose language is learned first, and that a first model answers

    @property
    def several(self) -> bool:
        """Whether a text may have several labels."""
        return not isinstance(self.train[0][1], str)

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
    return root_folder(_FOLDERS.get(name, name))


def root_folder(name: str) -> Path:
    """The folder of that name under CELLGATE_DATA; UsageError where there is none."""
    root = os.environ.get(_VARIABLE)
    if not root:
        raise UsageError(f"{_VARIABLE} is not set; let it name the folder that holds the data set's folder {name!r}")
    folder = Path(root) / name
    if not folder.is_dir():
        raise UsageError(f"no folder {str(folder)!r}; put the data set there, or let {_VARIABLE} name another folder")
    return folder


def load(name: str) -> Splits:
    """Read a set whole; of one in folds, the first."""
    return folds(name)[0]


def folds(name: str) -> list[Splits]:
    """Read a set whole: its one split, or all its folds."""
    folder = find(name)
    try:
        read = _READERS[name](folder)
    except (OSError, EOFError, zlib.error, ValueError, LookupError, csv.Error) as error:
        raise DataError(f"{folder} is not as the data set {name!r} should be ({error}); copy it there again") from error
    found = [read] if isinstance(read, Splits) else read
    for splits in found:
        for part, rows in (("train", splits.train), ("dev", splits.dev), ("test", splits.test)):
            if rows is not None and not rows:
                raise DataError(f"{folder}: no {part} rows of the data set {name!r}; copy it there again")
    return found


def write_csv(path: Path, rows: Iterable[Example]) -> None:
    """Write rows as a user has them: UTF-8, columns `text` and `label`, several labels with LABELS_END between."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows((text, LABELS_END.join(labels_of(label))) for text, label in rows)


def write_texts(path: Path, texts: Iterable[str]) -> None:
    """Write texts as a user has them: UTF-8, a column `text`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text",))
        writer.writerows((text,) for text in texts)


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
    return Splits(_imdb_rows(folder, "train"), None, _imdb_rows(folder, "test"))


def _imdb_1000(folder: Path) -> Splits:
    """A thousand of its labels."""
    whole = _imdb(folder)
    return replace(whole, train=whole.train[:1_000])


def _imdb_1000_pretrained(folder: Path) -> Splits:
    """And the texts of all training rows without theirs."""
    return replace(_imdb_1000(folder), unlabelled=[text for text, _ in _imdb(folder).train])


def _imdb_rows(folder: Path, part: str) -> list[Example]:
    cells = _columns(folder / f"{part}.tsv.gz", ("label", "rating", "id", "text"))
    return _shuffled([(text, label) for label, _, _, text in cells])


def _banking77(folder: Path) -> Splits:
    def rows(part: str) -> list[Example]:
        with (folder / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            return [(row["text"], row["category"]) for row in csv.DictReader(file, strict=True)]

    return Splits(rows("train"), None, rows("test"))


def _chnsenticorp(folder: Path) -> Splits:
    def rows(name: str) -> list[Example]:
        return [(text, label) for label, text in _columns(folder / name, ("label", "text_a"))]

    return Splits(rows("train.tsv.gz"), rows("dev.tsv"), rows("test.tsv"))


def _chnsenticorp_unseen(folder: Path) -> Splits:
    """Judged by the test rows alone whose texts no training row has."""
    splits = _chnsenticorp(folder)
    seen = {text for text, _ in splits.train}
    return replace(splits, test=[row for row in splits.test if row[0] not in seen])


def _sst2(folder: Path) -> Splits:
    def rows(part: str) -> list[Example]:
        return [(text, label) for text, label in _columns(folder / f"{part}.tsv")]

    return Splits(rows("train"), rows("dev"), rows("test"))


def _trec(folder: Path) -> Splits:
    def rows(part: str) -> list[Example]:
        found: list[Example] = []
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


def _clinc150_scope(folder: Path) -> Splits:
    parts = json.loads("\n".join(_lines(folder / "data_full.json.gz")))

    def rows(part: str) -> list[Example]:
        return [(text, intent) for name in (part, f"oos_{part}") for text, intent in parts[name]]

    return Splits(_shuffled(rows("train")), rows("val"), rows("test"), out_of_scope="oos")


def _thucnews_titles(folder: Path) -> Splits:
    labels = list(_lines(folder / "class.txt"))

    def rows(name: str) -> list[Example]:
        return [(text, labels[int(number)]) for text, number in _columns(folder / name)]

    return Splits(_shuffled(rows("train_60k.txt.gz")), rows("dev.txt"), rows("test.txt"))


def _sms_spam(folder: Path) -> list[Splits]:
    rows: list[Example] = [(text, label) for label, text in _columns(folder / "SMSSpamCollection.tsv")]
    return _in_folds(rows, positive="spam")


def _financial_phrasebank(folder: Path) -> list[Splits]:
    parted = (line.rpartition("@") for line in _lines(folder / "Sentences_50Agree.txt"))
    return _in_folds([(text, label) for text, _, label in parted])


def _toutiao(folder: Path) -> Splits:
    def rows(part: str) -> list[Example]:
        return [(row["text"], row["label"]) for row in _dicts(folder / f"{part}.csv")]

    return Splits(rows("train"), rows("dev"), rows("test"))


def _dbpedia14(folder: Path) -> Splits:
    names = list(_lines(folder / "classes.txt"))
    with gzip.open(folder / "train.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows: list[Example] = [(text, names[int(number)]) for number, text in csv.reader(file, strict=True)]
    return _in_folds(rows)[0]


def _reuters21578(folder: Path) -> Splits:
    """The ModApte split: documents with topics assigned by hand (none is an assignment too), title and body."""
    rows: dict[str, list[Example]] = {"TRAIN": [], "TEST": []}
    columns = ("newid", "lewissplit", "topics_attr", "topics", "title", "body")
    for _, part, assigned, topics, title, body in _columns(folder / "reuters21578.tsv.gz", columns):
        if assigned == "YES" and part in rows:
            rows[part].append((f"{title} . {body}", tuple(topics.split(",")) if topics else ()))
    return Splits(_shuffled(rows["TRAIN"]), None, rows["TEST"])


def _ag_news_noisy(folder: Path) -> Splits:
    """Trained on labels of which a fifth are wrong, tested on right ones."""
    noisy = _dicts(folder / "train_subset_noisyag_10000.csv.gz")
    train: list[Example] = [(row["text"], row["label"]) for row in noisy]
    with gzip.open(folder / "test.csv.gz", "rt", encoding="utf-8", newline="") as file:
        test: list[Example] = [
            (f"{title} . {text}", str(int(number) - 1)) for number, title, text in csv.reader(file, strict=True)
        ]
    return Splits(train, None, test)


def _dicts(path: Path) -> list[dict[str, str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def _in_folds(rows: Iterable[Example], positive: str = "") -> list[Splits]:
    """Split into five by distinct text, mixed in the same way every time; each is tested on what it did not see."""
    distinct = _shuffled(list({text: (text, label) for text, label in rows}.values()))
    parts = [distinct[place::_FOLDS] for place in range(_FOLDS)]
    return [Splits([row for part in parts if part is not test for row in part], None, test, positive) for test in parts]


def _trained_on_imdb(name: str) -> Callable[[Path], Splits]:
    """Another set's test rows for a model of film reviews."""

    def read(folder: Path) -> Splits:
        train = _imdb_rows(folder.with_name("imdb"), "train")
        if name == "sst2":
            test: list[Example] = [(text, "pos" if label == "1" else "neg") for text, label in _sst2(folder).test]
        else:
            test = [(text, kind) for kind in ("pos", "neg") for text in _lines(folder / f"rt-polarity.{kind}")]
        return Splits(train, None, test)

    return read


_READERS: dict[str, Callable[[Path], Splits | list[Splits]]] = {
    "ag_news_noisy": _ag_news_noisy,
    "banking77": _banking77,
    "chnsenticorp": _chnsenticorp,
    "chnsenticorp_unseen": _chnsenticorp_unseen,
    "clinc150": _clinc150,
    "clinc150_scope": _clinc150_scope,
    "dbpedia14": _dbpedia14,
    "financial_phrasebank": _financial_phrasebank,
    "imdb": _imdb,
    "imdb_1000": _imdb_1000,
    "imdb_1000_pretrained": _imdb_1000_pretrained,
    "imdb_to_mr": _trained_on_imdb("mr"),
    "imdb_to_sst2": _trained_on_imdb("sst2"),
    "reuters21578": _reuters21578,
    "sms_spam": _sms_spam,
    "sst2": _sst2,
    "thucnews_titles": _thucnews_titles,
    "toutiao_5k": _toutiao,
    "trec": _trec,
}
