"""The verdict on forgetting: what a model did before a run and does no more, beyond the noise.

`retention` says it in one number, a measure of this library's own: of what the scores before stood above chance, the
share that is kept. Task by task no more than all can be kept, so that nothing that was learnt makes up for what was
forgotten. Noise takes its part of it even where nothing is forgotten, and that part is told beside it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax import tables
from flan_jax.errors import counted
from flan_jax.evaluation import reports
from flan_jax.evaluation.differences import SEEDS, Figure, mean_of, paired_error

LEVEL = 0.05  # the probability of a false alarm, for all groups together and again for all tasks together
PRETRAINING = "held-out pretraining loss"
_NOT_TEXT = ("instruction", "chat", "seqio")  # the objectives of all else
FORGOTTEN, WITHIN, BETTER, UNKNOWN = "forgotten", "within the noise", "better", "noise not known"


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a model came to on one suite.

    Attributes:
      tasks: its scores, as `dataclasses.asdict(TaskScore)`.
      losses: of tasks that are scored by their loss, where it was taken: of each example the summed loss, and the
        tokens that bear it, [N] each.
    """

    tasks: Sequence[Mapping[str, Any]]
    losses: Mapping[str, tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=dict)


def report(
    before: Mapping[str, Scores], after: Sequence[Mapping[str, Scores]], trained: Sequence[str]
) -> dict[str, Any]:
    """Compares models suite by suite, and says whether something was forgotten.

    Args:
      before: what the model came to that the run started from, by suite.
      after: the same of the run, and of its repeats.
      trained: names of the tasks that the run trained on.

    Returns:
      {"groups": and "tasks": a row each, see `_row`; "retention": {"kept", "by_noise", "tasks"}; "noise": "seeds" or
      "examples"; "level"; "forgot"; "because": what was forgotten; "not_compared": tasks without a score}.
    """
    groups: dict[str, list[Figure]] = {}
    tasks: dict[str, Figure] = {}
    units: dict[str, str] = {}
    lacking = []
    for suite, was in before.items():
        figures, without = _figures(was, [one[suite] for one in after], trained)
        lacking += [name for name in without if name not in lacking]
        for (group, unit), figure in figures:
            name = f"{suite}: {group}" if len(before) > 1 else group
            groups.setdefault(name, []).append(figure)
            units[name] = units[figure.name] = unit
            tasks[figure.name] = figure
    means = [mean_of(name, members) for name, members in groups.items()]
    rows = {
        kind: [_row(figure, units[figure.name], LEVEL / len(figures)) for figure in figures]
        for kind, figures in (("groups", means), ("tasks", list(tasks.values())))
    }
    because = [row["name"] for row in (*rows["groups"], *rows["tasks"]) if row["verdict"] == FORGOTTEN]
    kept = retention([figure for name, figure in tasks.items() if units[name] == reports.PERCENT])
    told = {"noise": means[0].noise if means else None, "level": LEVEL, "forgot": bool(because), "because": because}
    return {**rows, "retention": kept, **told, "not_compared": lacking}


def _figures(
    before: Scores, after: Sequence[Scores], trained: Sequence[str]
) -> tuple[list[tuple[tuple[str, str], Figure]], list[str]]:
    """The figures of one suite, each with its group and unit; and the tasks of it that cannot be compared."""
    was = {row["task"]: row for row in reports.table(before.tasks, None, trained, 0)["tasks"]}
    runs = [{row["task"]: row for row in reports.table(one.tasks, None, trained, 0)["tasks"]} for one in after]
    objectives = {score["task"]: score["about"].get("objective") or "seqio" for score in before.tasks}
    found, lacking = [], []
    for name, old in was.items():
        new = [run.get(name) for run in runs]
        if old["group"] == reports.CONTROL:  # under another task's instruction a lower score is no loss
            continue
        if old["after"] is None or any(row is None or row["after"] is None for row in new):
            lacking.append(name)
            continue
        rows: list[Mapping[str, Any]] = [row for row in new if row is not None]
        is_loss = old["unit"] == reports.LOSS
        group = PRETRAINING if is_loss and objectives[name] not in _NOT_TEXT else rows[0]["group"]
        named = group if group == PRETRAINING or old["unit"] == reports.PERCENT else f"{group}: {old['unit']}"
        error = None
        if old["unit"] == reports.PERCENT:
            error = math.hypot(old["standard_error"], rows[0]["standard_error"])
        elif is_loss and name in before.losses and name in after[0].losses:
            (old_losses, weights), (new_losses, _) = before.losses[name], after[0].losses[name]
            error = paired_error(old_losses, new_losses, weights)
        scores = tuple(row["after"] for row in rows)
        figure = Figure(name, old["after"], scores, is_loss, old["chance"], error, old["examples"])
        found.append(((named, old["unit"]), figure))
    return found, lacking


