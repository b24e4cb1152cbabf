"""Copies planned rows out of the stores into batches of NumPy arrays, ahead of the step that wants them."""

import collections
import concurrent.futures
import functools
import os
import threading
from collections.abc import Generator, Sequence

import numpy as np

from flan_jax.data import rows as rows_module
from flan_jax.data.loss_weights import LossWeights
from flan_jax.data.planning.plan import Plan
from flan_jax.data.planning.row_index import RowIndex
from flan_jax.data.rows import Batch, Places, RowShape, Segment
from flan_jax.data.selection import kept_indices
from flan_jax.data.stores import remote
from flan_jax.data.stores.parts import Part
from flan_jax.data.stores.store import Store, damaged, open_store
from flan_jax.data.teaching import TeacherColumns
from flan_jax.files.filesystem import is_remote

_DRAWS = 1 << 20
_OPEN_STORES = 16_384


class Reader:
    """Finds examples in the stores of a plan's tasks.

    Args:
      folders: each task's folder, or its address; the store of draw d is `draw-d` in it.
      shape: the row shape, which says what an example's length is.
      selections: of each task the file of the indices that are trained on, None for all of them; see `selection`.
    """

    def __init__(self, folders: Sequence[str], shape: RowShape, selections: Sequence[str | None] = ()):
        self.folders, self.shape = folders, shape
        self.selections = list(selections) or [None] * len(folders)
        self._open = functools.lru_cache(maxsize=_OPEN_STORES)(self._open_key)
        self._fetching = remote.Fetching() if any(map(is_remote, folders)) else None

    def store(self, task: int, draw: int) -> Store:
        """The store of one task and draw."""
        return open_store(os.path.join(self.folders[task], f"draw-{draw}"))

    def stored(self, task: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Where the examples that a plan numbers stand in their stores, int64 [N]."""
        found = np.asarray(index, np.int64)
        if not any(self.selections):
            return found
        found = found.copy()
        for number in np.unique(task).tolist():
            if (path := self.selections[number]) is not None:
                here = task == number
                found[here] = kept_indices(path)[found[here]]
        return found

    def lengths(self, task: np.ndarray, draw: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Tokens of examples as packing counts them: int64 [N, budgets]. See `Plan.rows`.

        Raises:
          UserError: a store is missing or damaged.
        """
        from flan_jax.data import kernels

        places = self.places(task, draw, index)
        found = np.empty((len(task), 2), np.int64)
        bad = kernels.lengths(places.table, places.slot, places.local, found)
        if bad >= 0:
            raise self._damaged(places, bad)
        return self.shape.budgets(found[:, 0], found[:, 1])

    def places(self, task: np.ndarray, draw: np.ndarray, index: np.ndarray) -> Places:
        """Where examples lie in memory."""
        keys, inverse = np.unique(np.asarray(task, np.int64) * _DRAWS + draw, return_inverse=True)
        if self._fetching:
            self._fetching.open(self._open, keys.tolist())
        opened = [self._open(int(key)) for key in keys]
        slot, local = inverse.astype(np.int32), self.stored(np.asarray(task), index)
        parts = [first for _, first in opened]
        if any(first is None for first in parts):
            slot, local, held = _of_many_parts([store for store, _ in opened], inverse, local)
            if self._fetching:
                self._fetching.open(_part, held)
            parts = [_part(one) for one in held]
        table = np.stack([part.addresses for part in parts]) if parts else np.zeros((0, 9), np.int64)
        return Places(table, slot, local, parts)

    def rows(self, places: Places, row: np.ndarray, task: np.ndarray, count: int) -> Batch:
        """Copies examples into rows; see `flan_jax.data.rows.fill`.

        Raises:
          UserError: an example is damaged.
        """
        if self._fetching:
            self._fetching.need(places)
        batch = rows_module.fill(places, row, task, count, self.shape, check=True)
        while isinstance(batch, int):
            if not (self._fetching and self._fetching.mend(places, batch)):
                raise self._damaged(places, batch)
            batch = rows_module.fill(places, row, task, count, self.shape, check=True)
        return batch

    @property
    def ahead(self) -> int:
        """How many steps ahead of its rows its examples are told to `fetch`; 0 where all is on this machine."""
        return remote.AHEAD if self._fetching else 0

    def fetch(self, task: np.ndarray, draw: np.ndarray, index: np.ndarray) -> None:
        """Begins to fetch examples that are not on this machine; those told of first come first."""
        if self._fetching:
            self._fetching.start(self.places(task, draw, index))

    def stop_fetching(self) -> None:
        """Takes back what `fetch` was told, as far as it is not on its way."""
        if self._fetching:
            self._fetching.stop()

    def _damaged(self, places: Places, number: int) -> Exception:
        return damaged(places.owners[places.slot[number]], int(places.local[number]))

    def _open_key(self, key: int):
        """A store, and its only part where it has but one."""
        store = self.store(*divmod(key, _DRAWS))
        return store, store.part(0) if len(store.ends) == 1 else None


def _of_many_parts(stores: Sequence[Store], inverse: np.ndarray, index: np.ndarray):
    """Slots and places of examples among the parts of their stores; of each part, its store and its number there."""
    slot, local = np.empty(len(index), np.int32), np.empty(len(index), np.int64)
    parts: list[tuple[Store, int]] = []
    order = np.argsort(inverse, kind="stable")
    for store, here in zip(stores, np.split(order, np.cumsum(np.bincount(inverse))[:-1]), strict=True):
        number = np.searchsorted(store.ends, index[here], side="right")
        used, of = np.unique(number, return_inverse=True)
        local[here] = index[here] - np.concatenate([[0], store.ends])[number]
        slot[here] = len(parts) + of
        parts += [(store, k) for k in used.tolist()]
    return slot, local, parts


def _part(place: tuple[Store, int]) -> Part:
    store, number = place
    return store.part(number)


class Loader:
    """Iterates over the batches of a plan from any step, prepared ahead by threads.

    Args:
      plan: the plan.
      reader: the stores of its tasks.
      batch_size: rows of the global batch.
      local_rows: which rows of the global batch this host wants, a slice of range(batch_size).
      index: cumulative rows by window.
      threads: how many threads copy rows; any number gives the same batches.
      prefetch: batches made ahead.
      loss_weights: what becomes of the loss weights that the stores hold.
      teacher: what a teacher thinks of the examples, which batches hold then too.
      first_task: the number that the plan's first task has in batches; see `flan_jax.data.lanes`.
    """

    def __init__(
        self,
        plan: Plan,
        reader: Reader,
        batch_size: int,
        *,
        local_rows: range | None = None,
        index: RowIndex | None = None,
        threads: int = 1,
        prefetch: int = 4,
        loss_weights: LossWeights | None = None,
        teacher: TeacherColumns | None = None,
        first_task: int = 0,
    ):
        self.plan, self.reader, self.batch_size = plan, reader, batch_size
        self.first_task = first_task
        self.loss_weights, self.teacher = loss_weights or LossWeights(), teacher
        self.local_rows = range(batch_size) if local_rows is None else local_rows
        self.index = index or RowIndex(plan, reader.lengths)
        self.threads, self.prefetch = max(1, threads), max(1, prefetch)

    def at(self, step: int) -> tuple["Loader", int]:
        """The loader that a step's rows come from, and which of its steps it is: this one's own."""
        return self, step

    def contents(self, step: int, rows: range | None = None) -> list[list[tuple[int, int, int, int]]]:
        """What each row of a step holds: (task, index in the store, draw, epoch) of every example."""
        rows = range(self.batch_size) if rows is None else rows
        task, index, draw, epoch, row = self._entries(step, rows)
        columns = task, self.reader.stored(task, index), draw, epoch
        found: list[list[tuple[int, int, int, int]]] = [[] for _ in rows]
        for b, entry in zip(row.tolist(), zip(*(column.tolist() for column in columns), strict=True), strict=True):
            found[b].append(entry)
        return found

    def _entries(self, step: int, rows: range) -> tuple[np.ndarray, ...]:
        """The examples in some rows of a step: task, index in the store, draw, epoch, and which of the rows."""
        pieces = []
        at, end = step * self.batch_size + rows.start, step * self.batch_size + rows.stop
        while at < end:
            window, first = self.index.locate(at)
            last = min(len(window), first + end - at)
            here = slice(int(window.first[first]), int(window.first[last]))
            row = np.repeat(np.arange(last - first), np.diff(window.first[first : last + 1]))
            row += at - step * self.batch_size - rows.start
            pieces.append((window.task[here], window.index[here], window.draw[here], window.epoch[here], row))
            at += last - first
        return tuple(np.concatenate(columns) for columns in zip(*pieces, strict=True))

    def segments(self, contents: list[list[tuple[int, int, int, int]]]) -> list[list[Segment]]:
        """Reads the examples of some rows."""
        rows = []
        for row in contents:
            stored = [(task, self.store(task, draw)[index]) for task, index, draw, _ in row]
            rows.append([Segment(e.inputs, e.targets, e.weights, task) for task, e in stored])
        return rows

    def store(self, task: int, draw: int) -> Store:
        """The store of one task and draw."""
        return self.reader.store(task, draw)

    def batch(self, step: int) -> Batch:
        """This host's rows of one step."""
        return self._read(*self._entries(step, self.local_rows))

    def _read(self, task: np.ndarray, index: np.ndarray, draw: np.ndarray, _: np.ndarray, row: np.ndarray) -> Batch:
        places = self.reader.places(task, draw, index)
        batch = self.reader.rows(places, row.astype(np.int32), task + self.first_task, len(self.local_rows))
        if self.teacher is not None:  # first: its columns stand where the store's own weights are
            batch = self.teacher.added(batch, row, task, draw, self.reader.stored(task, index))
        return self.loss_weights.applied(batch, self.reader.shape.begin)

    def from_step(self, start: int, stop: int) -> Generator[tuple[int, Batch], None, None]:
        """Batches of steps [start, stop), in order. An error in a thread is raised at its step."""
        ahead: collections.deque = collections.deque()
        planning = threading.Lock()  # windows are planned in one thread at a time, and only once
        planned: dict[int, concurrent.futures.Future] = {}  # steps whose examples are being fetched
        fetched = start

        def plan(step: int) -> tuple[np.ndarray, ...]:
            with planning:
                task, index, draw, epoch, row = self._entries(step, self.local_rows)
                self.reader.fetch(task, draw, index)
            return task, index, draw, epoch, row

        def make(step: int) -> Batch:
            return self._read(*(planned.pop(step).result() if step in planned else plan(step)))

        with concurrent.futures.ThreadPoolExecutor(self.threads) as pool:
            try:
                for step in range(start, stop):
                    for later in range(fetched, min(stop, step + self.reader.ahead)):
                        planned[later] = pool.submit(plan, later)
                        fetched = later + 1
                    while len(ahead) < self.prefetch and step + len(ahead) < stop:
                        ahead.append(pool.submit(make, step + len(ahead)))
                    yield step, ahead.popleft().result()
            finally:
                for future in (*ahead, *planned.values()):
                    future.cancel()
                self.reader.stop_fetching()
