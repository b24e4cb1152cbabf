"""Fine-tuning craft, from end to end: groups, a mean of the parameters, an end by scores, the mean of checkpoints."""

import contextlib
import dataclasses
import json
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from flan_jax import setup
from flan_jax.config.kept import load_run
from flan_jax.parallel.mesh import make_mesh
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.training import start
from flan_jax.training.parameter_names import path_names
from tests.project import check_refused, losses

pytestmark = pytest.mark.usefixtures("warm")

HOW = ["--eval_mixture", "likely", "--eval_period", 5, "--save_period", 5, "--gin.EVAL_EXAMPLES=3", "--steps", 40]
CRAFT = [
    "--gin.Optimizer.groups={'embedding.*': {'learning_rate_factor': 0.1}, 'encoder.*': {'frozen': True}}",
    "--gin.Optimizer.ema=0.9",
    "--gin.Optimizer.schedule='wsd'",
    "--gin.Stopping.metric='likely/score'",
    "--gin.Stopping.min_delta=1e9",  # so that no score is better than the first
    "--gin.Stopping.patience=3",
    "--gin.Checkpoints.keep=4",
]


def numbers(run_dir, step, item="params"):
    """An item of a checkpoint as arrays by name, read by Orbax alone."""
    tree = ocp.StandardCheckpointer().restore((run_dir / "checkpoints" / str(step) / item).absolute())
    return {".".join(path_names(path)): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.fixture(scope="module")
def crafted(project, worker, tmp_path_factory):
    """The folder of a run that its scores ended, and what it said."""
    run_dir = tmp_path_factory.mktemp("craft") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "worker_of", lambda config, *_: contextlib.nullcontext(worker))
        return run_dir, project.train(run_dir, *HOW, *CRAFT)


def test_a_run_that_its_scores_end_is_complete(project, crafted):
    run_dir, done = crafted
    assert "encoder.*: frozen (" in done.out and "embedding.*: learning_rate_factor 0.1 (" in done.out
    why = "likely/score was best at step 5, and not better in 3 scorings since"
    assert f"complete at step 20 of 40: {why}" in done.out and len(losses(run_dir)) == 20
    assert json.loads((run_dir / "results.json").read_text())["step"] == 20
    again = project.train(run_dir, *HOW, *CRAFT)
    assert f"is finished: step 20 of 40. {why}" in again.out and len(losses(run_dir)) == 20


def test_more_patience_goes_on_as_a_run_that_had_it_from_the_start(project, crafted, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(crafted[0], run_dir)
    patient = [*HOW, *CRAFT, "--gin.Stopping.patience=5"]
    done = project.train(run_dir, *patient)
    assert "going on from step 20 of 40" in done.out and "complete at step 30 of 40" in done.out
    project.train(tmp_path / "whole", *patient)
    assert losses(run_dir) == losses(tmp_path / "whole")
    for item in ("params", "averages"):
        one, other = numbers(run_dir, 30, item), numbers(tmp_path / "whole", 30, item)
        assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
    first, last = numbers(run_dir, 15), numbers(run_dir, 30)
    still = {name for name in first if np.array_equal(first[name], last[name])}
    assert still and still == {name for name in first if name.startswith("encoder.")}


def test_a_mean_cannot_begin_on_the_way_and_a_wrong_pattern_is_told_before_data_are_read(project, trained, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    longer = ["--gin_file", "run.gin", "--run_dir", run_dir, "--steps", 40, "--gin.Optimizer.ema=0.9"]
    check_refused(
        project("train", *longer), "cannot go on from step 30", "model or optimiser: Optimizer.ema was None, is 0.9"
    )
    wrong = "--gin.Optimizer.groups={'encodr.*': {'frozen': True}}"
    said = project("train", "--gin_file", "run.gin", "--run_dir", tmp_path / "other", wrong)
    check_refused(said, "no parameter matches 'encodr.*'; did you mean 'encoder'")


def test_what_asks_the_run_asks_its_mean(project, crafted):
    run_dir, _ = crafted
    means = numbers(run_dir, 20, "averages")
    assert not all(np.array_equal(mean, numbers(run_dir, 20)[name]) for name, mean in means.items())
    kept = json.loads((run_dir / "scores" / "step-20.json").read_text())["tasks"][0]["score"]
    for argv, same in (([], True), (["--gin.Evaluation.averaged=False"], False)):
        assert project("eval", "--run_dir", run_dir, *argv).code == 0
        found = json.loads((run_dir / "eval.json").read_text())["tasks"][0]["after"]
        assert (found == pytest.approx(kept, rel=1e-6)) == same


def test_the_mean_of_checkpoints_is_a_run_of_its_own(project, crafted, tmp_path):
    run_dir, mean = crafted[0], tmp_path / "mean"
    done = project("average", run_dir, mean, "--last", 3)
    assert done.code == 0, done.err
    assert f"the mean of 3 checkpoints of {run_dir}, of steps 10, 15, 20, in {mean}" in done.out
    parts, found = [numbers(run_dir, step) for step in (10, 15, 20)], numbers(mean, 20)
    assert found.keys() == parts[0].keys()
    for name, leaf in found.items():
        np.testing.assert_allclose(leaf, np.mean([part[name] for part in parts], axis=0), rtol=1e-5, atol=1e-7)
    assert project("eval", "--run_dir", mean).code == 0
    answer = project("generate", "--run_dir", mean, "--prompt", "Is 3 odd or even?", "--max_new_tokens", 2)
    assert answer.code == 0, answer.err
    onward = project.train(tmp_path / "onward", "--init_from", mean, "--steps", 2)
    assert f"starting from the parameters of {mean}" in onward.out
    two = project("average", run_dir, tmp_path / "two", "--checkpoints", "20,5")
    assert two.code == 0 and "of steps 5, 20" in two.out
    check_refused(project("average", run_dir, mean), "holds a run already")
    check_refused(
        project("average", run_dir, tmp_path / "no", "--checkpoints", "5,7"), "no checkpoint of step 7; there are"
    )
    check_refused(project("average", run_dir, tmp_path / "no", "--last", 9), "--last is 9, but", "Checkpoints.keep")
    check_refused(project("average", run_dir, tmp_path / "no", "--last", 2, "--checkpoints", 5), "keep one")


def test_a_run_starts_from_anothers_mean_where_it_carries_it(project, crafted, tmp_path):
    run_dir, _ = crafted
    config = load_run(run_dir)
    read = lambda **changes: start.parameters_of(
        str(run_dir), vocabulary.kept(run_dir), dataclasses.replace(config, **changes), make_mesh({"data": 1})
    )
    for carry, item in ((("averages",), "averages"), ((), "params")):
        found = {".".join(path_names(p)): leaf for p, leaf in jax.tree_util.tree_leaves_with_path(read(carry=carry))}
        wanted = numbers(run_dir, 20, item)
        assert all(np.array_equal(found[name], leaf) for name, leaf in wanted.items())
