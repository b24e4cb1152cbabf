"""A run's scores: a failing metric, the best checkpoint, and kills between a step's saving and its scores."""

import json

import pytest

from flan_jax.evaluation.run import Evaluator
from flan_jax.run_folder import RunFolder
from tests.project import check_refused, losses, scores

HOW = ["--eval_mixture", "judged_eval", "--eval_period", 10, "--gin.EVAL_EXAMPLES=4"]
FAILED = "The metric 'broken' of task 'judged' raised ZeroDivisionError: no words ("

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture(scope="module")
def scored(project, worker, tmp_path_factory):
    """A run that was scored every ten steps, and what it said; the lowest likelihood is its best step."""
    run_dir = tmp_path_factory.mktemp("scored") / "run"
    best = ["--gin.Checkpoints.best_metric='likely/score'", "--gin.Checkpoints.best_mode='min'"]
    with pytest.MonkeyPatch.context() as patch:
        use(worker, patch)
        done = project.train(run_dir, *HOW, *best, "--gin.Checkpoints.keep=1", "--gin.Evaluation.before=True")
    return run_dir, done


def use(worker, patch):
    import contextlib

    from flan_jax import setup

    patch.setattr(setup, "worker_of", lambda config, *_: contextlib.nullcontext(worker))


def test_a_metric_that_raises_ends_nothing_and_is_told(scored):
    run_dir, done = scored
    # Each time as it happens, and under the table; a sentence with the task, the metric, the kind and the words.
    assert done.err.count(FAILED) == 4 and done.out.count(FAILED) == 1 and "Traceback" not in done.err
    results = json.loads((run_dir / "results.json").read_text())
    rows = {row["task"]: row for row in results["tasks"]}
    assert rows["judged"]["after"] is None and set(rows["judged"]["metrics"]) == {"sure", "log_likelihood"}
    assert 0 <= rows["parity"]["after"] <= 100 and rows["likely"]["after"] < 0
    assert len(losses(run_dir)) == 30 and len(results["failures"]) == 1


def test_the_best_step_stays_by_scores_that_came_after_it_was_saved(scored):
    run_dir, _ = scored
    values = {step: found["by_task"]["likely"]["log_likelihood"] for step, found in scores(run_dir).items()}
    assert set(values) == {0, 10, 20, 30}
    best = min((10, 20, 30), key=values.get)
    assert best != 30, "the run has not got better"
    steps = {int(path.name) for path in (run_dir / "checkpoints").iterdir() if path.name.isdigit()}
    assert steps == {best, 30}


class Killed(BaseException):
    """What no code catches."""


@pytest.mark.parametrize(
    ("owner", "name", "error", "period"),
    [
        (Evaluator, "__call__", Killed, 10),  # the step is saved, and nothing of its scores is there
        (RunFolder, "write_scores", Killed, 10),  # its scores are in metrics.jsonl, and nowhere else
        (Evaluator, "__call__", RuntimeError, 1000),  # a failure of another kind, at a step that was not to be saved
    ],
)
def test_a_kill_at_a_steps_scores_loses_nothing(project, scored, tmp_path, monkeypatch, owner, name, error, period):
    whole, run_dir = {step: found for step, found in scores(scored[0]).items() if step}, tmp_path / "run"
    real, count = getattr(owner, name), iter(range(10))

    def die(*arguments):
        if next(count) == 1:  # at step 20
            raise error
        return real(*arguments)

    argv = ["train", "--gin_file", "run.gin", "--run_dir", run_dir, *HOW, "--save_period", period]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        with pytest.raises(error):
            project(*argv)
    done = project(*argv)
    assert done.code == 0 and "going on from step 20 of 30" in done.out
    assert "step 20: mean " in done.err, "it was not scored"
    assert scores(run_dir) == whole and losses(run_dir) == losses(scored[0])
    kept = {int(path.stem.removeprefix("step-")) for path in (run_dir / "scores").iterdir()}
    assert kept == {10, 20, 30}
    # What a course that was given up has left is no score of this one.
    RunFolder(run_dir).forget_scores(10)
    assert [path.name for path in (run_dir / "scores").iterdir()] == ["step-10.json"]


def test_a_best_metric_that_no_score_has_is_refused_before_the_first_step(project, tmp_path):
    argv = ["--gin_file", "run.gin", "--run_dir", tmp_path / "run", *HOW, "--gin.Checkpoints.best_metric='likely/scor'"]
    check_refused(project("train", *argv), "best_metric is 'likely/scor'", "did you mean 'likely/score'")
    assert not (tmp_path / "run/checkpoints/0").exists() and not (tmp_path / "run/metrics.jsonl").exists()
