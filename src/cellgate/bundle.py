"""Bundle: a trained task in a folder. Loads, answers, evaluates and checks itself; needs no torch.

bundle.json           task, settings, metrics on dev, facts of the data, the graph's contract, checksums
codec.json            what the codecs learned; tokenizer.json beside it
weights.safetensors   the net's weights
model.onnx            the graph that answers; model.int8.onnx: smaller and faster, for one text at a time
parity.json           how far torch, float and int8 answers are apart on dev
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cellgate import codecs
from cellgate.batch import Floats, Ids, Ints, Ragged, Scores, chunked
from cellgate.codecs import Decision, Given, SourceCodec, SupervisedCodec, TargetCodec, text_of
from cellgate.config import TaskConfig
from cellgate.data.batching import by_length
from cellgate.errors import BundleError, DataError, UsageError
from cellgate.graph import Graph
from cellgate.metrics import Answer, Value, by_label, calibration_error, labels_of, with_texts
from cellgate.neural_cache import NeuralCache
from cellgate.stream import Invalid, Model, Session
from cellgate.task import Alternative, Prediction, Row, Task, find

FORMAT = 3  # 1: before an answer could be several labels, or none; 2: before a graph had several outputs
Precision = Literal["float", "int8"]
_GRAPHS: dict[Precision, str] = {"float": "model.onnx", "int8": "model.int8.onnx"}
_CHECKED = ("codec.json", "tokenizer.json", "weights.safetensors", "model.onnx", "model.int8.onnx", "parity.json")
_WHOLE = "its graph hands on no state, and was made before Bundles said why; train it again"
_NO_SCORES = np.zeros(0, np.float32)
_CHUNK_ROWS, _CHUNK_CHARACTERS = 512, 4_000_000
_BATCH_ROWS, _BATCH_TOKENS = 64, 16_000
_WINDOW, _MARGIN = 8_000, 250  # tokens of a long text that are scored at once, and of those around them that are read


@dataclass(frozen=True)
class Bundle:
    """An open Bundle. Answers are the graph's; a row alone and in company differ by rounding only (under 1e-4)."""

    folder: Path
    manifest: Mapping[str, Any]
    task: Task
    source: SourceCodec
    target: TargetCodec
    decision: Decision
    precision: Precision
    graph: Graph
    cache: NeuralCache | None = None

    def predict(self, rows: Sequence[Row | Mapping[str, Any] | str]) -> list[Prediction]:
        """Fill in the blank of each row, in order; a plain string stands for a row's only given field."""
        if isinstance(rows, str):
            raise UsageError(f"predict takes a list of rows, got one string; write predict([{rows[:20]!r}])")
        return list(self.predict_each(rows))

    def predict_each(self, rows: Iterable[Row | Mapping[str, Any] | str]) -> Iterator[Prediction]:
        """As `predict`, but from any iterable and in constant memory."""
        records = (self.task.read(row) for row in rows)
        given = attrgetter(self.task.given[0])
        for chunk in chunked(
            records, size=lambda row: len(text_of(given(row))), limit=_CHUNK_ROWS, total=_CHUNK_CHARACTERS
        ):
            columns = self.source.encode([given(record) for record in chunk])
            answers = self.target.decode(self.score_rows(columns), columns, self.decision)
            for record, answer, cut in zip(chunk, answers, columns["cut"].values.tolist(), strict=True):
                value = with_texts(answer.value, text_of(given(record)))
                filled = record.model_copy(update={self.task.wanted: value})
                others = tuple(Alternative(other, chance) for other, chance in answer.alternatives)
                yield Prediction(filled, value, answer.confidence, others, bool(cut))

    def abstaining_below(self, confidence: float) -> "Bundle":
        """The same Bundle, but an answer less sure than this (0 to 1) is None: "I don't know"."""
        if not 0 <= confidence <= 1:
            raise UsageError(f"abstaining below {confidence}: give a probability, 0 to 1")
        return replace(self, decision=replace(self.decision, abstain_below=confidence))

    def recalling(self, cache: NeuralCache) -> "Bundle":
        """The same language model, but what followed a place much alike is likelier; what it writes knows no cache."""
        if not self.target.foretells:
            raise UsageError(f"a cache is for models that write, and {self.folder} answers ({self.manifest['task']})")
        if "hidden" not in self.graph.outputs:
            raise UsageError(f"the graph of {self.folder} does not tell what a cache keeps; train it again")
        return replace(self, cache=cache)

    def session(self, saved: str | Path | None = None, *, invalid: Invalid = "replace") -> Session:
        """Answer one text that comes in pieces; with `saved`, go on from what a session of this Bundle saved.

        `invalid` says what becomes of bytes that are no UTF-8. A net that must see a text whole is a UsageError, which
        says why and what to do.
        """
        if self.whole:
            raise UsageError(
                f"{self.folder} cannot answer a text in pieces: {self.whole}; `predict` answers whole texts"
            )
        return Session(self.model, invalid) if saved is None else Session.restored(self.model, Path(saved), invalid)

    @property
    def model(self) -> Model:
        """What reads a text on from where it stopped."""
        return Model(self.graph, self.source, self.target, self.decision, self.manifest["checksum"], self.cache)

    @property
    def settings(self) -> TaskConfig:
        """The settings that its net is made by; those of its training do not matter here and are the defaults."""
        groups = {name: group for name, group in self.manifest["config"].items() if name != "train"}
        return self.task.config.parse(groups, f"{self.folder}/bundle.json")

    @property
    def whole(self) -> str:
        """Why a text must be whole to be answered, and what to do about it; empty where it may come in pieces."""
        if self.graph.state:
            return ""
        return "; ".join(self.manifest["graph"].get("whole", ())) or _WHOLE

    def scores(self, values: Sequence[Given]) -> Scores:
        """What the graph says of N given values."""
        return self.score_rows(self.source.encode(values))

    def score_rows(self, columns: Mapping[str, Ragged]) -> Scores:
        """What the graph says of N encoded rows; of a language model, of the token behind each."""
        if self.target.foretells:
            return Scores([self._behind(columns["tokens"][row]) for row in range(len(columns["tokens"]))])
        lengths = columns["tokens"].lengths
        found: list[Floats] = [_NO_SCORES] * len(lengths)
        shared: Mapping[str, Floats] = {}
        limit = 1 if self.precision == "int8" else _BATCH_ROWS  # int8 scales are a batch's: never mix rows
        for rows in by_length(lengths, rows=limit, tokens=_BATCH_TOKENS):
            taken = {name: column.take(rows) for name, column in columns.items()}
            long = self.graph.by_token and lengths[rows[0]] > _WINDOW + 2 * _MARGIN
            made = self._in_windows(taken) if long else self._run(taken)
            shared = made.shared
            for row, of_row in zip(rows.tolist(), made.rows, strict=True):
                found[row] = of_row
        return Scores(found, shared)

    def _behind(self, tokens: Ids) -> Floats:
        """What a language model says of the token behind a text's."""
        *_, (read, _) = self.model.read({"tokens": Ragged.of([tokens])}, self.model.begun)
        scores: Floats = read.outputs["scores"][0]
        return scores

    def _run(self, columns: Mapping[str, Ragged]) -> Scores:
        """One run of the graph."""
        lengths = columns["tokens"].lengths
        made, _ = self.graph.run(self.source.collate(columns), self.graph.initial_state(len(lengths)))
        return Scores(*by_row(made, self.graph.outputs, lengths))

    def _in_windows(self, columns: Mapping[str, Ragged]) -> Scores:
        """Score the tokens of one long text piece by piece, each with what stands around it; memory stays bounded."""
        length = int(columns["tokens"].lengths[0])
        parts: list[Floats] = []
        for start in range(0, length, _WINDOW):
            first, last = max(0, start - _MARGIN), min(length, start + _WINDOW + _MARGIN)
            made = self._run(self.source.part(columns, first, last))
            parts.append(made.rows[0][start - first : start - first + _WINDOW])
        return Scores([np.concatenate(parts)], made.shared)

    @property
    def supervised(self) -> SupervisedCodec:
        """The target codec, where answers are right or wrong; UsageError of a Bundle that writes."""
        if not isinstance(self.target, SupervisedCodec):
            raise UsageError("a Bundle that writes is judged by cellgate.language: Language.of(bundle).evaluate(rows)")
        return self.target

    def evaluate(self, rows: Iterable[Row | Mapping[str, Any]]) -> dict[str, Any]:
        """Answer rows whose wanted field is known and compare: the task's metrics, n, calibration error.

        Rows whose label was never seen in training count as wrong; `unseen` counts their labels, `cut` the texts
        of which only the beginning was read. An answer that is not given counts as wrong too; of a Bundle that
        abstains, `answered` is the share of rows with an answer, `precision` that of answers that are right.
        `labels` has precision, recall, f1 and rows of each label; of spans, `mistakes` counts the wrong ones by kind.
        """
        target = self.supervised
        truth: list[Value] = []
        answers: list[Answer] = []
        confidence: list[float] = []
        known = {*target.labels, self.decision.out_of_scope}
        unseen: dict[str, int] = {}
        cut = 0

        def given() -> Iterator[Row]:
            for record in map(self.task.read_answered, rows):
                value = target.normal(getattr(record, self.task.wanted), getattr(record, self.task.given[0]))
                truth.append(value)
                for label in labels_of(value):
                    if label not in known:
                        unseen[label] = unseen.get(label, 0) + 1
                yield record

        for prediction in self.predict_each(given()):
            answers.append(prediction.value)
            confidence.append(prediction.confidence)
            cut += prediction.cut
        if not truth:
            raise DataError("no rows to evaluate; give a file with at least one row")
        if unseen and not any(label in known for value in truth for label in labels_of(value)):
            raise DataError(f"{target.unseen(next(iter(unseen)))}; no row has a label of this Bundle")
        strange = sum(any(label not in known for label in labels_of(value)) for value in truth)
        labels = {label: asdict(score) for label, score in by_label(truth, answers).items()}
        told = summary(target, truth, answers, confidence)
        kinds = target.mistakes(truth, answers)
        told |= {"mistakes": dict(kinds)} if kinds else {}
        return told | {"cut": cut, "unseen": unseen, "unseen_rows": strange, "labels": labels}


