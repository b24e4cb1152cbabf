"""Fills token stores as an Apache Beam pipeline: the work of `prepare.py`, on as many machines as the runner has.

    jobs      the stores that are not whole
    pieces    the parts of each, spread over the workers        (job, first part, the one before which to stop, alone?)
    written   a store of one piece is finished by its writer    (job, parts written)
    finished  the others, when all of their parts are written

Names and counts are all that travels: a worker registers the tasks as the data process does, reads its rows from the
source, and writes the part into the store's folder, which all workers must share. A part that stands there sound is
not written again, so a pipeline that is repeated, or a piece that the runner retries, goes on from what was done.
Workers share the store's lock, which one that prepares without Beam has for itself.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import io
import itertools
import json
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flan_jax.data.preparing import forks
from flan_jax.data.preparing.chunks import parts_of
from flan_jax.data.preparing.jobs import Job, is_one_piece
from flan_jax.data.preparing.registering import register_tasks
from flan_jax.data.preparing.writing import finish_store, write_part, write_whole
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError

# Beam's own DirectRunner may hand over to another one, which it downloads and which knows no number of workers.
LOCAL_RUNNER = "--runner=FnApiRunner", "--direct_running_mode=multi_processing"
_POLL = 1.0  # seconds

_Job = tuple[str, str, str, int]  # the fields of a `Job`: what Beam knows how to hash the same everywhere
_Piece = tuple[_Job, int, int | None, bool]  # without a part to stop before, it goes on to the source's end


class Refused(Exception):
    """A `UserError` on its way through a runner, which keeps nothing of an exception but its text: JSON here."""


def _told_in(text: str) -> str | None:
    """The sentence in a runner's account of a failure; None where there is none.

    >>> _told_in('Traceback ... flan_jax.data.preparing.beam.Refused: "bad row 7" [while running ...]')
    'bad row 7'
    """
    _, found, rest = text.rpartition(f"{Refused.__name__}: ")
    try:
        return str(json.JSONDecoder().raw_decode(rest)[0]) if found else None
    except ValueError:
        return None


def check_installed() -> None:
    """Says how to get Apache Beam where it is missing.

    Raises:
      UserError: it is.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise UserError(
            "--runner beam needs Apache Beam, which is not installed here; it wants older versions of other packages, "
            "so make an environment for it, `UV_PROJECT_ENVIRONMENT=.venv-beam uv sync --extra beam`, and run "
            "`.venv-beam/bin/flan-jax prepare` with the same settings"
        )


def fill_stores(
    jobs: Sequence[Job],
    request: Request,
    setup: WorkerSetup,
    progress: Callable[..., None],
    what: str,
) -> None:
    """Fills stores, those that stand there whole excepted, by a pipeline; returns when it has ended.

    Args:
      jobs: which.
      request: what shapes tokens, and where the stores are.
      setup: what the data process was started with; "beam_options" holds Beam's flags.
      progress: told of each store that is finished.
      what: how to call the work.

    Raises:
      UserError: a bad row, a full disk, a flag that Beam does not know, workers that write elsewhere, …
    """
    with stores.told(request.store_dir):
        missing = [job for job in jobs if _reopen(job)]
    say = functools.partial(progress, what=what, total=len(jobs), unit="store")
    if missing:
        with stores.told(request.store_dir), _Watch(missing, lambda n: say(done=len(jobs) - len(missing) + n)):
            _run(missing, request, setup)
    stores.refresh(job.target for job in missing)
    left = [job for job in missing if not stores.whole(job.target)]
    if left:
        raise UserError(
            f"the pipeline ended, but {len(left)} of {len(missing)} stores (that of task {left[0].task!r} first) are "
            f"not in {request.store_dir}: its workers write elsewhere; set STORE_DIR to a folder that they share with "
            f"this machine"
        )
    say(done=len(jobs))


def _reopen(job: Job) -> bool:
    """Whether a store has to be filled; clears what was left of one that is not whole, once nobody writes there."""
    if stores.whole(job.target):
        return False
    if not job.target.exists():
        return True
    with stores.Lock(job.target):
        if stores.whole(job.target):
            return False
        stores.reopen(job.target)
    return True


def _run(jobs: Sequence[Job], request: Request, setup: WorkerSetup) -> None:
    import apache_beam as beam

    options = _options(setup.beam_options or ())
    try:
        with _interpreter_for_a_shell(options), beam.Pipeline(options=options) as pipeline:
            written = (
                pipeline
                | "jobs" >> beam.Create([dataclasses.astuple(job) for job in jobs])
                | "spread jobs" >> beam.Reshuffle()
                | "cut" >> beam.FlatMap(pieces, request, setup)
                | "spread pieces" >> beam.Reshuffle()
                | "write" >> beam.FlatMap(write, request, setup)
            )
            written | "parts" >> beam.CombinePerKey(sum) | "finish" >> beam.Map(finish, request, setup)
    except Exception as error:  # each runner has its own kinds
        told = _told_in(f"{type(error).__name__}: {error}")
        if told is None:
            raise
        raise UserError(told) from error


