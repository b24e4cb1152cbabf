"""A user's own optimiser, schedule and loss, bound by gin from a folder that is none of this repository."""

import dataclasses
import shutil

import numpy as np
import pytest

from tests.project import Project, check_refused, losses, rows

MINE = """
import optax

from flan_jax.training.loss import cross_entropy

CALLS = []


def doubled(logits, targets):
    CALLS.append("loss")
    return 2 * cross_entropy(logits, targets)


def still(learning_rate, total_steps):
    CALLS.append(("schedule", learning_rate, total_steps))
    return lambda step: 0.0 * learning_rate


def plain(learning_rate, momentum=0.0):
    CALLS.append(("optimiser", momentum))
    return optax.sgd(learning_rate, momentum)


not_a_function = 3
"""


@pytest.fixture(scope="module")
def mine(project, tmp_path_factory) -> Project:
    """The project in a folder of its own, with a package beside the gin file."""
    folder = tmp_path_factory.mktemp("elsewhere") / "project"
    shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "my_pkg").mkdir()
    (folder / "my_pkg/__init__.py").write_text(MINE)
    (folder / "mine.gin").write_text(
        'include "run.gin"\nimport my_pkg\nSTEPS = 3\nOptimizer.warmup_steps = 0\nOptimizer.clip_norm = None\n'
    )
    made = dataclasses.replace(project, folder=folder)
    with open(folder / "mine.gin", "a") as file:
        file.write("Loss.function = @my_pkg.doubled\nOptimizer.schedule = @my_pkg.still\n")
        file.write("Optimizer.factory = @my_pkg.plain\nmy_pkg.plain.momentum = 0.5\n")
    return made


@pytest.fixture
def calls(mine):
    import sys

    sys.modules.pop("my_pkg", None)
    yield lambda: sys.modules["my_pkg"].CALLS
    sys.modules.pop("my_pkg", None)


@pytest.mark.usefixtures("warm")
def test_all_three_are_really_called(mine, trained, tmp_path, calls):
    mine.train(tmp_path / "run", gin_file="mine.gin")
    assert {"loss", ("schedule", 3e-3, 3), ("optimiser", 0.5)} <= set(calls())
    found = rows(tmp_path / "run")
    assert found[0]["loss"] == pytest.approx(2 * losses(trained)[0], rel=1e-6)
    assert [row["learning_rate"] for row in found] == [0, 0, 0]
    # Nothing moves at a rate of 0, so the second loss is that of the parameters at the start.
    assert np.isclose(found[1]["loss"], 2 * losses(trained)[1], rtol=0.1)
    assert "Optimizer.factory = @my_pkg.plain" in (tmp_path / "run/operative.gin").read_text()
    again = mine.train(tmp_path / "run", gin_file="mine.gin")
    assert "is finished" in again.out


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ("--gin.Loss.function=@my_pkg.dubled", ["dubled", "did you mean 'my_pkg.doubled'"]),
        ("--gin.Loss.function=@my_pkg.not_a_function", ["not_a_function"]),
        ("--gin.Optimizer.factory='plain'", ["Optimizer.factory", "'plain'"]),
        ("--gin.my_pkg.plain.momentun=0.1", ["momentun", "did you mean 'momentum'"]),
        ("--gin.Optimizer.warmup_steps=4", ["warmup_steps", "schedule"]),
    ],
)
def test_a_wrong_binding_is_one_sentence(mine, tmp_path, calls, binding, words):
    check_refused(mine("train", "--gin_file", "mine.gin", "--run_dir", tmp_path / "run", binding), *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("warm")
def test_a_loss_of_another_shape_is_one_sentence(mine, tmp_path, calls):
    (mine.folder / "sums.py").write_text("def summed(logits, targets):\n    return logits.sum()\n")
    argv = ["--run_dir", tmp_path / "run", "--gin_file", "sums.gin"]
    (mine.folder / "sums.gin").write_text('include "run.gin"\nimport sums\nLoss.function = @sums.summed\n')
    check_refused(mine("train", *argv), "summed", "one loss a token")


@pytest.mark.parametrize(
    ("setting", "body", "words"),
    [
        (
            "Optimizer.factory",
            "def wrong(rate):\n    return None",
            ["Optimizer.factory is wrong_{n}.wrong(rate), which cannot be called as (learning_rate=schedule) ->"],
        ),
        (
            "Loss.function",
            "def wrong(logits):\n    return logits",
            ["Loss.function is wrong_{n}.wrong(logits), which cannot be called as (logits [B, L, V], targets"],
        ),
        (
            "Optimizer.schedule",
            "def wrong(learning_rate, total_steps):\n    return lambda step: float(step) * learning_rate",
            ["wrong_{n}.wrong, and the function of the step that it gave failed", "write it with jax.numpy"],
        ),
        (
            "Optimizer.factory",
            "def wrong(learning_rate):\n    raise KeyError('momentum')",
            ["Optimizer.factory is wrong_{n}.wrong, which failed with KeyError: 'momentum'", "wrong_{n}.py, line 2)"],
        ),
    ],
)
@pytest.mark.usefixtures("warm")
def test_a_function_that_cannot_be_called_so_is_told_with_the_form_that_is_wanted(
    mine, tmp_path, calls, setting, body, words
):
    n = f"{setting.rpartition('.')[2]}_{len(body)}"
    (mine.folder / f"wrong_{n}.py").write_text(f"{body}\n")
    (mine.folder / "wrong.gin").write_text(
        f'include "run.gin"\nimport wrong_{n}\n{setting} = @wrong_{n}.wrong\nOptimizer.warmup_steps = 0\n'
    )
    argv = ["--run_dir", tmp_path / "run", "--gin_file", "wrong.gin"]
    check_refused(mine("train", *argv), *(word.format(n=n) for word in words))
