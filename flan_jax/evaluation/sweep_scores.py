"""The table of a sweep: what its runs scored, the mean and the range over seeds, and what differs from the first row.

A row is a combination of all that is varied but SEED. The figures are the means of groups and, by choice, single tasks
(see `reports`); the losses after stages, for runs of those; and of training its last loss and its speed.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import tables
from flan_jax.errors import nearest
from flan_jax.evaluation.reports import LOSS, PERCENT

SPEED, TRAINING = "tokens/s", "training loss"
_SEED = "SEED"


def figures_of(
    result: Mapping[str, Any] | None,
    matrix: Mapping[str, Any] | None,
    metrics: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What is told of one run.

    Args:
      result: its results.json, what `reports.table` gives; None where nothing was scored.
      matrix: its stages.json, where it is a run of stages; its figures go in the place of the groups'.
      metrics: the rows of its metrics.jsonl, of the last stage.

    Returns:
      {"figures", "before", "tasks"}, each {"value", "unit"} by name: after training, before, and after it by task.
    """
    figures: dict[str, Any] = {}
    before: dict[str, Any] = {}
    tasks: dict[str, Any] = {}
    if result is not None:
        for name, group in result["groups"].items():
            unit = name.rpartition(": ")[2] if ": " in name else PERCENT
            for found, key in ((figures, "after"), (before, "before")):
                if group[key] is not None:
                    found[name] = {"value": group[key], "unit": unit}
        tasks = {
            row["task"]: {"value": row["after"], "unit": row["unit"]}
            for row in result["tasks"]
            if row["after"] is not None
        }
    if matrix is not None and matrix.get("rows"):
        figures = {
            f"{column} after {row['after']}": {"value": cell["mean"], "unit": _unit_of_column(column)}
            for row in matrix["rows"]
            if row["step"]
            for column, cell in row["means"].items()
        }
        before = {}
    return {"figures": figures | _of_training(metrics), "before": before, "tasks": tasks}


def _unit_of_column(column: str) -> str:
    return column.rpartition(": ")[2] if ": " in column else PERCENT


