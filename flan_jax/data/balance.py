"""Shares of a mixture's tasks by the run's own rules, in the place of the rates that the mixture declares.

    rate       as declared; with a cap or a temperature (examples, at most the cap) ** (1 / temperature)
    weighted   times the weight of the task's name, or of the longest pattern that fits it, or of its cluster
    share      in proportion to that within each cluster that has a budget, and within all others together, but at
               least the floor
    drawn      shares of tokens are divided by the tokens of one example, as it is examples that are drawn

Each line goes by what the line before it gives.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from flan_jax.data.mixing_config import BalanceConfig
from flan_jax.data.resolve import Resolved, ResolvedTask
from flan_jax.errors import UserError, counted, nearest, together
from flan_jax.names import meaning

_NEAR = 1e-9  # what sums of shares that people write may be off
_NAMED = 12  # tasks or clusters that an error names


def balanced(resolved: Resolved, settings: BalanceConfig) -> Resolved:
    """The mixture with the rates that a run's `Balance` settings give its tasks.

    A task that the mixture or a weight of 0 leaves out stays out: neither budgets nor a floor bring it in.

    Args:
      resolved: what is trained on, as it was selected.
      settings: the run's.

    Returns:
      The mixture itself where all settings are off; else with rates that add up to 1 where examples are counted, and
      with the cap that held.

    Raises:
      UserError: a weight or a budget names nothing of the mixture, budgets or a floor cannot be had, nothing is left,
        or shares are to be of trainable tokens and a task has none.
    """
    if not settings.balances:
        return resolved
    tasks = resolved.tasks
    mixture = resolved.request.mixture
    _refuse_unknown(resolved, settings)
    weighted = [
        rate * _weight(task, settings.weights) for task, rate in zip(tasks, _rates(tasks, settings), strict=True)
    ]
    if not any(weighted):
        raise UserError(f"Balance.weights leave nothing of MIXTURE {mixture!r}; give one of its tasks more than 0")
    shares = _shares(tasks, weighted, settings)
    rates = [share / _size(task, settings.unit) if share else 0.0 for task, share in zip(tasks, shares, strict=True)]
    caps = [task.cap if settings.cap is None else settings.cap for task in tasks]
    changed = [
        dataclasses.replace(task, rate=rate, cap=cap) for task, rate, cap in zip(tasks, rates, caps, strict=True)
    ]
    return dataclasses.replace(resolved, tasks=tuple(changed))


def _rates(tasks: Sequence[ResolvedTask], settings: BalanceConfig) -> list[float]:
    """Rates before weights: as declared, or by examples."""
    if settings.cap is None and settings.temperature is None:
        return [task.rate for task in tasks]
    caps = [task.cap if settings.cap is None else settings.cap for task in tasks]
    sizes = [task.count if cap is None else min(task.count, cap) for task, cap in zip(tasks, caps, strict=True)]
    largest = max(sizes)  # parts of it, since powers of the counts themselves may be beyond any float
    power = 1 / (settings.temperature or 1.0)
    return [(size / largest) ** power if task.rate else 0.0 for task, size in zip(tasks, sizes, strict=True)]


def _weight(task: ResolvedTask, weights: Mapping[str, float]) -> float:
    """The most specific weight of a task: of its name, of the longest pattern, of its cluster, or 1."""
    words = meaning(weights, task.name, _cluster(task))
    return weights[words[0]] if words else 1.0


def _shares(tasks: Sequence[ResolvedTask], rates: Sequence[float], settings: BalanceConfig) -> list[float]:
    """The share of each task, whose sum is 1; of one with a rate of 0 it is 0."""
    groups: dict[str, list[int]] = {name: [] for name in (*settings.budgets, "")}  # "": all without a budget
    for number, task in enumerate(tasks):
        if rates[number]:
            groups[_cluster(task) if _cluster(task) in settings.budgets else ""].append(number)
    budgets = {**settings.budgets, "": _rest(settings.budgets)}
    _refuse_budgets(tasks, groups, budgets)
    shares = [0.0] * len(tasks)
    for name, members in groups.items():
        if not members:
            continue
        budget = budgets[name]
        _refuse_floor(name, len(members), budget, settings.floor)
        found = at_least(settings.floor / budget, [rates[number] for number in members])
        for number, share in zip(members, found, strict=True):
            shares[number] = budget * share
    return shares


def at_least(floor: float, rates: Sequence[float]) -> list[float]:
    """Shares in proportion to rates, of which those below a floor are raised to it at the cost of all others.

    Args:
      floor: at most 1 over the number of rates.
      rates: above 0.

    Returns:
      max(floor, c x rate), with the c for which they add up to 1.

    >>> [round(share, 3) for share in at_least(0.2, [90, 8, 2])]
    [0.6, 0.2, 0.2]
    """
    if floor * len(rates) > 1 - _NEAR:
        return [1 / len(rates)] * len(rates)
    raised: set[int] = set()
    while True:  # each raise lowers the others, and may bring more of them below; never all, by the check above
        free = [number for number in range(len(rates)) if number not in raised]
        factor = (1 - floor * len(raised)) / math.fsum(rates[number] for number in free)
        below = {number for number in free if rates[number] * factor < floor}
        if not below:
            return [floor if number in raised else rate * factor for number, rate in enumerate(rates)]
        raised |= below


def _rest(budgets: Mapping[str, float]) -> float:
    """What budgets leave to all others."""
    rest = 1 - math.fsum(budgets.values())
    return rest if rest > _NEAR else 0.0


def _size(task: ResolvedTask, unit: str) -> float:
    """How much of a unit one example has."""
    if unit == "examples":
        return 1.0
    tokens, trainable = task.mean_tokens()
    size = trainable if unit == "trainable_tokens" else tokens
    if not size:
        raise UserError(
            f"Balance.unit is {unit!r}, of which task {task.name!r} has none, whatever its share; count examples, or "
            f"leave it out by Balance.weights = {{{task.name!r}: 0}}"
        )
    return size


def _cluster(task: ResolvedTask) -> str:
    return task.about.get("cluster") or ""


def _refuse_unknown(resolved: Resolved, settings: BalanceConfig) -> None:
    """Refuses weights and budgets that are of nothing in the mixture."""
    mixture = resolved.request.mixture
    names = [*(task.name for task in resolved.tasks), *resolved.missing]
    clusters = sorted({_cluster(task) for task in resolved.tasks} - {""})

    known = [*((task.name, _cluster(task)) for task in resolved.tasks), *((name, "") for name in resolved.missing)]
    faults = [
        f"Balance.weights names {name!r}, which is no task, pattern of tasks or cluster of MIXTURE {mixture!r}"
        f"{nearest(name, [*names, *clusters])}"
        for name in settings.weights
        if not any(meaning([name], *one) for one in known)
    ]
    faults += [
        f"Balance.budgets names {name!r}, and {_clusters_of(mixture, clusters)}{nearest(name, clusters)}"
        for name in settings.budgets
        if name not in clusters
    ]
    if faults:
        raise UserError(together(faults))


def _clusters_of(mixture: str, clusters: Sequence[str]) -> str:
    if not clusters:
        return f"the tasks of MIXTURE {mixture!r} have no clusters; weigh them by name with Balance.weights"
    return f"no task of MIXTURE {mixture!r} is of such a cluster (they are of {_some(clusters, 'cluster')})"


def _some(names: Sequence[str], noun: str) -> str:
    more = f" and {counted(len(names) - _NAMED, f'more {noun}')}" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _refuse_budgets(
    tasks: Sequence[ResolvedTask], groups: Mapping[str, Sequence[int]], budgets: Mapping[str, float]
) -> None:
    """Refuses budgets that nobody can use, and that leave nothing to the tasks without one."""
    for name in (name for name, members in groups.items() if name and not members):
        raise UserError(
            f"Balance.budgets gives {budgets[name]:g} to {name!r}, of which every task is left out by a rate or weight "
            f"of 0; leave the cluster out of the budgets, or raise its weight"
        )
    given, others = 1 - budgets[""], [tasks[number].name for number in groups[""]]
    if others and not budgets[""]:
        raise UserError(
            f"Balance.budgets add up to {given:g}, so that nothing is left for {_some(others, 'task')}; "
            f"lower one of them, or leave those tasks out by Balance.weights of 0"
        )
    if budgets[""] and not others:
        raise UserError(
            f"Balance.budgets add up to {given:g}, and there is no task without a budget to have the rest; make them "
            f"add up to 1, or leave a cluster out of them"
        )


def _refuse_floor(name: str, members: int, budget: float, floor: float) -> None:
    """Refuses a floor that all tasks of a budget together cannot have."""
    if floor * members > budget + _NEAR:
        of = (
            f"the {budget:g} that Balance.budgets leaves cluster {name!r}"
            if name
            else f"the {budget:g} that they share"
        )
        raise UserError(
            f"Balance.floor is {floor:g}, which {counted(members, 'task')} cannot have of {of}; lower it to "
            f"{budget / members:.3g} or less"
        )
