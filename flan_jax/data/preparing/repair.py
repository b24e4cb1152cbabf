"""Reads stores to their last byte and removes what is damaged, so that it is prepared again."""

import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.data.preparing.forks import workers
from flan_jax.data.preparing.jobs import draws_in
from flan_jax.data.preparing.resolving import first_draws, members_of
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores


def repair_in_child(
    *,
    setup: WorkerSetup,
    progress: Callable[..., None],
    request: Request,
    folders: Sequence[str] = (),
) -> dict[str, Any]:
    """Answers `repair`: looks at every draw of a mixture's tasks that stands there, and removes what is damaged.

    Args:
      setup: what the data process was started with.
      progress: told of each store that was read.
      request: what of.
      folders: of other tasks' draws (those that a run was planned with, say), which are looked at too.

    Returns:
      {"stores": how many were read, "found": a sentence for each damage, "wanted": what `prepare` is to be asked for}.
      A damaged store of a task that is not what it was is not among the latter.
    """
    known = {job.target.parent: job for job in first_draws(members_of(request), request)}
    every = [draw for folder in dict.fromkeys([*known, *map(mirror.place, folders)]) for draw in draws_in(folder)]
    pool = workers() if len(every) > 1 else None
    found, wanted = [], []
    with stores.told(request.store_dir):
        for done, (draw, said) in enumerate(zip(every, (pool.map if pool else map)(repair_one, every), strict=True), 1):
            progress(what="reading stores", done=done, total=len(every), unit="store", name=draw.parent.parent.name)
            found += said
            job = known.get(draw.parent)
            if said and job is not None:
                wanted.append((job.task, job.folder, job.fingerprint, int(draw.name.removeprefix("draw-"))))
    return {"stores": len(every), "found": found, "wanted": wanted}


def repair_one(draw: pathlib.Path) -> list[str]:
    """`flan_jax.data.stores.store.repair` of a store that nobody writes to meanwhile."""
    with stores.Lock(draw):
        return [re.sub("; run `.*`.*$", "", sentence) for sentence in stores.repair(draw)]
