"""From documents to one encoded text on disk: split, learn the codecs, encode once."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cellgate import codecs
from cellgate.batch import Ids, Ints, Ragged, chunked
from cellgate.codecs import NextCodec, UnitsCodec
from cellgate.codecs.units import UNKNOWN_ID, Piece, cut, most_tokens
from cellgate.config import TaskConfig, UnitsConfig
from cellgate.data.batching import split
from cellgate.data.cache import RowWriter, open_rows
from cellgate.data.streams import Stream
from cellgate.errors import DataError, counted, listed
from cellgate.fit.events import Event, Note, Work
from cellgate.task import Row, Task
from cellgate.text.units import PIECE

_CHUNK_PIECES, _CHUNK_CHARACTERS = 1_000, 1_000_000
_FEW = 20  # documents, below which dev is the end of the text and not some of them
_MOST_DEV = 200_000  # characters held out, about: some 50,000 words, near what judges at most (`text_training`)
_LEAST_PIECE = 128  # characters
_LEAST = 32  # tokens to learn from, and to judge by
_MOST_UNKNOWN = 0.02  # share of unknown tokens from which it is said


@dataclass(frozen=True, slots=True)
class TextFacts:
    """What was counted while preparing; it stands in bundle.json."""

    rows: int  # documents
    dev_given: bool
    characters: int
    tokens: int  # to train on
    dev_tokens: int
    unknown: int  # of those to train on
    vocabulary: int
    mean_tokens: float  # of a document
    rows_by_label: dict[str, int]


@dataclass(frozen=True, slots=True)
class PreparedText:
    """The encoded text, the codecs that made it, and what of it is dev."""

    source: UnitsCodec
    target: NextCodec
    train: Stream
    dev: Ids
    facts: TextFacts


def load_prepared_text(folder: Path) -> PreparedText:
    """Open what `prepare_text` left in `folder`."""
    state = json.loads((folder / "codec.json").read_text("utf-8"))
    source, target = codecs.load(folder, state["source"]), codecs.load(folder, state["target"])
    if not isinstance(source, UnitsCodec) or not isinstance(target, NextCodec):
        raise DataError(f"{folder} was prepared for another task; delete it to begin anew")
    tokens = open_rows(folder).columns["tokens"]
    trains, begins = np.load(folder / "train.npy"), np.load(folder / "begins.npy")
    lengths = tokens.lengths
    starts = np.concatenate(([0], np.cumsum(lengths[trains])))[:-1]
    train = Stream(_chosen(tokens, trains), np.unique(np.append(0, starts[begins[trains]])))
    facts = TextFacts(**json.loads((folder / "facts.json").read_text("utf-8")))
    return PreparedText(source, target, train, _chosen(tokens, ~trains), facts)


def _chosen(tokens: Ragged, pieces: npt.NDArray[np.bool_]) -> Ids:
    chosen: Ids = tokens.values[np.repeat(pieces, tokens.lengths)]
    return chosen


def prepare_text(
    task: Task, config: TaskConfig, train: Iterable[Row], dev: Iterable[Row] | None, folder: Path
) -> Iterator[Event]:
    """Read `train` four times and `dev` twice; leave in `folder` what `load_prepared_text` opens.

    A short text of few documents is read once more, in smaller pieces. DataError for texts that nothing can be learned
    from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    yield Work("reading", 0, None)
    survey, size = _survey(_pieces(train, PIECE)), PIECE
    if (
        dev is None and survey.documents < _FEW and survey.characters < 100 * PIECE
    ):  # its end is held out in whole pieces
        size = max(_LEAST_PIECE, survey.characters // 100)
        survey = _survey(_pieces(train, size))
    held = 0 if dev is None else sum(1 for _ in _pieces(dev, size))
    trains = np.append(survey.trained(config) if dev is None else survey.all, np.zeros(held, np.bool_))
    yield Work("learning the vocabulary", 0, None)
    source = task.source(config)(_Pieces(train, size, trains))
    writer = RowWriter(folder)
    counts, dev_tokens = np.zeros(len(source), np.int64), 0
    try:
        for group in _groups(chain(_pieces(train, size), _pieces(dev or (), size))):
            here = trains[writer.rows : writer.rows + len(group)]
            encoded = source.stream(group)
            writer.add({"tokens": Ragged.of(encoded)})
            for tokens, trained in zip(encoded, here.tolist(), strict=True):
                if trained:
                    counts += np.bincount(tokens, minlength=len(source))
                else:
                    dev_tokens += len(tokens)
            yield Work("encoding", writer.rows, len(trains))
        for number, what in ((int(counts.sum()), "train on"), (dev_tokens, "judge by (dev)")):
            if number < _LEAST:
                few = counted(number, "token is", "tokens are")
                raise DataError(f"{few} too few to {what}; give at least {_LEAST}, or another dev file")
        facts = TextFacts(
            rows=survey.documents,
            dev_given=dev is not None,
            characters=survey.characters,
            tokens=int(counts.sum()),
            dev_tokens=dev_tokens,
            unknown=int(counts[UNKNOWN_ID]),
            vocabulary=len(source),
            mean_tokens=source.mean_tokens,
            rows_by_label=survey.by_label,
        )
        target = task.target(config)(source.names, counts.tolist())
        state = {"source": codecs.save(source, folder), "target": codecs.save(target, folder)}
        (folder / "codec.json").write_text(json.dumps(state, ensure_ascii=False), "utf-8")
        (folder / "facts.json").write_text(json.dumps(asdict(facts), ensure_ascii=False), "utf-8")
        np.save(folder / "train.npy", trains)
        np.save(folder / "begins.npy", np.append(survey.begins, np.zeros(held, np.bool_)))
        writer.finish()
    finally:
        writer.close()


@dataclass(frozen=True, slots=True)
class _Survey:
    """What the pieces of the training files are: their characters, whether a document begins; and documents' labels."""

    sizes: Ints
    begins: npt.NDArray[np.bool_]
    labels: list[str]  # empty: none

    @property
    def documents(self) -> int:
        """How many there are."""
        return int(self.begins.sum())

    @property
    def characters(self) -> int:
        """Of all of them."""
        return int(self.sizes.sum())

    @property
    def by_label(self) -> dict[str, int]:
        """Documents of each label."""
        counts = Counter(filter(None, self.labels))
        return dict(sorted(counts.items()))

    @property
    def all(self) -> npt.NDArray[np.bool_]:
        """All of them."""
        return np.ones(len(self.sizes), np.bool_)

    def trained(self, config: TaskConfig) -> npt.NDArray[np.bool_]:
        """Which to train on: all but some documents, each label's share of them, or but the end of few."""
        train = self.all
        fraction = min(config.train.dev_fraction, _MOST_DEV / max(1, self.characters))
        if self.documents >= _FEW:
            _, groups = np.unique(self.labels, return_inverse=True)
            _, chosen = split(groups, max(fraction, 1 / self.documents), config.train.seed)
            train[np.isin(np.cumsum(self.begins) - 1, chosen)] = False
        else:
            train[np.cumsum(self.sizes) > (1 - fraction) * self.characters] = False
        if not train.any():
            raise DataError("the text is too short to hold some of it out; give more of it, or a dev file")
        return train


def _survey(found: Iterable[Piece]) -> _Survey:
    sizes, begins, labels = [], [], list[str]()
    for piece in found:
        sizes.append(len(piece.text))
        begins.append(piece.begins)
        if piece.begins:
            labels.append(piece.label or "")
    if not sum(sizes):
        raise DataError("every text is empty; give a file with text to learn from")
    return _Survey(np.array(sizes), np.array(begins, np.bool_), labels)


def _pieces(records: Iterable[Row], size: int) -> Iterator[Piece]:
    return cut(map(attrgetter("text", "label"), records), size)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The pieces that train, read again at each iteration."""

    records: Iterable[Row]
    size: int
    chosen: npt.NDArray[np.bool_]

    def __iter__(self) -> Iterator[Piece]:
        return (piece for piece, keep in zip(_pieces(self.records, self.size), self.chosen, strict=False) if keep)


def _groups(found: Iterator[Piece]) -> Iterator[list[Piece]]:
    return chunked(found, size=lambda piece: len(piece.text), limit=_CHUNK_PIECES, total=_CHUNK_CHARACTERS)


def text_notes(prepared: PreparedText, config: TaskConfig) -> Iterator[Event]:
    """What the user should be told of the text."""
    facts, source = prepared.facts, prepared.source
    how = "given" if facts.dev_given else "held out"
    yield Note(
        f"{counted(facts.rows, 'document')}, {facts.characters:,} characters; {facts.tokens:,} tokens "
        f"({source.unit}s) to train on, {facts.dev_tokens:,} {how} as dev; {facts.vocabulary:,} in the vocabulary"
    )
    if facts.unknown > _MOST_UNKNOWN * facts.tokens:
        settings: Any = config
        units: UnitsConfig = settings.text
        most = most_tokens(units, source.unit)
        if len(source.tokens) == most:
            cause, remedy = f"they are beyond the {most:,} most frequent ones", "raise --text.max-vocabulary"
        else:
            cause, remedy = f"they stand fewer than {units.min_count} times in training", "lower --text.min-count"
        yield Note(
            f"{facts.unknown / facts.tokens:.1%} of the tokens are unknown, and none of them can be written: {cause}; "
            f"{remedy}, or set --text.unit subword"
        )
    if facts.rows_by_label:
        yield Note(f"{counted(len(facts.rows_by_label), 'label')} to write like: {listed(facts.rows_by_label)}")
