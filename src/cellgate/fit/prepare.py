"""From records to encoded rows on disk: split, learn the codecs, encode once. In constant memory but for labels."""

import json
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from operator import attrgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellgate import codecs
from cellgate.batch import Ints, chunked
from cellgate.codecs import Given, SupervisedCodec, TextCodec, text_of
from cellgate.codecs.target import OUTSIDE, UNSEEN
from cellgate.config import AnsweringConfig, TaskConfig
from cellgate.data.batching import split
from cellgate.data.cache import EncodedRows, RowWriter, has_rows, open_rows
from cellgate.data.wanted import alike
from cellgate.errors import DataError, counted, listed
from cellgate.fit.decide import check
from cellgate.fit.events import Event, Note, Work
from cellgate.metrics import Value, labels_of
from cellgate.task import Row, Task

_CHUNK_ROWS, _CHUNK_CHARACTERS = 1_000, 4_000_000
_RARE = 3  # rows of a label under which the user is warned


@dataclass(frozen=True, slots=True)
class Facts:
    """What was counted while preparing; it stands in bundle.json."""

    rows: int
    self_trained_rows: int  # learned from beside them, by the answers of an earlier model
    dev_rows: int
    dev_given: bool
    cut_texts: int
    empty_texts: int
    unseen_dev_rows: int
    unseen_dev_labels: dict[str, int]  # with their rows
    lost_spans: int
    rows_by_label: dict[str, int]
    mean_tokens: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """Encoded rows, the codecs that made them, and which rows are train and dev.

    The rows of the training files are numbered first, then those of a dev file, then the self-trained ones.
    """

    source: TextCodec
    target: SupervisedCodec
    rows: EncodedRows
    train: Ints
    dev: Ints
    groups: Ints  # [train] the number of each row's rarest label
    facts: Facts

    @property
    def own(self) -> Ints:
        """Rows to train on that stand in the user's files."""
        return self.train[: len(self.train) - self.facts.self_trained_rows]


def is_prepared(folder: Path) -> bool:
    """Whether `prepare` came to its end in `folder`."""
    return has_rows(folder)


def load_prepared(folder: Path) -> Prepared:
    """Open what `prepare` left in `folder`."""
    state = json.loads((folder / "codec.json").read_text("utf-8"))
    source, target = codecs.load(folder, state["source"]), codecs.load(folder, state["target"])
    if not isinstance(source, TextCodec) or not isinstance(target, SupervisedCodec):
        raise DataError(f"{folder} was prepared for another task; delete it to begin anew")
    facts = Facts(**json.loads((folder / "facts.json").read_text("utf-8")))
    return Prepared(
        source,
        target,
        open_rows(folder),
        np.load(folder / "train.npy"),
        np.load(folder / "dev.npy"),
        np.load(folder / "groups.npy"),
        facts,
    )


