"""`launch/local_processes.sh` with a stand-in for `flan-jax` that does as it is told; no Python process is started."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "launch" / "local_processes.sh"
STAND_IN = """#!/usr/bin/env bash
echo "process $FLAN_JAX_PROCESS of $FLAN_JAX_PROCESSES got $2"
does=DOES_$FLAN_JAX_PROCESS
eval "${!does}"
"""
FOR_EVER = "exec sleep 60"


@pytest.fixture
def start(tmp_path):
    """Starts the script; process i does the i-th of the given lines of bash."""
    (tmp_path / "flan-jax").write_text(STAND_IN)
    (tmp_path / "flan-jax").chmod(0o755)
    started = []

    def go(*does):
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        env = {**os.environ, **path, **{f"DOES_{i}": one for i, one in enumerate(does)}}
        command = ["bash", str(SCRIPT), str(len(does)), "train", "--gin_file=a b.gin"]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, env=env, cwd=tmp_path, text=True, stdout=pipe, stderr=pipe))
        return started[-1]

    yield go
    for process in started:
        process.kill()


def test_all_processes_get_the_arguments_and_their_number(start, tmp_path):
    script = start("true", "true", "true")
    out, err = script.communicate(timeout=30)
    assert (script.returncode, out, err) == (0, "process 0 of 3 got --gin_file=a b.gin\n", "")
    assert (tmp_path / "process-2.log").read_text() == "process 2 of 3 got --gin_file=a b.gin\n"


@pytest.mark.parametrize(
    ("does", "code", "words"),
    [
        (("true", "exit 3"), 3, "process 1 of 2 ended with code 3, see process-1.log"),
        ((FOR_EVER, FOR_EVER, "exit 2"), 2, "process 2 of 3 ended with code 2, see process-2.log"),
        (("exit 5", FOR_EVER), 5, "process 0 of 2 ended with code 5; the others are ended"),
        ((FOR_EVER, "kill -KILL $$"), 137, "process 1 of 2 ended with code 137"),
    ],
)
def test_it_fails_with_any_process_and_names_it(start, does, code, words):
    script = start(*does)
    _, err = script.communicate(timeout=30)
    assert script.returncode == code and words in err


def test_a_signal_reaches_every_process(start, tmp_path):
    wait = "trap 'echo stopped >> stopped.txt; exit 0' TERM; touch ready-$FLAN_JAX_PROCESS; while :; do sleep 0.1; done"
    script = start(wait, wait)
    deadline = time.monotonic() + 30
    while len(list(tmp_path.glob("ready-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    script.send_signal(signal.SIGTERM)
    script.communicate(timeout=30)
    assert (tmp_path / "stopped.txt").read_text() == "stopped\n" * 2
