"""From a mixture's name to its tasks, stores, counts and rates.

The child does the work with seqio; the parent keeps the answer and uses it again, without a child, for as long as the
request, the package versions, the task modules' sources and the data files are the same.
"""

import dataclasses
import hashlib
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.data import registrations
from flan_jax.data.objectives import refuse_not_text, refuse_unfit
from flan_jax.data.planning.plan import Course, Plan, PlannedTask, shares_of
from flan_jax.data.request import Request
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores
from flan_jax.data.worker import Worker
from flan_jax.files import atomic, filesystem

PRETRAINING = "PRETRAINING"  # the setting whose tasks have to be plain text


@dataclasses.dataclass(frozen=True)
class ResolvedTask:
    """One task of a resolved mixture.

    Attributes:
      name: the seqio task.
      folder: the store of draw d is `folder/draw-d`.
      fingerprint: of everything that shapes its tokens.
      count: examples kept.
      rate: its mixing rate, not normalised.
      cap: the cap that was applied to its examples, None where there is none.
      draws: how many draws its epochs go around.
      tally: what reading it counted (read, kept, dropped, truncated, …).
      about: its declaration's facts (cluster, evaluation kind, chance, metrics, …).
      kept: the file of the indices that are trained on, where hygiene leaves examples out; see `selection`.
      means: then, tokens that an example has on average, and how many of them bear loss.
      request: what it was asked for by, where that is not the mixture's request: tasks that stand beside it.
      beside: whether it stands beside the mixture, and so is no part of an epoch.
      in_order: whether its first pass goes through its examples in order; see `flan_jax.data.curriculum`.
      part: "pretraining" or "replay" where it is told apart from the run's other tasks; see `flan_jax.data.blending`.
    """

    name: str
    folder: str
    fingerprint: str
    count: int
    rate: float
    cap: int | None
    draws: int
    tally: Mapping[str, int]
    about: Mapping[str, Any]
    kept: str | None = None
    means: tuple[float, float] | None = None
    request: Request | None = None
    beside: bool = False
    in_order: bool = False
    part: str = ""

    @property
    def trained_as(self) -> str:
        """The fingerprint of what is trained on: of its tokens, and of which examples are kept."""
        if self.kept is None:
            return self.fingerprint
        return f"{self.fingerprint}-{os.path.basename(self.kept).partition('.')[0].rpartition('-')[2]}"

    def store(self, draw: int = 0) -> str:
        """The folder of one draw's store."""
        return os.path.join(self.folder, f"draw-{draw}")

    def mean_tokens(self) -> tuple[float, float]:
        """Tokens that an example has on average, and how many of them bear loss."""
        return self.means or stores.open_store(self.store()).mean_tokens()


@dataclasses.dataclass(frozen=True)
class RatesFrom:
    """Rates, one of each task of a resolved mixture, that hold from a virtual time on (examples of the mixture)."""

    start: int
    rates: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A resolved mixture: its tasks, the vocabulary they share, and why tasks of it are left out, by name."""

    request: Request
    tasks: tuple[ResolvedTask, ...]
    vocabulary: Mapping[str, Any]
    missing: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def plan(
        self, capacities: Mapping[str, int], packed: bool, largest_window: int, courses: Sequence[RatesFrom] = ()
    ) -> Plan:
        """The plan of training on this mixture.

        Args:
          capacities: tokens of a row by budget.
          packed: whether examples share rows.
          largest_window: see `Plan`.
          courses: rates that hold from some virtual time on, in the place of the tasks' own; one of each task.
        """
        shares = [shares_of(rates) for rates in ([task.rate for task in self.tasks], *(c.rates for c in courses))]
        used = [number for number in range(len(self.tasks)) if any(each[number] for each in shares)]
        planned = [
            PlannedTask(t.name, t.count, shares[0][n], t.trained_as, t.draws, t.beside, t.in_order)
            for n, t in ((number, self.tasks[number]) for number in used)
        ]
        later = [
            Course(course.start, tuple(each[number] for number in used))
            for course, each in zip(courses, shares[1:], strict=True)
        ]
        return Plan(planned, capacities, self.request.seed, packed, largest_window, later)

    def folders(self, plan: Plan) -> list[str]:
        """The folder of each of the plan's tasks; the store of draw d is `draw-d` in it."""
        by_name = {task.name: task for task in self.tasks}
        return [by_name[task.name].folder for task in plan.tasks]

    def selections(self, plan: Plan) -> list[str | None]:
        """The file of the indices that are kept of each of the plan's tasks; None where all are."""
        by_name = {task.name: task for task in self.tasks}
        return [by_name[task.name].kept for task in plan.tasks]


