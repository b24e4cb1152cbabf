"""What a teacher thinks of the examples that a run trains on: which it has to read, and how batches come to hold it.

`flan-jax prepare --teacher RUN` has the teacher read every example that the run reaches, by (task, example, draw), and
keeps its likeliest tokens beside the stores (`stores.teacher_lots`); a note in STORE_DIR/teachers says which tasks a
teacher has read and under which key. Training then finds a teacher by its folder's name alone, and does not load it.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data.planning.plan import Plan
from flan_jax.data.planning.row_index import RowIndex
from flan_jax.data.rows import Batch
from flan_jax.data.stores.store import open_store
from flan_jax.data.stores.teacher_lots import FORMAT, TeacherLots
from flan_jax.errors import UserError, counted
from flan_jax.files import atomic
from flan_jax.files.filesystem import is_remote

FEATURES: dict[str, type[np.generic]] = {"decoder_teacher_ids": np.int32, "decoder_teacher_logprobs": np.float16}
"""What batches hold beside the rest: [B, L, K], likeliest first; -inf where the teacher says nothing of a position."""

Mask = dict[tuple[int, int], np.ndarray]
"""Of (task, draw): which examples of the store, bool [N]."""


def key_of(fingerprint: str, top_k: int) -> str:
    """Names what a teacher with these parameters says of anything."""
    return hashlib.sha256(json.dumps([FORMAT, fingerprint, top_k]).encode()).hexdigest()[:12]


def note_path(store_dir: str, teacher: str, top_k: int) -> pathlib.Path:
    """Where it is noted what a teacher has read.

    Raises:
      UserError: the stores are not on this machine.
    """
    if is_remote(store_dir):
        raise UserError(
            f"STORE_DIR is {store_dir}, and what a teacher thinks is kept beside stores on this machine only; set "
            "--store_dir to a folder"
        )
    name = hashlib.sha256(os.path.abspath(teacher).encode()).hexdigest()[:16]
    return pathlib.Path(store_dir) / "teachers" / f"{name}-{top_k}.json"


def read_note(path: pathlib.Path) -> dict[str, Any] | None:
    """The note on a teacher: {"teacher", "key", "tasks": names}; None where there is none."""
    try:
        return atomic.read_json(path, "delete it, and type `flan-jax prepare --teacher RUN` again")
    except FileNotFoundError:
        return None


def write_note(path: pathlib.Path, teacher: str, key: str, tasks: Sequence[str]) -> None:
    """Notes which tasks a teacher reads, beside those that it has read before."""
    before = read_note(path) or {}
    tasks = sorted({*tasks, *(before["tasks"] if before.get("key") == key else ())})
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_json(path, {"teacher": os.path.abspath(teacher), "key": key, "tasks": tasks})


def reached(plan: Plan, index: RowIndex, rows: int, stored: Any, counts: Mapping[int, int]) -> Mask:
    """Which examples the first rows of a plan train on.

    Args:
      plan: the plan.
      index: where its windows end.
      rows: of the whole run.
      stored: `Reader.stored`.
      counts: of each task, the examples of its stores.
    """
    found: Mask = {}
    draws = np.array([task.draws for task in plan.tasks], np.int32)
    window = 0
    while (before := index.end(window - 1)) < rows:
        if index.end(window) <= rows:
            task, at, epoch = plan.examples(window)
            draw = epoch % draws[task]
        else:
            last = index.window(window)
            cut = slice(int(last.first[rows - before]))
            task, at, draw = last.task[cut], last.index[cut], last.draw[cut]
        at = stored(task, at)
        for t, d in {*zip(task.tolist(), draw.tolist(), strict=True)}:
            here = (task == t) & (draw == d)
            found.setdefault((t, d), np.zeros(counts[t], np.bool_))[at[here]] = True
        window += 1
    return found


def lots_of(folder: str, key: str, draw: int, top_k: int, vocab_size: int) -> TeacherLots:
    """What a teacher says of one task's store of one draw.

    Args:
      folder: the task's; its stores are `draw-d` in it.
      key: the teacher's.
      draw: which store.
      top_k: K.
      vocab_size: of the vocabulary that teacher and student share.
    """
    store = open_store(os.path.join(folder, f"draw-{draw}"))
    return TeacherLots(pathlib.Path(folder) / f"teacher-{key}" / f"draw-{draw}", store, top_k, vocab_size)


class TeacherColumns:
    """What batches get of a teacher.

    Args:
      folders: of each task of the plan its folder, None for one that the teacher has not read: its tokens are learnt
        by their targets alone.
      key: the teacher's.
      top_k: K.
      vocab_size: of the vocabulary.
    """

    def __init__(self, folders: Sequence[str | None], key: str, top_k: int, vocab_size: int):
        self.folders, self.key, self.top_k, self.vocab_size = folders, key, top_k, vocab_size
        self._lots: dict[tuple[int, int], TeacherLots] = {}

    def lots(self, task: int, draw: int) -> TeacherLots | None:
        """What it says of a task's store; None for a task that it has not read."""
        folder = self.folders[task]
        if folder is None:
            return None
        if (task, draw) not in self._lots:
            self._lots[task, draw] = lots_of(folder, self.key, draw, self.top_k, self.vocab_size)
        return self._lots[task, draw]

    def unread(self, wanted: Mask) -> int:
        """How many of these examples the teacher has yet to read."""
        found = 0
        for (task, draw), mask in wanted.items():
            if (lots := self.lots(task, draw)) is not None:
                found += int((mask & ~lots.read()).sum())
        return found

    def added(self, batch: Batch, row: np.ndarray, task: np.ndarray, draw: np.ndarray, index: np.ndarray) -> Batch:
        """The batch with the arrays of `FEATURES`.

        Args:
          batch: as `flan_jax.data.rows.fill` laid it out, with the loss weights of the stores.
          row: int [N], the row of each example; they come row by row, in order.
          task: int [N].
          draw: int [N].
          index: int [N], its place in the store.

        Raises:
          UserError: the teacher has not read one of them, or a file is damaged.
        """
        shape = (*batch["decoder_target_tokens"].shape, self.top_k)
        ids = np.zeros(shape, FEATURES["decoder_teacher_ids"])
        logprobs = np.full(shape, -np.inf, FEATURES["decoder_teacher_logprobs"])
        (b, at), counts = trained_places(batch, row)
        ends = np.cumsum(counts)
        of = zip(task.tolist(), draw.tolist(), index.tolist(), (ends - counts).tolist(), ends.tolist(), strict=True)
        for t, d, i, start, end in of:
            if (lots := self.lots(t, d)) is None:
                continue
            entries = lots.entries(i)
            # Of a row without a begin token, an example's first token is predicted by nothing.
            if (lost := len(entries) - (end - start)) not in (0, 1):
                raise UserError(
                    f"{lots.folder} holds {counted(len(entries), 'token')} of example {i}, which has "
                    f"{end - start}; delete the folder, and type `flan-jax prepare --teacher RUN` again"
                )
            ids[b[start:end], at[start:end]] = entries["ids"][lost:]
            logprobs[b[start:end], at[start:end]] = entries["logprobs"][lost:]
        return {**batch, "decoder_teacher_ids": ids, "decoder_teacher_logprobs": logprobs}


def trained_places(batch: Batch, row: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Where the trained tokens of a batch's examples are, example by example.

    Args:
      batch: as `flan_jax.data.rows` lays it out.
      row: int [N], the row of each example, in order.

    Returns:
      Rows and positions of all trained tokens, and how many of them each example has, int [N].

    >>> batch = {"decoder_loss_weights": np.array([[0, 1, 1, 1]]), "decoder_segment_ids": np.array([[1, 1, 2, 2]])}
    >>> [part.tolist() for part in trained_places(batch, np.array([0, 0]))[0]], trained_places(batch, np.zeros(2))[1]
    ([[0, 0, 0], [1, 2, 3]], array([1, 2]))
    """
    b, at = np.nonzero(batch["decoder_loss_weights"] > 0)
    first = np.searchsorted(row, np.arange(len(batch["decoder_segment_ids"])))
    example = first[b] + batch["decoder_segment_ids"][b, at] - 1
    return (b, at), np.bincount(example, minlength=len(row))
