"""The public texts that language models are measured on, as files that a user would have."""

import gzip
import json
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellgate.bench.sets import root_folder
from cellgate.errors import DataError, UsageError, listed, nearest

_PART = 10  # a tenth is dev, a tenth is test, where the source has no split


@dataclass(frozen=True)
class TextFiles:
    """Files to train on, to choose by (None: held out) and to judge by; settings that differ from the usual ones."""

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
    return root_folder(name)


def files(name: str, made: Path) -> TextFiles:
    """The files of a set, written into the folder `made` where they do not lie there as they are read."""
    folder = find(name)
    try:
        return _READERS[name](folder, made)
    except (OSError, EOFError, zlib.error, ValueError, LookupError) as error:
        raise DataError(f"{folder} is not as the data set {name!r} should be ({error}); copy it there again") from error


def _tiny_shakespeare(folder: Path, made: Path) -> TextFiles:
    """The last tenth is test, as char-rnn and its heirs split it."""
    text = (folder / "input.txt").read_text("utf-8")
    end = len(text) * (_PART - 1) // _PART
    (made / "train.txt").write_text(text[:end], "utf-8")
    (made / "test.txt").write_text(text[end:], "utf-8")
    flags = ("--text.unit", "character", "--train.dev-fraction", "0.05", "--train.epochs", "6")
    return TextFiles(made / "train.txt", None, made / "test.txt", flags)


def _wikitext2(folder: Path, made: Path) -> TextFiles:  # noqa: ARG001  all are read by the same call
    """Words as they are cut in the source, each line end one of them."""
    train, dev, test = (folder / f"wiki.{part}.txt.gz" for part in ("train", "valid", "test"))
    flags = ("--text.unit", "word", "--text.min-count", "1", "--writer.layers", "1", "--train.epochs", "5")
    return TextFiles(train, dev, test, flags)


def _chinese_poetry(folder: Path, made: Path) -> TextFiles:
    """Poems of Tang and lyrics of Song, each distinct one once, split by poem; a line a paragraph."""
    texts: dict[str, None] = {}
    for path in [*sorted(folder.glob("poet.tang.*.json.gz")), *sorted(folder.glob("ci.song.*.json.gz"))]:
        for poem in json.loads(gzip.decompress(path.read_bytes())):
            texts["\n".join(poem["paragraphs"])] = None
    poems = [text for text in texts if text.strip()]
    random.Random(0).shuffle(poems)
    size = len(poems) // _PART
    parts = {"test": poems[:size], "dev": poems[size : 2 * size], "train": poems[2 * size :]}
    train, dev, test = (_jsonl(made / f"{part}.jsonl", parts[part]) for part in ("train", "dev", "test"))
    return TextFiles(train, dev, test, ("--text.unit", "character"))


def _jsonl(path: Path, texts: Sequence[str]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    return path


_READERS: dict[str, Callable[[Path, Path], TextFiles]] = {
    "chinese_poetry": _chinese_poetry,
    "tiny_shakespeare": _tiny_shakespeare,
    "wikitext2": _wikitext2,
}
