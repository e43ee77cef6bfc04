"""One look at every row: what is kept of it are hashes and numbers."""

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cellgate.batch import Ids, Ints, chunked
from cellgate.config import TextConfig
from cellgate.data.checks.marks import Mark, marks_of
from cellgate.data.checks.words import HAN, NO_LETTERS, SCRIPTS, letters_by_script, words_of
from cellgate.data.rows import Problems
from cellgate.errors import DataError
from cellgate.spans import Span
from cellgate.text.tokens import Unit, learn_vocabulary, make_tokenizer, whole

_LOOKED_AT = 500  # characters of a text in which letters are counted
_CHARACTERS_PER_TOKEN = 16  # training reads no more of a text than this times --text.max-tokens
_CHUNK_ROWS, _CHUNK_CHARACTERS = 1_000, 250_000


class PlacedRow(NamedTuple):
    """A text, its labels (one, several or none), and where it stands; `unit` is what `line` counts.

    Of a text with spans, or of tokens with a tag each, `labels` are those of the spans or tags.
    """

    text: str
    labels: tuple[str, ...]
    path: str
    line: int
    unit: str = "line"
    spans: tuple[Span, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()  # tokens, each with its tag

    @property
    def answer(self) -> int:
        """A hash that rows answered alike have in common; of spans and tags by the words that bear them."""
        marked = [(self.text[span.start : span.end], span.label) for span in sorted(self.spans)]
        worded = ((words_of(part), label) for part, label in (*marked, *self.tags))
        return hash((frozenset(() if marked or self.tags else self.labels), *(pair for pair in worded if pair[0])))


@dataclass(frozen=True)
class Split:
    """Rows with a purpose: `name` is train, dev or test; with `skip`, bad rows are left out as the user wishes.

    `read` reads the well-formed rows from the start, and counts the others.
    """

    name: str
    read: Callable[[Problems], Iterator[PlacedRow]]
    skip: bool = False


@dataclass
class LabelNames:
    """Every set of labels that a row has, by number; shared by the splits of a data set."""

    numbers: dict[tuple[str, ...], int] = field(default_factory=dict)

    def number(self, labels: tuple[str, ...]) -> int:
        """The number of a set of labels, whatever their order."""
        known = self.numbers.get(labels)
        if known is None:
            ordered = tuple(sorted(set(labels)))
            known = self.numbers.setdefault(ordered, len(self.numbers))
        return known

    def __len__(self) -> int:
        return len(self.numbers)

    def sets(self) -> list[tuple[str, ...]]:
        """The sets by their numbers."""
        return list(self.numbers)


@dataclass(frozen=True)
class Survey:
    """What is kept of the N rows of split number `place`."""

    place: int
    split: Split
    problems: Problems  # the bad rows, which are none of the N
    unit: Unit  # what one token is
    exact: Ints  # [N] hash of the text
    loose: Ints  # [N] hash of the text without case, spaces and punctuation
    label: Ids  # [N] number in LabelNames
    answer: Ints  # [N] hash of all that is wanted of the row: labels, spans, tags
    characters: Ids  # [N]
    tokens: Ids  # [N] counted as training would
    marks: npt.NDArray[np.uint8]  # [N] Mark
    script: npt.NDArray[np.uint8]  # [N] number in SCRIPTS

    @property
    def name(self) -> str:
        """The name of its split."""
        return self.split.name

    def __len__(self) -> int:
        return len(self.exact)

    def marked(self, mark: Mark) -> Ints:
        """The rows that bear a mark."""
        return np.flatnonzero(self.marks & mark)

    def rows_by_label(self, names: LabelNames) -> Counter[str]:
        """How many rows have each label."""
        counts: Counter[str] = Counter()
        rows = np.bincount(self.label, minlength=len(names))
        for labels, count in zip(names.sets(), rows.tolist(), strict=True):
            if count:
                counts.update(dict.fromkeys(labels, count))
        return counts

    def rows_with(self, names: LabelNames, wanted: Collection[str]) -> Ints:
        """The rows that have one of the wanted labels."""
        chosen = [number for number, labels in enumerate(names.sets()) if not set(wanted).isdisjoint(labels)]
        return np.flatnonzero(np.isin(self.label, chosen))


def survey_splits(splits: Sequence[Split], config: TextConfig) -> tuple[list[Survey], LabelNames]:
    """Read every split once; tokens are counted as training on the first one would. No rows are a DataError."""
    names = LabelNames()
    looks = [_look(split, names, config) for split in splits]
    unit = config.unit if config.unit != "auto" else "character" if looks[0].mostly_han else "word"
    surveys = []
    for place, (split, look) in enumerate(zip(splits, looks, strict=True)):
        if not look.exact:
            bad = f"; {look.problems}" if look.problems.count else ""
            raise DataError(f"{split.name} has no row with a text and a label{bad}: name its columns, or another file")
        surveys.append(
            Survey(
                place,
                split,
                look.problems,
                "character" if unit == "character" else "word",
                np.frombuffer(look.exact, np.int64),
                np.frombuffer(look.loose, np.int64),
                np.frombuffer(look.label, np.int32),
                np.frombuffer(look.answer, np.int64),
                np.frombuffer(look.characters, np.int32),
                np.frombuffer(look.signs if unit == "character" else look.words, np.int32),
                np.frombuffer(look.marks, np.uint8),
                np.frombuffer(look.script, np.uint8),
            )
        )
    return surveys, names


@dataclass(frozen=True)
class _Look:
    """A survey while it grows."""

    problems: Problems = field(default_factory=Problems)
    exact: "array[int]" = field(default_factory=lambda: array("q"))
    loose: "array[int]" = field(default_factory=lambda: array("q"))
    label: "array[int]" = field(default_factory=lambda: array("i"))
    answer: "array[int]" = field(default_factory=lambda: array("q"))
    characters: "array[int]" = field(default_factory=lambda: array("i"))
    signs: "array[int]" = field(default_factory=lambda: array("i"))  # tokens, if each character is one
    words: "array[int]" = field(default_factory=lambda: array("i"))  # tokens, if each word is one
    marks: bytearray = field(default_factory=bytearray)
    script: bytearray = field(default_factory=bytearray)
    letters: Counter[int] = field(default_factory=Counter)

    @property
    def mostly_han(self) -> bool:
        """Whether training would take characters for tokens."""
        return 2 * self.letters[HAN] > self.letters.total()

    def add(self, row: PlacedRow, label: int) -> None:
        """Keep what is kept of a row but its words; `label` is the number of its labels."""
        bare, words = row.text.strip(), words_of(row.text)
        letters = letters_by_script(row.text[:_LOOKED_AT])
        self.exact.append(hash(bare))
        self.loose.append(hash(words.replace(" ", "") or bare))  # a text of emoji has no words
        self.label.append(label)
        self.answer.append(row.answer)
        self.characters.append(len(row.text))
        self.signs.append(sum(map(len, row.text.split())))
        named = () if row.spans or row.tags else row.labels  # what is marked stands in the text
        self.marks.append(marks_of(row.text, words, named))
        self.script.append(max(letters, key=lambda script: letters[script], default=NO_LETTERS))
        self.letters.update(letters)


def _look(split: Split, names: LabelNames, config: TextConfig) -> _Look:
    # Without a vocabulary every token is unknown, but they are as many. Subwords are learned: words stand for them.
    tokenizer = make_tokenizer("word", lowercase=config.lowercase, nfkc=config.nfkc)
    learn_vocabulary(tokenizer, (), counted=False, min_count=1, max_vocabulary=2)
    limit = _CHARACTERS_PER_TOKEN * config.max_tokens
    look = _Look()
    rows = split.read(look.problems)
    for chunk in chunked(rows, size=lambda row: len(row.text), limit=_CHUNK_ROWS, total=_CHUNK_CHARACTERS):
        encodings = tokenizer.encode_batch_fast([whole(row.text[:limit]) for row in chunk])
        for row, encoding in zip(chunk, encodings, strict=True):
            look.add(row, names.number(row.labels))
            read = min(1.0, limit / max(1, len(row.text)))  # training cuts such a text anyway: an estimate will do
            look.words.append(round(len(encoding.ids) / read))
    return look


def script_shares(numbers: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Share of the texts [N] by the script they are mostly written in, largest first."""
    counts = np.bincount(numbers, minlength=len(SCRIPTS))
    ranked = sorted(zip(SCRIPTS, counts.tolist(), strict=True), key=lambda pair: -pair[1])
    return {name: count / len(numbers) for name, count in ranked if count}
