"""The public texts that language models are measured on, as files that a user would have."""

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

from cellgate.bench.file_sets import FileSets, SetFiles

_TENTH, _TWENTIETH = 10, 20


def _tiny_shakespeare(folder: Path, made: Path) -> SetFiles:
    """The last tenth is test, as char-rnn and its heirs split it.

    Little is held out: the text before test is the beginning of its first play (docs/design.md).
    """
    text = (folder / "input.txt").read_text("utf-8")
    end = len(text) * (_TENTH - 1) // _TENTH
    (made / "train.txt").write_text(text[:end], "utf-8")
    (made / "test.txt").write_text(text[end:], "utf-8")
    flags = ("--text.unit", "character", "--train.dev-fraction", "0.02")
    return SetFiles(made / "train.txt", None, made / "test.txt", flags)


def _wikitext2(folder: Path, made: Path) -> SetFiles:  # noqa: ARG001  all are read by the same call
    """Words as they are cut in the source, each line end one of them; as many epochs as fit the minutes allowed."""
    train, dev, test = (folder / f"wiki.{part}.txt.gz" for part in ("train", "valid", "test"))
    flags = ("--text.unit", "word", "--text.min-count", "1", "--writer.layers", "1", "--train.epochs", "8")
    return SetFiles(train, dev, test, flags)


def _chinese_poetry(folder: Path, made: Path) -> SetFiles:
    """Poems of Tang, each distinct one once; a twentieth of them is dev, a twentieth test; a line a paragraph."""
    texts: dict[str, None] = {}
    for path in sorted(folder.glob("poet.tang.*.json.gz")):
        for poem in json.loads(gzip.decompress(path.read_bytes())):
            texts["\n".join(poem["paragraphs"])] = None
    poems = [text for text in texts if text.strip()]
    random.Random(0).shuffle(poems)
    size = len(poems) // _TWENTIETH
    parts = {"test": poems[:size], "dev": poems[size : 2 * size], "train": poems[2 * size :]}
    train, dev, test = (_jsonl(made / f"{part}.jsonl", parts[part]) for part in ("train", "dev", "test"))
    return SetFiles(train, dev, test, ("--text.unit", "character"))


def _jsonl(path: Path, texts: Sequence[str]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    return path


SETS = FileSets(
    {
        "chinese_poetry": ("chinese_poetry", _chinese_poetry),
        "tiny_shakespeare": ("tiny_shakespeare", _tiny_shakespeare),
        "wikitext2": ("wikitext2", _wikitext2),
    }
)
