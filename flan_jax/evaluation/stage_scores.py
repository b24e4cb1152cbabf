"""The matrix of a run of stages: what every stage is scored on, after each of them, and what was forgotten on the way.

Rows are stages, columns are the mixtures and tasks that the stages name in EVAL_MIXTURE. A column's figure is the mean
over its tasks of one unit, those under another task's instruction left out. What was forgotten of a column is the best
that it had after an earlier stage less what it has after the last one, as in Chaudhry et al. (2018), section 3; below 0
where the last stage has the best.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax import tables
from flan_jax.evaluation.reports import CONTROL, LOSS, PERCENT

BEFORE = "before"


def matrix(results: Mapping[str, Mapping[str, Any]], columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Joins the tables of the stages.

    Args:
      results: for each stage in order what `reports.table` gives.
      columns: for each column its tasks.

    Returns:
      {"rows": for each stage, and before the first where that was scored, {"after", "step", "means": by column
      {"mean", "standard_error", "tasks"}, "tasks": by task {"score", "unit", "standard_error"}}; "forgotten": by column
      {"after", "best", "last", "forgotten", "standard_error"}}. A column that holds more than one unit is one for each:
      "NAME" for percentages, "NAME: loss".
    """
    scores = {stage: _scores(result, "after") for stage, result in results.items()}
    steps = {stage: result["step"] for stage, result in results.items()}
    if results:
        before = _scores(next(iter(results.values())), "before")
        scores, steps = ({BEFORE: before} | scores if before else scores), {BEFORE: 0} | steps
    rows = [
        {"after": after, "step": steps[after], "means": _means(tasks, columns), "tasks": tasks}
        for after, tasks in scores.items()
    ]
    return {"rows": rows, "forgotten": _forgotten([row for row in rows if row["after"] != BEFORE])}


def _scores(result: Mapping[str, Any], when: str) -> dict[str, dict[str, Any]]:
    return {
        row["task"]: {"score": row[when], "unit": row["unit"], "standard_error": row["standard_error"]}
        for row in result["tasks"]
        if row[when] is not None and row["group"] != CONTROL
    }


def _means(scores: Mapping[str, Mapping[str, Any]], columns: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    means = {}
    for column, tasks in columns.items():
        found = [scores[task] for task in tasks if task in scores]
        for unit in sorted({score["unit"] for score in found}, key=lambda unit: (unit != PERCENT, unit)):
            of = [score for score in found if score["unit"] == unit]
            means[column if unit == PERCENT else f"{column}: {unit}"] = {
                "mean": sum(score["score"] for score in of) / len(of),
                "standard_error": math.sqrt(sum(score["standard_error"] ** 2 for score in of)) / len(of),
                "tasks": len(of),
            }
    return means


def _forgotten(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each column lost from its best row to the last one."""
    if len(rows) < 2:
        return {}
    *earlier, last = rows
    lost = {}
    for column, now in last["means"].items():
        rated = [row for row in earlier if column in row["means"]]
        if not rated:
            continue
        sign = -1 if column.endswith(f": {LOSS}") else 1  # of losses the lowest is best
        best = max(rated, key=lambda row: sign * row["means"][column]["mean"])
        then = best["means"][column]
        lost[column] = {
            "after": best["after"],
            "best": then["mean"],
            "last": now["mean"],
            "forgotten": sign * (then["mean"] - now["mean"]),
            "standard_error": math.hypot(then["standard_error"], now["standard_error"]),
        }
    return lost


def render(found: Mapping[str, Any], kept_in: Path) -> str:
    """The matrix as text, and what was forgotten in a sentence a column.

    Args:
      found: from `matrix`.
      kept_in: the file that holds all of it.
    """
    columns = list(dict.fromkeys(column for row in found["rows"] for column in row["means"]))
    body = [
        [row["after"], row["step"], *(_cell(column, row["means"].get(column)) for column in columns)]
        for row in found["rows"]
    ]
    said = [
        f"Scores after each stage (those of every task: {kept_in})",
        tables.table(["after", "step", *columns], body),
    ]
    return "\n".join([*said, *(_sentence(column, lost) for column, lost in found["forgotten"].items())])


class _Loss(float):
    """A float that a table shows with the digits in which losses differ."""

    def __format__(self, spec: str) -> str:
        return f"{float(self):.4f}"


def _cell(column: str, mean: Mapping[str, Any] | None) -> Any:
    if mean is None:
        return None
    return _Loss(mean["mean"]) if column.endswith(f": {LOSS}") else float(mean["mean"])


def _sentence(column: str, lost: Mapping[str, Any]) -> str:
    is_loss = column.endswith(f": {LOSS}")
    shown = "{:.4f}" if is_loss else "{:.1f}"
    said = f"{column}: {shown} after {{}}, {shown} now, ".format(lost["best"], lost["after"], lost["last"])
    size = shown.format(abs(lost["forgotten"]))
    if not is_loss:
        size += f" ± {lost['standard_error']:.1f}"
    return said + (f"{size} forgotten." if lost["forgotten"] > 0 else f"{size} better: nothing forgotten.")
