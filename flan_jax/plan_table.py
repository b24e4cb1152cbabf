"""What every task will contribute to a run, worked out before its first step: a table, and its text."""

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax import setup, tables
from flan_jax.config.run_config import RunConfig
from flan_jax.data import part_shares, selection
from flan_jax.data.balance import balanced
from flan_jax.data.beside import parts_beside
from flan_jax.data.blending import blended
from flan_jax.data.curriculum import FirstTokens
from flan_jax.data.lanes import Lane, divided, ordered, without_schedules
from flan_jax.data.objectives import refuse_not_text, refuse_unfit
from flan_jax.data.planning.packing import pack
from flan_jax.data.planning.plan import SHARE_BITS, Plan
from flan_jax.data.request import Request
from flan_jax.data.resolve import PRETRAINING, Resolved, ResolvedTask
from flan_jax.data.rows import RowShape
from flan_jax.data.worker import Worker
from flan_jax.data.wrong_masks import WRONG_MASKS, wrong_in, wrong_words
from flan_jax.errors import counted
from flan_jax.tables import in_bytes as _bytes
from flan_jax.teacher_plan import teacher_facts, teacher_line
from flan_jax.training.footprint import footprint

_SAMPLE = 200  # examples of a task that an estimate reads at most
_NAMED = 4  # tasks with wrong masks that are named
_TASKS = 6  # that a line names
_SUMMED = ("examples", "rate", "seen", "tokens", "trainable", "share", "truncated", "dropped")
_WINDOWS = 4  # windows that are packed to know how full rows get
_HEADS = ("task", "examples", "cap", "rate", "seen", "epochs", "tokens", "trainable", "share", "truncated", "dropped")
_SAMPLED_WINDOWS = 16  # about as many are packed of a run whose shares change


def plan_table(config: RunConfig, data: setup.Data, steps: int) -> dict[str, Any]:
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
    rates = [rate for rate, _ in _rates_seen([lane for lane, _ in lanes], seen_of)]
    laid_out = [_laid_out(lane, of_lane) for lane, of_lane in lanes]
    if any(task.in_order for task in members):
        spent = FirstTokens(members)(seen) / np.maximum(seen, 1e-9)[:, None]
        means = [(float(tokens), float(trained)) for tokens, trained in spent]
    rows = [_row(*facts) for facts in zip(members, rates, seen, means, strict=True)]
    forms = collections.Counter(task.about.get("form", "plain") for task in members)
    table = _finish(config, rows, steps, laid_out, data.resolved.vocabulary, forms, exact=True)
    found = None if data.selection is None else selection.summary(data.selection)
    order = {"order": [*data.order, *_not_seen(data, rows)]} if data.order else {}
    table |= _parts(config, members, rows) | {"prepared_text": part_shares.prepared_text(data.resolved)}
    return {**table, "missing": dict(data.resolved.missing), "hygiene": found, "leaks": list(data.leaks), **order}


def _not_seen(data: setup.Data, rows: list[dict[str, Any]]) -> list[str]:
    """Tells of tasks whose examples come in an order that the run does not get to the end of."""
    planned = zip(rows, data.plan.tasks, strict=True)
    cut = [
        f"{row['task']} {tables.percent(row['epochs'])}" for row, task in planned if task.in_order and row["epochs"] < 1
    ]
    return [f"the run ends within the first pass of {_some(cut)}: what comes last in it is not seen"] if cut else []


def _laid_out(lane: Lane, steps: int) -> dict[str, Any]:
    """How a lane's steps are laid out: rows, their lengths, and how full they are."""
    first = lane.index.window(0)
    used = lane.index.lengths_of(first.task, first.draw, first.index).sum(axis=0)
    capacities = lane.shape.capacities
    full = {name: int(n) / (len(first) * size) for n, (name, size) in zip(used, capacities.items(), strict=True)}
    return {"steps": steps, "batch_size": lane.batch_size, "row": capacities, "full": full}


def _rates_seen(lanes: Sequence[Any], seen: Sequence[np.ndarray]) -> list[tuple[float, float]]:
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
    return _by_window(lane.plan, windows)


