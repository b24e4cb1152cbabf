"""Processes that share the work of the data process: forks of it, which have its tasks without importing anything."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import signal
from collections.abc import Iterator

from flan_jax.errors import UserError

_PARENT_DIED = 1  # prctl's PR_SET_PDEATHSIG


@functools.cache
def workers() -> concurrent.futures.Executor | None:
    """Forks of this process, one a core, for as long as it lives; None on one core.

    A fork has the tasks and the vocabularies without importing anything anew.
    """
    if cores() == 1:
        return None
    context = multiprocessing.get_context("fork")
    return concurrent.futures.ProcessPoolExecutor(cores(), context, _end_with, (os.getpid(),))


@contextlib.contextmanager
def whole(what: str) -> Iterator[None]:
    """Tells of a fork that was ended from outside, and starts others the next time.

    Args:
      what: what the forks do, for the sentence.

    Raises:
      UserError: one of them was.
    """
    try:
        yield
    except concurrent.futures.BrokenExecutor as error:
        workers.cache_clear()
        raise UserError(
            f"a process that {what} was ended from outside, perhaps for want of memory; run the same command again: it "
            "goes on from what is done"
        ) from error


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _end_with(parent: int) -> None:
    """Has the kernel end this process when its parent is killed; else it would hold locks for ever."""
    import ctypes

    ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
