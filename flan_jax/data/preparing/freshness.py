"""Whether stores still hold what their tasks give: fingerprints cannot see everything that a task's code depends on.

Each time a mixture is resolved, every store that stands there is looked at again:

    files      the user's functions read files while the store was written; it is stale if one of them holds something
               else now. A touch changes nothing, nor does another machine's copy; a path that is not there decides
               nothing, as it may be another machine's. Of files above 16 MiB a sample of the content is compared.
    renderer   of a task of files and templates alone, what the fingerprint leaves out is hashed in the manifest. Where
               it is the same now, the store is what the task gives.
    sample     of all others a few examples are rendered anew and compared: of tasks of other code; of those that run
               the user's, which may depend on what no file shows; of stores that another version wrote, which may tell
               neither.
"""

import hashlib
import itertools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flan_jax.data.preparing import chunks
from flan_jax.data.preparing.forks import workers
from flan_jax.data.preparing.jobs import Job, draws_in
from flan_jax.data.request import Request
from flan_jax.data.stores import mirror, parts, remote
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError
from flan_jax.files import opened

_AMONG = 64  # the first so many examples, so that little has to be read
_LOOKED_AT = 3
_MOST_FOREIGN = 100  # tasks of other code that are looked at each time: each builds a pipeline of its own


def drop_stale(jobs: Sequence[Job], request: Request, progress: Callable[..., None]) -> list[str]:
    """Deletes the stores whose examples come out otherwise now, so that they are prepared anew.

    Returns:
      What was found, a sentence for each store.
    """
    from flan_jax.tasks import examples, rendered_by

    notes, present = [], {}
    for job in jobs:
        try:
            present[job] = stores.read_manifest(job.target)
        except UserError as fault:
            # It was finished once; preparing mends what opening it shows.
            if (job.target / stores.MANIFEST).exists():
                what = str(fault).rpartition(";")[0]
                notes.append(f"task {job.task!r}: {what}; what is missing is prepared anew")
    # Of stores yet to be written too: a vocabulary's files count as they are before it is used.
    renderers = {job: rendered_by.rendered_by(job.task) for job in jobs}
    by_files = {job: found for job in present if (found := _other_file(present[job].get("files", ()))) is not None}
    certain = {job for job in present if renderers[job] and renderers[job] == present[job].get("rendered_by")}
    unsure = [job for job in present if job not in certain and job not in by_files]
    ours = [job for job in unsure if not examples.needs_tensorflow(job.task)]
    foreign = [job for job in unsure if examples.needs_tensorflow(job.task)]
    foreign = sorted(foreign, key=lambda job: _mark(job.fingerprint))[:_MOST_FOREIGN]
    remote.fetch_first([stores.part_path(job.target, 0) for job in ours], _AMONG)
    pool = workers() if len(ours) > 8 else None
    spread = pool.map if pool else map
    options = {"chunksize": 16} if pool else {}
    looked_at = itertools.chain(
        by_files.items(),
        zip(
            ours, spread(_other_example, ours, itertools.repeat(0), itertools.repeat(request), **options), strict=False
        ),
        ((job, _other_example(job, 0, request)) for job in foreign),
    )
    total = len(by_files) + len(ours) + len(foreign)
    for done, (job, found) in enumerate(looked_at, 1):
        if found is not None:
            notes.append(f"task {job.task!r}: {found}; it is prepared anew")
            with stores.told(request.store_dir), stores.Lock(job.target):
                # Another process may have prepared it anew meanwhile.
                if stores.whole(job.target) and stale(job, request) is not None:
                    _remove_draws(job)
        progress(what="looking again at stores", done=done, total=total, unit="store")
    return notes


def files_of(job: Job) -> list[Any]:
    """What `opened.read_by` said of the user's functions while a store was written; empty for one that is not whole."""
    try:
        return stores.read_manifest(job.target).get("files", [])
    except UserError:
        return []


def files_of_part(job: Job, number: int) -> list[Any]:
    """The same of a part, whether or not its store is finished."""
    try:
        return json.loads(mirror.read(stores.files_path(job.target, number)))
    except (FileNotFoundError, ValueError):
        return []


def _other_file(files: Sequence[Any]) -> str | None:
    path = opened.changed(files)
    return None if path is None else f"{path}, which its code reads, is not what it was when its store was written"


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
    """Compares the files that a store was made of, and a few examples of its first part, with what is there now.

    Returns:
      How one differs; None where none does.
    """
    return _other_file(files_of(job)) or _other_example(job, 0, request)


def stale_part(job: Job, number: int, request: Request) -> str | None:
    """Compares the files and a few examples of a part with what is there now, see `stale`; only tasks of ours can be
    read from elsewhere than their beginning.
    """
    return _other_file(files_of_part(job, number)) or _other_example(job, number, request)


def _other_example(job: Job, number: int, request: Request) -> str | None:
    from flan_jax.tasks import examples
    from flan_jax.tasks.example_ids import source_row
    from flan_jax.tasks.sources.source import Unavailable

    ours = examples.is_ours(job.task)
    try:
        store = OnePart(stores.part_path(job.target, number))
        among = range(min(store.count, _AMONG if ours else 2 * _LOOKED_AT))
        chosen = sorted(among, key=lambda i: _mark(f"{job.fingerprint}{i}"))[:_LOOKED_AT]
        left = {store.id(i): i for i in chosen}
        only = set(map(source_row, left)) if ours else None
        options = {**request.reading(), "draw": job.draw, "only": only, "with_text": False}
        if rows := chunks.rows_of(job, number, request) if ours else range(0):
            options |= {"start": rows.start, "stop": rows.stop} if rows.start else {}
        for example in examples.examples(job.task, request.split, request.lengths, **options):
            if (index := left.pop(str(example.id), None)) is not None and (what := _difference(store, index, example)):
                return f"example {example.id!r} has other {what} now than its store holds"
            if not left:
                return None
    except Unavailable:  # what was prepared serves without its source
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
