"""Metrics in words, each explained by its own docstring."""

from collections.abc import Mapping

from cellgate.cli.words import metric_name, row
from cellgate.codecs import SupervisedCodec
from cellgate.metrics import MISTAKES, calibration_error

_LABELS = 20  # shown one by one
_ABSTAINING = {
    "answered": "Share of rows that get an answer; the others count as wrong above",
    "precision": "Share of the answers given that are right",
}


_RUNNING = {
    "perplexity": "Among how many equally likely tokens the next one was chosen, on average",
    "nats": "Negative log-probability of a token, on average",
    "bits": "The same in bits",
    "bits_per_character": "Of a character of the text, whatever a token is",
}


def running_rows(metrics: Mapping[str, float]) -> list[str]:
    """How well a running text was foretold: each figure, and what it means."""
    rows = [
        row(metric_name(name), _figure(metrics[name]), words) for name, words in _RUNNING.items() if name in metrics
    ]
    if "unknown" in metrics:
        share = f": {metrics['unknown'] / metrics['n']:.1%}" if metrics["unknown"] else ""
        rows.append(row("unknown", f"{metrics['unknown']:,}", f"Tokens rare in training or not there{share}"))
    return rows


def _figure(value: float) -> str:
    """A figure in at most 8 characters, up to a million."""
    if value >= 1e6:
        return f"{value:.2g}"
    return f"{value:.4f}" if value < 1e3 else f"{value:,.1f}"


def metric_rows(target: SupervisedCodec, metrics: Mapping[str, float]) -> list[str]:
    """Each metric's value and what it means."""
    about = {metric.__name__: (metric.__doc__ or "").split("\n")[0].rstrip(".") for metric in target.metrics}
    about |= {calibration_error.__name__: (calibration_error.__doc__ or "").split("\n")[0].rstrip(".")} | _ABSTAINING
    return [row(metric_name(name), f"{metrics[name]:.4f}", words) for name, words in about.items() if name in metrics]


def mistake_rows(counts: Mapping[str, int]) -> list[str]:
    """How many wrong spans there are of each kind, and what that is."""
    return [
        "Spans that are wrong:",
        *(row(metric_name(kind), f"{counts[kind]:,}", MISTAKES[kind]) for kind in MISTAKES),
    ]


def label_rows(labels: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Scores of each label, the worst F1 first; of many the worst ones only, which is said."""
    worst = sorted(labels, key=lambda label: (labels[label]["f1"], label))[:_LABELS]
    rows = ["    F1  precision  recall   rows  label"]
    for label in worst:
        score = labels[label]
        figures = f"{score['f1']:6.4f}{score['precision']:11.4f}{score['recall']:8.4f}{score['rows']:7,}"
        rows.append(f"{figures}  {' '.join(label.split())}")
    if len(worst) < len(labels):
        rows.append(f"These are the worst {len(worst)} of {len(labels):,} labels; --json has all.")
    return rows
