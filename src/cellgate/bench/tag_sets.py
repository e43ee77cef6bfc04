"""The public data sets of the task `tag`, as files that its user would have.

Most lie there as they are read; two are written anew: one marks its tokens with the language, one is JSON of its own
kind. Where a set has no test rows with answers, its dev rows are the test and dev is held out from train.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cellgate.bench.sets import root_folder
from cellgate.errors import DataError, UsageError, listed, nearest


@dataclass(frozen=True)
class TagFiles:
    """Files to train on, to choose by (None: held out) and to judge by, and flags that name their columns."""

    train: Path
    dev: Path | None
    test: Path
    flags: tuple[str, ...] = ()


def names() -> list[str]:
    """Names of the sets that can be measured."""
    return sorted(_READERS)


def find(name: str) -> Path:
    """Return the folder of a set; UsageError where the name, CELLGATE_DATA or the folder is wrong."""
    if name not in _READERS:
        raise UsageError(f"no data set {name!r}{nearest(name, names()) or f'; data sets: {listed(names())}'}")
    return root_folder(name.removesuffix(_WORDS))


def files(name: str, made: Path) -> TagFiles:
    """The files of a set; what has to be written anew goes into the folder `made`."""
    folder = find(name)
    try:
        return _READERS[name](folder, made)
    except (OSError, EOFError, zlib.error, ValueError, LookupError) as error:
        raise DataError(f"{folder} is not as the data set {name!r} should be ({error}); copy it there again") from error


_WORDS = "_words"
_WORD_FLAGS = ("--text", "raw", "--spans", "words")
_TAG_FLAGS = ("--text", "tokens", "--spans", "upos")


def _in(folder: Path, train: str, dev: str, test: str, flags: tuple[str, ...] = ()) -> TagFiles:
    return TagFiles(folder / train, folder / dev, folder / test, flags)


def _resume(folder: Path, made: Path) -> TagFiles:  # noqa: ARG001  all are read by the same call
    return _in(folder, "train.char.bmes", "dev.char.bmes", "test.char.bmes")


def _msra(folder: Path, made: Path) -> TagFiles:  # noqa: ARG001
    return TagFiles(folder / "train.txt.gz", None, folder / "test.txt.gz")


def _wnut(folder: Path, made: Path) -> TagFiles:  # noqa: ARG001
    return _in(folder, "wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")


def _wikiann(folder: Path, made: Path) -> TagFiles:
    """Written without the language before each token."""
    for part in ("train", "dev", "test"):
        lines = (line.removeprefix("en:") for line in _lines(folder / f"{part}.tsv.gz"))
        (made / f"{part}.conll").write_text("".join(lines), "utf-8")
    return _in(made, "train.conll", "dev.conll", "test.conll")


def _cluener(folder: Path, made: Path) -> TagFiles:
    """Written with spans whose ends are not included; the rows called test have no answers."""
    for part, name in (("train", "train.json.gz"), ("test", "dev.json")):
        with (made / f"{part}.jsonl").open("w", encoding="utf-8") as file:
            for line in _lines(folder / name):
                row = json.loads(line)
                spans = [
                    (start, end + 1, label)
                    for label, found in row["label"].items()
                    for places in found.values()
                    for start, end in places
                ]
                file.write(json.dumps({"text": row["text"], "spans": sorted(spans)}, ensure_ascii=False) + "\n")
    return TagFiles(made / "train.jsonl", None, made / "test.jsonl", ("--overlaps", "longest"))


def _english(folder: Path, made: Path) -> TagFiles:  # noqa: ARG001
    train, dev, test = (f"en_ewt-ud-{part}.conllu.gz" for part in ("train", "dev", "test"))
    return _in(folder, train, dev, test, _TAG_FLAGS)


def _chinese(flags: tuple[str, ...]) -> Callable[[Path, Path], TagFiles]:
    def read(folder: Path, made: Path) -> TagFiles:  # noqa: ARG001
        return _in(folder, "zh-ud-train.conllu.gz", "zh-ud-dev.conllu", "zh-ud-test.conllu", flags)

    return read


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        yield from file


_READERS: dict[str, Callable[[Path, Path], TagFiles]] = {
    "cluener2020": _cluener,
    "msra_ner": _msra,
    "resume_ner": _resume,
    "ud_chinese_gsd_v1": _chinese(_TAG_FLAGS),
    "ud_chinese_gsd_v1" + _WORDS: _chinese(_WORD_FLAGS),
    "ud_english_ewt": _english,
    "wikiann_en": _wikiann,
    "wnut17": _wnut,
}
