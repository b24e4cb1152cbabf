"""In which order tasks join a run, and in which order the examples of a task come in their first pass.

    joins     rates of tasks that have not joined are 0; the others share what all have, so that plain text and what is
              replayed beside them keep their shares of trainable tokens
    first     the examples of a task, the easy ones first: a file of their indices, as hygiene's selections are (which
    pass      it is made of), named by its content, so that it is part of the plan's fingerprint

Source: Bengio et al., "Curriculum Learning", ICML 2009.
"""

import dataclasses
import hashlib
import math
from collections.abc import Sequence

import numpy as np

from flan_jax.data.blending import examples_at, virtual_time
from flan_jax.data.difficulty import FIELD, difficulties, folder_of, save
from flan_jax.data.loader import Reader
from flan_jax.data.mixing_config import CurriculumConfig
from flan_jax.data.planning.order import mix
from flan_jax.data.planning.plan import SMALLEST_WINDOW, Plan
from flan_jax.data.resolve import RatesFrom, Resolved, ResolvedTask
from flan_jax.data.selection import kept_indices
from flan_jax.data.stores import store as stores
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError, nearest
from flan_jax.names import meaning

_WINDOWS = 20  # that a pass, and a run in which tasks join, are cut into at least
_TIES = 4  # what the hash is for; plan and index have their own


def in_order(
    resolved: Resolved, courses: Sequence[RatesFrom], settings: CurriculumConfig, length: float
) -> tuple[Resolved, list[RatesFrom]]:
    """The mixture with its tasks' rates in the order that a run's `Curriculum.tasks` asks for.

    Args:
      resolved: what is trained on, with what stands beside it.
      courses: how its rates change in the course of the run.
      settings: the run's.
      length: tokens that the run trains on, which `joins` are parts of.

    Returns:
      The mixture with the rates of the beginning, and those that follow.

    Raises:
      UserError: `tasks` names none of the mixture's, or leaves none for the beginning.
    """
    if not settings.tasks:
        return resolved, list(courses)
    joins = [part * length for part in joins_of(resolved, settings)]
    trainable, tokens_of = [task.mean_tokens()[1] for task in resolved.tasks], FirstTokens(resolved.tasks).total
    before = [RatesFrom(0, tuple(task.rate for task in resolved.tasks)), *courses]
    # In tokens, as virtual time goes otherwise with fewer tasks.
    starts = {tokens_of(examples_at(leg.start, before)): leg.rates for leg in before}
    beside = [task.beside for task in resolved.tasks]
    after: list[RatesFrom] = []
    for at in sorted({*starts, *joins}):
        rates = starts[max(start for start in starts if start <= at)]
        there = _among_those_there(rates, trainable, [join <= at for join in joins], beside)
        start = virtual_time(at, after, tokens_of) if after else 0
        if after and start <= after[-1].start:  # two changes within one example
            after.pop()
        after.append(RatesFrom(start, there))
    tasks = [dataclasses.replace(task, rate=rate) for task, rate in zip(resolved.tasks, after[0].rates, strict=True)]
    return dataclasses.replace(resolved, tasks=tuple(tasks)), after[1:]


def joins_of(resolved: Resolved, settings: CurriculumConfig) -> list[float]:
    """What part of the run is done when each task of a mixture joins it.

    Raises:
      UserError: see `in_order`.
    """
    names, mixture = settings.tasks, resolved.request.mixture
    parts = settings.joins or tuple(number / len(names) for number in range(len(names)))
    known = [(task.name, task.about.get("cluster", "")) for task in resolved.tasks]
    for name in names:
        if not any(meaning([name], *one) for one in known):
            near = nearest(name, {word for one in known for word in one})
            raise UserError(f"Curriculum.tasks names {name!r}, no task, pattern or cluster of {mixture!r}{near}")
    part_of = dict(zip(names, parts, strict=True))
    joins = [part_of[words[0]] if (words := meaning(names, *one)) else 0.0 for one in known]
    if min((join for join, task in zip(joins, resolved.tasks, strict=True) if not task.beside), default=0.0) > 0:
        raise UserError(
            f"Curriculum.tasks names every task of {mixture!r} and the first joins when {parts[0]:.0%} of the run is "
            f"done, so there is none to begin with; let Curriculum.joins begin with 0.0"
        )
    return joins


def _among_those_there(
    rates: Sequence[float], trainable: Sequence[float], there: Sequence[bool], beside: Sequence[bool]
) -> tuple[float, ...]:
    """Rates of the tasks that have joined: they share the trainable tokens of all, those beside the mixture apart."""
    found = [0.0] * len(rates)
    for apart in (False, True):
        some = [number for number, one in enumerate(beside) if one == apart]
        have = math.fsum(rates[n] * trainable[n] for n in some if there[n])
        factor = math.fsum(rates[n] * trainable[n] for n in some) / have if have else 1.0
        for n in some:
            found[n] = rates[n] * factor if there[n] else 0.0
    return tuple(found)