def summary(
    target: SupervisedCodec, truth: Sequence[Value], answers: Sequence[Answer], confidence: Sequence[float]
) -> dict[str, Any]:
    """The metrics of such answers, the calibration error of those given, and n; `answered` where some are not."""
    judged = target.judge(truth, answers, confidence)
    result: dict[str, Any] = {metric.__name__: metric(truth, answers) for metric in target.metrics}
    result["calibration_error"] = calibration_error(judged.confidence, judged.right) if len(judged.right) else 0.0
    result["n"] = len(truth)
    given = sum(answer is not None for answer in answers)
    if given < len(truth):
        result["answered"] = given / len(truth)
        result["precision"] = float(judged.right.mean()) if given else 0.0
    return result


def by_row(
    outputs: Mapping[str, Floats], axes: Mapping[str, Sequence[str]], lengths: Ints
) -> tuple[list[Floats], dict[str, Floats]]:
    """A net's outputs as its scores by row, each up to the row's end, and what holds for all rows."""
    scores, *others = outputs
    has_time = "time" in axes[scores]
    rows = [of_row[:length] if has_time else of_row for of_row, length in zip(outputs[scores], lengths, strict=True)]
    return rows, {name: outputs[name] for name in others}


def open_bundle(folder: str | Path, precision: Precision = "float") -> Bundle:
    """Open the Bundle in `folder`; a damaged, foreign or newer one is a BundleError."""
    folder = Path(folder)
    if not folder.exists() and _set_aside(folder).is_dir():
        folder = _set_aside(folder)
    manifest = _read_manifest(folder)
    manifest["graph"].setdefault("outputs", {"scores": ["batch", "labels"]})  # of before there were several
    for name, wanted in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path} is missing; copy the Bundle again or train it again")
        if _hash(path) != wanted:
            raise BundleError(f"{path} is damaged (its checksum differs); copy the Bundle again or train it again")
    state = json.loads((folder / "codec.json").read_text("utf-8"))
    source, target = codecs.load(folder, state["source"]), codecs.load(folder, state["target"])
    if not isinstance(source, SourceCodec) or not isinstance(target, TargetCodec):
        raise BundleError(f"{folder}/codec.json holds codecs of another task than {manifest['task']!r}")
    task, graph = find(manifest["task"]), _graph(folder, precision, manifest["graph"])
    return Bundle(folder, manifest, task, source, target, _decision(manifest), precision, graph)


