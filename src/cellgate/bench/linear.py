"""The yardstick: what a user would get from scikit-learn in a minute, TF-IDF and a linear SVM.

It is measured twice: on scikit-learn's own tokens, and on ours, which keep one-letter words and punctuation.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from cellgate.bench.sets import Example, Splits
from cellgate.codecs import TextCodec
from cellgate.config import TextConfig
from cellgate.metrics import accuracy, macro_f1
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
    """Accuracy and macro F1 [0 to 1] and seconds of the linear model on either tokens, and what it counts."""
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
    from sklearn.svm import LinearSVC

    began = time.perf_counter()
    model = LinearSVC(random_state=0)
    texts, labels = _parted(splits.train)
    model.fit(vectorizer.fit_transform(prepared(texts)), labels)
    texts, truth = _parted(splits.test)
    answers = [str(answer) for answer in model.predict(vectorizer.transform(prepared(texts)))]
    seconds = time.perf_counter() - began
    return {
        "accuracy": round(accuracy(truth, answers), 6),
        "macro_f1": round(macro_f1(truth, answers), 6),
        "seconds": round(seconds, 2),
    }


def _parted(rows: Sequence[Example]) -> tuple[list[str], list[str]]:
    return [text for text, _ in rows], [label for _, label in rows]
