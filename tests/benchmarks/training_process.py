"""A side that stays alive and works on command, so that all sides are timed in turn in one run; both ends are here.

parent  Side("bare", "training_side.py", {...})    child  serve(make): builds, tells "built"
        side.step()  ── "step" on its stdin               does one step, waits for its result, tells the seconds
        side.end()   ── its stdin closes                  tells what memory it took, and ends
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import engine_process
from engine_process import HERE

_MARK = "@measured "


class LostError(Exception):
    """A side that ended, or did not answer in time; the message says what it printed last."""


class Side:
    """A child process that works on command.

    Attributes:
      at: seconds from the start of the process to each thing told, by its name, the first time it was told.
      told: the facts told last with it.
      first: for the caller to keep when the first step had ended.
    """

    def __init__(self, name: str, command: list[str], python: str | None = None, env: Mapping[str, str] | None = None):
        self.name, self.first = name, 0.0
        self.at: dict[str, float] = {}
        self.told: dict[str, dict[str, Any]] = {}
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
        quiet |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "WANDB_DISABLED": "true"}
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            [python or sys.executable, str(HERE / command[0]), *command[1:]],
            env={**os.environ, **quiet, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(_MARK):
                facts = json.loads(line[len(_MARK) :])
                name = facts.pop("name")
                self.at.setdefault(name, time.perf_counter() - self._started)
                self.told[name] = facts
                self._queue.put(name)
            else:
                self._lines = [*self._lines[-20:], line]
        self._queue.put(None)

    def wait(self, name: str, timeout: float) -> dict[str, Any]:
        """The facts told with a name, once they are."""
        end = time.monotonic() + timeout
        while True:
            try:
                heard = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                self.kill()
                raise LostError(f"no answer within {timeout:.0f} s") from None
            if heard is None:
                raise LostError(self._last_words())
            if heard == name:
                return self.told[name]

    def _last_words(self) -> str:
        words = [line.strip() for line in self._lines if line.strip() and not line.startswith(" ")]
        return (words[-1] if words else "ended without a word")[-300:]

    def ask(self, word: str, timeout: float = 300) -> dict[str, Any]:
        """Has one thing done and waits for the facts told with that word."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except OSError:
            raise LostError(self._last_words()) from None
        return self.wait(word, timeout)

    def step(self, timeout: float = 300) -> float:
        """Seconds of one step."""
        return self.ask("step", timeout)["seconds"]

    def end(self) -> dict[str, Any]:
        """Lets it end; what it took (`engine_process.usage`)."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            usage = self.wait("usage", 60)
        except (OSError, LostError):
            usage = {}
        self.kill()
        return usage

    def kill(self) -> None:
        """Ends it at once, if it lives."""
        self._process.kill()
        self._process.wait()


def serve(actions: Mapping[str, Callable[[], Any]]) -> None:
    """A child's life after building: does what it is asked, tells the seconds, and the facts that the action gives."""
    for line in sys.stdin:
        word = line.strip()
        start, spent = time.perf_counter(), engine_process.cpu_seconds()
        facts = actions[word]()
        seconds, spent = time.perf_counter() - start, engine_process.cpu_seconds() - spent
        engine_process.tell(word, **{"seconds": seconds, "cpu_s": spent} | (facts if isinstance(facts, dict) else {}))
    engine_process.tell("usage", **engine_process.usage())