def resolve(request: Request, worker: Worker, setting: str = "MIXTURE", architecture: str = "") -> Resolved:
    """Resolves a mixture and sees to it that the first draw of every task is prepared.

    Args:
      request: what is wanted.
      worker: started only if the answer of an earlier run cannot be used again.
      setting: what names the mixture, for errors.
      architecture: of the model that is to train on it or to be scored; tasks that it cannot take are refused before
        they are prepared. Empty refuses none.

    Raises:
      UserError: no such mixture, a task without examples, a bad row, …
    """
    # Kept on this machine also where stores are not: it rests on the times of this machine's files.
    path = mirror.place(request.store_dir) / "resolved" / f"{request.key(worker.setup)}.json"
    known = _read(path)
    if known is None:
        with stores.told(request.store_dir):
            path.parent.mkdir(parents=True, exist_ok=True)  # a place that cannot be written is told at once
            registrations.refuse_unknown(worker, {setting: request.mixture}, ask=True)
            model = {"architecture": architecture, "setting": setting} if architecture else {}
            known = worker.call("resolve", request=request, **model)
            for line in known.pop("notes"):
                print(line, file=sys.stderr)
            _keep(path, known)
    tasks = tuple(ResolvedTask(**task) for task in known["tasks"])
    objectives = {task.name: task.about.get("objective", "") for task in tasks}
    if architecture:
        refuse_unfit(objectives, architecture, setting)
    if setting == PRETRAINING:
        refuse_not_text(objectives, setting)
    return Resolved(request, tasks, known["vocabulary"], known.get("missing", {}))


def check_evals(request: Request, beside: str | None, worker: Worker, architecture: str = "") -> list[str]:
    """Checks a mixture that is to be scored, without preparing any of it.

    Args:
      request: what will be asked of it.
      beside: the mixture that is trained on, whose vocabulary it must have; None where that is not to be compared.
      worker: started only if the answer of an earlier run cannot be used again.
      architecture: as in `resolve`.

    Returns:
      The names of its tasks.

    Raises:
      UserError: no such mixture, a task without that split, or that the model cannot take, or another vocabulary.
    """
    known = _asked("check evals", f"evals-{_key(request, worker, beside)}", request, worker, beside=beside)
    if architecture:
        refuse_unfit(known.get("objectives", {}), architecture, "EVAL_MIXTURE")
    return known["names"]


def members(request: Request, worker: Worker, setting: str) -> dict[str, dict[str, Any]]:
    """The tasks of a mixture with their "splits" and "objective", without preparing any of it.

    Args:
      request: what will be asked of it.
      worker: started only if the answer of an earlier run cannot be used again.
      setting: what names the mixture.

    Raises:
      UserError: there is no such mixture.
    """
    name = f"members-{_key(request, worker, setting)}"
    return _asked("members", name, request, worker, setting=setting)["members"]


def _key(request: Request, worker: Worker, more: str | None) -> str:
    return hashlib.sha256(f"{request.key(worker.setup)} {more}".encode()).hexdigest()[:16]


def _asked(operation: str, name: str, request: Request, worker: Worker, **how: Any) -> dict[str, Any]:
    """The data process's answer, kept under a name."""
    path = mirror.place(request.store_dir) / "resolved" / f"{name}.json"
    known = _read(path)
    if known is None:
        known = worker.call(operation, request=request, **how)
        with stores.told(request.store_dir):
            path.parent.mkdir(parents=True, exist_ok=True)
            _keep(path, known)
    return known


def _keep(path: pathlib.Path, known: Mapping[str, Any]) -> None:
    with stores.Lock(path):
        atomic.remove_partial(path.parent, path.name)
        atomic.write_sealed(path, known)


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    """An earlier answer, if it is undamaged and nothing that it rests on has changed since."""
    known = atomic.read_sealed(path)
    if known is None or any(filesystem.watched(file) != state for file, state in known["watched"]):
        return None
    if not all(stores.all_whole([os.path.join(task["folder"], "draw-0") for task in known.get("tasks", ())])):
        return None
    return known
