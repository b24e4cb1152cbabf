"""One process trains in a run's folder at a time.

The lock is the kernel's (`flock`) on a file in the folder, which says who holds it: it ends with its process, however
that ends. Between machines it holds where the file system passes locks on (NFS with its lock service, Lustre, GPFS
mounted with flock); a bucket mounted as a folder keeps it within one machine at most. There a second machine is told
when the last run did not end by itself, but not kept out.
"""

import datetime
import fcntl
import json
import os
import pathlib
import socket
from typing import IO, Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from flan_jax.errors import UserError

LOCK_FILE = "run.lock"


class RunLock:
    """Held while entered, by the first process of a run for all of them.

    Args:
      folder: the run's.

    Attributes:
      notice: what the user should know though the folder is locked, or nothing.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder, self.notice = folder, ""
        self._file: IO[str] | None = None

    def __enter__(self) -> "RunLock":
        """Takes the lock, in all processes of a run or in none.

        Raises:
          UserError: another process trains in the folder.
        """
        refusal = self._take() if jax.process_index() == 0 else ""
        if jax.process_count() > 1 and multihost_utils.broadcast_one_to_all(np.int32(bool(refusal))):
            refusal = refusal or f"{self.folder} is being trained in by another run; the first process says which"
        if refusal:
            raise UserError(refusal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.truncate(0)  # ended by itself
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()
            self._file = None

    def _take(self) -> str:
        """Takes the lock; or says why it cannot."""
        path = self.folder / LOCK_FILE
        try:
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            return f"RUN_DIR {self.folder} cannot be written: {error.strerror}; set --run_dir elsewhere"
        before = _read(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return (
                f"{self.folder} is being trained in by {_told(before)}: wait until it ends, stop it, or take another "
                "--run_dir"
            )
        except OSError as error:
            file.close()
            self.notice = (
                f"{path} cannot be locked on this file system ({error.strerror}): see to it that no other process "
                "trains in this folder"
            )
            return ""
        if before and before.get("host") != socket.gethostname():
            self.notice = f"the last run here, by {_told(before)}, did not end by itself; see that it is not alive"
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": _now()}
        file.truncate(0)
        file.write(json.dumps(mine) + "\n")
        file.flush()
        self._file = file
        return ""


def _read(file: IO[str]) -> dict[str, Any]:
    """What the file says of who holds it; nothing where it is empty or being written."""
    file.seek(0)
    try:
        found = json.loads(file.read())
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _told(holder: dict[str, Any]) -> str:
    if not {"host", "pid", "since"} <= set(holder):
        return "another process"
    return f"process {holder['pid']} on {holder['host']} since {holder['since']}"


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(" ", "seconds")
