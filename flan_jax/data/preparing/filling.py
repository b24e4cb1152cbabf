"""Fills token stores: the child process shares the work out to forks of itself.

    job     one store: (task, draw)          a lock is held for as long as it is worked on
    piece   one part of it, or all of it     what a process is given to do

A part covers a fixed range of the source's rows (see `chunks`), so it comes out the same whoever writes it. Tasks that
cannot be cut by rows (tasks of other code, whose preprocessors may join rows; anything with a limit) are one piece.
"""

import collections
import concurrent.futures
import functools
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.data.preparing import chunks, forks
from flan_jax.data.preparing.jobs import Job, is_one_piece
from flan_jax.data.preparing.writing import finish_store, write_piece
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError
from flan_jax.files.filesystem import is_remote


def prepare_in_child(
    *,
    setup: WorkerSetup,
    progress: Callable[..., None],
    wanted: Sequence[Sequence[Any]],
    request: Request,
) -> None:
    """Answers `prepare`: writes the listed (task, folder, fingerprint, draw)."""
    from flan_jax.tasks import examples

    for task, fingerprint in dict.fromkeys((task, fingerprint) for task, _, fingerprint, _ in wanted):
        # The run may have begun days ago; its other draws are of the files and the code of then.
        if examples.fingerprint(task, request.augment.wording()) != fingerprint:
            raise UserError(
                f"task {task!r} is not what it was when this run began: a file it reads, or code it uses, has changed; "
                f"start the same command again"
            )
    jobs = [Job(*one) for one in wanted]
    stores.refresh(job.target for job in jobs)
    fill_stores(jobs, request, setup, progress, "preparing draws")


def fill_stores(
    jobs: Sequence[Job],
    request: Request,
    setup: WorkerSetup,
    progress: Callable[..., None],
    what: str,
) -> None:
    """Fills stores, those that stand there whole excepted, on all cores or by Apache Beam.

    What has a budget is always filled by the cores: how many parts it has is known when the first is there. What is
    done stays done whatever happens: the next call goes on from the parts that were written.

    Args:
      jobs: which.
      request: what shapes tokens, and where the stores are.
      setup: what the data process was started with.
      progress: told of each store that is finished.
      what: how to call the work.

    Raises:
      UserError: a bad row, a full disk, …
    """
    if setup.beam_options is not None and request.budget is None:
        from flan_jax.data.preparing import beam

        beam.fill_stores(jobs, request, setup, progress, what)
        return
    with stores.told(request.store_dir):
        _Filling(jobs, request, functools.partial(progress, what=what, total=len(jobs), unit="store")).go()


class _Open:
    """A store that is being written."""

    def __init__(self, job: Job, lock: stores.Lock, request: Request):
        self.job, self.lock = job, lock
        self.one_piece = is_one_piece(job, request)
        self.known = 1 if self.one_piece else chunks.parts_of(job, request)  # pieces, where that is known
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

    def __init__(self, jobs: Sequence[Job], request: Request, progress: Callable[..., None]):
        self._waiting = collections.deque(jobs)
        self._request, self._progress = request, progress
        self._elsewhere: collections.deque[Job] = collections.deque()  # another process writes these now
        self._open: list[_Open] = []
        self._running: dict[concurrent.futures.Future, _Open] = {}
        # The last requests of stores at addresses; what writes need not wait for them.
        self._requests = concurrent.futures.ThreadPoolExecutor(mirror.STREAMS) if is_remote(request.store_dir) else None
        self._ending: dict[concurrent.futures.Future, _Open] = {}
        self._finished = self._examples = 0
        self._pool = forks.workers() if len(jobs) > 1 or any(_is_large(job, request) for job in jobs) else None
        self._most = 2 * forks.cores()

    def go(self) -> None:
        try:
            with forks.whole("prepares"):
                self._say("")
                while self._waiting or self._elsewhere or self._open:
                    self._give_out()
                    self._take_back()
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
                    self._open.append(_Open(job, lock, self._request))
                    return True
                lock.release()
            self._count(job)
        return False

    def _submit(self, one: _Open, piece: int) -> None:
        number = None if one.one_piece else piece
        if self._pool is None or _needs_this_process(one.job):
            future: concurrent.futures.Future = concurrent.futures.Future()
            future.set_result(write_piece(one.job, number, self._request))
        else:
            future = self._pool.submit(write_piece, one.job, number, self._request)
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
            if one.known is None and one.back == 1 and self._request.budget is not None:
                one.known = self._bounded(one.job, result.trainable)
            one.ended = one.ended or result.last
            one.written += result.parts
            self._examples += result.examples
            self._say(one.job.task)
            if not one.done:
                continue
            if self._requests:
                self._ending[self._requests.submit(finish_store, one.job, one.written, self._request)] = one
            else:
                finish_store(one.job, one.written, self._request)
                self._end(one)

    def _bounded(self, job: Job, trainable: int) -> int | None:
        """How many parts a store gets whose first is written, if there is room for them."""
        known = chunks.parts_wanted(job, self._request, trainable)
        path = stores.part_path(job.target, 0)
        if known is not None and path.exists():
            chunks.refuse_full_disk(job, self._request, path.stat().st_size, known)
        return known

    def _end(self, one: _Open) -> None:
        one.lock.release()
        self._open.remove(one)
        self._count(one.job)

    def _count(self, job: Job) -> None:
        self._finished += 1
        self._say(job.task)

    def _say(self, name: str) -> None:
        self._progress(done=self._finished, name=name, examples=self._examples)


def _is_large(job: Job, request: Request) -> bool:
    return not is_one_piece(job, request) and chunks.parts_of(job, request) != 1


def _needs_this_process(job: Job) -> bool:
    """Whether a task runs TensorFlow, which does not survive a fork and uses all cores by itself."""
    from flan_jax.tasks import examples

    return examples.needs_tensorflow(job.task)
