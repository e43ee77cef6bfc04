"""Metrics in words, each explained by its own docstring."""

from collections.abc import Mapping

from cellgate.cli.words import metric_name, row
from cellgate.codecs import TargetCodec
from cellgate.metrics import calibration_error

_ABSTAINING = {
    "answered": "Share of rows that get an answer; the others count as wrong above",
    "precision": "Share of the answers given that are right",
}


def metric_rows(target: TargetCodec, metrics: Mapping[str, float]) -> list[str]:
    """Each metric's value and what it means."""
    about = {metric.__name__: (metric.__doc__ or "").split("\n")[0].rstrip(".") for metric in target.metrics}
    about |= {calibration_error.__name__: (calibration_error.__doc__ or "").split("\n")[0].rstrip(".")} | _ABSTAINING
    return [row(metric_name(name), f"{metrics[name]:.4f}", words) for name, words in about.items() if name in metrics]
