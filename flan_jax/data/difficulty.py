"""How difficult each example of a store is: by its length, by a number in the data's rows, or by a model's loss on it.

    STORE_DIR/difficulty/first-DIGEST.npy           int64 [examples], an order that `curriculum` made of it
    STORE_DIR/difficulty/field-KEY/                 numbers read from rows: a file a task, answer.json, written last
    STORE_DIR/difficulty/loss-KEY/                  losses of one run's model: a file a store, measured.json

A file of losses is named by its store's content, so that it is of these examples and no others.
"""

import hashlib
import io
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from flan_jax.data.resolve import Resolved, ResolvedTask
from flan_jax.data.selection import jobs_of, keep_answer, kept_answer
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError, counted
from flan_jax.files import atomic, filesystem

MEASURED = "measured.json"
FIELD = "field:"


def difficulties(resolved: Resolved, by: str, measured_by: str | None, worker: Worker) -> list[np.ndarray | None]:
    """A number for each example of each task's first draw, higher where it is more difficult.

    Args:
      resolved: a mixture; of tasks that stand beside it nothing is asked.
      by: see `CurriculumConfig.by`.
      measured_by: the run that measured the loss; None where only one did.
      worker: started only where rows have to be read.

    Returns:
      [examples] a task, None for one that stands beside the mixture.

    Raises:
      UserError: a row lacks the number, or the loss was not measured.
    """
    asked = [task for task in resolved.tasks if not task.beside]
    if by == "length":
        opened = [stores.open_store(task.store()) for task in asked]
        found = [store.lengths("inputs") + store.lengths("targets") for store in opened]
    elif by == "loss":
        found = [_loaded(path) for path in _measured(resolved, asked, measured_by)]
    else:
        found = [_loaded(path) for path in _read_from_rows(resolved, asked, by.removeprefix(FIELD), worker)]
    numbers = iter(found)
    return [None if task.beside else next(numbers) for task in resolved.tasks]


def folder_of(resolved: Resolved) -> pathlib.Path:
    """Where all this is kept of a mixture's stores."""
    return mirror.place(filesystem.absolute(resolved.request.store_dir)) / "difficulty"


def save(path: pathlib.Path, numbers: np.ndarray) -> None:
    """Writes an array whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    np.save(file, numbers)
    atomic.write_bytes(path, [file.getvalue()])


def _loaded(path: str | pathlib.Path) -> np.ndarray:
    try:
        return np.load(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it, and run the same command again") from None


def losses_folder(resolved: Resolved, run_dir: str) -> pathlib.Path:
    """Where the losses are kept that a run's model has on the examples of a mixture's stores."""
    return folder_of(resolved) / f"loss-{hashlib.sha256(filesystem.absolute(run_dir).encode()).hexdigest()[:16]}"


def losses_file(task: ResolvedTask) -> str:
    """The name of the file of a task's losses, by what its store holds."""
    return f"{_content(task)}.npy"


def _content(task: ResolvedTask) -> str:
    parts = stores.read_manifest(mirror.place(task.store()))["parts"]
    whole = [task.name, task.fingerprint, *(part["sha256"] for part in parts)]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:24]


def _measured(resolved: Resolved, tasks: Sequence[ResolvedTask], run_dir: str | None) -> list[pathlib.Path]:
    """The files of losses, one a task, of the run that is named or the only one that has all."""
    names = [losses_file(task) for task in tasks]
    whole: dict[str, list[pathlib.Path]] = {}
    some: dict[str, int] = {}
    for path in sorted(folder_of(resolved).glob(f"loss-*/{MEASURED}")):
        known, files = atomic.read_sealed(path), [path.parent / name for name in names]
        if known is not None and (run_dir is None or known["run"] == filesystem.absolute(run_dir)):
            some[known["run"]] = sum(file.exists() for file in files)
            if some[known["run"]] == len(files):
                whole[known["run"]] = files
    if len(whole) == 1:
        return next(iter(whole.values()))
    mixture = resolved.request.mixture
    if whole:
        raise UserError(
            f"the loss on {mixture!r} was measured by {', '.join(map(repr, whole))}; name one of them by "
            f"Curriculum.measured_by"
        )
    partly = "".join(f" ({run!r} has that of {there} of {counted(len(tasks), 'task')})" for run, there in some.items())
    raise UserError(
        f"Curriculum.by is 'loss', and the loss on the examples of {mixture!r} was not measured"
        f"{f' by {run_dir!r}' if run_dir else ''}{partly}; `flan-jax prepare --difficulty {run_dir or 'RUN'}` with the "
        f"same settings does so"
    )


def _read_from_rows(resolved: Resolved, tasks: Sequence[ResolvedTask], field: str, worker: Worker) -> list[str]:
    """The files of a field's numbers, one a task: those kept, or read by the data process."""
    key = [field, resolved.request.key(worker.setup), [[task.name, _content(task)] for task in tasks]]
    folder = folder_of(resolved) / f"field-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"
    known: dict[str, Any] | None = kept_answer(folder / "answer.json")
    if known is None or not all(map(os.path.exists, known["files"])):
        names = {task.name for task in tasks}
        jobs = [job for job in jobs_of(resolved) if job[0] in names]
        how = {"jobs": jobs, "field": field, "folder": str(folder)}
        known = worker.call("field numbers", request=resolved.request, **how)
        with stores.told(resolved.request.store_dir):
            keep_answer(folder / "answer.json", known)
    return known["files"]
