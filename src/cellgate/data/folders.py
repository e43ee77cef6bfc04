"""A folder for each label: the folder's name is the label, each file in it is a text.

reviews/neg/1.txt, reviews/neg/2.txt, reviews/pos/1.txt
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from cellgate.data import files
from cellgate.data.rows import Problems, RowFile, TableRow, check_names
from cellgate.errors import DataError, counted, listed

_HEADING = ("text", "label")
_PARTS = {"train", "training", "test", "testing", "dev", "val", "valid", "validation", "eval", "evaluation"}


@dataclass(frozen=True)
class ClassFolder(RowFile):
    """The texts of one label; files are read in the order of their names."""

    named: ClassVar[bool] = True

    def check(self, columns: Mapping[str, str], *, header: bool) -> None:  # noqa: ARG002
        """Stop with DataError unless all `columns` are text and label."""
        check_names(self, columns)

    def rows(
        self,
        columns: Mapping[str, str],
        skipped: Problems | None,
        *,
        several: Collection[str],  # noqa: ARG002  a folder has one name
        header: bool,  # noqa: ARG002
    ) -> Iterator[TableRow]:
        """Read from the start; each row is a file."""
        check_names(self, columns)
        decoder = files.marking_decoder(self.encoding)
        for file in _texts(self.path):
            path = os.path.join(self.path, file)
            with files.readable(path), open(path, "rb") as stream:
                text = decoder.decode(stream.read(), final=True)
            decoder.reset()
            if wrong := files.flaw(text, self.encoding):
                if skipped is None:
                    raise DataError(f"{path}: {wrong}: {files.ENCODING_REMEDY}")
                skipped.add(f"{path}: {wrong}")
                continue
            cells = {"text": text.removeprefix("\ufeff").strip(), "label": _label(self.path)}
            yield TableRow({field: cells[column] for field, column in columns.items()}, path, 1)

    def sample(self) -> Iterator[Sequence[str]]:
        """Yield texts and labels."""
        columns = {name: name for name in _HEADING}
        return (list(map(str, row.values.values())) for row in self.rows(columns, Problems(), several=(), header=True))


def open_folders(path: str, encoding: str | None = None) -> tuple[ClassFolder, ...]:
    """Open the labels' folders inside a folder, or the folder itself where it holds texts and no folders."""
    path = os.path.normpath(path)
    with files.readable(path):
        inside = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and _is_seen(entry.name))
        beside = [entry.name for entry in os.scandir(path) if entry.is_file() and _is_seen(entry.name)]
    counts = {each: len(_texts(os.path.join(path, each))) for each in inside or ["."]}
    labels = [each for each, count in counts.items() if count]
    _refuse_parts(path, inside, labels)
    if not labels:
        raise files.no_files(path)
    if not inside:
        note = f"{path}: {counted(counts['.'], 'text')} of label {_label(path)!r}, each a file"
    else:
        held = listed(f"{label} ({counted(counts[label], 'text')})" for label in labels)
        note = f"{path}: a folder for each label: {held}"
        left = [f"{each}/" for each in inside if each not in labels] + sorted(beside)
        note += f"; not read: {listed(left, 5)}" if left else ""
    folders = [os.path.normpath(os.path.join(path, label)) for label in labels]
    found, told = files.find_encoding(path, _sample(folders), encoding)
    notes = [(*told, note)] + [()] * (len(folders) - 1)
    return tuple(ClassFolder(each, each, found, _HEADING, said) for each, said in zip(folders, notes, strict=True))


def _label(folder: str) -> str:
    return os.path.basename(os.path.abspath(folder))


def _is_seen(name: str) -> bool:
    return not name.startswith((".", "__"))


def _texts(folder: str) -> list[str]:
    """Names of a folder's texts: its .txt files; in a folder without any file ending, all."""
    with files.readable(folder):
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and _is_seen(entry.name))
    texts = [name for name in names if name.lower().endswith(".txt")]
    return texts or ([] if any(os.path.splitext(name)[1] for name in names) else names)


def _refuse_parts(path: str, inside: Sequence[str], labels: Sequence[str]) -> None:
    """A folder of train/ and test/ is no folder of labels."""
    parts = [each for each in inside if each.casefold() in _PARTS]
    if parts and (len(parts) == len(inside) or not labels):
        first = next((each for each in parts if each.casefold().startswith("train")), parts[0])
        raise DataError(
            f"{path!r} holds {listed(parts)}, which are parts of a data set and no labels: "
            f"name one, such as {os.path.join(path, first)!r}"
        )


def _sample(folders: Sequence[str]) -> bytes:
    """Read the first files of each folder, a fair share of the sample each."""
    share, sample = files.SAMPLE_BYTES // len(folders), bytearray()
    for folder in folders:
        end = len(sample) + share
        for name in _texts(folder):
            if len(sample) >= end:
                break
            path = os.path.join(folder, name)
            with files.readable(path), open(path, "rb") as stream:
                piece = stream.read(end - len(sample))
            if len(sample) + len(piece) == end:  # cut: what stands behind the last line end may be half a character
                piece = piece[: piece.rfind(b"\n") + 1] or piece[: piece.rfind(b" ") + 1]
            sample += piece + b"\n"
    return bytes(sample)
