"""Sees to it that the draws a plan reaches are prepared: at once where they are asked for, ahead of time otherwise.

Epoch e of a task uses draw e mod `draws`. The first draws are prepared when the mixture is resolved; the others are
wanted later, and a thread has them made meanwhile, in the order in which the plan comes to them.
"""

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from flan_jax.data.planning.plan import LengthsOf, Plan
from flan_jax.data.request import Request
from flan_jax.data.resolve import Resolved
from flan_jax.data.stores.store import all_whole
from flan_jax.data.worker import Worker

_LOT = 8  # stores asked for at once by the thread, so that others need not wait long for the data process
_DRAWS = 1 << 20


class Draws:
    """The draws of a plan's tasks.

    Args:
      resolved: the mixture.
      plan: its plan.
      worker: prepares.
    """

    def __init__(self, resolved: Resolved, plan: Plan, worker: Worker):
        by_name = {task.name: task for task in resolved.tasks}
        self._tasks = [by_name[task.name] for task in plan.tasks]
        self._request, self._plan, self._worker = resolved.request, plan, worker
        self._ready: set[int] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def wait_for(self, lengths_of: LengthsOf) -> LengthsOf:
        """Wraps a reader of lengths so that it waits for the stores it reads."""

        def lengths_of_prepared(task: np.ndarray, draw: np.ndarray, index: np.ndarray) -> np.ndarray:
            later = draw > 0
            keys = np.unique(task[later].astype(np.int64) * _DRAWS + draw[later])
            self.prepare(divmod(int(key), _DRAWS) for key in keys if int(key) not in self._ready)
            return lengths_of(task, draw, index)

        return lengths_of_prepared

    def prepare(self, wanted: Iterable[tuple[int, int]]) -> None:
        """Prepares what is missing of (task, draw) pairs, and returns when they stand there.

        Raises:
          UserError: a bad row, a full disk, …
        """
        pairs = list(wanted)
        missing: dict[int, tuple[Request, list[Any]]] = {}
        there = all_whole([self._tasks[task].store(draw) for task, draw in pairs])
        for (task, draw), whole in zip(pairs, there, strict=True):
            one = self._tasks[task]
            if not whole:
                request = one.request or self._request
                missing.setdefault(id(request), (request, []))[1].append((one.name, one.folder, one.fingerprint, draw))
        for request, wanted in missing.values():
            self._worker.call("prepare", wanted=wanted, request=request)
        self._ready.update(task * _DRAWS + draw for task, draw in pairs)

    def reached(self, windows: int) -> list[tuple[int, int]]:
        """The (task, draw) pairs beyond the first draws that so many windows use, the first one wanted first."""
        seen = self._plan.draws_reached(windows)
        found = [(task, draw) for task, draws in enumerate(seen) for draw in range(1, int(draws))]
        counts = [task.count / max(1, task.share) for task in self._plan.tasks]
        return sorted(found, key=lambda pair: (pair[1] * counts[pair[0]], pair))

    def start(self, windows: int) -> None:
        """Has the draws of so many windows prepared in the background."""
        todo = self.reached(windows)
        if todo:
            self._thread = threading.Thread(target=self._go, args=(todo,), daemon=True, name="draws")
            self._thread.start()

    def _go(self, todo: list[tuple[int, int]]) -> None:
        for start in range(0, len(todo), _LOT):
            if self._stop.is_set():
                return
            try:
                self.prepare(todo[start : start + _LOT])
            except Exception:
                # Whoever needs one of these draws asks for it again, and is told.
                return

    def close(self) -> None:
        """Ends the thread after the lot it is at; what is left is prepared when it is met."""
        self._stop.set()
