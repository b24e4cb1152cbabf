"""Rows of several shapes in one run: instructions in theirs, plain text in rows of its own.

Each lane (`planning.step_order`) has its plan, its stores and a batch size; a step trains on rows of one lane. Lanes
have the shares of the steps by which they come to their shares of trainable tokens: that follows from the lengths of
their examples, and from how their first windows fill rows.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data.blending import Part, even_stages
from flan_jax.data.draws import Draws
from flan_jax.data.loader import Loader, Reader
from flan_jax.data.mixing_config import Schedule
from flan_jax.data.planning.plan import Course, Plan, shares_of
from flan_jax.data.planning.row_index import RowIndex
from flan_jax.data.planning.step_order import StepOrder
from flan_jax.data.resolve import Resolved
from flan_jax.data.rows import Batch, RowShape
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError

_WINDOWS = 4  # of a lane, which are packed to know how full its rows get


@dataclasses.dataclass(frozen=True)
class Lane:
    """Tasks whose rows have one shape.

    Attributes:
      plan: of its rows.
      index: where its windows end.
      reader: its stores.
      draws: what of them is prepared.
      batch_size: rows that a step takes, over all hosts.
      first_task: the number of its first task among those of all lanes.
    """

    plan: Plan
    index: RowIndex
    reader: Reader
    draws: Draws
    batch_size: int
    first_task: int = 0

    @property
    def shape(self) -> RowShape:
        """The shape of a row."""
        return self.reader.shape

    def trainable_a_step(self, means: Mapping[str, tuple[float, float]]) -> float:
        """Trainable tokens that a step has on average: the tokens that its rows hold, times the part that bears loss.

        Args:
          means: of each task, the tokens of an example and how many of them bear loss; see `ResolvedTask.mean_tokens`.
        """
        windows, held, rows = min(_WINDOWS, max(1, int(self.plan.windows_of(1)))), 0, 0
        for number in range(windows):
            rows = self.index.end(number)
            window = self.index.window(number)
            held += int(self.index.lengths_of(window.task, window.draw, window.index).sum())
        tokens, trainable = self.plan.counts_by(windows) @ np.array([means[task.name] for task in self.plan.tasks])
        return self.batch_size * held / max(1, rows) * float(trainable) / max(float(tokens), 1e-9)


class Lanes:
    """The lanes of a run.

    Args:
      lanes: MIXTURE's first.
      order: of their steps.
      steps: of the whole run.
    """

    def __init__(self, lanes: Sequence[Lane], order: StepOrder, steps: int):
        self.lanes, self.order, self.steps = tuple(lanes), order, steps

    def rows(self) -> list[int]:
        """How many rows of each lane the run trains on."""
        each = zip(self.order.steps_by(self.steps), self.lanes, strict=True)
        return [steps * lane.batch_size for steps, lane in each]

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean equal batches at every step."""
        each = [[lane.plan.fingerprint, lane.batch_size] for lane in self.lanes]
        return hashlib.sha256(json.dumps([each, self.order.describe()]).encode()).hexdigest()[:16]

    def state(self, step: int) -> list[dict[str, int]]:
        """Of each lane, what a checkpoint keeps to go on at once; see `RowIndex.state`."""
        each = zip(self.lanes, self.order.steps_by(step), strict=True)
        return [lane.index.state(steps, lane.batch_size) for lane, steps in each]

    def anchor(self, states: Sequence[Mapping[str, int]]) -> None:
        """Takes the places that a checkpoint kept as known."""
        for lane, state in zip(self.lanes, states, strict=True):
            lane.index.anchor(state["window"], state["rows_before"])

    def describe(self) -> dict[str, Any]:
        """What a run's folder keeps of the lanes after the first, and of the order of all; JSON-able."""
        beside = [
            {
                "plan": lane.plan.describe(),
                "folders": lane.reader.folders,
                "selections": lane.reader.selections,
                "rows": {"inputs": lane.shape.inputs, "targets": lane.shape.targets},
                "batch_size": lane.batch_size,
            }
            for lane in self.lanes[1:]
        ]
        return {"order": self.order.describe(), "beside": beside}

    def close(self) -> None:
        """Ends the preparing of draws; see `Draws.close`."""
        for lane in self.lanes:
            lane.draws.close()


def open_lane(
    resolved: Resolved,
    plan: Plan,
    shape: RowShape,
    batch_size: int,
    worker: Worker,
    folder: pathlib.Path | None,
    first_task: int = 0,
) -> Lane:
    """A plan with all that its rows are read by.

    Args:
      resolved: the plan's tasks, and others.
      plan: the plan.
      shape: of its rows.
      batch_size: how many of them a step takes.
      worker: prepares draws.
      folder: keeps the index of rows; None keeps it in memory.
      first_task: see `Lane`.
    """
    reader = Reader(resolved.folders(plan), shape, resolved.selections(plan))
    keeper = Draws(resolved, plan, worker)
    path = folder / f"rows-{plan.fingerprint}.index" if folder else None
    return Lane(plan, RowIndex(plan, keeper.wait_for(reader.lengths), path), reader, keeper, batch_size, first_task)


