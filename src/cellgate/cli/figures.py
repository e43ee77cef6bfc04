"""Metrics in words, each explained by its own docstring."""

from collections.abc import Mapping

from cellgate.cli.words import metric_name, row
from cellgate.metrics import calibration_error
from cellgate.task import Task


def metric_rows(task: Task, metrics: Mapping[str, float]) -> list[str]:
    """Each metric's value and what it means."""
    rows = []
    for metric in (*task.metrics, calibration_error):
        if metric.__name__ in metrics:
            about = (metric.__doc__ or "").split("\n")[0].rstrip(".")
            rows.append(row(metric_name(metric.__name__), f"{metrics[metric.__name__]:.4f}", about))
    return rows
