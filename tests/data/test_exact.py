"""The global batch of a step is the same bits for any number of hosts and threads, and after any kill.

Hosts are real processes here, which share nothing but the stores and the folder of the run.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from flan_jax.data.planning.plan import Plan, PlannedTask, shares_of
from flan_jax.data.rows import RowShape
from tests.data import one_host
from tests.data.written import Written, write_store

BATCH, STEPS = 8, 150
COUNTS = [150, 40, 7, 1, 90]
SHAPES = {"encoder_decoder": RowShape("encoder_decoder", 48, 16), "decoder": RowShape("decoder", 48, 16)}


@pytest.fixture(scope="module", params=list(SHAPES))
def run(tmp_path_factory, request):
    """A folder with five tasks in three draws each, of several parts, and a plan of many windows."""
    folder, shape, draw_lengths = tmp_path_factory.mktemp("run"), SHAPES[request.param], np.random.default_rng(3)
    for task, count in enumerate(COUNTS):
        for draw in range(3):
            examples = [
                Written(
                    f"{task}:{i}",
                    draw_lengths.integers(2, 400, draw_lengths.integers(0, 30)),
                    draw_lengths.integers(2, 400, draw_lengths.integers(1, 12)),
                )
                for i in range(count)
            ]
            write_store(folder / f"t{task}" / f"draw-{draw}", examples, vocab_size=400, rows=64)
    shares = shares_of([150, 40, 20, 5, 60])
    tasks = [PlannedTask(f"t{t}", n, s, "", 3) for t, (n, s) in enumerate(zip(COUNTS, shares, strict=True))]
    plan = Plan(tasks, shape.capacities, seed=11, largest_window=64)
    folders = [str(folder / f"t{task}") for task in range(len(COUNTS))]
    kept = {"plan": plan.describe(), "folders": folders, "batch_size": BATCH}
    kept["shape"] = [shape.architecture, shape.inputs, shape.targets]
    (folder / "run.json").write_text(json.dumps(kept))
    return folder


@pytest.fixture(scope="module")
def expected(run):
    """Digests of every row of every step, from one loader in this process, step by step."""
    loader = one_host.loader_of(run)
    steps = [one_host.digests(loader.batch(step)) for step in range(STEPS)]
    assert len({row for step in steps for row in step}) > STEPS * BATCH * 0.9  # rows differ: a match says something
    return steps


def start(run, rows, threads, first, last=STEPS):
    command = [sys.executable, "-m", "tests.data.one_host", run, rows.start, rows.stop, threads, first, last]
    environment = {**os.environ, "PYTHONHASHSEED": str(rows.start + threads)}
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True, env=environment)


def whole_lines(process):
    with process:
        lines = process.stdout.read().splitlines()
    return [json.loads(line) for line in lines if line.endswith("]]")]  # a kill may cut the last one


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_hosts_and_threads_change_nothing(run, expected, hosts, threads):
    parts = [range(h * BATCH // hosts, (h + 1) * BATCH // hosts) for h in range(hosts)]
    processes = [start(run, rows, threads, 0) for rows in parts]
    for rows, process in zip(parts, processes, strict=True):
        assert whole_lines(process) == [[step, expected[step][rows.start : rows.stop]] for step in range(STEPS)]


@pytest.mark.parametrize("index_is_lost", [pytest.param(False, marks=pytest.mark.slow), True])
def test_killed_and_gone_on_with_other_hosts(run, expected, index_is_lost):
    """One host is killed at a random step, two go on from there, are killed, and four finish."""
    at, choose = 0, random.Random()
    for hosts in (1, 2, 4):
        parts = [range(h * BATCH // hosts, (h + 1) * BATCH // hosts) for h in range(hosts)]
        processes = [start(run, rows, choose.choice([1, 2, 5]), at) for rows in parts]
        reached = at
        if hosts < 4:
            for _ in range(choose.randrange(1, 30)):
                reached = json.loads(processes[0].stdout.readline())[0]
            for process in processes:
                process.send_signal(signal.SIGKILL)
        for rows, process in zip(parts, processes, strict=True):
            for step, found in whole_lines(process):
                assert found == expected[step][rows.start : rows.stop], f"step {step} on {hosts} hosts from {at}"
                reached = max(reached, step) if hosts == 4 else reached
        at = reached + 1
        if index_is_lost:
            (run / "rows.index").unlink(missing_ok=True)
    assert at == STEPS


def test_golden(run, expected):
    """The same on every machine. Made by this test on Linux x86-64 with NumPy 2.4 and Numba 0.65, printing `found`."""
    found = hashlib.sha256(json.dumps(expected).encode()).hexdigest()[:16]
    shape = json.loads((run / "run.json").read_text())["shape"][0]
    assert found == {"encoder_decoder": "76144d5a5734b047", "decoder": "b7da49c63c627acd"}[shape]
