"""A curriculum by the loss that a run's model has on each example: measured by one command, used by the next."""

import json

import numpy as np
import pytest

from flan_jax.config.kept import load_run
from flan_jax.data import difficulty
from flan_jax.data.stores.store import Store
from flan_jax.evaluation import difficulty as measuring
from flan_jax.inference.loading import load_model
from tests.evaluation.by_hand import shape_of
from tests.project import check_refused, run

LOSS = "--gin.Curriculum.by='loss'"


@pytest.fixture(scope="module")
def command(project, tmp_path_factory):
    """Runs a command of the project, with stores of this file's own."""
    stores = tmp_path_factory.mktemp("stores")

    def do(name, *argv):
        how = ("--gin_file", "run.gin", "--run_dir", stores / "run", "--store_dir", stores)
        return run(name, *how, *argv, cwd=project.folder, compiled=project.compiled)

    return stores, do


def test_the_loss_is_measured_once_and_orders_the_examples(command, trained, warm, monkeypatch):
    stores, do = command
    refused = check_refused(do("plan", LOSS), "the loss on the examples of 'ours' was not measured")
    assert "flan-jax prepare --difficulty RUN" in refused
    # A kill after the first task: the second is measured, and the first not anew.
    measured, once = [], measuring.example_losses

    def dies(model, store, *rest):
        measured.append(store.folder.parts[-3])
        if len(measured) == 2:
            raise KeyboardInterrupt
        return once(model, store, *rest)

    monkeypatch.setattr(measuring, "example_losses", dies)
    assert do("prepare", "--difficulty", trained).code == 130
    check_refused(do("plan", LOSS), f"({str(trained)!r} has that of 1 of 2 tasks)")
    done = do("prepare", "--difficulty", trained)
    assert done.code == 0, done.err
    assert measured == ["capitals", "parity", "parity"]
    assert f"ours: the loss of 64 examples is measured by {trained}" in done.out
    assert do("prepare", "--difficulty", trained).code == 0 and len(measured) == 3  # nothing is left to do
    planned = do("plan", LOSS, f"--gin.Curriculum.measured_by='{trained}'", "--json")
    assert planned.code == 0, planned.err
    assert json.loads(planned.out)["order"][0].startswith("first pass of each task: easiest first by 'loss'")
    model, _, _ = load_model(load_run(trained))
    for folder in (stores / "parity").glob("train-*"):
        store = Store(folder / "draw-0")
        wanted = once(model, store, shape_of(load_run(trained)), 16, lambda _: None)
        found = [np.load(path) for path in (stores / "difficulty").glob("loss-*/*.npy")]
        assert any(len(one) == store.count and np.allclose(one, wanted) for one in found)
        orders = [np.load(path) for path in (stores / "difficulty").glob("first-*.npy")]
        assert any(sorted(one) == list(range(40)) and (np.diff(wanted[one]) >= -1e-6).all() for one in orders)


def test_of_two_runs_that_measured_one_has_to_be_named(command, trained, warm):
    stores, do = command
    assert do("prepare", "--difficulty", trained).code == 0
    folder = next((stores / "difficulty").glob("loss-*/measured.json")).parent
    other = folder.with_name("loss-0123")
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    difficulty.atomic.write_sealed(other / difficulty.MEASURED, {"run": "/runs/other", "step": 1, "checkpoint": "x"})
    check_refused(do("plan", LOSS), "'/runs/other'", str(trained), "name one of them by Curriculum.measured_by")


def test_what_cannot_measure_or_join_is_refused(command, tmp_path, warm):
    _, do = command
    joining = do("inspect", "--gin.Curriculum.tasks=('parity',)", "--gin.STEPS=None")
    check_refused(joining, "Curriculum.tasks join when a part of the run is done; say by STEPS how long it is")
    check_refused(do("prepare", "--difficulty", tmp_path), "no run's folder")


def test_a_run_trains_in_order_and_can_be_looked_at(command, warm):
    stores, do = command
    short = do(
        "plan", "--mixture", "parity", "--gin.Curriculum.by='field:number'", "--steps", 4, "--gin.Data.pack=False"
    )
    assert "first pass of each task: easiest first by 'number'" in short.out
    assert "the run ends within the first pass of parity 80.0%: what comes last in it is not seen" in short.out
    how = ["--run_dir", stores / "ordered", "--gin.Curriculum.by='length'", "--gin.Curriculum.hard_first=True"]
    how += ["--gin.Curriculum.tasks=('capitals', 'parity')", "--gin.Curriculum.joins=(0.0, 0.9)"]
    done = do("train", *how)
    assert done.code == 0, done.err
    assert "tasks join in order of Curriculum.tasks: 1 from the start, 1 at 90% of the run" in done.out
    shown = do("inspect", *how, "--step", 1, "--num", 8)
    assert shown.code == 0 and "example capitals:" in shown.out, shown.err
    assert "example parity:" not in shown.out
    # Two orders are two plans.
    said = "is trained on other examples of its store, or in another order"
    check_refused(do("train", *how[:3]), "was trained by another plan", said)