def _row(figure: Figure, unit: str, level: float) -> dict[str, Any]:
    """A figure as it is reported; "floor" is the fall that noise alone exceeds with the probability `level`."""
    floor = figure.floor(level)
    if floor is None:
        verdict = UNKNOWN
    else:
        verdict = FORGOTTEN if figure.fall > floor else BETTER if -figure.fall > floor else WITHIN
    after = figure.mean_after
    return {
        "name": figure.name,
        "examples": figure.examples,
        "unit": unit,
        "chance": figure.chance,
        "before": figure.before,
        "after": after,
        "runs": list(figure.after),
        "difference": after - figure.before,
        "floor": floor,
        "verdict": verdict,
    }


def retention(figures: Sequence[Figure]) -> dict[str, Any]:
    """The share that is kept of what scores before stood above chance; see the module.

    Args:
      figures: of one unit, where more is better. Those that were at chance, or below, had nothing to keep.

    Returns:
      {"kept": the share, "by_noise": what noise alone would leave of it, on average, if nothing were forgotten,
      "tasks": of how many}; None for a share that is not known.

    >>> retention([Figure("a", 90.0, (70.0,), chance=50.0), Figure("b", 10.0, (60.0,), chance=0.0)])
    {'kept': 0.6, 'by_noise': None, 'tasks': 2}
    """
    had = [(one, one.before - (one.chance or 0.0)) for one in figures if one.before > (one.chance or 0.0)]
    whole = math.fsum(above for _, above in had)
    if not had:
        return {"kept": None, "by_noise": None, "tasks": 0}
    kept = math.fsum(max(0.0, above - max(0.0, one.fall)) for one, above in had)
    errors = [one.standard_error() for one, _ in had]
    known = [error for error in errors if error is not None]
    # The mean of a normal variable's positive part is its standard deviation over the square root of two pi.
    lost = math.fsum(known) / math.sqrt(2 * math.pi)
    by_noise = max(0.0, 1 - lost / whole) if len(known) == len(errors) else None
    return {"kept": kept / whole, "by_noise": by_noise, "tasks": len(had)}


class _Loss(float):
    """A float that a table shows with the digits that losses are told apart by."""

    def __format__(self, spec: str) -> str:
        return f"{float(self):.4f}"


def render(result: Mapping[str, Any], kept_in: Any = None) -> str:
    """The comparison as text: groups, the tasks that moved, retention, and the verdict.

    Args:
      result: from `report`.
      kept_in: the file that holds every task.
    """
    moved = [row for row in result["tasks"] if row["verdict"] != WITHIN]
    shown = sorted(moved, key=lambda row: row["verdict"] != FORGOTTEN)[: reports.WORST]
    cells = [_cells(row, row["name"].upper()) for row in result["groups"]]
    cells += [_cells(row, f"  {row['name']}") for row in shown]
    heads = ["", "examples", "before", "after", "difference", "noise", "verdict"]
    lines = [tables.table(heads, cells, rule_before=[len(result["groups"])] if shown else [])]
    rest = len(result["tasks"]) - len(shown)
    if rest:
        within = sum(row["verdict"] == WITHIN for row in result["tasks"])
        which = f"of them {within} within the noise" if within < rest else "all within the noise"
        where = "" if kept_in is None else f"; they are in {kept_in}"
        lines.append(f"{counted(rest, 'more task')}, {which}{where}.")
    lines.append(_of_noise(result))
    kept, by_noise = result["retention"]["kept"], result["retention"]["by_noise"]
    if kept is not None:
        noise = "" if by_noise is None else f"; noise alone would leave {tables.percent(by_noise)}"
        of = counted(result["retention"]["tasks"], "task")
        lines.append(f"Retention: {tables.percent(kept)} of what the scores of {of} stood above chance{noise}.")
    if result["not_compared"]:
        lines.append(f"Without a score before or after: {', '.join(result['not_compared'])}.")
    because = result["because"]
    named = ", ".join(because[: reports.WORST]) + (" and more" if len(because) > reports.WORST else "")
    lines.append(f"Forgotten, beyond the noise: {named}." if because else "Nothing was forgotten beyond the noise.")
    return "\n".join(lines)


def _of_noise(result: Mapping[str, Any]) -> str:
    """Where the noise floor is from."""
    if result["noise"] == SEEDS:
        runs = counted(len(result["groups"][0]["runs"]), "run")
        how = f"from the spread of {runs} of the recipe (Student's t)"
    else:
        how = "from the examples alone (percentages: binomial; losses: example by example), without other seeds' luck"
    return f"Noise: the fall that chance exceeds once in {round(1 / result['level'])} such comparisons, {how}."


def _cells(row: Mapping[str, Any], name: str) -> list[Any]:
    figure = _Loss if row["unit"] != reports.PERCENT else float
    figures = [None if row[key] is None else figure(row[key]) for key in ("before", "after", "difference", "floor")]
    return [name, row["examples"], *figures, row["verdict"]]
