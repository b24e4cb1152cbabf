"""A teacher reads what a run trains on; what it leaves is what it thinks of each example alone, and a run learns it."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from flan_jax.config.kept import load_run
from flan_jax.data import teaching
from flan_jax.data.rows import Segment, assemble
from flan_jax.data.stores.store import open_store
from flan_jax.inference.loading import load_model
from flan_jax.inference.model import merged
from flan_jax.setup import shape_of
from tests.project import check_refused, losses, plan_of, rows

TOP_K = 4
pytestmark = pytest.mark.usefixtures("warm")


def settings(teacher, weight=0.5):
    bindings = {"teacher": f"'{teacher}'", "top_k": TOP_K, "weight": weight}
    return [f"--gin.Distillation.{name}={value}" for name, value in bindings.items()]


@pytest.fixture(scope="module")
def taught(project, trained):
    """The arguments of a run whose teacher has read all of it, and what was said of that."""
    arguments = ["--gin_file", "run.gin", *settings(trained)]
    done = project("prepare", *arguments, "--teacher", trained)
    assert done.code == 0, done.err
    return arguments[2:], done.out


def key_of(project, teacher):
    return teaching.read_note(teaching.note_path(str(project.stores), str(teacher), TOP_K))["key"]


def test_what_is_kept_is_what_the_teacher_thinks_of_the_example_alone(project, trained, taught):
    config = load_run(trained)
    model, codec, _ = load_model(config)
    shape = shape_of(config)
    apply = jax.jit(merged(model.graph, model.params).__call__)
    looked_at = 0
    for folder in plan_of(trained)["folders"]:
        store = open_store(f"{folder}/draw-0")
        lots = teaching.lots_of(folder, key_of(project, trained), 0, TOP_K, codec.size)
        for number in np.flatnonzero(lots.read())[:3].tolist():
            one = store[number]
            batch = assemble([[Segment(one.inputs, one.targets, one.weights)]], shape)
            logits = np.asarray(apply(batch), np.float64)[0, : len(one.targets), : codec.size]
            logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            kept = lots.entries(number)
            np.testing.assert_allclose(kept["logprobs"], -np.sort(-logprobs)[:, :TOP_K], atol=0.01)
            at = np.take_along_axis(logprobs, kept["ids"].astype(int), axis=-1)
            np.testing.assert_allclose(kept["logprobs"], at, atol=0.01)
            looked_at += 1
    assert looked_at == 6


def test_a_run_learns_from_it_and_goes_on_exactly(project, trained, taught, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    project.train(whole, *taught[0])
    project.train(cut, *taught[0], "--steps", "10")
    project.train(cut, *taught[0])
    assert losses(whole) == losses(cut)
    figures = [row["distillation_loss"] for row in rows(whole)]
    assert figures == [row["distillation_loss"] for row in rows(cut)]
    assert 0 < figures[-1] < 0.8 * figures[0], "it comes nearer to its teacher"
    plain = tmp_path / "plain"
    project.train(plain, *settings(trained, weight=0.0))
    assert losses(plain) == losses(trained), "a teacher without weight is none"
    assert "distillation_loss" not in rows(plain)[0]
    # Another teacher's columns are other batches.
    kept = plan_of(whole)
    (whole / "plan.json").write_text(json.dumps({**kept, "teacher": "another"}))
    refused = project("train", "--gin_file", "run.gin", "--run_dir", whole, *taught[0])
    check_refused(refused, "what the teacher thinks of the examples is another's")


def test_reading_again_reads_nothing_and_what_is_lost_alone(project, trained, taught):
    again = project("prepare", "--gin_file", "run.gin", *taught[0], "--teacher", trained)
    assert ", 0 of them now" in again.out
    folder = pathlib.Path(plan_of(trained)["folders"][0]) / f"teacher-{key_of(project, trained)}"
    before = {path: path.read_bytes() for path in folder.rglob("lot-*.bin")}
    lost = next(iter(before))
    lost.unlink()
    again = project("prepare", "--gin_file", "run.gin", *taught[0], "--teacher", trained)
    assert ", 0 of them now" not in again.out
    assert {path: path.read_bytes() for path in folder.rglob("lot-*.bin")} == before


def test_the_plan_says_what_it_takes(project, trained, taught):
    shown = project("plan", "--gin_file", "run.gin", *taught[0]).out
    assert f"teacher {trained}, weight 0.5, temperature 1: its {TOP_K} likeliest of " in shown
    assert "flan-jax prepare --teacher" not in shown
    later = project("plan", "--gin_file", "run.gin", *settings("runs/later")).out
    assert "first type `flan-jax prepare --teacher runs/later`" in later


def test_what_the_teacher_has_not_read_is_told_before_the_first_step(project, trained, taught, tmp_path):
    run = ["train", "--gin_file", "run.gin", "--run_dir", tmp_path / "run"]
    check_refused(project(*run, *taught[0], "--seed", "5"), "has not read", "flan-jax prepare --teacher")
    check_refused(project(*run, *settings("runs/none")), "has read nothing yet with Distillation.top_k 4")
    check_refused(project(*run, *taught[0], "--mixture", "shout"), "has read no task of 'shout'")


def test_teachers_that_cannot_be_asked(project, trained, taught, tmp_path):
    ask = ["prepare", "--gin_file", "run.gin", *taught[0], "--teacher"]
    check_refused(project(*ask, tmp_path), "no run")
    check_refused(project(*ask, trained, "--mixture", "prose", "--gin.STEPS=2"), "vocabulary")
    full = shutil.disk_usage(project.stores)._replace(free=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: full)
        check_refused(project(*ask, trained, "--seed", "5"), "has 10 B left", "Distillation.top_k")
