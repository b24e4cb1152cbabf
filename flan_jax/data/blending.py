"""Puts plain text and what is replayed beside a run's mixture, at shares of trainable tokens.

    part         tasks that have a share together: MIXTURE's, PRETRAINING's, REPLAY's
    rate         of a task i of a part: the part's share * q_i / m, with q_i the part of its examples that are the
                 task's, and m the trainable tokens that an example of the part has on average
    course       rates that hold from some virtual time on: a schedule of shares is cut into pieces of even share

Means are those of what was prepared. Within a part tasks stand to each other as they do without the others. What part
of a run is done goes by its tokens, as steps do; `examples_at` and `virtual_time` turn one into the other.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from flan_jax.data.mixing_config import Schedule, points_of, share_at
from flan_jax.data.objectives import ON_TEXT
from flan_jax.data.planning.packing import pack
from flan_jax.data.resolve import RatesFrom, Resolved, ResolvedTask
from flan_jax.data.rows import RowShape
from flan_jax.data.stores.store import open_store
from flan_jax.errors import UserError

MOST_COURSES = 64  # of a schedule whose share changes throughout
_ROUNDS = 20  # by which the length of a run of epochs is found
_SAMPLE, _LOOKED_AT = 1024, 128  # examples that are packed to know how many a row holds; of a task they are the first


@dataclasses.dataclass(frozen=True)
class Part:
    """Tasks that have a share of a run's trainable tokens together.

    Attributes:
      resolved: the tasks, with their rates among each other.
      share: of trainable tokens: a number, or a schedule.
      setting: what names its tasks, for errors.
      name: "pretraining" or "replay".
      beside: whether it is no part of an epoch.
    """

    resolved: Resolved
    share: Schedule
    setting: str
    name: str
    beside: bool = True


@dataclasses.dataclass(frozen=True)
class RunLength:
    """How long a run is.

    Attributes:
      rows: of all its batches; None where it is `epochs` passes over MIXTURE.
      shape: of a row.
      epochs: passes over MIXTURE; None where `rows` says it.
      packed: whether examples share rows.
    """

    rows: int | None
    shape: RowShape
    epochs: float | None = None
    packed: bool = True


def text_of(resolved: Resolved, share: Schedule) -> tuple[Resolved, Part]:
    """Divides a mixture that holds plain text beside other tasks.

    Args:
      resolved: the mixture.
      share: of the trainable tokens, which its plain text is to have.

    Returns:
      The mixture without it, and the part that it is.

    Raises:
      UserError: there is no plain text in the mixture, or nothing else.
    """
    text = [task for task in resolved.tasks if task.about.get("objective") in ON_TEXT]
    rest = [task for task in resolved.tasks if task not in text]
    name = resolved.request.mixture
    if not text:
        raise UserError(
            f"PRETRAINING_FRACTION is {share}, and MIXTURE {name!r} holds no task of plain text; name some with "
            f"PRETRAINING, as c4_span_corruption or own_text_causal_lm, or leave the fraction out"
        )
    if not rest:
        raise UserError(
            f"PRETRAINING_FRACTION is {share}, and MIXTURE {name!r} holds nothing but plain text; name it with "
            f"PRETRAINING and instructions with MIXTURE, or leave the fraction out"
        )
    only = dataclasses.replace(resolved, tasks=tuple(text), missing={})
    return dataclasses.replace(resolved, tasks=tuple(rest)), Part(only, share, "MIXTURE", "pretraining", beside=False)


def stored_lengths(task: ResolvedTask) -> np.ndarray:
    """Lengths of the first examples of a task's store, int [n, 2]: tokens of inputs and of targets."""
    store = open_store(task.store())
    columns = store.part(int(np.searchsorted(store.ends, 0, side="right"))).columns  # the first that holds any
    return np.stack([np.diff(columns[f"{name}.offsets"][: _LOOKED_AT + 1]) for name in ("inputs", "targets")], axis=1)


def examples_at(time: float, rates: Sequence[RatesFrom]) -> np.ndarray:
    """How many examples of each task stand before a virtual time, float64 [T].

    Args:
      time: examples of the mixture.
      rates: the first from 0 on, each until the next one's start.

    >>> examples_at(25, [RatesFrom(0, (1.0, 1.0)), RatesFrom(10, (1.0, 0.0))]).tolist()
    [20.0, 5.0]
    """
    ends = [*(leg.start for leg in rates[1:]), math.inf]
    spans = [max(0.0, min(end, time) - leg.start) for leg, end in zip(rates, ends, strict=True)]
    legs = zip(rates, spans, strict=True)
    return np.sum([np.array(leg.rates) / math.fsum(leg.rates) * span for leg, span in legs], axis=0)


