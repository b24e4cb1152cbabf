"""Metric functions by name; each takes targets and predictions in the same order and gives named figures.

A target is a text or a list of texts that are all right; in a task with a `metric_field` it is {"references": that
list, "field": the field's value}. Figures are percentages, as in seqio's tasks, but for edit distances.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flan_jax.errors import UserError, nearest
from flan_jax.tasks.answer_metrics import accuracy, exact_match, f1, final_answer, normalise
from flan_jax.tasks.instruction_metrics import super_ni
from flan_jax.tasks.label_metrics import binary_f1, macro_f1, matthews, multirc, pearson
from flan_jax.tasks.text_metrics import bleu, edit_distance, rouge

__all__ = ["METRICS", "MetricFunction", "binary_f1", "function", "name_of", "normalise", "numbers", "unit_of"]

MetricFunction = Callable[..., Mapping[str, Any]]

METRICS: dict[str, MetricFunction] = {
    "accuracy": accuracy,
    "exact_match": exact_match,
    "f1": f1,
    "final_answer": final_answer,
    "macro_f1": macro_f1,
    "matthews": matthews,
    "pearson": pearson,
    "multirc": multirc,
    "rouge": rouge,
    "bleu": bleu,
    "edit_distance": edit_distance,
    "super_ni": super_ni,
}
_EDITS = (edit_distance,)


def unit_of(metric: MetricFunction) -> str:
    """What the first figure of a metric is counted in: "%", "edits", or "" where only its own author knows."""
    if metric in _EDITS:
        return "edits"
    return "%" if metric in METRICS.values() or getattr(metric, "unit", "") == "%" else ""


def function(metric: str | MetricFunction) -> MetricFunction:
    """The metric function of that name; a function is given back.

    Raises:
      UserError: there is no such metric.
    """
    if callable(metric):
        return metric
    if metric not in METRICS:
        raise UserError(
            f"There is no metric {metric!r} (there is {', '.join(METRICS)}){nearest(metric, METRICS)}; or give a "
            f"function."
        )
    return METRICS[metric]


def name_of(metric: str | MetricFunction) -> str:
    """How a report calls a metric."""
    return metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)


def numbers(given: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a metric as plain numbers; what is no number (a text, a histogram) is left out.

    Raises:
      TypeError: it gave something else than named figures.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"a metric gives figures by name, as {{'f1': 50.0}}, and this one gave {type(given).__name__}")
    figures = {}
    for name, value in given.items():
        try:
            figures[str(name)] = float(getattr(value, "value", value))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
    return figures
