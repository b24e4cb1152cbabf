"""The same run on one device, on eight, and on two processes: the same batches, the same losses to rounding."""

import socket

import pytest

from tests.project import losses, plan_of, rows

STEPS = ["--steps", 12, "--log_period", 7]
EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}

# Counts the devices, and looks for what the training process must not hold, after a warm run.
WITNESS = """
import sys
from flan_jax.main import main
code = main(sys.argv[1:])
import jax
print("witness", jax.device_count(), sorted({"tensorflow", "seqio", "gin"} & set(sys.modules)))
sys.exit(code)
"""


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def same_run(found, trained):
    ours, theirs = rows(found), rows(trained)[:12]
    assert plan_of(found)["plan"] == plan_of(trained)["plan"]
    assert [row["weight_sum"] for row in ours] == [row["weight_sum"] for row in theirs]
    assert losses(found) == pytest.approx(losses(trained)[:12], rel=1e-5)
    assert [row["grad_norm"] for row in ours] == pytest.approx([row["grad_norm"] for row in theirs], rel=1e-4)
    for name, task in theirs[6]["by_task"].items():
        assert ours[6]["by_task"][name]["weight_sum"] == task["weight_sum"]
        assert ours[6]["by_task"][name]["loss_sum"] == pytest.approx(task["loss_sum"], rel=1e-5)


def test_eight_devices_give_the_losses_of_one(project, trained, tmp_path):
    argv = ["train", "--gin_file", "run.gin", "--run_dir", tmp_path / "run", *STEPS]
    process = project.start(*argv, "--mesh", "data=2,fsdp=2,tensor=2", env=EIGHT, program=("-c", WITNESS))
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    # A warm run asks the data process nothing, and never holds TensorFlow or seqio itself.
    assert "witness 8 ['gin']" in out
    same_run(tmp_path / "run", trained)


def test_two_processes_give_the_losses_of_one(project, trained, tmp_path):
    there = {"FLAN_JAX_COORDINATOR": f"127.0.0.1:{free_port()}", "FLAN_JAX_PROCESSES": "2"}
    argv = ["train", "--gin_file", "run.gin", "--run_dir", tmp_path / "run", "--mesh", "data=2", *STEPS]
    both = [project.start(*argv, env={**there, "FLAN_JAX_PROCESS": str(number)}) for number in (0, 1)]
    told = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert "Plan of 'ours'" in told[0][0] and "Plan of" not in told[1][0]
    same_run(tmp_path / "run", trained)