def virtual_time(tokens: float, rates: Sequence[RatesFrom], tokens_of: Callable[[np.ndarray], float]) -> int:
    """The virtual time by which so many tokens have been trained on, to a whole example.

    Args:
      tokens: of inputs and targets.
      rates: as in `examples_at`.
      tokens_of: gives the tokens of the first so many examples of each task; `numpy.array(means).dot`, say.

    >>> virtual_time(60, [RatesFrom(0, (1.0, 1.0)), RatesFrom(10, (1.0, 0.0))], np.array([2.0, 4.0]).dot)
    25
    """
    low, high = 0, 1
    while tokens_of(examples_at(high, rates)) < tokens:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if tokens_of(examples_at(middle, rates)) >= tokens else (middle + 1, high)
    return high


def blended(
    resolved: Resolved,
    parts: Sequence[Part],
    length: RunLength,
    lengths_of: Callable[[ResolvedTask], np.ndarray] = stored_lengths,
) -> tuple[Resolved, list[RatesFrom]]:
    """One mixture of several, and how its rates change in the course of the run.

    Args:
      resolved: what is trained on, which has what shares the parts leave of the trainable tokens.
      parts: what stands beside it.
      length: of the run, which schedules are parts of.
      lengths_of: gives lengths of some examples of a task, as `stored_lengths` does.

    Returns:
      The mixture of all, and the rates that follow those of its tasks.

    Raises:
      UserError: vocabularies differ, or a task is in two parts that prepare it otherwise.
    """
    if not parts:
        return resolved, []
    tasks = _merged(resolved, parts)
    shared = [_of_part(resolved), *(_of_part(part.resolved) for part in parts)]
    stages = even_stages([part.share for part in parts])
    rates = [_rates(tasks, shared, [1 - math.fsum(shares), *shares]) for _, shares in stages]
    tasks = {name: dataclasses.replace(task, rate=rates[0][name]) for name, task in tasks.items()}
    missing = {
        name: why for each in (resolved, *(part.resolved for part in parts)) for name, why in each.missing.items()
    }
    whole = dataclasses.replace(resolved, tasks=tuple(tasks.values()), missing=missing)
    if len(stages) == 1:
        return whole, []
    courses: list[RatesFrom] = []
    lasting = _lasting(stages, shared, rates, [lengths_of(task) for task in tasks.values()], length)
    for time, each in zip(itertools.accumulate(lasting), rates[1:], strict=False):
        if round(time) > (courses[-1].start if courses else 0):
            courses.append(RatesFrom(round(time), tuple(each[name] for name in tasks)))
    return whole, courses


@dataclasses.dataclass(frozen=True)
class _Shared:
    """A part as its examples are shared out.

    Attributes:
      examples: of each task, the part of the examples that are its.
      trainable: tokens that an example has on average and that bear loss.
      epoch: examples until its first task has been seen once.
    """

    examples: Mapping[str, float]
    trainable: float
    epoch: float


def _of_part(resolved: Resolved) -> _Shared:
    total = math.fsum(task.rate for task in resolved.tasks)
    if not total > 0:
        raise UserError(f"the rates of {resolved.request.mixture!r} add up to {total}; give its tasks rates above 0")
    examples = {task.name: task.rate / total for task in resolved.tasks}
    trainable = math.fsum(examples[task.name] * task.mean_tokens()[1] for task in resolved.tasks)
    epoch = min(task.count / examples[task.name] for task in resolved.tasks if examples[task.name])
    return _Shared(examples, trainable, epoch)


def _merged(resolved: Resolved, parts: Sequence[Part]) -> dict[str, ResolvedTask]:
    """The tasks of all by name; one that several have is the first's."""
    found = {task.name: (task, "MIXTURE") for task in resolved.tasks}
    for part in parts:
        ours, theirs = resolved.vocabulary, part.resolved.vocabulary
        if ours["fingerprint"] != theirs["fingerprint"]:
            raise UserError(
                f"{part.setting} {part.resolved.request.mixture!r} has another vocabulary ({theirs['size']} tokens, "
                f"{theirs['fingerprint'][:8]}) than MIXTURE {resolved.request.mixture!r} ({ours['size']} tokens, "
                f"{ours['fingerprint'][:8]}); a model has one: give their tasks the same"
            )
        request = part.resolved.request if part.beside else None
        for task in part.resolved.tasks:
            known, setting = found.get(task.name, (None, ""))
            if known is None:
                beside = dataclasses.replace(task, request=request, beside=part.beside, part=part.name)
                found[task.name] = beside, part.setting
            elif (known.folder, known.trained_as) != (task.folder, task.trained_as):
                raise UserError(
                    f"task {task.name!r} is in {setting} and in {part.setting}, which prepare it otherwise (feature "
                    f"lengths {dict((known.request or resolved.request).lengths)} and "
                    f"{dict(part.resolved.request.lengths)}, or a part of it for PRETRAINING); name it in one of them"
                )
    return {name: task for name, (task, _) in found.items()}


