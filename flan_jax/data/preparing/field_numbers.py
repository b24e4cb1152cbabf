"""Reads a number of each example's row from the source, in the store's order; answers `field numbers`."""

import itertools
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data.difficulty import save
from flan_jax.data.hygiene import contents
from flan_jax.data.hygiene.contents import Piece
from flan_jax.data.preparing.jobs import Job
from flan_jax.data.preparing.registering import watched_files
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError, nearest
from flan_jax.files import filesystem, opened


def field_numbers_in_child(
    *,
    setup: WorkerSetup,
    progress: Callable[..., None],
    request: Request,
    jobs: Sequence[Sequence[Any]],
    field: str,
    folder: str,
) -> dict[str, Any]:
    """Answers `field numbers`.

    Args:
      setup: what this process registered.
      progress: told of each task.
      request: what the stores were prepared for.
      jobs: (task, folder, fingerprint, draw) of each store.
      field: the field of the sources' rows.
      folder: where the files go.

    Returns:
      {"files": of float64 [examples] each, one a job, "watched": what they rest on}.

    Raises:
      UserError: a row lacks the field, or holds no number there; a task is of other code.
    """
    began = opened.mark()
    watched: list[Any] = [
        [file, filesystem.watched(file)] for file in sorted({*watched_files(setup.modules), *setup.data_files})
    ]
    files = []
    for number, job in enumerate(Job(*each) for each in jobs):
        numbers = [_numbers(piece, request, field) for piece in contents.pieces_of(job, request)]
        files.append(str(pathlib.Path(folder) / f"{number}.npy"))
        with stores.told(request.store_dir):
            save(pathlib.Path(files[-1]), np.concatenate([np.zeros(0), *numbers]))
        progress(what=f"reading {field!r} of rows", done=number + 1, total=len(jobs), unit="task", name=job.task)
    watched += opened.found(began, except_in=request.store_dir, known={file for file, _ in watched})
    return {"files": files, "watched": watched}


def _numbers(piece: Piece, request: Request, field: str) -> np.ndarray:
    """The number of each example of a piece's rows, float64 [examples]."""
    from flan_jax.tasks import registry
    from flan_jax.tasks.example_ids import source_row
    from flan_jax.tasks.user_functions import of_task

    name, recipe = piece.job.task, registry.recipe(piece.job.task)
    if recipe is None or piece.number is None:
        raise UserError(
            f"Curriculum.by is 'field:{field}', and task {name!r} is of other code, whose rows are not known by their "
            f"examples; order by 'length' or 'loss', or train on it by a declaration of flan_jax"
        )
    start = piece.number * stores.PART_ROWS
    rows = of_task(name, recipe.source.rows(request.split, "skip", None, start, start + stores.PART_ROWS))
    found: list[float] = []
    for row_id, examples in itertools.groupby(contents.ids_of(piece), key=source_row):
        row = _row(rows, row_id)
        if (number := _number(row.get(field))) is None:
            holds = f"holds {row[field]!r} there" if field in row else f"has no such field{nearest(field, row)}"
            raise UserError(
                f"Curriculum.by is 'field:{field}', and {recipe.source.where(request.split, row_id)} of task {name!r} "
                f"{holds}; wanted a number in every row"
            )
        found += [number] * sum(1 for _ in examples)
    return np.array(found, np.float64)


def _row(rows: Iterator[tuple[str, Mapping[str, Any]]], wanted: str) -> Mapping[str, Any]:
    """The row of an id; those before it, which gave no example, are passed over."""
    for row_id, row in rows:
        if row_id == wanted:
            return row
    raise UserError(f"row {wanted} is not in its source any more; run the same command again")


def _number(value: Any) -> float | None:
    """A field's number, of a table of text what reads as one; None for anything else.

    >>> _number(3), _number("0.5"), _number(True), _number("long"), _number(float("nan"))
    (3.0, 0.5, None, None, None)
    """
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
