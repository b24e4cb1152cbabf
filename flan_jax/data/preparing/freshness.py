"""Whether stores still hold what their tasks give: fingerprints cannot see everything that a task's code depends on.

Each time a mixture is resolved, a few examples of every store that stands there are rendered anew and compared.
"""

import hashlib
import itertools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flan_jax.data.preparing.forks import workers
from flan_jax.data.preparing.jobs import Job, draws_in
from flan_jax.data.request import Request
from flan_jax.data.stores import parts, remote
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError

_AMONG = 64  # the first so many examples, so that little has to be read
_LOOKED_AT = 3
_MOST_FOREIGN = 100  # tasks of other code that are looked at each time: each builds a pipeline of its own


def drop_stale(jobs: Sequence[Job], request: Request, progress: Callable[..., None]) -> list[str]:
    """Deletes the stores whose examples come out otherwise now, so that they are prepared anew.

    Returns:
      What was found, a sentence for each store.
    """
    from flan_jax.tasks import examples

    notes = [note for job in jobs if (note := _damage(job)) is not None]
    present = [job for job in jobs if stores.whole(job.target)]
    ours = [job for job in present if not examples.needs_tensorflow(job.task)]
    foreign = [job for job in present if examples.needs_tensorflow(job.task)]
    foreign = sorted(foreign, key=lambda job: _mark(job.fingerprint))[:_MOST_FOREIGN]
    remote.fetch_first([stores.part_path(job.target, 0) for job in ours], _AMONG)
    pool = workers() if len(ours) > 8 else None
    spread = pool.map if pool else map
    options = {"chunksize": 16} if pool else {}
    looked_at = itertools.chain(
        zip(ours, spread(stale, ours, itertools.repeat(request), **options), strict=False),
        ((job, stale(job, request)) for job in foreign),
    )
    for done, (job, found) in enumerate(looked_at, 1):
        if found is not None:
            notes.append(f"task {job.task!r}: {found}; it is prepared anew")
            with stores.told(request.store_dir), stores.Lock(job.target):
                # Another process may have prepared it anew meanwhile.
                if stores.whole(job.target) and stale(job, request) is not None:
                    _remove_draws(job)
        progress(what="looking again at stores", done=done, total=len(ours) + len(foreign), unit="store")
    return notes


def _damage(job: Job) -> str | None:
    """What is wrong with a store that was finished once; preparing mends what opening it shows."""
    if (job.target / stores.MANIFEST).exists():
        try:
            stores.read_manifest(job.target)
        except UserError as fault:
            return f"task {job.task!r}: {str(fault).rpartition(';')[0]}; what is missing is prepared anew"
    return None


def _remove_draws(job: Job) -> None:
    """Removes a store whose lock is held, and before it what else was drawn of its task in its time."""
    for other in draws_in(job.target.parent):
        if other != job.target:
            with stores.Lock(other):
                stores.remove(other)
    stores.remove(job.target)


class OnePart(stores.Store):
    """Examples of a single part, for looking at stores that are not finished; always mapped anew."""

    def __init__(self, path: pathlib.Path):
        self.folder, self._only = path.parent, remote.part(path)
        self.count = self._only.count
        self.ends = np.array([self.count])

    def part(self, number: int) -> parts.Part:
        """The part."""
        return self._only

    def example(self, index: int) -> Any:
        """One example, as tasks give them."""
        from flan_jax.tasks.examples import Example

        kept, options, answer = self[index], self.options(index) or None, self.answer(index)
        found = Example(kept.id, kept.inputs, kept.targets, kept.weights, kept.template, options=options)
        found.answer = None if answer < 0 else answer
        return found


def stale(job: Job, request: Request) -> str | None:
    """Compares a few examples of a store's first part with what the task gives now.

    Returns:
      How one differs; None where none does.
    """
    return stale_part(job, 0, request)


def stale_part(job: Job, number: int, request: Request) -> str | None:
    """Compares a few examples of a part with what the task gives now, see `stale`; only tasks of ours can be read from
    elsewhere than their beginning.
    """
    from flan_jax.tasks import examples

    ours = examples.is_ours(job.task)
    try:
        store = OnePart(stores.part_path(job.target, number))
        among = range(min(store.count, _AMONG if ours else 2 * _LOOKED_AT))
        chosen = sorted(among, key=lambda i: _mark(f"{job.fingerprint}{i}"))[:_LOOKED_AT]
        left = {store.id(i): i for i in chosen}
        only = {name.partition("#")[0] for name in left} if ours else None
        options = {**request.reading(), "draw": job.draw, "only": only, "with_text": False}
        if number:
            options |= {"start": number * stores.PART_ROWS, "stop": (number + 1) * stores.PART_ROWS}
        for example in examples.examples(job.task, request.split, request.lengths, **options):
            if (index := left.pop(str(example.id), None)) is not None and (what := _difference(store, index, example)):
                return f"example {example.id!r} has other {what} now than its store holds"
            if not left:
                return None
    except UserError as fault:
        return f"its examples could not be compared with its store ({fault})"
    return f"example {next(iter(left))!r} of its store is not among the task's any more" if left else None


def _difference(store: stores.Store, index: int, example: Any) -> str | None:
    kept = store[index]
    if kept.inputs.tolist() != np.asarray(example.inputs).tolist():
        return "inputs"
    if kept.targets.tolist() != np.asarray(example.targets).tolist():
        return "targets"
    ones = np.ones(len(kept.targets), np.float32)
    ours, theirs = (ones if w is None else np.asarray(w, np.float32) for w in (kept.weights, example.weights))
    if not np.array_equal(ours, theirs):
        return "loss weights"
    options = [np.asarray(option).tolist() for option in example.options or ()]
    if options != [option.tolist() for option in store.options(index)]:
        return "options"
    answer = -1 if example.answer is None else example.answer
    return None if (answer, example.template) == (store.answer(index), kept.template) else "answer or template"


def _mark(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
