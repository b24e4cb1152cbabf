"""Tables of scores: before and after tuning, beside chance and the best sibling instruction.

An eval mixture may hold, for a task NAME, two kinds of entry besides itself: `NAME.held_out_wordings` (the same rows
under wordings that were not trained), and `NAME.as_OTHER` (the same rows and answers under another task's instruction).
A score under OTHER's instruction is the control: a model that reads its instruction does not give NAME's answer there.
For a task that was held out whole, the best of its `as_OTHER` scores is what following the nearest trained instruction
would earn.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import tables

_HELD_OUT, _AS = ".held_out_wordings", ".as_"
SEEN, WORDINGS, TASKS = "seen wordings", "held-out wordings", "held-out tasks"
BOTH, CONTROL = "held-out tasks under held-out wordings", "another task's instruction"
GROUPS = (SEEN, WORDINGS, TASKS, BOTH, CONTROL)


def metrics_of(scores: Sequence[Any]) -> dict[str, float]:
    """Scores as metrics for the choice of the best checkpoint: one a task, and "mean/score" without the controls.

    Losses take no part in the mean, but where there is nothing else; they count downwards then.
    """
    shown = {f"{score.task}/score": score.score for score in scores}
    plain = [score.score for score in scores if _AS not in score.task and score.kind != "loss"]
    plain = plain or [-score.score for score in scores]
    return {**shown, "mean/score": sum(plain) / max(1, len(plain))}


def one_line(scores: Sequence[Any]) -> str:
    """The mean score, or loss where there is nothing else, for the log."""
    mean, tasks = metrics_of(scores)["mean/score"], f"over {len(scores)} task{'s' * (len(scores) != 1)}"
    if all(score.kind == "loss" for score in scores):
        return f"mean loss {-mean:.4f} {tasks}"
    return f"mean score {mean:.1f} {tasks}"


def table(
    after: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]] | None, trained: Sequence[str], step: int
) -> dict[str, Any]:
    """Joins scores into rows and groups.

    Args:
      after: scores as `dataclasses.asdict(TaskScore)`.
      before: the same before the first step, where they were taken.
      trained: names of the tasks that were trained on.
      step: when `after` was taken.

    Returns:
      {"step", "tasks": a row each, "groups": means by group, with standard errors}.
    """
    old = {score["task"]: score["score"] for score in before or ()}
    known = set(trained)
    rows = []
    for score in after:
        name = score["task"]
        base = name.split(_HELD_OUT)[0].split(_AS)[0]
        if _AS in name:
            group = CONTROL
        elif name.endswith(_HELD_OUT):
            group = WORDINGS if base in known or not known else BOTH
        else:
            group = SEEN if base in known or not known else TASKS
        row = {
            "task": name,
            "cluster": score["about"].get("cluster") or None,
            "group": group,
            "examples": score["examples"],
            "before": old.get(name),
            "after": score["score"],
            "chance": score["chance"],
            "standard_error": 0.0 if score["kind"] == "loss" else _standard_error(score["score"], score["examples"]),
            "metrics": score["metrics"],
        }
        rows.append(row)
    for row in rows:
        if row["group"] == TASKS:
            siblings = {r["task"].split(_AS)[1]: r["after"] for r in rows if r["task"].startswith(row["task"] + _AS)}
            best = max(siblings, key=lambda name: siblings[name], default=None)
            row["sibling"], row["sibling_score"] = best, siblings.get(best) if best else None
    groups = {}
    for group in GROUPS:
        members = [row for row in rows if row["group"] == group]
        if members:
            groups[group] = _group(members)
    return {"step": step, "tasks": rows, "groups": groups}


def _group(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mean = lambda values: sum(values) / len(values) if values else None
    merged = {"tasks": len(rows), "examples": sum(row["examples"] for row in rows)}
    for key in ("before", "after", "chance", "sibling_score"):
        merged[key] = mean([row[key] for row in rows if row.get(key) is not None])
    merged["standard_error"] = math.sqrt(sum(row["standard_error"] ** 2 for row in rows)) / len(rows)
    bars = [max(row["chance"] or 0.0, row.get("sibling_score") or 0.0) for row in rows]
    merged["stronger_baseline"] = mean(bars)
    return merged


def _standard_error(score: float, examples: int) -> float:
    """Of a percentage over independent examples; 0 for scores that are none.

    With two more right and two more wrong (Agresti and Coull 1998), so that 100 of 100 is not taken for certain.
    """
    if not 0 <= score <= 100:
        return 0.0
    rate = (score / 100 * examples + 2) / (examples + 4)
    return 100 * math.sqrt(rate * (1 - rate) / (examples + 4))


def render(result: Mapping[str, Any]) -> str:
    """The table as text, and what it says in a few lines."""
    if all(set(row["metrics"]) == {"loss"} for row in result["tasks"]):
        return _losses(result)
    heads = ["task", "examples", "before", "after", "chance", "best sibling instruction"]
    body: list[list[Any]] = []
    rules = []
    for group in result["groups"]:
        rules.append(len(body))
        figures = result["groups"][group]
        body.append([group.upper(), figures["examples"], *_figures(figures), None])
        for row in result["tasks"]:
            if row["group"] == group:
                sibling = f"{row['sibling_score']:.1f} ({row['sibling']})" if row.get("sibling") else None
                unit = " (loss)" if set(row["metrics"]) == {"loss"} else ""
                body.append([f"  {row['task']}{unit}", row["examples"], *_figures(row), sibling])
    lines = [tables.table(heads, body, rule_before=rules[1:]), *_sentences(result["groups"])]
    return "\n".join([f"Zero-shot scores at step {result['step']}", *lines])


def _losses(result: Mapping[str, Any]) -> str:
    """The table where nothing but losses was taken."""
    body = [[row["task"], row["examples"], *_figures(row)[:2]] for row in result["tasks"]]
    table = tables.table(["task", "examples", "loss before", "loss after"], body)
    return f"Losses a token, on rows that were not trained on, at step {result['step']}\n{table}"


def _figures(row: Mapping[str, Any]) -> list[Any]:
    return [None if row[key] is None else float(row[key]) for key in ("before", "after", "chance")]


def _sentences(groups: Mapping[str, Any]) -> list[str]:
    said = []
    seen, wordings, tasks, control = (groups.get(group) for group in (SEEN, WORDINGS, TASKS, CONTROL))
    if seen and wordings and seen["after"]:
        above = wordings["after"] - (wordings["chance"] or 0)
        kept = tables.percent(wordings["after"] / seen["after"])
        said.append(
            f"Wordings never trained on keep {kept} of the trained ones' score, {above:.0f} points above chance."
        )
    if tasks:
        above, error = tasks["after"] - tasks["stronger_baseline"], tasks["standard_error"]
        said.append(
            f"Tasks never trained on: {tasks['after']:.1f}, {above:+.1f} points from the stronger of chance and "
            f"the best sibling instruction ({tasks['stronger_baseline']:.1f}): "
            f"{above / max(error, 1e-9):+.1f} standard errors."
        )
    if control:
        given = f"{control['after']:.1f}%"
        said.append(f"The same inputs under another task's instruction give this task's answer in {given}.")
    return said


def next_steps(folder: Any, steps: int) -> str:
    """What to type next, after a run of so many steps."""
    step = f"{min(100, steps):<9}"
    return "\n".join(
        [
            f"The run is in {folder}. Next:",
            f"  flan-jax generate --run_dir {folder}                 ask it something",
            f"  flan-jax inspect --run_dir {folder} --step {step} what it trained on in that step",
            f"  uvx tensorboard --logdir {folder}                    its curves (figures: {folder}/metrics.jsonl)",
        ]
    )
