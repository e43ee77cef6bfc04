"""The yardstick: what a user would get from scikit-learn in a minute, TF-IDF and a linear SVM.

It is measured twice: on scikit-learn's own tokens, and on ours, which keep one-letter words and punctuation.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from cellgate.bench.sets import Example, Splits
from cellgate.codecs import TextCodec
from cellgate.config import TextConfig
from cellgate.metrics import Labels, LabelScore, accuracy, by_label, macro_f1, micro_f1
from cellgate.text.tokens import han_share

_LONG_WORDS = 100.0  # words a text, on average, from which texts count as long
_INSIDE = (2, 5)  # characters inside words
_SAMPLE = 2_000  # texts looked at to tell their kind


@dataclass(frozen=True)
class Features:
    """Which n-grams are counted."""

    unit: Literal["word", "character"]
    longest: int  # units in the longest n-gram
    spelling: bool  # also 2 to 5 characters inside words
    min_count: int  # an n-gram must stand in this many training texts

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Features":
        """Choose by the kind of text: Chinese, long, or short."""
        sample = texts[:_SAMPLE]
        if han_share(sample) > 0.5:
            return cls("character", 3, spelling=False, min_count=2)
        if sum(len(text.split()) for text in sample) > _LONG_WORDS * len(sample):
            return cls("word", 3, spelling=False, min_count=2)
        return cls("word", 2, spelling=True, min_count=1)


def yardstick(splits: Splits) -> dict[str, Any]:
    """What `scores` tells, and seconds, of the linear model on either tokens; and which n-grams it counts."""
    features = Features.of([text for text, _ in splits.train])
    return {
        "features": asdict(features),
        "sklearn_tokens": _measure(splits, _on_sklearn_tokens(features), list),
        "our_tokens": _measure_on_ours(splits, features),
    }


def _on_sklearn_tokens(features: Features) -> Any:  # noqa: ANN401  scikit-learn is untyped
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion

    counted = partial(TfidfVectorizer, sublinear_tf=True, min_df=features.min_count)
    if features.unit == "character":
        return counted(analyzer="char", ngram_range=(1, features.longest))
    words = counted(ngram_range=(1, features.longest))
    if not features.spelling:
        return words
    inside = counted(analyzer="char_wb", ngram_range=_INSIDE)
    return FeatureUnion([("words", words), ("inside", inside)])


def _on_spaced_tokens(features: Features) -> Any:  # noqa: ANN401  scikit-learn is untyped
    """Take texts whose tokens are ready and stand between single spaces."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion

    counted = partial(TfidfVectorizer, sublinear_tf=True, min_df=features.min_count, lowercase=False)
    tokens = counted(tokenizer=lambda text: text.split(" "), token_pattern=None, ngram_range=(1, features.longest))
    if not features.spelling:
        return tokens
    inside = counted(analyzer="char_wb", ngram_range=_INSIDE)
    return FeatureUnion([("words", tokens), ("inside", inside)])


def _measure_on_ours(splits: Splits, features: Features) -> dict[str, float]:
    began = time.perf_counter()
    tokenizer = TextCodec.learn(TextConfig(), [text for text, _ in splits.train]).tokenizer
    normalize, cut = tokenizer.normalizer.normalize_str, tokenizer.pre_tokenizer.pre_tokenize_str
    learning_s = time.perf_counter() - began

    def spaced(texts: Sequence[str]) -> list[str]:  # tokens unknown to the vocabulary are kept
        return [" ".join(token for token, _ in cut(normalize(text))) for text in texts]

    figures = _measure(splits, _on_spaced_tokens(features), spaced)
    return figures | {"seconds": round(figures["seconds"] + learning_s, 2)}


def _measure(
    splits: Splits,
    vectorizer: Any,  # noqa: ANN401  scikit-learn is untyped
    prepared: Callable[[Sequence[str]], list[str]],
) -> dict[str, float]:
    """Train on all of `train`, answer `test`, on one thread."""
    began = time.perf_counter()
    texts, labels = _parted(splits.train)
    counted = vectorizer.fit_transform(prepared(texts))
    answer = _several(counted, labels) if splits.several else _single(counted, labels)
    texts, truth = _parted(splits.test)
    answers = answer(vectorizer.transform(prepared(texts)))
    seconds = time.perf_counter() - began
    return scores(splits, truth, answers) | {"seconds": round(seconds, 2)}


def _single(counted: Any, labels: Sequence[Labels]) -> Callable[[Any], list[Labels]]:  # noqa: ANN401
    from sklearn.svm import LinearSVC

    model = LinearSVC(random_state=0).fit(counted, labels)
    return lambda asked: [str(answer) for answer in model.predict(asked)]


def _several(counted: Any, labels: Sequence[Labels]) -> Callable[[Any], list[Labels]]:  # noqa: ANN401
    """A linear SVM a label."""
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import MultiLabelBinarizer
    from sklearn.svm import LinearSVC

    names = MultiLabelBinarizer()
    model = OneVsRestClassifier(LinearSVC(random_state=0)).fit(counted, names.fit_transform(labels))
    return lambda asked: [tuple(answer) for answer in names.inverse_transform(model.predict(asked))]


def scores(splits: Splits, truth: Sequence[Labels], answers: Sequence[Labels]) -> dict[str, float]:
    """What is told of a set's answers [0 to 1]: by what its labels are, and what is looked for in it."""
    if splits.several:
        told = {"micro_f1": micro_f1(truth, answers), "macro_f1": macro_f1(truth, answers)}
    else:
        told = {"accuracy": accuracy(truth, answers), "macro_f1": macro_f1(truth, answers)}
    return {name: round(value, 6) for name, value in (told | of_labels(splits, by_label(truth, answers))).items()}


def of_labels(splits: Splits, labels: Mapping[str, LabelScore]) -> dict[str, float]:
    """F1 of the label that is looked for; accuracy of texts in scope and recall of the others; where a set has such."""
    told: dict[str, float] = {}
    if splits.positive:
        told["positive_f1"] = labels[splits.positive].f1
    if splits.out_of_scope:
        inside = [score for label, score in labels.items() if label != splits.out_of_scope]
        told["in_scope_accuracy"] = sum(s.recall * s.rows for s in inside) / sum(s.rows for s in inside)
        told["out_of_scope_recall"] = labels[splits.out_of_scope].recall
    return told


def _parted(rows: Sequence[Example]) -> tuple[list[str], list[Labels]]:
    return [text for text, _ in rows], [label for _, label in rows]
