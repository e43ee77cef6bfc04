"""TextClassifier: the task `classify` as a scikit-learn estimator.

texts, labels ─ fit ─▶ Bundle ─ predict_proba ─▶ [N, L], columns as in `classes_`
"""

import numbers
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt

from cellgate.bundle import Bundle, open_bundle, replace_bundle, work_folder
from cellgate.config import EncoderConfig, TaskConfig, TrainConfig
from cellgate.errors import DataError, UsageError
from cellgate.metrics import plain_label
from cellgate.task import find

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import Tags, check_random_state
    from sklearn.utils.validation import check_is_fitted
except ModuleNotFoundError as error:
    raise UsageError(f"cellgate.sklearn: {error}; pip install 'cellgate[train]' scikit-learn") from None

__all__ = ["TextClassifier"]

_ENCODER, _TRAIN = EncoderConfig(), TrainConfig()  # where the defaults are written
_ARGUMENTS = {
    "hidden": "encoder.hidden",
    "epochs": "train.epochs",
    "learning_rate": "train.learning_rate",
    "random_state": "train.seed",
    "threads": "train.threads",
}
_MISSING = ("None", "nan", "NaT", "<NA>")  # how absent values are written, whatever library they are of
Item = TypeVar("Item")


class TextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Says which of the labels seen in training fits a text: an LSTM beside a linear model, trained on the CPU.

    hidden: width of a recurrent layer, per direction. epochs: passes over the data, or "auto". learning_rate: the
    peak of its schedule. random_state: an int, or as everywhere in scikit-learn. threads: CPU threads to train with;
    None: all cores. settings: all others by name, {"encoder.cell": "gru"} or {"encoder": {"cell": "gru"}}.

    After `fit`: `classes_` [L], the labels in their own type, sorted; `bundle_`, the open Bundle. Its files lie in a
    temporary folder that is deleted with it; `save` keeps them, and a pickle carries them.
    """

    def __init__(
        self,
        *,
        hidden: int = _ENCODER.hidden,
        epochs: int | Literal["auto"] = _TRAIN.epochs,
        learning_rate: float = _TRAIN.learning_rate,
        random_state: int | np.random.RandomState | None = _TRAIN.seed,
        threads: int | None = _TRAIN.threads,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.threads = threads
        self.settings = settings

    def fit(self, X: Iterable[str], y: Iterable[Hashable]) -> Self:  # noqa: N803  scikit-learn's name
        """Train on N texts and their N labels; some rows are held out to choose the epoch and to calibrate.

        Errors: UsageError for a wrong setting or shape and without the extra `train`, DataError for unfit rows.
        """
        from cellgate.training import train

        config = self._config()
        texts, labels = _texts(X), _labels(y)
        if len(texts) != len(labels):
            raise UsageError(f"X has {len(texts)} texts, y has {len(labels)} labels; give one label a text")
        names = {label: _written(label) for label in labels}
        classes = _classes(names)
        rows = [{"text": text, "label": names[label]} for text, label in zip(texts, labels, strict=True)]
        bundle = _in_temporary(lambda folder: train("classify", rows, folder=folder, config=config))
        cut = bundle.manifest["data"]["cut_texts"]
        if cut:
            warnings.warn(
                f"{cut:,} of {len(texts):,} texts are longer than {bundle.source.max_tokens:,} tokens: only their "
                'beginning is read; settings={"text.max_tokens": ...} changes that',
                stacklevel=2,
            )
        self.bundle_, self.classes_ = bundle, classes
        return self

    def predict_proba(self, X: Iterable[str]) -> npt.NDArray[np.float64]:  # noqa: N803
        """Calibrated probabilities [N, L] of the labels of N texts, columns as in `classes_`."""
        check_is_fitted(self)
        number = {name: number for number, name in enumerate(self.bundle_.target.labels)}
        order = [number[_written(label)] for label in self.classes_]
        chances = np.exp(np.array(self.bundle_.scores(_texts(X)).rows, np.float64).reshape(-1, len(order))[:, order])
        return np.asarray(chances / chances.sum(axis=1, keepdims=True))  # single precision sums to 1 but nearly

    def predict(self, X: Iterable[str]) -> npt.NDArray[Any]:  # noqa: N803
        """The most probable label [N] of each of N texts, of the type that `fit` was given."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def save(self, folder: str | Path) -> None:
        """Copy the Bundle to `folder`, where `cellgate.open` and the command line find it; replaces a Bundle only."""
        check_is_fitted(self)
        folder = Path(folder)
        work = work_folder(folder)
        if folder.exists() and not (folder / "bundle.json").is_file():
            raise UsageError(f"{folder} exists and is no Bundle; it is not overwritten: name another folder")
        if work.exists():
            raise UsageError(f"{work} holds an unfinished training; finish it, delete it or name another folder")
        shutil.copytree(self.bundle_.folder, work / "bundle")
        replace_bundle(work / "bundle", folder)
        shutil.rmtree(work)

    def _config(self) -> TaskConfig:
        """The arguments and `settings` as one value."""
        kind = find("classify").config
        settings = {} if self.settings is None else self.settings
        if not isinstance(settings, Mapping):
            raise UsageError(f"settings is {settings!r:.80}; give a mapping, such as {{'encoder.cell': 'gru'}}")
        groups = _grouped(settings)
        kind.parse(groups, "settings")  # so that the message names `settings` where they are wrong
        for argument, name in _ARGUMENTS.items():
            group, _, setting = name.partition(".")
            members = groups.setdefault(group, {})
            if setting in members:
                raise UsageError(
                    f"settings names {name!r}, which is an argument: write TextClassifier({argument}="
                    f"{members[setting]!r}) and take it out of settings"
                )
            value = self._seed() if argument == "random_state" else getattr(self, argument)
            members[setting] = value.item() if isinstance(value, np.generic) else value
        return kind.parse(groups, "TextClassifier")

    def _seed(self) -> int:
        if isinstance(self.random_state, numbers.Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "bundle_" in state:
            folder = state["bundle_"].folder
            files = (path for path in folder.rglob("*") if path.is_file())
            state["bundle_"] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "bundle_" in state:
            state = state | {"bundle_": _in_temporary(lambda folder: _unpacked(state["bundle_"], folder))}
        super().__setstate__(state)


def _in_temporary(make: Callable[[Path], Bundle]) -> Bundle:
    """Make a Bundle in a folder that is deleted with it."""
    folder = Path(tempfile.mkdtemp(prefix="cellgate-"))
    try:
        bundle = make(folder / "classify")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(bundle, shutil.rmtree, folder, ignore_errors=True)
    return bundle


def _unpacked(files: Mapping[str, bytes], folder: Path) -> Bundle:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return open_bundle(folder)


def _grouped(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted and nested names as nested ones; `settings` itself is left as it is."""
    groups: dict[str, Any] = {}
    for name, value in settings.items():
        group, _, setting = name.partition(".")
        members = {setting: value} if setting else value
        groups[group] = {**groups.get(group, {}), **members} if isinstance(members, Mapping) else members
    return groups


def _texts(X: Iterable[str]) -> list[str]:  # noqa: N803
    texts = _one_axis("X", X)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"X[{place}] is {text!r:.80}, not a text; leave such rows out, or make them empty texts: "
                "df['text'].fillna('') of a pandas column"
            )
    return [str(text) for text in texts]  # numpy's strings are of a type of their own


def _labels(y: Iterable[Hashable]) -> list[Hashable]:
    labels = _one_axis("y", y)
    for place, label in enumerate(labels):
        if not isinstance(label, Hashable):
            raise DataError(f"y[{place}] is {label!r:.80}; a text has one label, of a type that can be hashed")
        if not isinstance(label, str) and str(label) in _MISSING:
            raise DataError(f"y[{place}] is {label!r}: the label is missing; leave such rows out")
    return labels


def _one_axis(name: str, values: Iterable[Item]) -> list[Item]:
    """The values of a list, an array or a Series; one text or a table is a UsageError."""
    what = type(values).__name__
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise UsageError(f"{name} is {values!r:.80} ({what}); give a list, an array or a Series, one element a text")
    axes = getattr(values, "ndim", 1)
    if axes != 1:
        raise UsageError(f"{name} has {axes} axes ({what}); give one column, such as df['text'] or array[:, 0]")
    return list(values)


def _written(label: Hashable) -> str:
    """How the Bundle names a label."""
    return plain_label(str(label))


def _classes(names: Mapping[Hashable, str]) -> npt.NDArray[Any]:
    """The labels [L], sorted: by value, or by name where values cannot be compared."""
    owners: dict[str, Hashable] = {}
    for label, name in names.items():
        if not name:
            raise DataError(f"y holds the label {label!r}, which is blank; give it a name")
        if name in owners:
            raise DataError(
                f"y holds the labels {owners[name]!r:.60} and {label!r:.60}, which are written alike; rename one"
            )
        owners[name] = label
    try:
        ordered = sorted(names)  # type: ignore[type-var]  # what cannot be compared says so here
    except TypeError:
        ordered = sorted(names, key=names.__getitem__)
    alike = len({type(label) for label in ordered}) == 1 and np.isscalar(ordered[0])
    return np.array(ordered) if alike else np.fromiter(ordered, object, len(ordered))
