"""Metric functions by name; each takes targets and predictions in the same order and gives named figures.

A target is a text or a list of texts that are all right; then the best of them counts. Figures are percentages, as in
seqio's tasks.
"""

import collections
import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError, nearest

Target = str | Sequence[str]
MetricFunction = Callable[..., Mapping[str, Any]]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _best(targets: Sequence[Target], predictions: Sequence[str], score: Callable[[str, str], float]) -> float:
    if len(targets) != len(predictions):
        raise UserError(
            f"There are {len(targets)} targets and {len(predictions)} predictions; give one prediction an example."
        )
    if not targets:
        return float("nan")
    total = 0.0
    for target, prediction in zip(targets, predictions, strict=True):
        references = [target] if isinstance(target, str) else target
        total += max(score(reference, prediction) for reference in references)
    return 100.0 * total / len(targets)


def accuracy(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Percentage of predictions that equal a target, but for blanks at the ends.

    >>> accuracy(["yes", "no"], ["yes ", "yes"])
    {'accuracy': 50.0}
    """
    return {"accuracy": _best(targets, predictions, lambda target, prediction: target.strip() == prediction.strip())}


def normalise(text: str) -> str:
    """Lower case, without punctuation, English articles and superfluous blanks, as SQuAD's evaluation has it.

    >>> normalise("The  cat, sat.")
    'cat sat'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _same(target: str, prediction: str) -> bool:
    wanted, given = normalise(target), normalise(prediction)
    # An answer that is all punctuation or an article ("+", "A") normalises to nothing: compare it as it stands.
    return wanted == given if wanted and given else target.strip() == prediction.strip()


def exact_match(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Percentage of predictions that equal a target once both are normalised.

    >>> exact_match([["A cat", "dog"]], ["cat."])
    {'exact_match': 100.0}
    """
    return {"exact_match": _best(targets, predictions, _same)}


def _overlap(target: str, prediction: str) -> float:
    wanted, given = normalise(target).split(), normalise(prediction).split()
    if not wanted or not given:
        return float(_same(target, prediction))
    shared = sum((collections.Counter(wanted) & collections.Counter(given)).values())
    return 2.0 * shared / (len(wanted) + len(given))


def f1(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Mean percentage of the harmonic mean of precision and recall over normalised words.

    >>> f1(["red green"], ["green blue"])
    {'f1': 50.0}
    """
    return {"f1": _best(targets, predictions, _overlap)}


METRICS: dict[str, MetricFunction] = {"accuracy": accuracy, "exact_match": exact_match, "f1": f1}


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
