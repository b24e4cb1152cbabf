"""Metrics of labels, as GLUE and SuperGLUE publish them: F1 of a class, mean F1, Matthews, Pearson, MultiRC's own."""

import collections
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.tasks.answer_metrics import Target, check_counts, references


def binary_f1(positive: str) -> Callable[[Sequence[Target], Sequence[str]], dict[str, float]]:
    """A metric: the percentage F1 of one class, as MRPC and QQP are scored.

    Args:
      positive: the label of that class.

    >>> binary_f1("yes")(["yes", "yes", "no", "no"], ["yes", "no", "yes", "no"])
    {'f1': 50.0}
    """

    def metric(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
        return {"f1": 100.0 * _f1(_labels(targets, predictions), positive)}

    metric.__name__, metric.unit = "binary_f1", "%"  # type: ignore[attr-defined]
    return metric


def macro_f1(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """The mean over the classes of their percentage F1, as CommitmentBank is scored; a class is a label that occurs.

    >>> macro_f1(["a", "a", "b", "b"], ["a", "b", "a", "b"])
    {'macro_f1': 50.0}
    """
    pairs = _labels(targets, predictions)
    classes = {label for pair in pairs for label in pair}
    return {"macro_f1": 100.0 * sum(_f1(pairs, label) for label in classes) / max(1, len(classes))}


def _f1(pairs: Sequence[tuple[str, str]], label: str) -> float:
    right = sum(target == prediction == label for target, prediction in pairs)
    either = sum((target == label) + (prediction == label) for target, prediction in pairs)
    return 2 * right / either if either else 0.0


def matthews(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Matthews' correlation of labels times 100, as CoLA is scored, for any number of classes (Gorodkin, 2004).

    >>> matthews(["a", "a", "b", "b"], ["a", "b", "b", "b"])
    {'matthews': 57.73502691896258}
    """
    pairs = _labels(targets, predictions)
    wanted, given = (collections.Counter(labels) for labels in zip(*pairs, strict=True)) if pairs else ({}, {})
    count, right = len(pairs), sum(target == prediction for target, prediction in pairs)
    covariance = right * count - sum(wanted[label] * given[label] for label in wanted)
    spread = math.prod(count**2 - sum(n**2 for n in each.values()) for each in (wanted, given))
    return {"matthews": 100.0 * covariance / math.sqrt(spread) if spread else 0.0}


def pearson(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """Pearson's and Spearman's correlation times 100 of numbers, as STS-B is scored.

    Args:
      targets: of a task whose `metric_field` is the true number; else texts that are numbers.
      predictions: texts; one that is no number counts as -1.

    >>> pearson(["1", "2", "3"], ["2", "4", "6"])
    {'pearson': 100.0, 'spearman': 100.0}
    """
    from scipy import stats

    check_counts(targets, predictions)
    true = [_number(one["field"] if isinstance(one, Mapping) else references(one)[0]) for one in targets]
    given = [_number(one) for one in predictions]
    if len(set(true)) < 2 or len(set(given)) < 2:  # no correlation is defined
        return {"pearson": 0.0, "spearman": 0.0}
    both = {"pearson": stats.pearsonr(true, given), "spearman": stats.spearmanr(true, given)}
    return {name: round(100.0 * float(found.statistic), 10) for name, found in both.items()}


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return -1.0


def multirc(targets: Sequence[Mapping[str, Any]], predictions: Sequence[str]) -> dict[str, float]:
    """MultiRC's metrics (Khashabi et al., 2018): F1 over all answers, and the share of questions whose every answer is
    judged right.

    Args:
      targets: "yes" or "no" each, of a task whose `metric_field` names the question.
      predictions: the same words.

    >>> answers = (("a", "yes"), ("a", "no"), ("b", "yes"), ("b", "no"))
    >>> multirc([{"references": [label], "field": question} for question, label in answers], ["yes", "no", "no", "yes"])
    {'f1_of_answers': 50.0, 'exact_match_of_questions': 50.0}
    """
    check_counts(targets, predictions)
    pairs = _labels([target["references"] for target in targets], predictions)
    whole: dict[Any, bool] = {}
    for target, (wanted, given) in zip(targets, pairs, strict=True):
        whole[target["field"]] = whole.get(target["field"], True) and wanted == given
    share = sum(whole.values()) / max(1, len(whole))
    return {"f1_of_answers": 100.0 * _f1(pairs, "yes"), "exact_match_of_questions": 100.0 * share}


def _labels(targets: Sequence[Target], predictions: Sequence[str]) -> list[tuple[str, str]]:
    """(target, prediction) pairs; of several right labels the one that was given counts."""
    check_counts(targets, predictions)
    pairs = []
    for target, prediction in zip(targets, predictions, strict=True):
        wanted, given = [one.strip() for one in references(target)], prediction.strip()
        pairs.append((given if given in wanted else wanted[0], given))
    return pairs
