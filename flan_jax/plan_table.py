"""What every task will contribute to a run, worked out before its first step: a table, and its text."""

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax import run_data, setup, tables
from flan_jax.config.run_config import RunConfig
from flan_jax.data import part_shares, selection
from flan_jax.data.curriculum import FirstTokens
from flan_jax.data.lanes import Lane
from flan_jax.data.planning.plan import SHARE_BITS, Plan
from flan_jax.data.resolve import ResolvedTask
from flan_jax.data.wrong_masks import WRONG_MASKS, wrong_in
from flan_jax.teacher_plan import teacher_facts
from flan_jax.training.footprint import footprint

SUMMED = ("examples", "rate", "seen", "tokens", "trainable", "share", "truncated", "dropped")
_WINDOWS = 4  # windows that are packed to know how full rows get
_SAMPLED_WINDOWS = 16  # about as many are packed of a run whose shares change


def plan_table(config: RunConfig, data: run_data.Data, steps: int) -> dict[str, Any]:
    """Works out what a run will train on.

    Returns:
      {"tasks": a row each, "clusters": the sums of each one's tasks, "total": the sum of them all, "steps", "rows",
      "full": by budget, the share of positions that hold tokens, …}. Of a row, "rate" is its share of the
      examples, "share" of the tokens that bear loss.
    """
    by_name = {task.name: task for task in data.resolved.tasks}
    members = [by_name[task.name] for task in data.tasks]
    means = [task.mean_tokens() for task in members]
    lanes = list(zip(data.each_lane(config), data.lane_steps(steps), strict=True))
    seen_of = [_seen(lane, of_lane * lane.batch_size, data.windows) for lane, of_lane in lanes]
    seen = np.concatenate(seen_of)
    rates = [rate for rate, _ in rates_seen([lane for lane, _ in lanes], seen_of)]
    laid_out = [_laid_out(lane, of_lane) for lane, of_lane in lanes]
    if any(task.in_order for task in members):
        spent = FirstTokens(members)(seen) / np.maximum(seen, 1e-9)[:, None]
        means = [(float(tokens), float(trained)) for tokens, trained in spent]
    rows = [row_of(*facts) for facts in zip(members, rates, seen, means, strict=True)]
    forms = collections.Counter(task.about.get("form", "plain") for task in members)
    table = finished(config, rows, steps, laid_out, data.resolved.vocabulary, forms, exact=True)
    found = None if data.selection is None else selection.summary(data.selection)
    order = {"order": [*data.order, *_not_seen(data, rows)]} if data.order else {}
    table |= parts_of(config, members, rows) | {"prepared_text": part_shares.prepared_text(data.resolved)}
    return {**table, "missing": dict(data.resolved.missing), "hygiene": found, "leaks": list(data.leaks), **order}


def _not_seen(data: run_data.Data, rows: list[dict[str, Any]]) -> list[str]:
    """Tells of tasks whose examples come in an order that the run does not get to the end of."""
    planned = zip(rows, data.plan.tasks, strict=True)
    cut = [
        f"{row['task']} {tables.percent(row['epochs'])}" for row, task in planned if task.in_order and row["epochs"] < 1
    ]
    return (
        [f"the run ends within the first pass of {tables.few(cut)}: what comes last in it is not seen"] if cut else []
    )


def _laid_out(lane: Lane, steps: int) -> dict[str, Any]:
    """How a lane's steps are laid out: rows, their lengths, and how full they are."""
    first = lane.index.window(0)
    used = lane.index.lengths_of(first.task, first.draw, first.index).sum(axis=0)
    capacities = lane.shape.capacities
    full = {name: int(n) / (len(first) * size) for n, (name, size) in zip(used, capacities.items(), strict=True)}
    return {"steps": steps, "batch_size": lane.batch_size, "row": capacities, "full": full}


