"""Which files the user's code reads, at import or for each row; runs in the data process and its forks.

A fingerprint cannot see them, so an answer of an earlier run is used again only while all of them are as they were, and
so is a store. Python tells of every file that it opens (PEP 578); what TensorFlow or another C library opens stays
unseen.
"""

import fcntl
import functools
import json
import os
import re
import stat
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.files import filesystem

# Of no interest: code is known by its modules, and the rest is the system's.
_SYSTEM = tuple({sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/var/lib"})
_OF_A_STORE = re.compile(r"/draw-\d+/[^/]*$")
_CODE = (".py", ".pyc", ".so", ".pth", "METADATA", ".lock")
_WHOLE = 2**24  # bytes; of a larger file a sample is compared

File = tuple[str, list[int], str]
"""A file's path, its `state_of` and a digest of its content."""


class Running:
    """Which function of the user's runs now in this process; set for each row, so by no call."""

    function: object | None = None


RUNNING = Running()


class _Log:
    """Paths that were opened, in a file in memory that forks of this process share: a line of JSON each."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("opened files")
        # The forks share one place in the file, which the kernel does not guard; each write has to find the end itself.
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_APPEND)
        self._seen: set[str] = set()
        #: By function, and then by path: the states of what it read in this process since `settle`, and before.
        self.reads: dict[int, dict[str, list[list[int]]]] = {}
        self.before: dict[int, dict[str, list[list[int]]]] = {}

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Takes what Python tells of an `open`; never raises."""
        if event != "open":
            return
        path, mode, flags = arguments
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str) or path.startswith(_SYSTEM) or path.endswith(_CODE):
            return
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or bool(mode and set(mode) & set("wax+"))
        path = os.path.abspath(path)
        if path.startswith(_SYSTEM):
            return
        state = None if writes else state_of(path)
        if state and RUNNING.function is not None:
            states = self.reads.setdefault(id(RUNNING.function), {}).setdefault(path, [])
            if states[-1:] != [state]:
                states.append(state)
        line = json.dumps([path, writes, state])
        if line not in self._seen:
            self._seen.add(line)
            os.write(self._descriptor, f"{line}\n".encode())

    def lines(self) -> list[list[Any]]:
        """All that was written so far."""
        text = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0).decode()
        return [json.loads(line) for line in text.splitlines()]


_LOG: _Log | None = None


def watch() -> None:
    """Begins to take notes, once and for good."""
    global _LOG
    if _LOG is None:
        _LOG = _Log()
        sys.addaudithook(_LOG.hook)


def mark() -> int:
    """A place in the notes, for `found`."""
    return len(_LOG.lines()) if _LOG else 0


def settle(functions: Iterable[object]) -> None:
    """Lets what functions read from here on count anew. What they read before they may have kept: of that the last
    state stays, until they read it again.
    """
    if _LOG is None:
        return
    for function in map(id, functions):
        last = {path: states[-1:] for path, states in _LOG.reads.pop(function, {}).items()}
        _LOG.before[function] = _LOG.before.get(function, {}) | last


def read_by(functions: Iterable[object], except_in: str, known: Collection[str]) -> list[File]:
    """What functions have read in this process and in the ones that it is a fork of, each as they read it last.

    A file that changed between two readings since `settle` is there with both states, which cannot both hold.

    Args:
      functions: the user's.
      except_in: a folder whose files do not count.
      known: files that are known otherwise.
    """
    found: list[File] = []
    if _LOG is None:
        return found
    for function in functions:
        read = _LOG.before.get(id(function), {}) | _LOG.reads.get(id(function), {})
        # Hidden files are libraries' own: credentials, which are renewed, and caches.
        inputs = _inputs([path for path in read if "/." not in path], except_in, known)
        found += [(path, state, _content(path, *state)) for path in inputs for state in read[path]]
    return found


def changed(files: Iterable[Sequence[Any]]) -> str | None:
    """The first of files that holds something else than it did; None where there is none.

    Another time alone says nothing: a file may be touched, or be another machine's copy; then the content decides. One
    that is not there may be another machine's too.

    Args:
      files: what `read_by` said of them.
    """
    for path, state, content in files:
        now = state_of(path)
        if now not in (None, state) and (now[0] != state[0] or _content(path, *now) != content):
            return path
    return None


@functools.lru_cache(maxsize=2**14)
def _content(path: str, *state: int) -> str:
    """A digest of a file's content, empty where the file is no longer in that state."""
    try:
        digest = filesystem.digest(path, state[0], _WHOLE)
    except (OSError, UserError):
        return ""
    return digest if state_of(path) == list(state) else ""


def found(since: int, except_in: str, known: Collection[str]) -> list[tuple[str, list[int]]]:
    """Files that were read since `watch`, with the `state_of` each when it was first read after a mark.

    Args:
      since: the `mark`; what was read before it, at import say, counts as it was when it was last read.
      except_in: a folder whose files do not count.
      known: files that are known otherwise.
    """
    lines = _LOG.lines() if _LOG else []
    states = {path: state for path, _, state in lines[:since]} | {
        path: state for path, _, state in reversed(lines[since:])
    }
    read = [path for path, state in states.items() if state]
    return [(path, states[path]) for path in _inputs(read, except_in, known)]


def _inputs(paths: Iterable[str], except_in: str, known: Collection[str]) -> list[str]:
    """Those of the files that count, sorted."""
    inside = os.path.join(except_in, "")
    paths = [path for path in paths if not path.startswith(inside) and not _OF_A_STORE.search(path)]
    if not paths:
        return []
    # What is written here too is no input: a cache, a log.
    others = {path for path, writes, _ in (_LOG.lines() if _LOG else ()) if writes} | set(known)
    return sorted(set(paths) - others)


def state_of(path: str) -> list[int] | None:
    """`filesystem.times` of a file, None where there is none: what `resolve` compares with."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return filesystem.times(about) if stat.S_ISREG(about.st_mode) else None