class LanesLoader:
    """Batches of a run of several lanes, as `Loader` gives those of one.

    Args:
      loaders: each lane's.
      order: of their steps.
    """

    def __init__(self, loaders: Sequence[Loader], order: StepOrder):
        self.loaders, self.order = list(loaders), order

    def at(self, step: int) -> tuple[Loader, int]:
        """The loader that a step's rows come from, and which of its steps it is."""
        lane, number = self.order.of(step)
        return self.loaders[lane], number

    def batch(self, step: int) -> Batch:
        """This host's rows of one step."""
        loader, number = self.at(step)
        return loader.batch(number)

    def from_step(self, start: int, stop: int) -> Iterator[tuple[int, Batch]]:
        """Batches of steps [start, stop), in order; each lane prepares its own ahead."""
        with contextlib.ExitStack() as stack:
            spans = zip(self.loaders, self.order.steps_by(start), self.order.steps_by(stop), strict=True)
            ahead = [stack.enter_context(contextlib.closing(loader.from_step(*span))) for loader, *span in spans]
            for step in range(start, stop):
                yield step, next(ahead[self.order.of(step)[0]])[1]


def batch_beside(batch_size: int, shape: RowShape, beside: RowShape) -> int:
    """The multiple of a batch of rows of `shape` that, of rows of `beside`, has about as many tokens.

    A multiple, so that whatever mesh and microbatches divide BATCH_SIZE divides it too: no plan depends on a mesh.

    >>> batch_beside(64, RowShape("decoder", 1536, 512), RowShape("decoder", 256, 256))
    256
    >>> batch_beside(64, RowShape("decoder", 256, 256), RowShape("decoder", 1536, 512))
    64
    """
    tokens, of_one = (sum(one.capacities.values()) for one in (shape, beside))
    return batch_size * max(1, round(tokens / of_one))


def without_schedules(parts: Sequence[Part]) -> list[Part]:
    """Parts whose shares are numbers, as the rates within a lane do not hang on how much of the run it has."""
    return [part if isinstance(part.share, int | float) else dataclasses.replace(part, share=0.5) for part in parts]


def divided(resolved: Resolved, parts: Sequence[Part]) -> tuple[Resolved, Resolved]:
    """Divides what is trained on by its rows.

    Args:
      resolved: the tasks of all.
      parts: what stands beside MIXTURE.

    Returns:
      What has rows of FEATURE_LENGTHS, and the text that has rows of its own.

    Raises:
      UserError: a task is to have both.
    """
    named = {task.name for part in parts if part.name == "pretraining" for task in part.resolved.tasks}
    text = tuple(task for task in resolved.tasks if task.part == "pretraining")
    if both := sorted(named - {task.name for task in text}):
        raise UserError(
            f"task {both[0]!r} is of PRETRAINING, which has rows of its own by Pretraining.rows, and is trained on in "
            "other rows too; name it in one of both, or leave Pretraining.rows out"
        )
    rest = tuple(task for task in resolved.tasks if task.part != "pretraining")
    return dataclasses.replace(resolved, tasks=rest), dataclasses.replace(resolved, tasks=text)


def ordered(
    share: Schedule, trainable: Sequence[float], steps: int | None, first_steps: Callable[[], int]
) -> tuple[StepOrder, int]:
    """The order of the steps of two lanes by which the second has its share of the trainable tokens.

    Args:
      share: of the second lane, a number or a schedule over the run.
      trainable: tokens that a step of each lane has on average and that bear loss.
      steps: of the run; None where it is as long as the first lane's.
      first_steps: gives how many steps the first lane has then.

    Returns:
      The order, and the steps of the run.

    >>> order, steps = ordered(0.25, (30.0, 10.0), None, lambda: 6)
    >>> steps, order.steps_by(steps), order.shares == (2**39, 2**39)
    (12, [6, 6], True)
    """
    stages = even_stages([share])
    first, second = (max(tokens, 1e-9) for tokens in trainable)
    shares = [shares_of([(1 - part) / first, part / second]) for _, (part,) in stages]
    if steps is None:
        ends = [at for at, _ in stages[1:]] + [1.0]
        whole = sum(shares[0])
        widths = [end - at for (at, _), end in zip(stages, ends, strict=True)]
        of_first = math.fsum(width * each[0] / whole for width, each in zip(widths, shares, strict=True))
        steps = max(1, math.ceil(first_steps() / of_first))
    courses: list[Course] = []
    for (at, _), each in zip(stages[1:], shares[1:], strict=True):
        if round(at * steps) > (courses[-1].start if courses else 0):
            courses.append(Course(round(at * steps), tuple(each)))
    return StepOrder(shares[0], courses), steps