def _rates(tasks: Mapping[str, ResolvedTask], parts: Sequence[_Shared], shares: Sequence[float]) -> dict[str, float]:
    """Examples of each task to a trainable token of the run."""
    weights = _weights(parts, shares)
    return {
        name: math.fsum(weight * part.examples.get(name, 0.0) for weight, part in zip(weights, parts, strict=True))
        for name in tasks
    }


def even_stages(schedules: Sequence[Schedule]) -> list[tuple[float, list[float]]]:
    """(part of the run that is done, the shares from there on), changing shares cut into pieces of even ones.

    >>> even_stages([0.1])
    [(0.0, [0.1])]
    >>> [(at, round(share, 2)) for at, [share] in even_stages([((0.0, 0.4), (0.5, 0.4), (1.0, 0.4))])]
    [(0.0, 0.4)]
    """
    turns = points_of(*schedules)
    stretches = list(zip(turns, turns[1:], strict=False))
    changing = [any(share_at(each, start) != share_at(each, end) for each in schedules) for start, end in stretches]
    width = math.fsum(end - start for (start, end), changes in zip(stretches, changing, strict=True) if changes)
    spare = max(1, MOST_COURSES - len(stretches))
    found: list[tuple[float, list[float]]] = []
    for (start, end), changes in zip(stretches, changing, strict=True):
        pieces = max(1, int(spare * (end - start) / width)) if changes else 1
        for piece in range(pieces):
            at, middle = (start + (end - start) * (piece + part) / pieces for part in (0.0, 0.5))
            shares = [share_at(schedule, middle) for schedule in schedules]
            if not found or shares != found[-1][1]:
                found.append((at, shares))
    return found


def _lasting(
    stages: Sequence[tuple[float, list[float]]],
    parts: Sequence[_Shared],
    rates: Sequence[Mapping[str, float]],
    lengths: Sequence[np.ndarray],
    length: RunLength,
) -> list[float]:
    """How many examples of the whole mixture each stage of shares lasts."""
    ends = [start for start, _ in stages[1:]] + [1.0]
    weights = [_weights(parts, [1 - math.fsum(shares), *shares]) for _, shares in stages]
    of_mixture = [each[0] / math.fsum(each) for each in weights]
    # Of a run of one row.
    each_row = [
        (end - start) * _examples_in_row(list(each.values()), lengths, length)
        for (start, _), end, each in zip(stages, ends, rates, strict=True)
    ]
    if length.rows is not None:
        return [length.rows * one for one in each_row]
    # A plan's epochs are all as long as the first, which is longer where others have a greater share in it.
    epoch = parts[0].epoch
    rows = (length.epochs or 0.0) * epoch / math.fsum(map(math.prod, zip(each_row, of_mixture, strict=True)))
    for _ in range(_ROUNDS):
        left, first = epoch, 0.0
        for one, share in zip(each_row, of_mixture, strict=True):
            lasts = min(rows * one, left / share)
            left, first = left - lasts * share, first + lasts
        first += left / of_mixture[-1]
        rows = (length.epochs or 0.0) * first / math.fsum(each_row)
    return [rows * one for one in each_row]


def _weights(parts: Sequence[_Shared], shares: Sequence[float]) -> list[float]:
    """Examples of each part to a trainable token of the run."""
    return [share / max(part.trainable, 1e-9) for part, share in zip(parts, shares, strict=True)]


def _examples_in_row(rates: Sequence[float], lengths: Sequence[np.ndarray], length: RunLength) -> float:
    """Examples that a row holds, found by packing a sample.

    Args:
      rates: of the tasks.
      lengths: of some examples of each, int [n, 2]: tokens of inputs and of targets.
      length: of the run, with the shape of its rows.
    """
    if not length.packed:
        return 1.0
    ends = np.cumsum(rates) / math.fsum(rates)
    task = np.minimum(np.searchsorted(ends, (np.arange(_SAMPLE) + 0.5) / _SAMPLE), len(ends) - 1)
    place = np.arange(_SAMPLE) - np.searchsorted(task, task)  # how many of the same stand before
    found = np.array([lengths[t][k % len(lengths[t])] for t, k in zip(task, place, strict=True)], np.int64)
    row_of = pack(length.shape.budgets(found[:, 0], found[:, 1]), np.array(list(length.shape.capacities.values())))
    return _SAMPLE / (int(row_of.max()) + 1)
