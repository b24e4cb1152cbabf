"""Scores by cluster and in all, as means over examples: a task of many counts for more than one of few.

So the published evaluation of Super-Natural Instructions has its categories. Only figures that are means over examples
themselves can be joined like this; of them those are, that all tasks of a cluster have.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import tables

ALL = "all"
#: The figures of our own metrics that are means over examples, in the order of a table.
MEANS = ("rougeL", "rougeL_unicode", "exact_match", "accuracy", "f1")


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures of each cluster, and of all of them together under "all".

    Args:
      rows: tasks with "cluster", "examples" and "metrics".

    Returns:
      By cluster: "tasks", "examples", and each figure of `MEANS` that all its tasks have. Empty where fewer than two
      clusters have any.

    >>> one = {"cluster": "a", "examples": 1, "metrics": {"f1": 100.0}}
    >>> means([one, {"cluster": "b", "examples": 3, "metrics": {"f1": 0.0}}])["all"]
    {'tasks': 2, 'examples': 4, 'f1': 25.0}
    """
    clusters: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["cluster"] and row["examples"] and any(row["metrics"].get(name) is not None for name in MEANS):
            clusters.setdefault(row["cluster"], []).append(row)
    if len(clusters) < 2:
        return {}
    found = {name: _mean(clusters[name]) for name in sorted(clusters)}
    return {**found, ALL: _mean([row for members in clusters.values() for row in members])}


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    examples = sum(row["examples"] for row in rows)
    shared = [name for name in MEANS if all(row["metrics"].get(name) is not None for row in rows)]
    figures = {name: sum(row["metrics"][name] * row["examples"] for row in rows) / examples for name in shared}
    return {"tasks": len(rows), "examples": examples, **figures}


def render(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures as a table; empty where there are none."""
    if not found:
        return ""
    names = [name for name in MEANS if any(name in figures for figures in found.values())]
    keys = ("tasks", "examples", *names)
    body = [[cluster, *(figures.get(key) for key in keys)] for cluster, figures in found.items()]
    table = tables.table(["cluster", "tasks", "examples", *names], body, rule_before=[len(found) - 1])
    return f"By cluster, means over examples\n{table}"
