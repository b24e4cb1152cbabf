"""Fills token stores; runs in the child process, which shares the work out to forks of itself.

    job     one store: (task, draw)          a lock is held for as long as it is worked on
    piece   one part of it, or all of it     what a process is given to do

A part covers a fixed range of the source's rows, so it comes out the same whoever writes it. Tasks that cannot be cut
by rows (tasks of other code, whose preprocessors may join rows; anything with a limit) are one piece.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flan_jax.data.preparing import forks
from flan_jax.data.stores import mirror, parts, remote
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError
from flan_jax.files.filesystem import is_remote

# What shapes the tokens of a store beside the task itself.
_SHAPING = ("split", "lengths", "seed", "on_long", "on_bad_row", "limit")


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


def store_folder(task: str, fingerprint: str, how: Mapping[str, Any]) -> str:
    """Names the folder that holds a task's draws: one for each set of tokens that can come out."""
    shaping = {key: how[key] for key in _SHAPING}
    text = json.dumps([fingerprint, stores.FORMAT, shaping], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    split = re.sub(r"\W", "_", how["split"])
    return os.path.join(how["store_dir"], re.sub(r"[^\w.:-]", "_", task), f"{split}-{key}")


def parts_of(job: Job, how: Mapping[str, Any]) -> int | None:
    """How many parts a store will have, where its source knows its rows; None where it does not."""
    from flan_jax.tasks import examples

    rows = examples.num_rows(job.task, how["split"])
    return None if rows is None else max(1, -(-rows // stores.PART_ROWS))


def is_one_piece(job: Job, how: Mapping[str, Any]) -> bool:
    """Whether a store can only be written in one go."""
    from flan_jax.tasks import examples

    return how["limit"] is not None or not examples.is_ours(job.task)


@dataclasses.dataclass(frozen=True)
class Written:
    """What came of a piece of work.

    Attributes:
      parts: how many parts stand there now.
      examples: in them.
      last: whether the source has no rows after them; False where that is not known.
    """

    parts: int
    examples: int
    last: bool


def write_part(job: Job, number: int, how: Mapping[str, Any]) -> Written:
    """Writes one part unless it stands there sound; writes none where the source has no such rows."""
    from flan_jax.data.preparing import freshness

    path = stores.part_path(job.target, number)
    facts = _sound(path)
    # What the fingerprint cannot see may have changed since the part was written.
    if facts is None or freshness.stale_part(job, number, how) is not None:
        start = number * stores.PART_ROWS
        found, tally = _examples(job, how, start=start, stop=start + stores.PART_ROWS)
        writer = _writer(job)
        for example in _as_in_first(job, number, how, found) if job.draw else found:
            writer.add(example)
        if not tally.read and number:
            return Written(0, 0, last=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = writer.write(mirror.staged(path), dataclasses.asdict(tally))
        mirror.publish(path)
    # Tasks read an example or more from each row.
    return Written(1, facts["count"], last=facts["tally"]["read"] < stores.PART_ROWS)


def _as_in_first(job: Job, number: int, how: Mapping[str, Any], found: Iterator[Any]) -> Iterator[Any]:
    """The examples that the first draw keeps of a part's rows, in its order, as they are found in this draw.

    A plan numbers a task's examples alike in all draws. One that another wording makes too long stays as it was first.
    """
    from flan_jax.data.preparing import freshness

    drawn = {str(example.id): example for example in found}
    first_job = dataclasses.replace(job, draw=0)
    if not stores.whole(first_job.target):
        start = number * stores.PART_ROWS
        for example in _examples(first_job, how, start=start, stop=start + stores.PART_ROWS)[0]:
            yield drawn.get(str(example.id), example)
    elif number < len(stores.read_manifest(first_job.target)["parts"]):
        first = freshness.OnePart(stores.part_path(first_job.target, number))
        for i in range(first.count):
            yield drawn.get(first.id(i)) or first.example(i)


def write_whole(job: Job, how: Mapping[str, Any]) -> Written:
    """Writes all parts of a store from one pass over its examples, also those that stand there: what is read anew is
    what the task gives now.
    """
    found, tally = _examples(job, how)
    job.target.mkdir(parents=True, exist_ok=True)
    before: dict[str, int] = {}
    number = examples = 0
    while True:
        writer = _writer(job)
        for example in itertools.islice(found, stores.PART_ROWS):
            writer.add(example)
        if number and not writer.count:
            return Written(number, examples, last=True)
        now = dataclasses.asdict(tally)
        path = stores.part_path(job.target, number)
        writer.write(mirror.staged(path), {key: value - before.get(key, 0) for key, value in now.items()})
        mirror.publish(path)
        before = now
        number, examples = number + 1, examples + writer.count


def _write(job: Job, number: int | None, how: Mapping[str, Any]) -> Written:
    return write_whole(job, how) if number is None else write_part(job, number, how)


def finish_store(job: Job, number: int, how: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the manifest of a store whose `number` parts are written.

    Returns:
      The manifest.
    """
    from flan_jax.tasks import examples

    found = []
    for k in range(number):
        part = remote.part(stores.part_path(job.target, k))
        found.append({**part.header, "bytes": part.size})
    about = {"task": job.task, "draw": job.draw, "fingerprint": job.fingerprint, **{key: how[key] for key in _SHAPING}}
    about["objective"] = examples.describe(job.task).get("objective", "instruction")
    return stores.write_manifest(job.target, found, about)


def _examples(job: Job, how: Mapping[str, Any], **rows: Any) -> tuple[Iterator[Any], Any]:
    from flan_jax.tasks import examples

    tally = examples.Tally()
    names = ("seed", "on_long", "on_bad_row", "limit")
    options = {name: how[name] for name in names} | {"draw": job.draw, "tally": tally, "with_text": False} | rows
    return examples.examples(job.task, how["split"], how["lengths"], **options), tally


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


def prepare_in_child(
    *,
    setup: Mapping[str, Any],
    progress: Callable[..., None],
    wanted: Sequence[Sequence[Any]],
    mixture: str,
    **how: Any,
) -> None:
    """Answers `prepare`: writes the listed (task, folder, fingerprint, draw)."""
    from flan_jax.tasks import examples

    for task, fingerprint in dict.fromkeys((task, fingerprint) for task, _, fingerprint, _ in wanted):
        # The run may have begun days ago; its other draws are of the files and the code of then.
        if examples.fingerprint(task) != fingerprint:
            raise UserError(
                f"task {task!r} is not what it was when this run began: a file it reads, or code it uses, has changed; "
                f"start the same command again"
            )
    jobs = [Job(*one) for one in wanted]
    stores.refresh(job.target for job in jobs)
    fill_stores(jobs, how, setup, progress, "preparing draws")


def fill_stores(
    jobs: Sequence[Job],
    how: Mapping[str, Any],
    setup: Mapping[str, Any],
    progress: Callable[..., None],
    what: str,
) -> None:
    """Fills stores, those that stand there whole excepted, on all cores or by Apache Beam.

    What is done stays done whatever happens: the next call goes on from the parts that were written.

    Args:
      jobs: which.
      how: what shapes tokens, and "store_dir".
      setup: what the data process was started with.
      progress: told of each store that is finished.
      what: how to call the work.

    Raises:
      UserError: a bad row, a full disk, …
    """
    if setup["beam_options"] is not None:
        from flan_jax.data.preparing import beam

        beam.fill_stores(jobs, how, setup, progress, what)
        return
    with stores.told(how["store_dir"]):
        _Filling(jobs, how, functools.partial(progress, what=what, total=len(jobs), unit="store")).go()


class _Open:
    """A store that is being written."""

    def __init__(self, job: Job, lock: stores.Lock, how: Mapping[str, Any]):
        self.job, self.lock = job, lock
        self.one_piece = is_one_piece(job, how)
        self.known = 1 if self.one_piece else parts_of(job, how)  # pieces, where that is known
        self.given, self.back, self.ended = 0, 0, False
        self.written = 0

    def next_piece(self) -> int | None:
        """The next part to write, if there may be one."""
        # Of how many there are nothing is known before the first is back.
        if self.ended or self.given == self.known or (self.known is None and self.given and not self.back):
            return None
        self.given += 1
        return self.given - 1

    @property
    def done(self) -> bool:
        """Whether all pieces are back."""
        return self.back == self.given and (self.ended or self.given == self.known)


class _Filling:
    """One call of `fill_stores`."""

    def __init__(self, jobs: Sequence[Job], how: Mapping[str, Any], progress: Callable[..., None]):
        self._waiting = collections.deque(jobs)
        self._how, self._progress = how, progress
        self._elsewhere: collections.deque[Job] = collections.deque()  # another process writes these now
        self._open: list[_Open] = []
        self._running: dict[concurrent.futures.Future, _Open] = {}
        # The last requests of stores at addresses; what writes need not wait for them.
        self._requests = concurrent.futures.ThreadPoolExecutor(mirror.STREAMS) if is_remote(how["store_dir"]) else None
        self._ending: dict[concurrent.futures.Future, _Open] = {}
        self._finished = self._examples = 0
        self._pool = forks.workers() if len(jobs) > 1 or any(_is_large(job, how) for job in jobs) else None
        self._most = 2 * forks.cores()

    def go(self) -> None:
        try:
            self._say("")
            while self._waiting or self._elsewhere or self._open:
                self._give_out()
                self._take_back()
        except concurrent.futures.BrokenExecutor as error:
            forks.workers.cache_clear()
            raise UserError(
                "a process that prepares was ended from outside, perhaps for want of memory; run the same command "
                "again: it goes on from what is done"
            ) from error
        finally:
            concurrent.futures.wait([*self._running, *self._ending])  # whoever holds a lock still writes
            for one in self._open:
                one.lock.release()
            if self._requests:
                self._requests.shutdown()

    def _give_out(self) -> None:
        """Gives every process something to do, opening stores as needed."""
        while len(self._running) < self._most:
            found = next(((one, piece) for one in self._open if (piece := one.next_piece()) is not None), None)
            if found is not None:
                self._submit(*found)
            elif not self._open_next():
                return

    def _open_next(self) -> bool:
        """Takes the lock of the next store that is not whole; False where there is none to be had now."""
        while self._waiting or (self._elsewhere and not self._open):
            # Waiting for a lock while holding others could wait for ever.
            wait = not self._waiting
            job = (self._elsewhere if wait else self._waiting).popleft()
            if not stores.whole(job.target):
                lock = stores.Lock(job.target)
                if not lock.take(wait):
                    self._elsewhere.append(job)
                    continue
                if not stores.whole(job.target):
                    stores.reopen(job.target)
                    self._open.append(_Open(job, lock, self._how))
                    return True
                lock.release()
            self._count(job)
        return False

    def _submit(self, one: _Open, piece: int) -> None:
        number = None if one.one_piece else piece
        if self._pool is None or _needs_this_process(one.job):
            future: concurrent.futures.Future = concurrent.futures.Future()
            future.set_result(_write(one.job, number, self._how))
        else:
            future = self._pool.submit(_write, one.job, number, self._how)
        self._running[future] = one

    def _take_back(self) -> None:
        every = [*self._running, *self._ending]
        done, _ = concurrent.futures.wait(every, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            if future in self._ending:
                future.result()
                self._end(self._ending.pop(future))
                continue
            one, result = self._running.pop(future), future.result()
            one.back += 1
            one.ended = one.ended or result.last
            one.written += result.parts
            self._examples += result.examples
            self._say(one.job.task)
            if not one.done:
                continue
            if self._requests:
                self._ending[self._requests.submit(finish_store, one.job, one.written, self._how)] = one
            else:
                finish_store(one.job, one.written, self._how)
                self._end(one)

    def _end(self, one: _Open) -> None:
        one.lock.release()
        self._open.remove(one)
        self._count(one.job)

    def _count(self, job: Job) -> None:
        self._finished += 1
        self._say(job.task)

    def _say(self, name: str) -> None:
        self._progress(done=self._finished, name=name, examples=self._examples)


def _is_large(job: Job, how: Mapping[str, Any]) -> bool:
    return not is_one_piece(job, how) and parts_of(job, how) != 1


def _needs_this_process(job: Job) -> bool:
    """Whether a task runs TensorFlow, which does not survive a fork and uses all cores by itself."""
    from flan_jax.tasks import examples

    return examples.needs_tensorflow(job.task)