def easy_first(resolved: Resolved, settings: CurriculumConfig, worker: Worker) -> Resolved:
    """The mixture with its tasks' examples in the order that a run's `Curriculum.by` asks for.

    Only what the run was asked to train on is put in order, not what stands beside it.

    Args:
      resolved: what is trained on, as it was selected.
      settings: the run's.
      worker: started only where a number in the data's rows has not been read before.

    Raises:
      UserError: a row lacks the number, the loss was not measured, …
    """
    if settings.by is None:
        return resolved
    found = difficulties(resolved, settings.by, settings.measured_by, worker)
    tasks = []
    for task, difficulty in zip(resolved.tasks, found, strict=True):
        if difficulty is not None:
            kept = None if task.kept is None else kept_indices(task.kept)
            order = first_pass(difficulty, kept, settings.hard_first, resolved.request.seed)
            task = dataclasses.replace(task, kept=_written(order, resolved), in_order=True)
        tasks.append(task)
    return dataclasses.replace(resolved, tasks=tuple(tasks))


def _written(order: np.ndarray, resolved: Resolved) -> str:
    """The file that holds an order, written where it is not there yet, or damaged."""
    digest = hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:16]
    path = folder_of(resolved) / f"first-{digest}.npy"
    try:
        whole = np.array_equal(np.load(path, mmap_mode="r"), order)
    except (OSError, ValueError):
        whole = False
    if not whole:
        with stores.told(resolved.request.store_dir):
            save(path, order)
    return str(path)


def first_pass(difficulty: np.ndarray, kept: np.ndarray | None, hard_first: bool, seed: int) -> np.ndarray:
    """The examples of a store from the easiest to the hardest, equally difficult ones in a keyed order.

    Args:
      difficulty: a number an example [N].
      kept: int64 [kept], those that are trained on; None for all.
      hard_first: whether the hardest come first instead.
      seed: of the keyed order.

    Returns:
      int64 [kept].

    >>> first_pass(np.array([3.0, 1.0, 9.0, 2.0]), np.array([0, 2, 3]), False, seed=0).tolist()
    [3, 0, 2]
    """
    index = np.arange(len(difficulty)) if kept is None else np.asarray(kept, np.int64)
    rank = difficulty[index] * (-1.0 if hard_first else 1.0)
    return index[np.lexsort((mix(seed % 2**64, _TIES, index), rank))]


class FirstTokens:
    """Tokens of the first so many examples of each task.

    Of a task whose first pass is in order they are those of these examples, of others as many as on average.

    Args:
      tasks: [T].
    """

    def __init__(self, tasks: Sequence[ResolvedTask]):
        self._means = np.array([task.mean_tokens() for task in tasks])
        self._sums = {number: _sums_in_order(task) for number, task in enumerate(tasks) if task.in_order}

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """All of them, and those that bear loss, float64 [T, 2].

        Args:
          counts: [T], which may go on into later passes.
        """
        found = np.asarray(counts, np.float64)[:, None] * self._means
        for number, sums in self._sums.items():
            passes, rest = divmod(int(counts[number]), len(sums) - 1)
            found[number] = passes * sums[-1] + sums[rest]
        return found

    def total(self, counts: np.ndarray) -> float:
        """Those of all tasks, as `virtual_time` wants them."""
        return float(self(counts)[:, 0].sum())


def _sums_in_order(task: ResolvedTask) -> np.ndarray:
    """Tokens of the first examples of a task in their order, int64 [examples + 1, 2]; see `FirstTokens`."""
    store = stores.open_store(task.store())
    each = np.stack([store.lengths("inputs") + store.lengths("targets"), store.trainable()], axis=1)
    sums = np.zeros((task.count + 1, 2), np.int64)
    np.cumsum(each[kept_indices(str(task.kept))], axis=0, out=sums[1:])
    return sums


def window_of(settings: CurriculumConfig, largest: int, epoch_size: int, passes: float) -> int:
    """How many examples are packed and shuffled together where their order matters.

    A window is shuffled, so there have to be many in what is put in order; but not so small that rows stay empty. Only
    where tasks join, which depends on STEPS anyhow, is it another in a longer run.

    Args:
      settings: the run's.
      largest: its `Data.window`.
      epoch_size: examples of a first pass.
      passes: how many the run takes.
    """
    examples = epoch_size * (min(passes, 1.0) if settings.tasks else 1.0)
    return min(largest, max(SMALLEST_WINDOW, int(examples) // _WINDOWS))


def tokens_a_row(plan: Plan, reader: Reader) -> float:
    """How many tokens a row of a plan holds, by its first window in the first draws, which are there by then."""
    first_draws = lambda task, draw, index: reader.lengths(task, np.zeros_like(draw), index)
    rows = plan.rows(0, first_draws)
    return float(first_draws(rows.task, rows.draw, rows.index).sum()) / len(rows)


def order_notes(resolved: Resolved, settings: CurriculumConfig, plan: Plan) -> list[str]:
    """What a plan tells of a curriculum, a line each for what joins when and for what comes first."""
    notes = []
    if settings.tasks:
        joins = joins_of(resolved, settings)
        counts = {part: sum(join == part for join in joins) for part in sorted(set(joins))}
        said = (
            f"{count:,} from the start" if not part else f"{count:,} at {part:.0%}" for part, count in counts.items()
        )
        notes.append(f"tasks join in order of Curriculum.tasks: {', '.join(said)} of the run")
    if settings.by:
        by = settings.by.removeprefix(FIELD)
        which = "hardest first" if settings.hard_first else "easiest first"
        notes.append(
            f"first pass of each task: {which} by {by!r}, shuffled among {plan.boundary(1):,} examples at a time"
        )
    return notes
