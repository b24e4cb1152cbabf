"""Losses and parameters that are not finite: what is skipped, what stays, what is told."""

import dataclasses
import functools
import json
import shutil

import jax
import numpy as np
import pytest

from flan_jax.training.checkpoints import Checkpoints
from tests.project import Project, check_refused, rows

# Bytes are their number and 3. All of "Town 17", "Town 7", ... begin with a T; one ends in 17.
LOSSES = """
import jax.numpy as jnp

from flan_jax.training.loss import cross_entropy


def one_row(logits, targets):
    seventeen = (targets == ord("7") + 3) & (jnp.roll(targets, 1, axis=1) == ord("1") + 3)
    return jnp.where(seventeen, jnp.nan, cross_entropy(logits, targets))


def all_capitals(logits, targets):
    return jnp.where(targets == ord("T") + 3, jnp.inf, cross_entropy(logits, targets))
"""
POISONED = {
    "one_row.gin": 'include "run.gin"\nimport losses\nLoss.function = @losses.one_row\n',
    "all_capitals.gin": 'include "run.gin"\nimport losses\nLoss.function = @losses.all_capitals\n',
}


@pytest.fixture(scope="module")
def poisoned(project, tmp_path_factory) -> Project:
    """The project in a folder of its own, with losses that are not finite."""
    folder = tmp_path_factory.mktemp("losses") / "project"
    shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "losses.py").write_text(LOSSES)
    for name, text in POISONED.items():
        (folder / name).write_text(text)
    return dataclasses.replace(project, folder=folder)


def strict(path):
    """The rows of a JSON lines file, or the value of a JSON file, if it is JSON as others read it."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    text = path.read_text()
    read = functools.partial(json.loads, parse_constant=refuse)
    return [read(line) for line in text.splitlines()] if path.suffix == ".jsonl" else read(text)


def finite_steps(run_dir):
    """The steps of a run's checkpoints; all must be finite."""
    import orbax.checkpoint as ocp

    found = sorted(int(path.name) for path in (run_dir / "checkpoints").iterdir() if path.name.isdigit())
    for step in found:
        params = ocp.StandardCheckpointer().restore(run_dir / f"checkpoints/{step}/params")
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params)), step
    return found


@pytest.mark.usefixtures("warm")
def test_a_row_that_is_not_finite_costs_its_step_and_nothing_else(poisoned, tmp_path, recwarn, caplog):
    how = {"gin_file": "one_row.gin"}
    done = poisoned.train(tmp_path / "run", "--steps", 12, "--save_period", 7, "--log_period", 4, **how)
    found = rows(tmp_path / "run")
    skipped = [row["step"] for row in found if "skipped_tasks" in row]
    assert skipped == [1, 7, 11]
    assert [row["step"] for row in found if np.isnan(row["loss"])] == skipped
    assert found[-1]["skipped_steps"] == len(skipped)
    assert all(row["skipped_tasks"] == ["capitals"] for row in found if row["step"] in skipped)
    assert all(np.isfinite(group["loss"]) for row in found for group in row.get("by_task", {}).values())
    assert f"step {skipped[0]} is skipped, as its loss is not finite (capitals); steps skipped so far: 1" in done.err
    assert f"{len(skipped)} of 12 steps were skipped" in done.out
    strict(tmp_path / "run/metrics.jsonl")
    assert not [line for line in (*map(str, recwarn), caplog.text) if "NaN or Inf" in line]
    assert finite_steps(tmp_path / "run") == [8, 12], "step 7 was skipped, so the next one is saved"

    # The count goes on after a stop too, and a skipped step's loss is in no sum.
    poisoned.train(tmp_path / "half", "--steps", skipped[-1], "--log_period", 4, **how)
    poisoned.train(tmp_path / "half", "--steps", 12, "--log_period", 4, **how)
    without = lambda run: [{k: v for k, v in row.items() if k not in ("by_task", "by_objective")} for row in rows(run)]
    np.testing.assert_equal(without(tmp_path / "half"), without(tmp_path / "run"))


@pytest.mark.usefixtures("warm")
def test_many_in_a_row_end_the_run_and_the_finite_checkpoints_stay(poisoned, tmp_path):
    run_dir = tmp_path / "run"
    poisoned.train(run_dir, "--steps", 4, "--save_period", 1)
    assert finite_steps(run_dir) == [2, 3, 4]
    more = ["train", "--run_dir", run_dir, "--steps", 12, "--save_period", 1]
    done = poisoned(*more, "--gin_file", "all_capitals.gin", "--gin.Optimizer.max_skipped_steps=3")
    said = "the last 3 steps were skipped: at step 7 the loss is not finite (capitals)"
    check_refused(done, said, "Optimizer.max_skipped_steps", "goes on from step 4")
    assert finite_steps(run_dir) == [2, 3, 4]
    assert [row["step"] for row in rows(run_dir)] == list(range(1, 8))
    done = poisoned(*more, "--gin_file", "run.gin")
    assert done.code == 0 and "going on from step 4" in done.out
    assert all(np.isfinite(row["loss"]) for row in rows(run_dir))

    # All steps of a run are too many.
    done = poisoned("train", "--run_dir", tmp_path / "short", "--steps", 2, "--gin_file", "all_capitals.gin")
    check_refused(done, "the last 2 steps were skipped", "no checkpoint was written before")


@pytest.mark.usefixtures("warm")
def test_parameters_that_are_not_finite_are_never_saved(poisoned, tmp_path):
    argv = ["train", "--gin_file", "run.gin", "--run_dir", tmp_path / "run", "--save_period", 1]
    done = poisoned(*argv, "--gin.Optimizer.warmup_steps=0", "--learning_rate", 1e39)
    check_refused(done, "the parameters after step 1 are not finite, and are not saved", "no checkpoint was written")
    assert finite_steps(tmp_path / "run") == []


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    "command",
    [
        ["generate", "--prompt", "Is 7 odd or even?"],
        ["generate", "--prompt", "Is 7 odd or even?", "--num_beams", 2],
        ["eval", "--mixture", "capitals"],
        ["eval", "--mixture", "parity"],
        ["eval", "--mixture", "parity", "--gin.Evaluation.measure='loss'"],
    ],
    ids=["generate", "generate with beams", "eval by writing", "eval by options", "eval by loss"],
)
def test_spoilt_parameters_are_told_when_they_are_asked(project, trained, monkeypatch, command):
    restore = Checkpoints.restore_params
    spoilt = lambda *args: jax.tree.map(lambda leaf: leaf * np.float32("nan"), restore(*args))
    monkeypatch.setattr(Checkpoints, "restore_params", spoilt)
    done = project(*command, "--run_dir", trained)
    check_refused(done, "the model's logits are not finite", "--step")
