"""A sweep trains each of its runs as `train` does, goes on after a kill, and tells what they come to."""

import contextlib
import json
import shlex
import shutil

import pytest

from flan_jax import setup
from flan_jax.training import program
from tests.project import check_refused, rows, wait_for

SHORT = ["--steps", 4, "--eval_mixture", "ours", "--gin.Evaluation.measure='loss'"]
RATES = "--gin.LEARNING_RATE=1e-3,1e-2"
RUNS = ["LEARNING_RATE=0.001", "LEARNING_RATE=0.01"]


def sweep(project, folder, *argv):
    return project("sweep", "--gin_file", "run.gin", "--run_dir", folder, *SHORT, *argv)


@pytest.fixture(scope="module")
def swept(project, worker, tmp_path_factory):
    """The folder of a sweep of two learning rates, what it said, and the steps that were jitted for it."""
    folder, jitted = tmp_path_factory.mktemp("sweeps") / "rates", []
    program._shared_program.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "worker_of", lambda config, *_: contextlib.nullcontext(worker))
        patch.setattr(
            program,
            "jit_step",
            lambda *args, jit=program.jit_step, **how: jitted.append(jit(*args, **how)) or jitted[-1],
        )
        done = sweep(project, folder, RATES)
    assert done.code == 0, done.err
    return folder, done, jitted


def test_runs_of_other_learning_rates_share_one_compiled_step_and_its_figures_are_those_of_a_run_alone(
    project, warm, swept, tmp_path
):
    folder, _, jitted = swept
    assert [step._cache_size() for step in jitted] == [1]
    program._shared_program.cache_clear()
    project.train(tmp_path / "alone", *SHORT, "--learning_rate", 1e-2)
    assert rows(folder / RUNS[1]) == rows(tmp_path / "alone")
    assert rows(folder / RUNS[0]) != rows(tmp_path / "alone")


def test_the_table_tells_what_each_run_keeps(swept):
    folder, done, _ = swept
    assert [line for line in done.out.splitlines() if line.startswith("run ")] == [
        "run 1 of 2: LEARNING_RATE=0.001",
        "run 2 of 2: LEARNING_RATE=0.01",
    ]
    kept = json.loads((folder / "sweep.json").read_text())
    losses = [
        json.loads((folder / name / "results.json").read_text())["groups"]["seen templates: loss"] for name in RUNS
    ]
    cells = kept["figures"]["seen templates: loss"]["cells"]
    assert [cell["mean"] for cell in cells] == [group["after"] for group in losses]
    assert cells[1]["difference"] == pytest.approx(losses[1]["after"] - losses[0]["after"])
    table = done.out[done.out.index("\nseen templates: loss") :].splitlines()
    assert table[2].split() == ["after", "0.001", "1", *[f"{losses[0]['after']:.4f}"] * 3, "-"]


def test_what_is_finished_is_not_trained_again_and_what_is_not_goes_on(project, warm, swept, tmp_path):
    folder = shutil.copytree(swept[0], tmp_path / "rates")
    said = project("sweep", "--gin_file", "run.gin", "--run_dir", swept[0], *SHORT, RATES)
    assert said.code == 0 and "2 of 2 runs are finished already" in said.out and "run 1 of 2" not in said.out
    # In another folder the same settings are another run's; longer runs go on from what is there.
    longer = project("sweep", "--gin_file", "run.gin", "--run_dir", folder, *SHORT, "--steps", 6, RATES)
    assert longer.code == 0, longer.err
    assert longer.out.count("going on from step 4 of 6") == 2
    assert [row["step"] for row in rows(folder / RUNS[0])] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_fails_is_told_and_the_others_are_trained(project, warm, tmp_path):
    folder = tmp_path / "rates"
    project.train(folder / RUNS[0], *SHORT, "--batch_size", 4)
    done = sweep(project, folder, RATES)
    assert done.code == 2
    assert "run 1 of 2: " in done.out and "was trained by another plan: BATCH_SIZE was 4, is 8" in done.out
    assert "1 run ended by a fault: LEARNING_RATE=0.001" in done.out
    kept = json.loads((folder / "sweep.json").read_text())["runs"]
    assert [run["finished"] for run in kept] == [False, True] and "BATCH_SIZE was 4" in kept[0]["fault"]


def test_launch_commands_train_the_runs_and_the_report_tells_them(project, warm, tmp_path):
    folder = tmp_path / "rates"
    refused = sweep(project, folder, RATES, "--report")
    check_refused(refused, "no run of the sweep in", "is finished")
    done = sweep(project, folder, RATES, "--write", tmp_path / "runs.txt")
    assert done.code == 0 and "2 commands" in done.out and not folder.exists()
    commands = [shlex.split(line) for line in (tmp_path / "runs.txt").read_text().splitlines()]
    assert project(*commands[1][1:]).code == 0
    report = sweep(project, folder, RATES, "--report", "--show", "parity")
    assert (
        report.code == 0 and "0 of 1 runs with LEARNING_RATE=0.001; 1 of 1 runs with LEARNING_RATE=0.01" in report.out
    )
    assert "parity (loss)" in report.out and "run 1 of 2" not in report.out


@pytest.mark.slow
def test_after_a_kill_the_same_command_goes_on(project, swept, tmp_path):
    folder = tmp_path / "rates"
    argv = ["sweep", "--gin_file", "run.gin", "--run_dir", folder, *SHORT, "--save_period", 1, RATES]
    process = project.start(*argv)
    wait_for((folder / RUNS[1] / "checkpoints/1/checksums.json").exists, process)
    process.kill()
    process.communicate()
    done = project(*argv)
    assert done.code == 0 and "1 of 2 runs are finished already" in done.out, done.err
    assert "run 1 of 2" not in done.out and "run 2 of 2" in done.out
    for name in RUNS:
        assert rows(folder / name) == rows(swept[0] / name)