@contextlib.contextmanager
def _interpreter_for_a_shell(options: Any) -> Iterator[None]:
    """Quotes Python's path while Beam starts local workers: it puts the path into a shell's command as it is."""
    from apache_beam.options.pipeline_options import DirectOptions

    path = sys.executable
    if options.view_as(DirectOptions).direct_running_mode == "multi_processing":
        sys.executable = shlex.quote(path)
    try:
        yield
    finally:
        sys.executable = path


def _options(words: Sequence[str]) -> Any:
    """Beam's options from its flags; local processes, one a core, where no runner is named."""
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners import create_runner

    local = [*LOCAL_RUNNER, f"--direct_num_workers={forks.cores()}"]
    named = any(word.startswith("--runner") for word in words)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = PipelineOptions([*([] if named else local), *words])
            options.get_all_options()
        create_runner(options.view_as(StandardOptions).runner)
    except (SystemExit, ValueError, ImportError) as error:
        told = (said.getvalue().strip() or str(error)).splitlines()[-1]
        raise UserError(f"Beam does not take {' '.join(words)!r} after the --: {told}") from error
    return options


def pieces(job: _Job, request: Request, setup: WorkerSetup) -> Iterator[_Piece]:
    """What has to be written of a store, as pieces that different workers can write."""
    with _on_worker(request, setup):
        one = Job(*job)
        known = 1 if is_one_piece(one, request) else parts_of(one, request)
        number = known or _declared_parts(one, request)
        for first in range(number):
            # What a source only declares may be too little.
            stop = None if known is None and first == number - 1 else first + 1
            yield job, first, stop, number == 1


def _declared_parts(job: Job, request: Request) -> int:
    import seqio

    rows = seqio.get_mixture_or_task(job.task).num_input_examples(request.split) or 0
    return max(1, -(-rows // stores.PART_ROWS))


def write(piece: _Piece, request: Request, setup: WorkerSetup) -> Iterator[tuple[_Job, int]]:
    """Writes a piece; a store that is whole by it is finished at once, of others the parts are counted."""
    job, first, stop, alone = piece
    with _on_worker(request, setup), _share(Job(*job), request) as one:
        if is_one_piece(one, request):
            parts = write_whole(one, request).parts
        else:
            parts = _write_parts(one, first, stop, request)
        if alone:
            finish_store(one, parts, request)
    if not alone:
        yield job, parts


def _write_parts(job: Job, first: int, stop: int | None, request: Request) -> int:
    """Writes parts one after another; says how many there were."""
    found = 0
    for number in itertools.count(first) if stop is None else range(first, stop):
        written = write_part(job, number, request)
        found += written.parts
        if written.last:
            break
    return found


def finish(counted: tuple[_Job, int], request: Request, setup: WorkerSetup) -> None:
    """Writes the manifest of a store whose parts are written."""
    job, number = counted
    with _on_worker(request, setup), _share(Job(*job), request) as one:
        finish_store(one, number, request)


@contextlib.contextmanager
def _share(job: Job, request: Request) -> Iterator[Job]:
    """Keeps a store for those who write it by Beam, and sees to it that they write the same."""
    if _fingerprint(job.task, json.dumps(request.augment.wording())) != job.fingerprint:
        raise UserError(
            f"task {job.task!r} is another on a worker than on the machine that started the pipeline: a file it reads, "
            f"code it uses or the version of Python differs; give the workers the same, or start again if it has "
            f"changed meanwhile"
        )
    lock = stores.Lock(job.target)
    lock.take(shared=True)
    try:
        yield job
    finally:
        lock.release()


@functools.cache
def _fingerprint(task: str, wording: str) -> str:
    from flan_jax.tasks import examples

    return examples.fingerprint(task, json.loads(wording))


@contextlib.contextmanager
def _on_worker(request: Request, setup: WorkerSetup) -> Iterator[None]:
    """Has the tasks registered, and gives faults that the user can mend a text that survives the runner."""
    try:
        with stores.told(request.store_dir):
            _register(json.dumps(dataclasses.asdict(setup), sort_keys=True))
            yield
    except UserError as fault:
        raise Refused(json.dumps(str(fault))) from fault


_registering = threading.Lock()


def _register(setup: str) -> None:
    with _registering:  # a worker may have several threads
        _register_once(setup)


@functools.cache
def _register_once(setup: str) -> None:
    """Registers the tasks, once a process."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    register_tasks(WorkerSetup(**json.loads(setup)))


class _Watch:
    """Counts the stores that are finished while the pipeline runs; runners tell of nothing before they end."""

    def __init__(self, jobs: Sequence[Job], say: Callable[[int], None]):
        self._left, self._total, self._say = list(jobs), len(jobs), say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True, name="watch")

    def __enter__(self) -> None:
        self._say(0)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._ended.wait(_POLL * max(1, self._total / 10_000)):
            before = len(self._left)
            self._left = [job for job in self._left if not (job.target / stores.MANIFEST).exists()]
            if self._left and len(self._left) < before:  # that all are done is said once, at the end
                self._say(self._total - len(self._left))