def _decision(manifest: Mapping[str, Any]) -> Decision:
    """What was chosen on dev; a Bundle of before there was a choice always gives its best label."""
    chosen = manifest.get("decision", {})
    usual = Decision()
    return Decision(
        chosen.get("abstain_below", usual.abstain_below),
        tuple(chosen.get("thresholds", usual.thresholds)),
        chosen.get("out_of_scope", usual.out_of_scope),
        chosen.get("scope_ends", usual.scope_ends),
    )


def _graph(folder: Path, precision: Precision, told: Mapping[str, Any]) -> Graph:
    if precision not in _GRAPHS:
        raise UsageError(f"no precision {precision!r}; there are: {', '.join(_GRAPHS)}")
    path = folder / _GRAPHS[precision]
    if not path.exists():
        raise UsageError(f"{folder} has no {path.name}: only LSTMs have one; open it with precision='float'")
    return Graph.load(path, told)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    if not folder.is_dir():
        raise BundleError(
            f"no folder {str(folder)!r}; a Bundle is the folder that `cellgate train ... -o FOLDER` makes"
        )
    if not path.is_file():
        raise BundleError(f"{folder} is no Bundle: it has no bundle.json; name the folder given to `cellgate train -o`")
    again = "copy the Bundle again or train it again"
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except ValueError:
        raise BundleError(f"{path} is damaged: it is not JSON any more; {again}") from None
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise BundleError(f"{path} is not of Cellgate: it names no format; name a folder made by `cellgate train`")
    if not isinstance(manifest["format"], int) or manifest["format"] > FORMAT:
        raise BundleError(
            f"{path} has format {manifest['format']!r}, written by Cellgate {manifest.get('cellgate')}; this program "
            f"reads up to format {FORMAT}: upgrade with `pip install -U cellgate`"
        )
    if manifest.get("checksum") != _checksum(manifest):
        raise BundleError(f"{path} is damaged (its checksum differs); {again}")
    return manifest


def seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write bundle.json over the files that stand in `folder`, with their checksums."""
    files = {name: _hash(folder / name) for name in _CHECKED if (folder / name).exists()}
    full = {"format": FORMAT, **manifest, "files": files}
    full["checksum"] = _checksum(full)
    (folder / "bundle.json").write_text(json.dumps(full, ensure_ascii=False, indent=1), "utf-8")


def work_folder(folder: Path) -> Path:
    """Where the unfinished training of a Bundle lies."""
    return folder.with_name(folder.name + ".training")


def replace_bundle(staged: Path, folder: Path) -> None:
    """Put a sealed Bundle in place of whatever Bundle `folder` holds; a crash leaves one of the two.

    Between the two renames `folder` is missing and the old Bundle lies in the work folder, where `open_bundle`
    finds it.
    """
    old = _set_aside(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    staged.rename(folder)


def undo_half_replacing(folder: Path) -> None:
    """Put the old Bundle back where a crash came between the renames of `replace_bundle`."""
    if not folder.exists() and _set_aside(folder).is_dir():
        _set_aside(folder).rename(folder)


def _set_aside(folder: Path) -> Path:
    return work_folder(folder) / "old"


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(manifest: Mapping[str, Any]) -> str:
    content = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
