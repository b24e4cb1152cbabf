"""A second run over the same stores starts no data process, so neither seqio nor TensorFlow is imported anywhere."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

# Runs a command as the user's does, and says what it had in memory at the end and which processes it started.
COMMAND = """
import json, subprocess, sys
started, start = [], subprocess.Popen.__init__
def told(self, args, *rest, **named):
    started.append(args)
    start(self, args, *rest, **named)
subprocess.Popen.__init__ = told
from flan_jax import main
code = main.main(sys.argv[1:])
heavy = sorted({"tensorflow", "seqio", "tensorflow_datasets", "flan_jax.tasks"} & set(sys.modules))
workers = sum("flan_jax.data.preparing.child" in map(str, arguments) for arguments in started)
print(json.dumps({"code": code, "heavy": heavy, "workers": workers}))
"""


def command(project, *argv):
    """What `COMMAND` says of a command, and what the command printed."""
    words = [*map(str, argv), "--store_dir", str(project.stores)]
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], cwd=project.folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *printed, said = done.stdout.splitlines()
    return json.loads(said), "\n".join(printed)


@pytest.fixture
def fresh(project, tmp_path):
    """The user's project with stores of its own, so that the first run has to prepare."""
    return dataclasses.replace(project, stores=tmp_path / "stores")


def test_a_warm_run_starts_no_data_process_and_imports_no_seqio(fresh, tmp_path):
    cold, _ = command(fresh, "train", "--gin_file", "run.gin", "--run_dir", tmp_path / "cold", "--steps", 2)
    assert cold == {"code": 0, "heavy": [], "workers": 1}  # so the child is counted when there is one

    how = ["--gin_file", "run.gin", "--steps", 2]
    warm, printed = command(fresh, "train", *how, "--run_dir", tmp_path / "warm")
    assert warm == {"code": 0, "heavy": [], "workers": 0}
    assert "Plan of 'ours'" in printed

    planned, _ = command(fresh, "plan", *how, "--run_dir", tmp_path / "warm")
    assert planned == {"code": 0, "heavy": [], "workers": 0}
    shown, printed = command(fresh, "inspect", "--run_dir", tmp_path / "warm", "--step", 1)
    assert shown == {"code": 0, "heavy": [], "workers": 0}
    assert "step 1:" in printed

    losses = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("cold", "warm")]
    pairs = zip(*([json.loads(line)["loss"] for line in lines] for lines in losses), strict=True)
    assert all(one == other for one, other in pairs) and len(losses[0]) == 2


@pytest.mark.slow
def test_a_changed_task_module_starts_it_again(fresh, tmp_path):
    module = fresh.folder / "warm_tasks.py"
    module.write_text('import user_tasks\nuser_tasks.mixture("warm", ["capitals", "parity"])\n')
    how = ["plan", "--gin_file", "run.gin", "--module", "warm_tasks", "--mixture", "warm", "--steps", 2, "--json"]
    first, _ = command(fresh, *how)
    again, _ = command(fresh, *how)
    assert (first["workers"], again["workers"]) == (1, 0)
    module.write_text('import user_tasks\nuser_tasks.mixture("warm", [("capitals", 1.0), ("parity", 3.0)])\n')
    changed, printed = command(fresh, *how)
    assert changed["workers"] == 1
    rates = {row["task"]: row["rate"] for row in json.loads(printed)["tasks"]}
    assert rates["parity"] == pytest.approx(0.75)
