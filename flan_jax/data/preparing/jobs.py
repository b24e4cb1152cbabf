"""What is to be prepared: stores, where they stand, and into how many pieces their work falls."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re

from flan_jax.data.request import Request
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores


@dataclasses.dataclass(frozen=True)
class Job:
    """One store to be filled.

    Attributes:
      task: the seqio task.
      folder: holds the task's draws; may be an address.
      fingerprint: of what shapes its tokens.
      draw: which draw.
    """

    task: str
    folder: str
    fingerprint: str
    draw: int

    @property
    def target(self) -> pathlib.Path:
        """The store's folder on this machine."""
        return mirror.place(self.folder) / f"draw-{self.draw}"


def store_folder(task: str, fingerprint: str, request: Request) -> str:
    """Names the folder that holds a task's draws: one for each set of tokens that can come out."""
    text = json.dumps([fingerprint, stores.FORMAT, request.shaping()], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    split = re.sub(r"\W", "_", request.split)
    return os.path.join(request.store_dir, re.sub(r"[^\w.:-]", "_", task), f"{split}-{key}")


def is_one_piece(job: Job, request: Request) -> bool:
    """Whether a store can only be written in one go."""
    from flan_jax.tasks import examples

    return request.limit is not None or not examples.is_ours(job.task)


def draws_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The stores that stand in a task's folder, whole or not."""
    found = [folder / name for name in mirror.names(folder) if re.fullmatch(r"draw-\d+", name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("draw-")))
