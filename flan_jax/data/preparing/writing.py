"""Writes pieces of token stores from what tasks give: a part, or all of a store that can only be written in one go."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from flan_jax.data.preparing import chunks, freshness
from flan_jax.data.preparing.jobs import Job
from flan_jax.data.preparing.proof import Proof
from flan_jax.data.request import Request
from flan_jax.data.stores import mirror, parts, remote
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError
from flan_jax.files import filesystem, opened

_MOST_FILES = 1000  # that are kept of a store; a manifest is read often


@dataclasses.dataclass(frozen=True)
class Written:
    """What came of a piece of work.

    Attributes:
      parts: how many parts stand there now.
      examples: in them.
      trainable: tokens in them that bear loss.
      last: whether the source has no rows after them; False where that is not known.
    """

    parts: int
    examples: int
    trainable: int
    last: bool


def write_part(job: Job, number: int, request: Request) -> Written:
    """Writes one part unless it stands there sound; writes none where the source has no such rows."""
    from flan_jax.tasks import rendered_by

    path = stores.part_path(job.target, number)
    facts = _sound(path)
    # What the fingerprint cannot see may have changed since the part was written.
    if facts is None or freshness.stale_part(job, number, request) is not None:
        rows = chunks.rows_of(job, number, request)
        opened.settle(rendered_by.functions(job.task))
        found, tally, wrong = _examples(job, request, start=rows.start, stop=rows.stop)
        writer = _writer(job)
        for example in _as_in_first(job, number, request, found) if job.draw else found:
            writer.add(example)
        if not tally.read and number and chunks.ends_with(request, job, 0):
            return Written(0, 0, 0, last=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        if facts is not None:
            mirror.remove(path)  # it must not be taken for what the files of now give
        _write_files(job, number, request)
        facts = writer.write(mirror.staged(path), dataclasses.asdict(tally), wrong)
        mirror.publish(path)
    # Tasks read an example or more from each row.
    last = chunks.ends_with(request, job, facts["tally"]["read"])
    return Written(1, facts["count"], facts["tokens"]["trainable"], last)


def _as_in_first(job: Job, number: int, request: Request, found: Iterator[Any]) -> Iterator[Any]:
    """The examples that the first draw keeps of a part's rows, in its order, as they are found in this draw.

    A plan numbers a task's examples alike in all draws. One that another template makes too long stays as it was first.
    """
    drawn = {str(example.id): example for example in found}
    first_job = dataclasses.replace(job, draw=0)
    if not stores.whole(first_job.target):
        rows = chunks.rows_of(job, number, request)
        for example in _examples(first_job, request, start=rows.start, stop=rows.stop)[0]:
            yield drawn.get(str(example.id), example)
    elif number < len(stores.read_manifest(first_job.target)["parts"]):
        first = freshness.OnePart(stores.part_path(first_job.target, number))
        for i in range(first.count):
            yield drawn.get(first.id(i)) or first.example(i)


def write_whole(job: Job, request: Request) -> Written:
    """Writes all parts of a store from one pass over its examples, also those that stand there: what is read anew is
    what the task gives now.
    """
    from flan_jax.tasks import rendered_by

    opened.settle(rendered_by.functions(job.task))
    found, tally, wrong = _examples(job, request)
    job.target.mkdir(parents=True, exist_ok=True)
    before: dict[str, int] = {}
    number = examples = trainable = 0
    while True:
        writer = _writer(job)
        for example in itertools.islice(found, stores.PART_ROWS):
            writer.add(example)
        enough = request.budget is not None and trainable >= request.budget
        if number and (enough or not writer.count):
            return Written(number, examples, trainable, last=True)
        now = dataclasses.asdict(tally)
        path = stores.part_path(job.target, number)
        _write_files(job, number, request)
        counts = {key: value - before.get(key, 0) for key, value in now.items()}
        trainable += writer.write(mirror.staged(path), counts, wrong[:])["tokens"]["trainable"]
        wrong.clear()
        mirror.publish(path)
        before = now
        number, examples = number + 1, examples + writer.count


def write_piece(job: Job, number: int | None, request: Request) -> Written:
    """Writes a part, or without a number the whole store."""
    return write_whole(job, request) if number is None else write_part(job, number, request)


def finish_store(job: Job, number: int, request: Request) -> dict[str, Any]:
    """Writes the manifest of a store whose `number` parts are written.

    Returns:
      The manifest.
    """
    from flan_jax.tasks import examples, rendered_by

    found = []
    for k in range(number):
        part = remote.part(stores.part_path(job.target, k))
        found.append({**part.header, "bytes": part.size})
    about = {"task": job.task, "draw": job.draw, "fingerprint": job.fingerprint, **request.shaping()}
    about["objective"] = examples.describe(job.task).get("objective", "instruction")
    # What `freshness` goes by.
    if (renderer := rendered_by.rendered_by(job.task)) is not None:
        about["rendered_by"] = renderer
    if rendered_by.functions(job.task):
        read = [file for k in range(number) for file in freshness.files_of_part(job, k)]
        about["files"] = [json.loads(file) for file in sorted(set(map(json.dumps, read)))[:_MOST_FILES]]
    return stores.write_manifest(job.target, found, about)


def _write_files(job: Job, number: int, request: Request) -> None:
    """Lists what files a part that is about to be written was made of."""
    from flan_jax.tasks import examples, rendered_by

    path = stores.files_path(job.target, number)
    functions = rendered_by.functions(job.task)
    known = {filesystem.absolute(file) for file in examples.source_files(job.task)} if functions else set()
    if read := opened.read_by(functions, except_in=request.store_dir, known=known)[:_MOST_FILES]:
        mirror.write_json(path, read)
    elif path.exists():
        mirror.remove(path)


def _examples(job: Job, request: Request, **rows: Any) -> tuple[Iterator[Any], Any, list[str]]:
    """The examples of a store that are to be kept, what is counted of them, and sentences about wrong masks."""
    from flan_jax.tasks import examples

    tally = examples.Tally()
    options = {**request.reading(), "draw": job.draw, "tally": tally, "with_text": False, **rows}
    found = examples.examples(job.task, request.split, request.lengths, **options)
    proof = Proof(job.task, request.split, tally, "keep" if request.is_scored else request.on_wrong_mask)
    return proof(found), tally, proof.said


def _writer(job: Job) -> parts.PartWriter:
    import seqio

    vocabulary = seqio.get_mixture_or_task(job.task).output_features["targets"].vocabulary
    return parts.PartWriter(vocabulary.vocab_size)


def _sound(path: pathlib.Path) -> dict[str, Any] | None:
    """What a part says of itself, None where it is missing or damaged."""
    try:
        return remote.verify(path)
    except UserError:
        return None
