"""A run that is killed, stopped or lengthened gives the figures of one that was left alone, bit for bit."""

import contextlib
import dataclasses
import shutil
import signal

import pytest

from flan_jax import setup
from flan_jax.data.request import WorkerSetup
from flan_jax.data.worker import Worker
from tests.project import check_refused, plan_of, rows, wait_for

# A checkpoint at each second step keeps the process busy long enough to be met midway.
OFTEN = ["--save_period", 2]


def committed(run_dir, step):
    return lambda: (run_dir / f"checkpoints/{step}/checksums.json").exists()


@pytest.fixture
def begun(project, tmp_path):
    """A process that trains the run of `trained` anew, past its eighth step."""
    run_dir = tmp_path / "run"
    argv = ["train", "--gin_file", "run.gin", "--run_dir", run_dir, *OFTEN]
    process = project.start(*argv)
    wait_for(committed(run_dir, 8), process)
    yield process, run_dir
    process.kill()
    process.communicate()


def test_after_a_kill_the_same_command_gives_the_same_figures(project, trained, begun):
    process, run_dir = begun
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 25, "lo')  # what a kill within a write leaves
    done = project.train(run_dir, *OFTEN)
    assert "going on from step" in done.out
    assert [row["step"] for row in rows(run_dir)] == list(range(1, 31))
    assert rows(run_dir) == rows(trained)


@pytest.mark.parametrize(("asked", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_save_say_so_and_lose_nothing(project, trained, begun, asked, code):
    process, run_dir = begun
    process.send_signal(asked)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code and "Traceback" not in err, err
    stopped = next(line for line in out.splitlines() if line.startswith("stopped and saved at step"))
    at = int(stopped.split(" of ")[0].split()[-1])
    assert 8 <= at < 30 and committed(run_dir, at)()
    assert [row["step"] for row in rows(run_dir)] == list(range(1, at + 1))
    done = project.train(run_dir, *OFTEN)
    assert f"going on from step {at} of 30" in done.out
    assert rows(run_dir) == rows(trained)


@pytest.fixture
def half(project, tmp_path):
    """A run that has done 10 steps."""
    project.train(tmp_path / "half", "--steps", 10)
    return tmp_path / "half"


def test_half_a_run_and_the_rest_of_it_are_one_run(project, trained, half):
    for index in half.glob("rows-*.index"):
        index.unlink()  # the checkpoint knows where it was
    project.train(half)
    ours, theirs = rows(half), rows(trained)
    assert [row["loss"] for row in ours] == [row["loss"] for row in theirs]


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--seed", 5], "seed was 0, is 5"),
        (["--mixture", "capitals"], "task 'parity' is gone"),
        (["--gin.Data.pack=False"], "packed was True, is False"),
        (["--batch_size", 4], "BATCH_SIZE was 8, is 4"),
    ],
)
def test_another_plan_is_refused_and_nothing_is_lost(project, half, change, told):
    before = {path: path.read_bytes() for path in half.rglob("*") if path.is_file()}
    done = project("train", "--gin_file", "run.gin", "--run_dir", half, *change)
    check_refused(done, told, "Data.on_changed_plan")
    kept = {path: path.read_bytes() for path in half.rglob("*") if path.is_file() and path in before}
    assert kept == before


def test_a_changed_cap_is_refused_or_gone_on_with(project, half, tmp_path, monkeypatch):
    # The same modules in another folder, declaring another cap; the stores are shared with the first one.
    changed = dataclasses.replace(project, folder=tmp_path / "edited")
    shutil.copytree(project.folder, changed.folder, ignore=shutil.ignore_patterns("__pycache__"))
    tasks = changed.folder / "user_tasks.py"
    tasks.write_text(tasks.read_text().replace("cap=15", "cap=5"))
    with Worker(WorkerSetup(("user_tasks", "more_tasks"), (str(changed.folder),))) as other:
        monkeypatch.setattr(setup, "worker_of", lambda config, *_: contextlib.nullcontext(other))
        argv = ["train", "--gin_file", "run.gin", "--run_dir", half]
        check_refused(changed(*argv), "task 'capitals'", "of the mixture")
        done = changed(*argv, "--gin.Data.on_changed_plan='continue'")
    assert done.code == 0, done.err
    assert "the plan differs from the one before: task 'capitals' had 27.2727% of the mixture, has 11.1111%" in done.out
    assert [row["step"] for row in rows(half)] == list(range(1, 31))
    shares = {task["name"]: task["share"] / 2**40 for task in plan_of(half)["plan"]["tasks"]}
    assert shares == pytest.approx({"capitals": 5 / 45, "parity": 40 / 45})
