"""The plan of a run from the first examples of every task, before anything is prepared."""

import collections
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from flan_jax import run_data, setup
from flan_jax.config.run_config import RunConfig
from flan_jax.data.balance import balanced
from flan_jax.data.beside import parts_beside
from flan_jax.data.blending import blended
from flan_jax.data.lanes import divided, ordered, without_schedules
from flan_jax.data.objectives import refuse_not_text, refuse_unfit
from flan_jax.data.planning.packing import pack
from flan_jax.data.planning.plan import Plan
from flan_jax.data.request import Request
from flan_jax.data.resolve import PRETRAINING, Resolved, ResolvedTask
from flan_jax.data.rows import RowShape
from flan_jax.data.worker import Worker
from flan_jax.plan_table import by_window, finished, parts_of, rates_seen, row_of

_SAMPLE = 200  # examples of a task that an estimate reads at most


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
    length = run_data.run_length(config)
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
    seen = [by_window(plan, windows[0]) if courses else windows[0] * plan.counts_by(1).astype(float)]
    seen += [many * kind.plan.counts_by(1) for many, kind in zip(windows[1:], kinds[1:], strict=True)]
    facts = dict(zip((task.name for kind in kinds for task in kind.plan.tasks), rates_seen(kinds, seen), strict=True))
    rows = [row_of(task, *facts.get(task.name, (0.0, 0.0)), task.mean_tokens()) for task in resolved.tasks]
    laid_out = [kind.laid_out(of_kind) for kind, of_kind in zip(kinds, of_each, strict=True)]
    forms = collections.Counter(member["form"] for member in members.values())
    table = finished(config, rows, steps, laid_out, resolved.vocabulary, forms, exact=False)
    table |= parts_of(config, list(resolved.tasks), rows)
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
