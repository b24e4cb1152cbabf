"""What is wrong with an EVAL_MIXTURE is told before anything is prepared, and found out once."""

import pytest

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.data.resolve import check_evals
from flan_jax.data.worker import Worker
from tests.project import check_refused, write_rows


def stores_of(project):
    return {path for path in project.stores.rglob("*") if "resolved" not in path.parts}


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--eval_mixture", "capitols"], ["'capitols'", "did you mean 'capitals'", "Set EVAL_MIXTURE"]),
        (
            ["--eval_mixture", "two_objectives"],
            ["'two_objectives'", "no split 'validation' (it has train)", "Evaluation.split"],
        ),
        (
            ["--eval_mixture", "ours_eval", "--gin.Evaluation.split='test'"],
            ["'capitals' has no split 'test' (it has train, validation), nor have 2 others"],
        ),
        (
            ["--eval_mixture", "ours_eval", "--gin.Checkpoints.best_metric='parity/scor'"],
            ["did you mean 'parity/score'"],
        ),
        (
            ["--eval_mixture", "ours_eval", "--eval_period", 5, "--gin.Stopping.metric='parity/scor'"],
            ["Stopping.metric is 'parity/scor'", "did you mean 'parity/score'"],
        ),
        (
            ["--eval_mixture", "parity_with_sentinels", "--gin.Evaluation.split='train'"],
            ["EVAL_MIXTURE 'parity_with_sentinels' has another vocabulary", "than MIXTURE 'ours'"],
        ),
    ],
)
def test_an_eval_mixture_that_cannot_be_scored_is_refused_before_anything_is_prepared(project, tmp_path, argv, words):
    before = stores_of(project)
    for command in (["train"], ["plan"], ["plan", "--estimate"], ["prepare"]):
        how = ["--gin_file", "run.gin", "--seed", 4242, "--run_dir", tmp_path / "run"]
        check_refused(project(*command, *how, *argv), *words)
    assert stores_of(project) == before


@pytest.mark.usefixtures("warm")
def test_it_is_refused_before_a_vocabulary_is_learnt(project, tmp_path):
    data = write_rows(tmp_path / "said.jsonl", [{"prompt": f"Say {i}.", "completion": f"{i}"} for i in range(9)])
    how = ["--data", data, "--model", "tiny.gin", "--steps", 2, "--run_dir", tmp_path / "run"]
    check_refused(project("train", *how, "--eval_mixture", "capitols"), "did you mean 'capitals'")
    assert not list((tmp_path / "run").glob("data_vocabulary*"))


def test_an_answer_is_kept_with_what_it_rests_on(worker, user_folder, tmp_path):
    config = RunConfig(mixture="ours", modules=("user_tasks", "more_tasks"), store_dir=str(tmp_path))
    request = setup.request_of(config, "ours_eval", "validation", 20)
    names = check_evals(request, "ours", worker)
    assert names == ["capitals", "capitals.held_out_templates", "parity"]
    idle = Worker(worker.setup)
    assert check_evals(request, "ours", idle) == names and idle._process is None
    (kept,) = (tmp_path / "resolved").glob("evals-*.json")
    assert str(user_folder / "more_tasks.py") in kept.read_text()