def prepare(
    task: Task,
    config: AnsweringConfig,
    train: Iterable[Row],
    dev: Iterable[Row] | None,
    folder: Path,
    self_trained: Iterable[Row] = (),
) -> Iterator[Event]:
    """Read `train` and `self_trained` three times and `dev` twice; leave in `folder` what `load_prepared` opens.

    `self_trained` is never held out. DataError for rows that nothing can be learned from, or that the settings do not
    fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = yield from _values(task, train)
    own = len(values)
    values += yield from _values(task, self_trained)
    learn = task.target(config)
    target: SupervisedCodec = replace(learn(values), out_of_scope=config.answer.out_of_scope)
    groups = target.rarest(values)
    # By the user's rows alone: what is rare among all may be another label, and dev must be the teacher's.
    train_rows, dev_rows = _hold_out(learn(values[:own]).rarest(values[:own]), dev, config)
    learned = np.concatenate([train_rows, np.arange(own, len(values))])
    yield Work("learning the vocabulary", 0, None)
    source = task.source(config)(_Texts(task, train, self_trained, np.isin(np.arange(len(values)), learned)))
    behind = 0 if dev is None else len(dev_rows)  # rows of a dev file stand before the self-trained ones
    np.save(folder / "train.npy", np.where(learned < own, learned, learned + behind))
    np.save(folder / "dev.npy", dev_rows)
    np.save(folder / "groups.npy", groups[learned])
    state = {"source": codecs.save(source, folder), "target": codecs.save(target, folder)}
    (folder / "codec.json").write_text(json.dumps(state, ensure_ascii=False), "utf-8")
    writer = RowWriter(folder)
    counts: Counter[str] = Counter()
    unseen: Counter[str] = Counter()
    try:
        for found, labels in _encode(task, source, target, chain(train, dev or (), self_trained), writer):
            counts += found
            unseen += labels
            yield Work("encoding", writer.rows, len(learned) + len(dev_rows))
        if counts["unseen"] == len(dev_rows) and not target.no_scope:
            raise DataError("no dev row has a label that stands in the training rows; name the label column of both")
        check(target, outside_dev_rows=counts["outside"])
        facts = Facts(
            rows=len(train_rows) + len(dev_rows),
            self_trained_rows=len(values) - own,
            dev_rows=len(dev_rows),
            dev_given=dev is not None,
            cut_texts=counts["cut"],
            empty_texts=counts["empty"],
            unseen_dev_rows=counts["unseen"],
            unseen_dev_labels=dict(unseen),
            lost_spans=counts["lost"],
            rows_by_label=dict(sorted(Counter(chain.from_iterable(map(labels_of, values[:own]))).items())),
            mean_tokens=source.mean_tokens,
        )
        (folder / "facts.json").write_text(json.dumps(asdict(facts), ensure_ascii=False), "utf-8")
        writer.finish()
    finally:
        writer.close()


def _values(task: Task, records: Iterable[Row]) -> Generator[Event, None, list[Value]]:
    """The wanted value of each row."""
    values: list[Value] = []
    shared: dict[Value, Value] = {}  # millions of rows share a few labels
    for record in records:
        value = getattr(record, task.wanted)
        values.append(shared.setdefault(value, value))
        if len(values) % _CHUNK_ROWS == 0:
            yield Work("reading labels", len(values), None)
    return values


def _hold_out(groups: Ints, dev: Iterable[Row] | None, config: TaskConfig) -> tuple[Ints, Ints]:
    """Rows of train and of dev; the rows of a dev file stand behind those of the training files."""
    if dev is not None:
        count = sum(1 for _ in dev)
        if not count:
            raise DataError("the dev file has no rows; name another, or leave it out to hold out some of the rows")
        return np.arange(len(groups)), np.arange(len(groups), len(groups) + count)
    train_rows, dev_rows = split(groups, config.train.dev_fraction, config.train.seed)
    if not len(dev_rows):
        raise DataError(
            f"{counted(len(groups), 'row is', 'rows are')} too few to hold any out; give a dev file, or raise "
            "--train.dev-fraction"
        )
    return train_rows, dev_rows


def _encode(
    task: Task, source: TextCodec, target: SupervisedCodec, records: Iterator[Row], writer: RowWriter
) -> Iterator[tuple[Counter[str], Counter[str]]]:
    """Write all records; tells of each chunk how many texts were cut or empty, and rows by labels that are unseen."""
    given, known = attrgetter(task.given[0]), {*target.labels, target.out_of_scope}
    for chunk in chunked(
        records, size=lambda row: len(text_of(given(row))), limit=_CHUNK_ROWS, total=_CHUNK_CHARACTERS
    ):
        values = [getattr(record, task.wanted) for record in chunk]
        encoded = source.encode([given(record) for record in chunk])
        cut = encoded.pop("cut")
        answers = target.encode(values, encoded)
        writer.add(encoded | answers)
        (numbers,) = answers.values()
        unseen = np.unique(np.repeat(np.arange(len(chunk)), numbers.lengths)[numbers.values == UNSEEN]).tolist()
        counts = Counter(
            cut=int(cut.values.sum()),
            empty=sum(not text_of(given(record)).strip() for record in chunk),
            unseen=len(unseen),
            outside=int((numbers.values == OUTSIDE).sum()),
            lost=target.lost(values, encoded),
        )
        named = [labels_of(values[row]) for row in unseen]
        strange = [set(labels) - known or {", ".join(labels)} for labels in named]  # known ones: too many for one text
        yield counts, Counter(chain.from_iterable(strange))


@dataclass(frozen=True, slots=True)
class _Texts:
    """The given values of the chosen rows, read again at each iteration."""

    task: Task
    train: Iterable[Row]
    self_trained: Iterable[Row]
    chosen: npt.NDArray[np.bool_]  # [rows of both]

    def __iter__(self) -> Iterator[Given]:
        field = self.task.given[0]
        records = chain(self.train, self.self_trained)
        return (getattr(record, field) for record, keep in zip(records, self.chosen, strict=True) if keep)


def notes(prepared: Prepared) -> Iterator[Event]:
    """What the user should be told of the data."""
    facts, source = prepared.facts, prepared.source
    how = "given" if facts.dev_given else "held out"
    texts = counted(facts.rows + facts.self_trained_rows, "text")
    yield Note(
        f"{facts.rows - facts.dev_rows:,} rows to train on, {facts.dev_rows:,} {how} as dev; "
        f"{len(facts.rows_by_label)} labels; {source.mean_tokens:.0f} tokens a text ({source.unit}s), "
        f"{len(source):,} in the vocabulary"
    )
    if source.coverage is not None:
        words, of, tokens = source.coverage
        yield Note(
            f"vectors learned before for {words:,} of {of:,} {source.unit}s in the texts, {tokens:.1%} of the tokens"
        )
    if lexicon := source.lexicon:
        yield Note(
            f"word list: {len(lexicon.words):,} of its {lexicon.of:,} words are learned from the training texts; "
            f"{lexicon.covered:.1%} of their characters are part of a word of two or more"
        )
    if facts.cut_texts:
        yield Note(f"cut at {source.max_tokens:,} tokens (--text.max-tokens): {facts.cut_texts:,} of {texts}")
    if facts.lost_spans:
        yield Note(
            f"{counted(facts.lost_spans, 'span begins or ends', 'spans begin or end')} inside a token, or behind where "
            "a text was cut: all tokens touched are learned"
        )
    if facts.empty_texts:
        yield Note(f"empty, and kept: {facts.empty_texts:,} of {texts}")
    if facts.unseen_dev_rows:
        told = prepared.target.all_unseen(facts.unseen_dev_labels)
        count = "counts" if facts.unseen_dev_rows == 1 else "count"
        yield Note(f"{facts.unseen_dev_rows:,} of {counted(facts.dev_rows, 'dev row')} {count} as wrong: {told}")
    if text := alike(facts.rows_by_label):
        yield Note(text)
    rare = [label for label, count in facts.rows_by_label.items() if count < _RARE]
    if rare:
        have = "label has" if len(rare) == 1 else "labels have"
        yield Note(f"{len(rare)} {have} fewer than {_RARE} rows and will be learned badly: {listed(rare, 5)}")
