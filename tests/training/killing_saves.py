"""Saves three checkpoints in forks that kill themselves, each at another change of a name; see `test_kills.py`.

python -m tests.training.killing_saves FOLDER EVERY        every so-manieth kill of those there are

JAX is imported once, and starts in each fork anew.
"""

import json
import os
import pathlib
import shutil
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.training import checkpoints as module
from flan_jax.training.checkpoints import Checkpoints
from tests.data.faults import forked

STEPS = 3


class Faults:
    """Counts changes of names in the folder of the checkpoints; kills the process before the `at`-th, or after it."""

    def __init__(self, folder: pathlib.Path, at: int | None = None, after: bool = False):
        self.folder, self.at, self.after, self.passed = str(folder), at, after, []

    def install(self) -> None:
        for name in ("rename", "replace"):
            setattr(os, name, self._around(name, getattr(os, name)))
        module.checksums = self._around("checksums", module.checksums)  # taken before they are written

    def _around(self, kind, call):
        def do(source, *arguments, **more):
            here = str(source).startswith(self.folder)
            if here:
                self.passed.append(f"{kind} {os.path.relpath(str(source), self.folder)}")
            due = here and len(self.passed) - 1 == self.at
            if due and not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = call(source, *arguments, **more)
            if due:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return do


def state_of(step: int) -> dict:
    """A state that tells its step in every number."""
    return {"params": {"w": jnp.full((4096,), step, jnp.float32)}, "opt": {}, "step": jnp.int32(step)}


def save(folder: pathlib.Path, faults: Faults) -> list[str]:
    """Saves what is missing of the steps, one after another."""
    faults.install()
    checkpoints = Checkpoints(folder, keep=2)
    for step in range((checkpoints.latest() or 0) + 1, STEPS + 1):
        checkpoints.save(step, state_of(step), {"step": step})
        checkpoints.wait()
    checkpoints.close()
    return faults.passed


def latest(folder: pathlib.Path) -> int:
    """Reads the newest step as a reader does who is not the run; 0 where there is none."""
    reader = Checkpoints(folder, read_only=True)
    step = reader.latest() or 0
    if step:
        params = reader.restore_params(step, {"w": jax.ShapeDtypeStruct((4096,), np.float32)})
        assert (np.asarray(params["w"]) == step).all() and reader._read(step, {})[1] == {"step": step}
    reader.close()
    return step


def main(place: str, every: str) -> None:
    folder = pathlib.Path(place) / "checkpoints"
    _, points = forked(lambda: save(folder, Faults(folder)))
    reference = sorted(path.name for path in folder.iterdir())
    faults, reached = [], []
    kills = [(at, after) for at in range(len(points)) for after in (False, True)]
    for at, after in kills[int(every) - 1 :: int(every)]:
        told = f"{'after' if after else 'before'} {points[at]}"
        shutil.rmtree(folder)
        ended, _ = forked(lambda at=at, after=after: save(folder, Faults(folder, at, after)))
        if ended != signal.SIGKILL:
            faults.append(f"{told}: ended by {ended}")
        _, found = forked(lambda: latest(folder))
        reached.append(found)
        _, done = forked(lambda: save(folder, Faults(folder)))
        _, last = forked(lambda: latest(folder))
        names = {path.name for path in folder.iterdir()}
        # A step more than are kept may wait for the next save to be deleted; of what is half done there is nothing.
        sound = found is not None and done is not None and last == STEPS
        if not sound or not set(reference) <= names or not all(map(str.isdigit, names)):
            faults.append(f"{told}: read {found}, then {last}, {sorted(names)}")
    print(json.dumps({"points": points, "reached": reached, "faults": faults, "names": reference}))


if __name__ == "__main__":
    main(*sys.argv[1:])