def _windows_of(lane: Lane, rows: int, about: int) -> float:
    """How many windows hold so many rows, where shares change and windows hold more or fewer: by some of them."""
    step, window, before = max(1, about // _SAMPLED_WINDOWS), 0, 0
    while before + (here := len(lane.index.window(window))) * step < rows:
        window, before = window + step, before + here * step
    return window + (rows - before) / here


def _by_window(plan: Plan, windows: float) -> np.ndarray:
    """Examples of each task in so many windows and a part of one."""
    low = math.floor(windows)
    return plan.counts_by(low) + (windows - low) * (plan.counts_by(low + 1) - plan.counts_by(low))


def _row(task: ResolvedTask, rate: float, seen: float, means: tuple[float, float]) -> dict[str, Any]:
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


def _parts(config: RunConfig, tasks: list[ResolvedTask], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What is told of text and replay beside the run's mixture."""
    wanted = {"pretraining": config.pretraining.fraction, "replay": config.replay.fraction}
    return {"parts": part_shares.parts_table(tasks, rows, wanted)}


def _mask(task: ResolvedTask, means: tuple[float, float]) -> dict[str, Any]:
    """What is known of a task's loss masks: how many are proved, what share of their tokens is trained, and what is not
    trained on as it would be wrongly."""
    trained = means[1] / means[0] if means[0] else 0.0
    return {"proved": task.tally.get("proved", 0), "trained": trained, "left_out": wrong_in(task.tally)}


def _finish(
    config: RunConfig,
    rows: list[dict[str, Any]],
    steps: int,
    lanes: Sequence[dict[str, Any]],
    vocabulary: Mapping[str, Any],
    forms: Mapping[str, int],
    exact: bool,
) -> dict[str, Any]:
    trainable = max(1, sum(row["trainable"] for row in rows))
    rows = [{**row, "share": row["trainable"] / trainable} for row in rows]
    total = {key: sum(row[key] for row in rows) for key in _SUMMED}
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
    summed = {name: {key: sum(row[key] for row in members) for key in _SUMMED} for name, members in groups.items()}
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


def estimated_table(config: RunConfig, worker: Worker) -> dict[str, Any]:
    """The plan from the first examples of every task: lengths are sampled, counts are the sources' own."""
    setup.refuse_unknown(config, worker)
    setup.learn_vocabulary(config, worker)
    request = setup.train_request(config)
    members: dict[str, dict[str, Any]] = {}

    def of_samples(asked: Request, setting: str) -> Resolved:
        answer = worker.call("estimate", sample=_SAMPLE, request=asked)
        objectives = {task["name"]: task["objective"] for task in answer["tasks"]}
        refuse_unfit(objectives, config.model.architecture, setting)
        if setting == PRETRAINING:
            refuse_not_text(objectives, setting)
        members.update({task["name"]: task for task in answer["tasks"]})
        return Resolved(asked, tuple(_of_sample(task, asked.budget) for task in answer["tasks"]), answer["vocabulary"])

    resolved = balanced(of_samples(request, "MIXTURE"), config.balance)
    length = setup.run_length(config)
    resolved, parts = parts_beside(resolved, config.pretraining, config.replay, length, of_samples)
    lengths_of = lambda task: np.array(members[task.name]["lengths"])
    apart = config.pretraining.apart
    resolved, courses = blended(resolved, without_schedules(parts) if apart else parts, length, lengths_of)
    mixed, text = divided(resolved, parts) if apart else (resolved, None)
    how = config.data.pack, config.data.window
    plan = mixed.plan(setup.shape_of(config).capacities, *how, courses)
    kinds = [_SampledRows(plan, setup.shape_of(config), config.batch_size, members)]
    if text is not None:
        shape = setup.text_shape_of(config)
        kinds.append(_SampledRows(text.plan(shape.capacities, *how), shape, setup.text_batch_of(config), members))
    first_steps = lambda: max(1, math.ceil(plan.windows_of(config.epochs or 0) * kinds[0].rows / config.batch_size))
    steps = config.steps or first_steps()
    of_each = [steps]
    if text is not None:
        trainable = [kind.trainable_a_step() for kind in kinds]
        order, steps = ordered(config.pretraining.fraction, trainable, config.steps, first_steps)
        of_each = order.steps_by(steps)
    windows = [of_kind * kind.batch_size / kind.rows for of_kind, kind in zip(of_each, kinds, strict=True)]
    if config.epochs:
        windows[0] = plan.windows_of(config.epochs)
    seen = [_by_window(plan, windows[0]) if courses else windows[0] * plan.counts_by(1).astype(float)]
    seen += [many * kind.plan.counts_by(1) for many, kind in zip(windows[1:], kinds[1:], strict=True)]
    facts = dict(zip((task.name for kind in kinds for task in kind.plan.tasks), _rates_seen(kinds, seen), strict=True))
    rows = [_row(task, *facts.get(task.name, (0.0, 0.0)), task.mean_tokens()) for task in resolved.tasks]
    laid_out = [kind.laid_out(of_kind) for kind, of_kind in zip(kinds, of_each, strict=True)]
    forms = collections.Counter(member["form"] for member in members.values())
    table = _finish(config, rows, steps, laid_out, resolved.vocabulary, forms, exact=False)
    table |= _parts(config, list(resolved.tasks), rows)
    if config.curriculum.orders:
        table["order"] = ["Curriculum is no part of this estimate"]
    return {**table, "from_samples": [member["name"] for member in members.values() if member["from_sample"]]}


class _SampledRows:
    """Rows of one shape as samples of their examples fill them.

    Args:
      plan: of the rows.
      shape: theirs.
      batch_size: rows that a step takes.
      members: of each task, what its sample came to.
    """

    def __init__(self, plan: Plan, shape: RowShape, batch_size: int, members: Mapping[str, Mapping[str, Any]]):
        self.plan, self.shape, self.batch_size = plan, shape, batch_size
        self._trainable = np.array([float(np.mean(members[task.name]["trainable"])) for task in plan.tasks])
        known = [members[task.name]["lengths"] for task in plan.tasks]
        task, index, _ = plan.examples(0)
        lengths = np.array([known[t][i % len(known[t])] for t, i in zip(task, index, strict=True)])
        budgets = shape.budgets(lengths[:, 0], lengths[:, 1])
        capacities = np.array(list(shape.capacities.values()))
        #: That the first window makes.
        self.rows = int(pack(budgets, capacities).max()) + 1 if plan.packed else len(budgets)
        self._full = budgets.sum(axis=0) / (self.rows * capacities)

    def trainable_a_step(self) -> float:
        """Trainable tokens that a step has on average."""
        return self.batch_size / self.rows * float(self.plan.counts_by(1) @ self._trainable)

    def laid_out(self, steps: int) -> dict[str, Any]:
        """As `_laid_out` tells of a lane."""
        full = dict(zip(self.shape.capacities, self._full.tolist(), strict=True))
        return {"steps": steps, "batch_size": self.batch_size, "row": self.shape.capacities, "full": full}


def _of_sample(sampled: Mapping[str, Any], budget: int | None) -> ResolvedTask:
    """A task as its sample has it; of one with a budget so many examples as would be prepared."""
    means = float(np.sum(sampled["lengths"]) / len(sampled["lengths"])), float(np.mean(sampled["trainable"]))
    count = sampled["count"] if budget is None else min(sampled["count"], math.ceil(budget / max(means[1], 1e-9)))
    about, tally = {"objective": sampled["objective"], "cluster": sampled["cluster"]}, sampled["tally"]
    return ResolvedTask(sampled["name"], "", "", count, sampled["rate"], sampled["cap"], 1, tally, about, means=means)


def render_plan(table: dict[str, Any], most: int = 40) -> str:
    """The plan as text; of more than `most` tasks, the largest are shown and the rest is summed."""
    rows = sorted(table["tasks"], key=lambda row: -row["rate"]) if len(table["tasks"]) > most else table["tasks"]
    shown = [_cells(row) for row in rows[:most]]
    if rest := rows[most:]:
        summed = {key: sum(row[key] for row in rest) for key in table["total"]}
        shown.append(_cells({"task": f"… {len(rest)} more tasks", "cap": None, "epochs": None, **summed}))
    shown.append(_cells({"task": counted(len(rows), "task"), "cap": None, "epochs": None, **table["total"]}))
    model = table["model"]
    adapters = model["trained"] if model["trained"] != model["parameters"] else 0
    beside = f" that stay as they are, {adapters:,} in adapters" if adapters else ""
    lines = [
        f"Plan of {table['mixture']!r}" + (" (an estimate from a sample)" if table["estimate"] else ""),
        tables.table(_HEADS, shown, rule_before=[len(shown) - 1]),
        *_cluster_table(table, most),
        *_steps_told(table),
        read_as(table["vocabulary"], table["forms"]),
        *table.get("added", []),
        *([f"augmented: {'; '.join(table['augment'])}"] if table.get("augment") else []),
        f"model: {model['parameters']:,} parameters{beside}; with the optimiser's state {_bytes(model['state_bytes'])}",
        *(f"optimiser: {said}" for said in model.get("groups", ())),
    ]
    lines += _of_the_loss(table)
    lines += part_shares.told(table.get("parts", ()), table.get("prepared_text", ()))
    if not table["estimate"]:
        lines.append(mask_line(table))
    if missing := table.get("missing"):
        lines.append(f"left out, as their corpora cannot be had or give no rows: {', '.join(missing)}")
    lines += table.get("order", [])
    lines += _hygiene(table.get("hygiene")) + [f"leak: {said}" for said in table.get("leaks") or ()]
    if by_hand := table.get("from_samples"):
        which = f"{counted(len(by_hand), 'task')}" if len(by_hand) > 5 else ", ".join(by_hand)
        lines.append(f"not at hand, so counts are as declared and lengths of a made-up row: {which}")
    if "seconds" in table:
        minutes, speed = table["seconds"] / 60, table["tokens_per_second"]
        lines.append(f"about {minutes:.0f} min at the {speed:,.0f} tokens/s of this run's last steps")
    return "\n".join(lines)


def _steps_told(table: Mapping[str, Any]) -> list[str]:
    """The steps and their rows, in a line for each kind of rows."""
    lines = []
    for number, lane in enumerate(table.get("lanes", [table])):
        full = ", ".join(f"{name} {share:.1%}" for name, share in lane["full"].items())
        row = " + ".join(f"{length} {name}" for name, length in lane["row"].items())
        of = ("", " of plain text alone")[number]
        said = f"{lane['steps']:,} steps of {lane['batch_size']} rows{of} ({row} tokens)"
        lines.append(f"{said}; positions that hold tokens: {full}")
    return lines


def _of_the_loss(table: Mapping[str, Any]) -> list[str]:
    """Lines on loss weights and on the teacher."""
    lines = []
    if weights := table.get("loss_weights"):
        said = [
            f"{word} {weight:g}" + ("" if weight else " (read, not learnt)")
            for word, weight in weights["tasks"].items()
        ]
        if weights["plain_text"] != 1:
            said.append(f"plain text {weights['plain_text']:g}")
        if weights["prompts"]:
            said.append(f"prompts {weights['prompts']:g}, whose tokens are not among the trainable ones above")
        lines.append(f"loss weights: {', '.join(said)}")
    return lines + ([teacher_line(table["teacher"])] if "teacher" in table else [])


def mask_line(table: Mapping[str, Any]) -> str:
    """What was proved of the loss masks of a plan's examples, in a line.

    >>> mask = {"proved": 80, "trained": 0.25, "left_out": {"wrong_cut": 3}}
    >>> total = {"tokens": 4000, "trainable": 1000}
    >>> mask_line({"tasks": [{"task": "alpaca", "examples": 80, "mask": mask}], "total": total})
    'mask proved on 80 examples of 1 task, 25.0% of whose tokens are trained; left out: 3 (alpaca: 3 cut to nothing)'
    """
    rows = [(row["task"], row["examples"], row.get("mask", {"proved": 0, "left_out": {}})) for row in table["tasks"]]
    proved = sum(mask["proved"] for _, _, mask in rows)
    unproved = [name for name, examples, mask in rows if mask["proved"] < examples]
    trained = tables.percent(table["total"]["trainable"] / max(1, table["total"]["tokens"]))
    of = f"{counted(proved, 'example')} of {counted(len(rows) - len(unproved), 'task')}"
    said = f"mask proved on {of}, {trained} of whose tokens are trained" if proved else "mask proved on no example"
    if unproved:
        said += f"; not proved: {_some(unproved)}, whose stores an earlier version wrote"
    wrong = [(name, mask["left_out"]) for name, _, mask in rows if mask["left_out"]]
    if wrong:
        count = sum(sum(left_out.values()) for _, left_out in wrong)
        said += (
            f"; left out: {count:,} ({_some([f'{name}: {wrong_words(left_out)}' for name, left_out in wrong], '; ')})"
        )
    return said


def _some(words: list[str], between: str = ", ") -> str:
    """The first few of many."""
    rest = len(words) - _NAMED
    return between.join([*words[:_NAMED], *([f"and {counted(rest, 'more task')}"] if rest > 0 else [])])


def _hygiene(found: Mapping[str, Any] | None) -> list[str]:
    """What hygiene left out or reported: a line a reason, with the tasks that have most of it."""
    if found is None:
        return []
    lines = []
    for key, said in (("left_out", "left out by Hygiene"), ("reported", "reported by Hygiene")):
        for why, count in found[key].items():
            most = sorted((task for task in found["tasks"] if task[key].get(why)), key=lambda task: -task[key][why])
            shown = ", ".join(f"{task['name']} {task[key][why]:,}" for task in most[:_TASKS])
            more = f" and {counted(len(most) - _TASKS, 'task')} more" if len(most) > _TASKS else ""
            lines.append(f"{said}, {why}: {counted(count, 'example')} ({shown}{more})")
    lines += [f"all of it left out by Hygiene: {task['name']}" for task in found["tasks"] if not task["count"]]
    if found["skipped"]:
        lines.append(f"not compared with, as their data cannot be had: {', '.join(found['skipped'])}")
    return lines or ["Hygiene leaves nothing out"]


FORMS = {"chat": "as chat, by the model's template", "roles": "as chat, by the roles' names", "plain": "plain"}


def read_as(vocabulary: dict[str, Any], forms: dict[str, int]) -> str:
    """What the tasks are read with and how they are written, in a line.

    >>> read_as({"name": "/models/Llama/tokenizer.json", "size": 128256}, {"chat": 3, "plain": 1})
    "vocabulary: Llama/tokenizer.json (128,256 ids); written as chat, by the model's template: 3 tasks, plain: 1 task"
    """
    short = "/".join(vocabulary["name"].split("/")[-2:])
    counts = {form: f": {counted(count, 'task')}" if len(forms) > 1 else "" for form, count in forms.items()}
    said = ", ".join(f"{FORMS.get(form, form)}{count}" for form, count in counts.items())
    return f"vocabulary: {short} ({vocabulary['size']:,} ids); written {said}"


def _cells(row: Mapping[str, Any], heads: Sequence[str] = _HEADS) -> list[Any]:
    return [tables.Share(row[name]) if name in ("rate", "share") else row[name] for name in heads]


def _cluster_table(table: Mapping[str, Any], most: int) -> list[str]:
    """The sums of clusters, where they are fewer than the tasks; of more than `most`, the largest are shown."""
    if not 1 < len(table["clusters"]) < len(table["tasks"]):
        return []
    rows = [{**row, "cluster": row["cluster"] or "of no cluster"} for row in table["clusters"]]
    rows.sort(key=lambda row: -row["rate"])
    if rest := rows[most:]:
        summed = {key: sum(row[key] for row in rest) for key in ("tasks", *_SUMMED)}
        rows = [*rows[:most], {"cluster": f"… {len(rest)} more clusters", "epochs": None, **summed}]
    heads = ("cluster", "tasks", "examples", "rate", "seen", "epochs", "tokens", "trainable", "share")
    return ["", tables.table(heads, [_cells(row, heads) for row in rows]), ""]
