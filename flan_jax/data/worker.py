"""The parent's handle on the child process that holds seqio and TensorFlow.

The training process imports neither (6 to 9 s and 0.8 GB); it asks this child, a line of JSON each way:

    parent → {"op": "resolve", "arguments": {...}}
    child  → {"progress": {...}} any number of times, then {"result": ...}, {"error": "a sentence"} or {"crash": "..."}

The child (`flan_jax.data.preparing.child`) starts at the first call, imports the built-in mixtures and the user's
modules, and lives until `close`.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from flan_jax import child_process
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.errors import UserError
from flan_jax.files import filesystem


class Worker:
    """A child process with seqio in it.

    Args:
      setup: what it registers, and how it prepares; by default what comes with flan_jax alone.
      on_progress: called with each progress report {"what", "done", "total", "unit"}.
    """

    def __init__(self, setup: WorkerSetup | None = None, on_progress: Callable[[dict], None] | None = None):
        setup = setup or WorkerSetup()
        files = tuple(filesystem.absolute(path) for path in setup.data_files)
        self.setup = dataclasses.replace(setup, data_files=files)
        self._on_progress = on_progress
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Starts the child without waiting for it; `call` does so by itself."""
        if self._process is not None:
            return
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the child)
        self._process = subprocess.Popen(
            child_process.command("flan_jax.data.preparing.child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"},
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        self._send(dataclasses.asdict(self.setup))

    def call(self, op: str, **arguments: Any) -> Any:
        """Asks the child for one operation and waits for its answer.

        Args:
          op: one of `preparing.child.OPERATIONS`.
          **arguments: what the function takes that answers it, fit for JSON; "request" may be a `Request`.

        Raises:
          UserError: the child says what the user can mend, or was killed.
          RuntimeError: the child failed in another way; its last output is in the message.
        """
        with self._lock:
            self.start()
            if isinstance(request := arguments.get("request"), Request):
                arguments["request"] = dataclasses.asdict(request.sent())
            self._send({"op": op, "arguments": arguments})
            assert self._process is not None and self._process.stdout is not None
            for line in self._process.stdout:
                message = json.loads(line)
                if "progress" in message:
                    if self._on_progress:
                        self._on_progress(message["progress"])
                elif "error" in message:
                    raise UserError(message["error"])
                elif "crash" in message:
                    raise RuntimeError(f"the data process failed in {op!r}:\n{message['crash']}")
                else:
                    return message["result"]
            raise self._ended(f"during {op!r}")

    def close(self) -> None:
        """Ends the child."""
        if self._process is not None:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(BrokenPipeError):  # what it was never told, as it was dead already
                self._process.stdin.close()
            self._process.stdout.close()
            self._process = None
            self._log.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, message: Any) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended("early") from None

    def _ended(self, when: str) -> Exception:
        """What to raise where the child is no more."""
        if self._process is not None and self._process.wait() == -signal.SIGKILL:
            return UserError(
                f"the data process was killed {when}, perhaps for want of memory; run the same command again: it goes "
                f"on from what is done"
            )
        return RuntimeError(f"the data process ended {when}:\n{self._tail()}")

    def _tail(self) -> str:
        self._log.seek(0)
        return "".join(self._log.readlines()[-30:])
