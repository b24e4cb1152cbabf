"""Runs one measurement in a process of its own, and tells what it took; both ends of that are here.

    parent  run("engine_ours.py", "first_batch", {...})         child  answer({"first_batch": function})
            Popen ── the clock starts                                  tell("first_batch", tokens=...)
            a line arrives ── the clock is read                        ends; its memory and CPU time are told last

So a start-up time counts from the start of the process, imports and all, by the clock of the process that waits.
"""

import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

HERE = pathlib.Path(__file__).parent
_MARK = "@measured "


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a child told.

    Attributes:
      seconds: from the start of the process to its end.
      at: seconds from the start of the process to each thing told, by its name.
      told: the facts told with it.
      usage: `usage()` of the child at its end; empty where it did not get there.
      cpu_s: CPU time of the child and of its descendants.
      tree_mb: the most memory that they held together at one time, shared pages counted once (PSS).
      largest_mb: the most resident memory of a single one of them.
      timed_out: whether it was ended for taking too long.
      output: the last of what it printed beside.
    """

    seconds: float
    at: Mapping[str, float]
    told: Mapping[str, dict[str, Any]]
    usage: Mapping[str, Any]
    cpu_s: float
    tree_mb: float
    largest_mb: float
    timed_out: bool = False
    output: str = ""


def run(
    command: list[str],
    env: Mapping[str, str] | None = None,
    timeout: float = 3600,
    peers: str | None = None,
    may_fail: bool = False,
) -> Measured:
    """Runs a program of this folder, or any command, and waits for it.

    Args:
      command: a script of this folder and its arguments, or ["-m", module, ...] for any other Python program.
      env: variables over this process's.
      timeout: seconds until it is ended.
      peers: the Python to run it with; None: this one.
      may_fail: whether a failure is an answer (`usage` is empty then) or the end of the benchmark.
    """
    program = command if command[0] == "-m" else [str(HERE / command[0]), *command[1:]]
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    started = time.perf_counter()
    process = subprocess.Popen(
        [peers or sys.executable, *program],
        env={**os.environ, **quiet, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    tree = _Tree(process.pid)
    late: list[bool] = []
    timer = threading.Timer(timeout, lambda: (late.append(True), _end(process.pid)))
    timer.start()
    at, told, lines = {}, {}, []
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(_MARK):
            facts = json.loads(line[len(_MARK) :])
            name = facts.pop("name")
            at[name], told[name] = time.perf_counter() - started, facts
        else:
            lines = [*lines[-40:], line]
    _, status, spent = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    timer.cancel()
    if code and not late and not may_fail:
        raise RuntimeError(f"{' '.join(command)[:200]} failed with {code}:\n{''.join(lines)}")
    tree.stop()
    return Measured(
        seconds,
        at,
        told,
        told.pop("usage", {}),
        max(spent.ru_utime + spent.ru_stime, sum(tree.cpu_s.values())),  # the first leaves out who was not waited for
        tree.together_mb,
        max(tree.largest_mb, spent.ru_maxrss / 1024),
        bool(late),
        "".join(lines),
    )


def say(text: str) -> None:
    """Shows what is being done; stdout is the table's."""
    print(f"… {text}", file=sys.stderr, flush=True)


def tell(name: str, **facts: Any) -> None:
    """Says something to the parent, which notes the time; a child calls it."""
    print(_MARK + json.dumps({"name": name, **facts}), flush=True)


def usage() -> dict[str, Any]:
    """What this process took up to now; memory in MB (2^20 bytes), `children_mb` being the largest child's."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "rss_mb": own.ru_maxrss / 1024,
        "children_mb": children.ru_maxrss / 1024,
        "cpu_s": own.ru_utime + own.ru_stime,
        "children_cpu_s": children.ru_utime + children.ru_stime,
        "tensorflow": "tensorflow" in sys.modules,
        "seqio": "seqio" in sys.modules,
    }


def cpu_seconds() -> float:
    """CPU time of this process and its threads."""
    times = os.times()
    return times.user + times.system


def answer(actions: Mapping[str, Callable[..., None]]) -> None:
    """The main program of a child: `script.py ACTION '{"argument": value}'`."""
    actions[sys.argv[1]](**json.loads(sys.argv[2]))
    tell("usage", **usage())


class _Tree:
    """Watches the memory and CPU time of a process and its descendants."""

    def __init__(self, pid: int, period: float = 0.25):
        self._pid, self._period = pid, period
        self.together_mb = self.largest_mb = 0.0
        self.cpu_s: dict[int, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(self._period):
            family = _family(self._pid)
            self.together_mb = max(self.together_mb, sum(_mb(pid, "smaps_rollup", "Pss:") for pid in family))
            self.cpu_s |= {pid: spent for pid in family if (spent := _cpu_s(pid))}
            self.largest_mb = max([self.largest_mb, *(_mb(pid, "status", "VmHWM:") for pid in family)])

    def stop(self) -> None:
        self._done.set()
        self._thread.join()


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            tasks = list(pathlib.Path(f"/proc/{parent}/task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue  # it has just ended
    return found


def _cpu_s(pid: int) -> float:
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _mb(pid: int, file: str, name: str) -> float:
    try:
        lines = pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def _end(pid: int) -> None:
    for member in reversed(_family(pid)):
        try:
            os.kill(member, 9)
        except OSError:
            continue
