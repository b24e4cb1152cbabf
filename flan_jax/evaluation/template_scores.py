"""How a task's score hangs on its template: the mean over templates, their spread, and the one that was best elsewhere.

FLAN reports the mean over its templates, and the test score of the template that was best on the validation split (Wei
et al., 2022, section 3). With `--each_template` every row is scored under every template, as there; otherwise each row
under a drawn one, and a template's score rests on a share of the rows.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import tables
from flan_jax.errors import counted


def by_template(result: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Scores by template number, of the tasks that were scored under several.

    Args:
      result: from `reports.table`.
    """
    return {row["task"]: row["by_template"] for row in result["tasks"] if len(row.get("by_template") or ()) > 1}


def chosen(kept: Mapping[str, Any] | None, mixture: str, split: str, step: int) -> dict[str, Any] | None:
    """What an earlier evaluation says of which templates are best: another split of the same mixture, at the same step.

    Args:
      kept: what `eval.json` holds; None where there is none.
      mixture: what is scored now.
      split: of it.
      step: of the checkpoint.

    Returns:
      {"split", "by_template"}; None where there is no such evaluation.
    """
    if kept is None or (kept.get("mixture"), kept.get("step")) != (mixture, step):
        return None
    if kept.get("split") != split:
        return {"split": kept["split"], "by_template": by_template(kept)}
    earlier = kept.get("chosen_on")
    return earlier if earlier and earlier["split"] != split else None


def rows(scored: Mapping[str, Mapping[str, float]], chosen_on: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A row a task.

    Args:
      scored: from `by_template`.
      chosen_on: from `chosen`.

    Returns:
      "task", "templates" (how many), "mean", "spread" (standard deviation), "worst", "best", and, of the template that
      was best on the other split, "chosen" (its number from 1) and "chosen_score" here; None where nobody chose.

    >>> dev = {"split": "validation", "by_template": {"rte": {"0": 9.0, "1": 8.0}}}
    >>> (row,) = rows({"rte": {"0": 60.0, "1": 70.0}}, dev)
    >>> row["mean"], row["spread"], row["best"], row["chosen"], row["chosen_score"]
    (65.0, 5.0, 70.0, 1, 60.0)
    """
    found = []
    for task, scores in scored.items():
        elsewhere = (chosen_on or {}).get("by_template", {}).get(task, {})
        known = {number: score for number, score in elsewhere.items() if number in scores}
        best = max(known, key=lambda number: known[number], default=None)
        values = list(scores.values())
        found.append(
            {
                "task": task,
                "templates": len(values),
                "mean": statistics.fmean(values),
                "spread": statistics.pstdev(values),
                "worst": min(values),
                "best": max(values),
                "chosen": None if best is None else int(best) + 1,
                "chosen_score": None if best is None else scores[best],
            }
        )
    return found


def render(found: Sequence[Mapping[str, Any]], chosen_on: Mapping[str, Any] | None) -> str:
    """The rows as a table; empty where there are none."""
    if not found:
        return ""
    keys = ["task", "templates", "mean", "spread", "worst", "best"]
    heads = list(keys)
    if chosen_on is not None:
        heads += [f"best on {chosen_on['split']}", "its score"]
        keys += ["chosen", "chosen_score"]
    body = [[row[key] for key in keys] for row in found]
    every = [statistics.fmean(row[key] for row in found) for key in ("mean", "spread")]
    scored = [row["chosen_score"] for row in found if row["chosen_score"] is not None]
    last = [None, statistics.fmean(scored) if scored else None] if chosen_on is not None else []
    body.append([counted(len(found), "task"), None, *every, None, None, *last])
    return f"By template\n{tables.table(heads, body, rule_before=[len(found)])}"
