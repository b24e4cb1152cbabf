"""When scores end a run: told from what its folder keeps."""

import pytest

from flan_jax.config.training_settings import StoppingConfig
from flan_jax.errors import UserError
from flan_jax.evaluation.scoring import TaskScore
from flan_jax.evaluation.stopping import best_of, stopped
from flan_jax.run_folder import RunFolder


@pytest.mark.parametrize(
    ("settings", "values", "wanted"),
    [
        ({}, [], (-1, 0)),
        ({}, [5.0, 6.0, 6.0, 5.0], (1, 2)),
        ({"min_delta": 1.0}, [5.0, 6.0, 6.5, 7.1], (2, 1)),
        ({"min_delta": 1.0}, [5.0, 5.9, 6.0], (0, 2)),
        ({"mode": "min"}, [5.0, 4.0, 4.5], (1, 1)),
        ({}, [None, 3.0, None, float("nan")], (1, 2)),
        ({}, [None, None], (-1, 2)),
        ({"min_delta": 5.0}, [-100.0, -99.0], (0, 1)),
    ],
)
def test_the_best_and_how_long_ago_it_was(settings, values, wanted):
    assert best_of(StoppingConfig("mean/score", **settings), list(enumerate(values))) == wanted


def write(folder, step, percent):
    folder.write_scores(step, [TaskScore("a", "rank", 8, {"accuracy": percent}, percent, None, {}, "%")])


def test_a_folder_says_why_its_run_is_complete(tmp_path):
    folder, config = RunFolder(tmp_path / "run"), StoppingConfig("a/score", patience=2)
    for step, percent in ((0, 10.0), (50, 40.0), (100, 39.0), (9, 11.0), (150, 40.0)):
        write(folder, step, percent)
    assert folder.scored_steps() == [0, 9, 50, 100, 150]
    assert stopped(config, folder, 100) == ""
    assert stopped(config, folder, 150) == (
        "a/score was best at step 50, and not better in 2 scorings since; raise Stopping.patience, which is 2, to go on"
    )
    assert stopped(StoppingConfig("a/score", patience=3), folder, 150) == ""
    assert stopped(StoppingConfig(), folder, 150) == ""
    assert "b/score was not found in 5 scorings" in stopped(StoppingConfig("b/score", patience=4), folder, 150)
    (folder.path / "scores" / "step-100.json").write_text("{")
    with pytest.raises(UserError, match=r"step-100.json is damaged"):
        stopped(config, folder, 150)
