"""Preparing is killed, or meets a full disk, at each of its fault points and at random moments.

Afterwards every store is whole and right or goes on, and the next attempt ends with the bytes of an undisturbed one.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from flan_jax.data.stores import store as stores
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError
from tests.project import wait_for

ROOT = pathlib.Path(__file__).parents[3]
TASKS = """
import json, os, random
import seqio
from flan_jax.tasks import InstructionTask, jsonl, mixture

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = {"long": 40_000, **{f"short_{i}": 400 for i in range(12)}}
for name, size in SIZES.items():
    if not os.path.exists(path := f"{HERE}/{name}.jsonl"):
        with open(path, "w") as file:
            file.writelines(json.dumps({"q": f"{name} {i}", "a": str(i)}) + "\\n" for i in range(size))
    templates = ("Say {q}.", "{q}:")
    InstructionTask(
        name=name, source=jsonl(path), templates=templates, answer="a", vocabulary=seqio.ByteVocabulary()
    ).register()
mixture("many", SIZES)
mixture("many_backwards", sorted(SIZES, reverse=True))
"""


def played(folder, *scenarios):
    """Plays scenarios of `killing.py` in a process of its own; what came of each."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.data.killing", folder, *map(str, scenarios)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3600,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(scenarios) / 3
    return found


def test_after_a_fault_at_any_point_the_bytes_are_those_of_an_undisturbed_run(tmp_path):
    kill, text, full, stale, random_moments, race, other_code = played(
        tmp_path,
        *["kill", "ours", 1],
        *["kill", "tale", 4],
        *["full", "ours", 1],
        *["stale", "ours", 1],
        *["random", "large", 5],
        *["race", "large", 4],
        *["kill", "shout", 9],  # TensorFlow starts anew in every fork
    )
    for found in (kill, text, full, stale, random_moments, race, other_code):
        assert found["faults"] == [], found["what"]
    assert len([name for name in text["files"] if name.endswith(".bin")]) in (2, 3)  # of six chunks
    parts = [name for name in kill["files"] if name.endswith(".bin")]
    assert len(parts) == 4 and len([name for name in kill["files"] if name.endswith(".json")]) == 3
    # Each part and each manifest has at least these points, and so has the resolved answer.
    assert kill["met"] == full["met"] == {"write": 3 * 4 + 3, "fsync": 7, "rename": 7, "folder": 7}
    assert {"rename draw-0.removed-PID", "unlink part-00000.bin"} <= set(stale["points"])
    assert random_moments["kills"] == 5 and random_moments["parts_met"] > 20
    assert race["rounds"] == 4
    assert sum(other_code["met"].values()) == 2
    assert len([name for name in other_code["files"] if name.endswith(".bin")]) == 3


@pytest.mark.soak
def test_a_mixture_with_other_code_at_every_point(tmp_path):
    kill, full, stale, random_moments, race = played(
        tmp_path,
        *["kill", "all", 1],
        *["full", "all", 1],
        *["stale", "all", 1],
        *["random", "large", 200],
        *["race", "large", 50],
    )
    for found in (kill, full, stale, random_moments, race):
        assert found["faults"] == [], found["what"]
    assert sum(kill["met"].values()) > 50


class Preparing:
    """`flan-jax prepare` as real processes."""

    def __init__(self, folder):
        self.folder, self.place = folder, folder / "stores"
        (folder / "many_tasks.py").write_text(TASKS)

    def start(self, mixture="many"):
        argv = ["prepare", "--module", "many_tasks", "--mixture", mixture, "--feature_lengths", "inputs=32,targets=8"]
        argv += ["--steps", "1", "--store_dir", str(self.place)]
        # A session of its own, so that every process it starts can be told from others.
        return subprocess.Popen(
            [sys.executable, "-m", "flan_jax.main", *argv],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out

    def files(self):
        found = self.place.glob("*/*/draw-*/*")
        return {str(path.relative_to(self.place)): path.read_bytes() for path in found}

    def parts(self):
        return len(list(self.place.glob("*/*/draw-*/part-*.bin")))


def below(pid):
    """The processes that a process started, and those that they started."""
    try:
        children = [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return children + [one for child in children for one in below(child)]


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def taken(path):
    lock = stores.Lock(path.with_suffix(""))
    free = lock.take(wait=False)
    lock.release()
    return not free


def killed(preparing, moment):
    """Kills `flan-jax prepare` a moment after it wrote its first part; gives how many processes it had started."""
    before, process = preparing.parts(), preparing.start()
    wait_for(lambda: preparing.parts() > before or process.poll() is not None, process)
    time.sleep(moment)
    started = below(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until = time.monotonic() + 20
    while held := [*filter(alive, started), *filter(taken, preparing.place.rglob("*.lock"))]:
        assert time.monotonic() < until, f"what a killed process started lives on, or holds locks: {held}"
        time.sleep(0.02)
    return len(started)


def sound(preparing, reference):
    """Whether what stands there is part of the reference; unfinished files aside."""
    return {
        name: raw for name, raw in preparing.files().items() if ".partial-" not in name
    }.items() <= reference.items()


def test_a_data_process_that_is_killed_is_told_in_a_sentence():
    with Worker() as one:
        one.start()
        os.kill(one._process.pid, signal.SIGKILL)
        with pytest.raises(UserError, match="the data process was killed .*run the same command again"):
            one.call("list")


@pytest.fixture
def preparing(tmp_path):
    return Preparing(tmp_path)


def test_a_killed_command_leaves_no_process_no_lock_and_nothing_wrong(preparing):
    """And two that are started together share what is left; the second mixture has the tasks in the other order."""
    assert killed(preparing, 0) >= 2  # the data process and its forks
    at_the_kill = preparing.files()
    assert preparing.parts() < 15
    both = [preparing.start("many"), preparing.start("many_backwards")]
    for process in both:
        assert "13 tasks, 44,800 examples" in preparing.finish(process)
    after = preparing.files()
    assert not any(".partial-" in name for name in after)
    shutil.rmtree(preparing.place)
    preparing.finish(preparing.start())
    reference = preparing.files()
    assert after == reference
    assert {name: raw for name, raw in at_the_kill.items() if ".partial-" not in name}.items() <= reference.items()


@pytest.mark.soak
def test_fifty_kills_at_random_moments(preparing):
    preparing.finish(preparing.start())
    reference, moments = preparing.files(), random.Random(0)
    shutil.rmtree(preparing.place)
    for _ in range(50):
        killed(preparing, moments.uniform(0, 0.4))
        assert sound(preparing, reference)
        if preparing.files() == reference:
            shutil.rmtree(preparing.place)
    preparing.finish(preparing.start())
    assert preparing.files() == reference
