"""Which rows of its source each part of a store holds, and how many parts a store of bounded size has.

    a whole task    part k holds the rows [k * PART_ROWS, (k + 1) * PART_ROWS) of its source
    a budget        the source is cut into chunks of CHUNK_ROWS rows; part k holds the k-th of them in an order that the
                    seed draws, and there are as many parts as the first one's trainable tokens say that it takes

So of a large corpus a run prepares what it comes to, from all over the corpus, and any process can write any part. A
source that does not tell how many rows it has cannot be read from all over: its chunks come from its beginning on.
"""

import functools
import hashlib
import os
import shutil

import numpy as np

from flan_jax.data.planning.order import mix
from flan_jax.data.preparing.jobs import Job
from flan_jax.data.request import Request
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError
from flan_jax.files.filesystem import is_remote

CHUNK_ROWS = 2_048


def chunks_of(job: Job, request: Request) -> int | None:
    """How many chunks a task's source has; None where it does not tell its rows."""
    from flan_jax.tasks import examples

    rows = examples.told_rows(job.task, request.split)
    return None if rows is None else max(1, -(-rows // CHUNK_ROWS))


def parts_of(job: Job, request: Request) -> int | None:
    """How many parts a store will have; None where that is not known before the first is written."""
    from flan_jax.tasks import examples

    if request.budget is not None:
        return 1 if chunks_of(job, request) == 1 else None
    rows = examples.num_rows(job.task, request.split)
    return None if rows is None else max(1, -(-rows // stores.PART_ROWS))


def rows_of(job: Job, number: int, request: Request) -> range:
    """The rows of its source that a part holds; a source may end within them."""
    if request.budget is None:
        return range(number * stores.PART_ROWS, (number + 1) * stores.PART_ROWS)
    chunks = chunks_of(job, request)
    chunk = number if chunks is None else int(_order(job.task, request.seed, chunks)[number])
    return range(chunk * CHUNK_ROWS, (chunk + 1) * CHUNK_ROWS)


@functools.lru_cache(maxsize=64)
def _order(task: str, seed: int, chunks: int) -> np.ndarray:
    """A source's chunks in the order in which parts take them."""
    key = int.from_bytes(hashlib.blake2b(f"{task}\x1f{seed}".encode(), digest_size=8).digest())
    return np.argsort(mix(key, np.arange(chunks)), kind="stable")


def ends_with(request: Request, job: Job, read: int) -> bool:
    """Whether a part of which `read` examples were read is the last one that a source has rows for."""
    if request.budget is None:
        return read < stores.PART_ROWS
    # In a drawn order the source's last chunk may come at any time.
    return chunks_of(job, request) is None and read < CHUNK_ROWS


def parts_wanted(job: Job, request: Request, trainable: int) -> int | None:
    """How many parts a store gets, when the first one is written.

    Args:
      job: the store.
      request: with a budget or without.
      trainable: tokens of the first part that bear loss.

    Returns:
      The number; None where only reading on will tell.

    Raises:
      UserError: a later draw of a store whose first is gone, which says how many there are.
    """
    if request.budget is None:
        return parts_of(job, request)
    if job.draw:
        # A plan numbers a task's examples alike in all draws, however many tokens each has.
        first = Job(job.task, job.folder, job.fingerprint, 0)
        if not stores.whole(first.target):
            raise UserError(f"the first draw of task {job.task!r} is gone from its store; start the same command again")
        return len(stores.read_manifest(first.target)["parts"])
    wanted = -(-request.budget // max(1, trainable))
    chunks = chunks_of(job, request)
    return wanted if chunks is None else min(wanted, chunks)


def refuse_full_disk(job: Job, request: Request, size: int, parts: int) -> None:
    """Refuses a store that its disk has no room for, when its first part tells how large it will be.

    Args:
      job: the store.
      request: where it stands; of an address nothing is known.
      size: bytes of the first part.
      parts: how many there will be.

    Raises:
      UserError: it would not fit.
    """
    if is_remote(request.store_dir):
        return
    there = sum(os.stat(file).st_size for file in mirror.place(job.folder).glob(f"draw-{job.draw}/part-*.bin"))
    wanted, free = size * parts - there, shutil.disk_usage(request.store_dir).free
    if wanted > free:
        raise UserError(
            f"the text of task {job.task!r} takes about {size * parts / 1e6:,.1f} MB ({parts:,} parts of "
            f"{size / 1e6:.1f} MB, for {request.budget or 0:,} trainable tokens), and {free / 1e6:,.1f} MB are free in "
            f"{request.store_dir}; free some space, set STORE_DIR elsewhere, train for fewer steps, or bound it with "
            f"Pretraining.tokens"
        )