def _of_training(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The loss since the last row but one of LOG_PERIOD, and the median speed."""
    found = {}
    last: Mapping[str, Any] = next((row["by_objective"] for row in reversed(metrics) if row.get("by_objective")), {})
    if weight := sum(part["weight_sum"] for part in last.values()):
        loss = sum(part["loss_sum"] for part in last.values()) / weight
        found[TRAINING] = {"value": loss, "unit": LOSS}
    if speeds := [row["tokens_per_second"] for row in metrics if row.get("tokens_per_second") is not None]:
        found[SPEED] = {"value": statistics.median(speeds), "unit": SPEED}
    return found


def summary(runs: Sequence[Mapping[str, Any]], show: Sequence[str] = ()) -> dict[str, Any]:
    """Joins the runs of a sweep into rows.

    Args:
      runs: for each run {"values": how each axis is shown, "finished", and what `figures_of` gives where it is}.
      show: tasks whose scores are figures too.

    Returns:
      {"rows": for each combination {"values", "finished", "of"}; "figures": by name {"unit", "before": a cell or None,
      "cells": a row each, None where no run has the figure}}. A cell is {"mean", "low", "high", "runs"}, with
      "difference" from the first row and, where both rows have two runs or more, "apart": whether their ranges have
      nothing in common.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault(tuple((name, value) for name, value in run["values"].items() if name != _SEED), []).append(
            run
        )
    done = [[run for run in members if run["finished"]] for members in groups.values()]
    rows = [
        {"values": dict(values), "finished": len(finished), "of": len(members)}
        for (values, members), finished in zip(groups.items(), done, strict=True)
    ]
    every = [_of_run(run, show) for finished in done for run in finished]
    names = dict.fromkeys(name for figures in every for name in figures)
    figures = {}
    for name in sorted(names, key=lambda name: (name in (TRAINING, SPEED), name == SPEED)):
        unit = next(found[name]["unit"] for found in every if name in found)
        cells = [_cell([found[name] for run in finished if name in (found := _of_run(run, show))]) for finished in done]
        before = [run["before"][name] for finished in done for run in finished if name in run["before"]]
        figures[name] = {"unit": unit, "before": _cell(before), "cells": _compared(cells)}
    return {"rows": rows, "figures": figures}


def _of_run(run: Mapping[str, Any], show: Sequence[str]) -> dict[str, Any]:
    return {**run["figures"], **{task: run["tasks"][task] for task in show if task in run["tasks"]}}


def _cell(found: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    values = [one["value"] for one in found]
    if not values:
        return None
    return {"mean": statistics.fmean(values), "low": min(values), "high": max(values), "runs": len(values)}


def _compared(cells: Sequence[dict[str, Any] | None]) -> list[dict[str, Any] | None]:
    """The cells, with what sets each apart from the first."""
    first = cells[0]
    if first is None:
        return list(cells)
    compared: list[dict[str, Any] | None] = [first]
    for cell in cells[1:]:
        if cell is not None:
            cell = cell | {"difference": cell["mean"] - first["mean"]}
            if min(cell["runs"], first["runs"]) > 1:
                cell["apart"] = cell["low"] > first["high"] or cell["high"] < first["low"]
        compared.append(cell)
    return compared


def unknown_tasks(runs: Sequence[Mapping[str, Any]], show: Sequence[str]) -> list[str]:
    """A sentence for each task that was to be shown and that no finished run has scored."""
    scored = dict.fromkeys(task for run in runs if run["finished"] for task in run["tasks"])
    return [f"--show {task}: no run has a score of it{nearest(task, scored)}" for task in show if task not in scored]


def render(found: Mapping[str, Any]) -> str:
    """The table as text: a block for each figure, a line for each combination."""
    rows, axes = found["rows"], list(found["rows"][0]["values"])
    several = len(rows) > 1
    heads = ["", *axes, "runs", "mean", "lowest", "highest"]
    heads += ["from the first", "ranges"] if several else []
    body: list[list[Any]] = []
    rules = []
    for name, figure in found["figures"].items():
        rules.append(len(body))
        unit = "" if name.endswith(figure["unit"]) else f" ({figure['unit']})"
        body.append([name + unit, *([""] * len(axes)), *[_BLANK] * 4, *[_BLANK, ""] * several])
        if figure["before"] is not None:
            body.append(["  before", *([""] * len(axes)), *_shown(figure["before"], figure["unit"])])
            body[-1] += [_BLANK, ""] * several
        for row, cell in zip(rows, figure["cells"], strict=True):
            line = [
                "  after",
                *row["values"].values(),
                *(_shown(cell, figure["unit"]) if cell else [0, None, None, None]),
            ]
            body.append(line + ([_difference(cell, figure["unit"]), _ranges(cell)] if several else []))
    counts = [f"{row['finished']} of {row['of']} runs" + _named(row["values"]) for row in rows]
    finished = "; ".join(counts)
    return f"{tables.table(heads, body, rule_before=rules[1:])}\nfinished: {finished}"


def _named(values: Mapping[str, str]) -> str:
    return " with " + " ".join(f"{name}={value}" for name, value in values.items()) if values else ""


def _shown(cell: Mapping[str, Any], unit: str) -> list[Any]:
    return [cell["runs"], *(_rounded(cell[key], unit) for key in ("mean", "low", "high"))]


def _difference(cell: Mapping[str, Any] | None, unit: str) -> Any:
    return None if cell is None or "difference" not in cell else _rounded(cell["difference"], unit, signed=True)


def _ranges(cell: Mapping[str, Any] | None) -> str:
    return "" if cell is None or "apart" not in cell else "apart" if cell["apart"] else "overlap"


class _Blank:
    """A cell that shows nothing, in a column of numbers."""

    def __str__(self) -> str:
        return ""


_BLANK = _Blank()


class _Rounded(float):
    """A float that a table shows, to the right like any number, with the digits in which its unit differs."""

    spec: str

    def __format__(self, spec: str) -> str:
        return format(float(self), self.spec)


def _rounded(value: float, unit: str, signed: bool = False) -> _Rounded:
    rounded = _Rounded(value)
    rounded.spec = ("+" if signed else "") + {PERCENT: ".1f", SPEED: ",.0f"}.get(unit, ".4f")
    return rounded