def rates_seen(lanes: Sequence[Any], seen: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """The part of the run's examples that each task of all lanes has, and how many of its own are seen."""
    whole = max(sum(float(each.sum()) for each in seen), 1e-9)
    return [
        (task.share / 2**SHARE_BITS * (float(each.sum()) / whole), float(count))
        for lane, each in zip(lanes, seen, strict=True)
        for task, count in zip(lane.plan.tasks, each, strict=True)
    ]


def _seen(lane: Lane, rows: int, windows: float | None) -> np.ndarray:
    """Examples of each task in a lane's first rows: counted where a few windows hold them, else extrapolated.

    Args:
      lane: the lane.
      rows: of the run.
      windows: about how many they are, where the first ones do not tell.
    """
    ends = [0]
    while len(ends) <= _WINDOWS and (len(ends) == 1 or ends[-1] < rows):
        ends.append(lane.index.end(len(ends) - 1))
    whole = len(ends) - 2
    if rows <= ends[-1]:
        window = lane.index.window(whole)
        entries = window.task[: window.first[rows - ends[whole]]]
        return lane.plan.counts_by(whole) + np.bincount(entries, minlength=len(lane.plan.tasks))
    if windows is None:
        windows = (whole + 1) * rows / ends[-1]
        windows = _windows_of(lane, rows, int(windows)) if lane.plan.courses else windows
    return by_window(lane.plan, windows)


def _windows_of(lane: Lane, rows: int, about: int) -> float:
    """How many windows hold so many rows, where shares change and windows hold more or fewer: by some of them."""
    step, window, before = max(1, about // _SAMPLED_WINDOWS), 0, 0
    while before + (here := len(lane.index.window(window))) * step < rows:
        window, before = window + step, before + here * step
    return window + (rows - before) / here


def by_window(plan: Plan, windows: float) -> np.ndarray:
    """Examples of each task in so many windows and a part of one."""
    low = math.floor(windows)
    return plan.counts_by(low) + (windows - low) * (plan.counts_by(low + 1) - plan.counts_by(low))


def row_of(task: ResolvedTask, rate: float, seen: float, means: tuple[float, float]) -> dict[str, Any]:
    """What is told of a task: how often it is seen, and what that comes to in tokens."""
    return {
        "task": task.name,
        "cluster": task.about.get("cluster") or None,
        "examples": task.count,
        "cap": task.cap,
        "rate": rate,
        "seen": round(float(seen)),
        "epochs": float(seen) / task.count,
        "tokens": round(float(seen) * means[0]),
        "trainable": round(float(seen) * means[1]),
        "truncated": task.tally.get("truncated", 0),
        "dropped": sum(task.tally.get(key, 0) for key in ("dropped", "bad_rows", "too_long", *WRONG_MASKS)),
        "tally": dict(task.tally),
        "mask": _mask(task, means),
    }


def parts_of(config: RunConfig, tasks: list[ResolvedTask], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What is told of text and replay beside the run's mixture."""
    wanted = {"pretraining": config.pretraining.fraction, "replay": config.replay.fraction}
    return {"parts": part_shares.parts_table(tasks, rows, wanted)}


def _mask(task: ResolvedTask, means: tuple[float, float]) -> dict[str, Any]:
    """What is known of a task's loss masks: how many are proved, what share of their tokens is trained, and what is not
    trained on as it would be wrongly."""
    trained = means[1] / means[0] if means[0] else 0.0
    return {"proved": task.tally.get("proved", 0), "trained": trained, "left_out": wrong_in(task.tally)}


def finished(
    config: RunConfig,
    rows: list[dict[str, Any]],
    steps: int,
    lanes: Sequence[dict[str, Any]],
    vocabulary: Mapping[str, Any],
    forms: Mapping[str, int],
    exact: bool,
) -> dict[str, Any]:
    """The table of these rows with their sums, and all that is told of the run beside them."""
    trainable = max(1, sum(row["trainable"] for row in rows))
    rows = [{**row, "share": row["trainable"] / trainable} for row in rows]
    total = {key: sum(row[key] for row in rows) for key in SUMMED}
    extended = setup.extend_vocabulary(config)
    table = {
        "mixture": config.mixture,
        "estimate": not exact,
        "steps": steps,
        "batch_size": config.batch_size,
        "rows": sum(lane["steps"] * lane["batch_size"] for lane in lanes),
        "row": lanes[0]["row"],
        "full": lanes[0]["full"],
        "vocabulary": {"name": vocabulary.get("path") or vocabulary["kind"], "size": vocabulary["size"]},
        "forms": dict(forms),
        "added": extended.notes(in_chats="chat" in forms) if extended else [],
        "tasks": rows,
        "clusters": by_cluster(rows),
        "total": total,
        "model": footprint(
            setup.model_for(config, vocabulary["size"]), config.optimizer, config.store_dir, setup.lora_for(config)
        ),
    }
    if len(lanes) > 1:
        table["lanes"] = list(lanes)
    if config.augment:
        table["augment"] = config.augment.described()
    table |= _settings_of_the_loss(config, rows, vocabulary["size"])
    speed = _measured_speed(config)
    if speed:
        table["tokens_per_second"] = speed
        table["seconds"] = total["tokens"] / speed
    return table


def by_cluster(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The sums of each cluster's rows in a plan; those of tasks without one stand under None."""
    groups: dict[str | None, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["cluster"], []).append(row)
    summed = {name: {key: sum(row[key] for row in members) for key in SUMMED} for name, members in groups.items()}
    return [
        {"cluster": name, "tasks": len(groups[name]), "epochs": sums["seen"] / sums["examples"], **sums}
        for name, sums in summed.items()
    ]


def _settings_of_the_loss(config: RunConfig, rows: list[dict[str, Any]], vocab_size: int) -> dict[str, Any]:
    """What is said of loss weights and of a teacher; nothing where there is neither."""
    found: dict[str, Any] = {}
    if config.loss.task_weights or config.loss.prompt_weight or config.pretraining.loss_weight != 1:
        found["loss_weights"] = {
            "prompts": config.loss.prompt_weight,
            "tasks": dict(config.loss.task_weights),
            "plain_text": config.pretraining.loss_weight,
        }
    if config.distillation:
        found["teacher"] = teacher_facts(config, rows, vocab_size)
    return found


def _measured_speed(config: RunConfig) -> float | None:
    """Tokens a second of the run folder's last steps, where it has trained before."""
    from flan_jax.training.metrics import read_metrics

    try:
        rows = read_metrics(f"{config.run_dir}/metrics.jsonl")[-50:]
    except (FileNotFoundError, ValueError):
        return None
    speeds = sorted(row["tokens_per_second"] for row in rows if row.get("tokens_per_second"))
    return speeds[len(speeds) // 2] if speeds else None
