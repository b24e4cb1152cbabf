"""Which files the user's code reads, at import or for each row; runs in the data process and its forks.

A fingerprint cannot see them, so an answer of an earlier run is used again only while all of them are as they were.
Python tells of every file that it opens (PEP 578); what TensorFlow or another C library opens stays unseen.
"""

import fcntl
import json
import os
import re
import stat
import sys
from collections.abc import Collection
from typing import Any

from flan_jax.files import filesystem

# Of no interest: code is known by its modules, and the rest is the system's.
_SYSTEM = tuple({sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/var/lib"})
_OF_A_STORE = re.compile(r"/draw-\d+/[^/]*$")
_CODE = (".py", ".pyc", ".so", ".pth", "METADATA", ".lock")


class _Log:
    """Paths that were opened, in a file in memory that forks of this process share: a line of JSON each."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("opened files")
        # The forks share one place in the file, which the kernel does not guard; each write has to find the end itself.
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_APPEND)
        self._seen: set[str] = set()

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
        line = json.dumps([path, writes, None if writes else state_of(path)])
        if line not in self._seen and not path.startswith(_SYSTEM):
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


def found(since: int, except_in: str, known: Collection[str]) -> list[tuple[str, list[int]]]:
    """Files that were read since `watch`, with the `state_of` each when it was first read after a mark.

    Args:
      since: the `mark`; what was read before it, at import say, counts as it was when it was last read.
      except_in: a folder whose files do not count.
      known: files that are known otherwise.
    """
    lines = _LOG.lines() if _LOG else []
    # What is written here too is no input: a cache, a log.
    others = {path for path, writes, _ in lines if writes} | set(known)
    states = {path: state for path, _, state in lines[:since]} | {
        path: state for path, _, state in reversed(lines[since:])
    }
    inside = os.path.join(except_in, "")
    wanted = (path for path, state in states.items() if state and path not in others and not path.startswith(inside))
    return [(path, states[path]) for path in sorted(wanted) if not _OF_A_STORE.search(path)]


def state_of(path: str) -> list[int] | None:
    """`filesystem.times` of a file, None where there is none: what `resolve` compares with."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return filesystem.times(about) if stat.S_ISREG(about.st_mode) else None
