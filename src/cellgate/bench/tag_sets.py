"""The public data sets of the task `tag`, as files that its user would have.

Most lie there as they are read; two are written anew: one marks its tokens with the language, one is JSON of its own
kind. Where a set has no test rows with answers, its dev rows are the test and dev is held out from train.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from cellgate.bench.file_sets import FileSets, Reader, SetFiles

_WORD_FLAGS = ("--text", "raw", "--spans", "words")
_TAG_FLAGS = ("--text", "tokens", "--spans", "upos")


def _in(folder: Path, train: str, dev: str, test: str, flags: tuple[str, ...] = ()) -> SetFiles:
    return SetFiles(folder / train, folder / dev, folder / test, flags)


def _resume(folder: Path, made: Path) -> SetFiles:  # noqa: ARG001  all are read by the same call
    return _in(folder, "train.char.bmes", "dev.char.bmes", "test.char.bmes")


def _msra(folder: Path, made: Path) -> SetFiles:  # noqa: ARG001
    return SetFiles(folder / "train.txt.gz", None, folder / "test.txt.gz")


def _wnut(folder: Path, made: Path) -> SetFiles:  # noqa: ARG001
    return _in(folder, "wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")


def _wikiann(folder: Path, made: Path) -> SetFiles:
    """Written without the language before each token."""
    for part in ("train", "dev", "test"):
        lines = (line.removeprefix("en:") for line in _lines(folder / f"{part}.tsv.gz"))
        (made / f"{part}.conll").write_text("".join(lines), "utf-8")
    return _in(made, "train.conll", "dev.conll", "test.conll")


def _cluener(folder: Path, made: Path) -> SetFiles:
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
    return SetFiles(made / "train.jsonl", None, made / "test.jsonl", ("--overlaps", "longest"))


def _english(folder: Path, made: Path) -> SetFiles:  # noqa: ARG001
    train, dev, test = (f"en_ewt-ud-{part}.conllu.gz" for part in ("train", "dev", "test"))
    return _in(folder, train, dev, test, _TAG_FLAGS)


def _chinese(flags: tuple[str, ...]) -> Reader:
    def read(folder: Path, made: Path) -> SetFiles:  # noqa: ARG001
        return _in(folder, "zh-ud-train.conllu.gz", "zh-ud-dev.conllu", "zh-ud-test.conllu", flags)

    return read


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        yield from file


SETS = FileSets(
    {
        "cluener2020": ("cluener2020", _cluener),
        "msra_ner": ("msra_ner", _msra),
        "resume_ner": ("resume_ner", _resume),
        "ud_chinese_gsd_v1": ("ud_chinese_gsd_v1", _chinese(_TAG_FLAGS)),
        "ud_chinese_gsd_v1_words": ("ud_chinese_gsd_v1", _chinese(_WORD_FLAGS)),
        "ud_english_ewt": ("ud_english_ewt", _english),
        "wikiann_en": ("wikiann_en", _wikiann),
        "wnut17": ("wnut17", _wnut),
    }
)
