"""Tables of scores: which group a task falls in, its baselines, its standard error."""

import math

import pytest

from flan_jax.evaluation import reports
from flan_jax.evaluation.scoring import TaskScore


def score(task, after, chance=50.0, examples=400, **about):
    kind = {"kind": "rank", "metrics": {"accuracy": after}, "about": about}
    return {"task": task, "examples": examples, "score": after, "chance": chance, **kind}


AFTER = [
    score("likes", 90.0, cluster="reviews"),
    score("likes.held_out_wordings", 80.0),
    score("counts", 70.0, chance=25.0),
    score("counts.held_out_wordings", 60.0, chance=25.0),
    score("first", 75.0, chance=20.0, examples=100),
    score("first.held_out_wordings", 66.0, chance=20.0),
    score("first.as_likes", 30.0, chance=20.0),
    score("first.as_counts", 55.0, chance=20.0),
    score("last", 40.0, chance=33.0),
    score("last.as_likes", 12.0, chance=33.0),
]
BEFORE = [score("likes", 48.0), score("first", 22.0)]


@pytest.fixture
def result():
    return reports.table(AFTER, BEFORE, ["likes", "counts"], 12)


def test_tasks_fall_in_five_groups(result):
    members = {}
    for row in result["tasks"]:
        members.setdefault(row["group"], []).append(row["task"])
    assert members == {
        "seen wordings": ["likes", "counts"],
        "held-out wordings": ["likes.held_out_wordings", "counts.held_out_wordings"],
        "held-out tasks": ["first", "last"],
        "held-out tasks under held-out wordings": ["first.held_out_wordings"],
        "another task's instruction": ["first.as_likes", "first.as_counts", "last.as_likes"],
    }
    assert result["step"] == 12
    assert result["groups"]["seen wordings"]["after"] == 80.0
    assert result["groups"]["held-out wordings"]["after"] == 70.0


def test_scores_before_stand_beside_those_after(result):
    rows = {row["task"]: row for row in result["tasks"]}
    assert rows["likes"]["before"] == 48.0 and rows["counts"]["before"] is None
    assert result["groups"]["seen wordings"]["before"] == 48.0  # of the tasks that were scored before


def test_a_held_out_task_stands_beside_its_best_sibling_instruction(result):
    rows = {row["task"]: row for row in result["tasks"]}
    assert (rows["first"]["sibling"], rows["first"]["sibling_score"]) == ("counts", 55.0)
    assert (rows["last"]["sibling"], rows["last"]["sibling_score"]) == ("likes", 12.0)
    # The stronger of chance and sibling, task by task: 55 for `first`, chance's 33 for `last`.
    assert result["groups"]["held-out tasks"]["stronger_baseline"] == 44.0


def test_standard_errors_are_binomial_and_of_a_mean(result):
    rows = {row["task"]: row for row in result["tasks"]}
    # By hand, with two more right and two more wrong: 77 of 104, 162 of 404.
    first, last = math.sqrt(77 / 104 * 27 / 104 / 104) * 100, math.sqrt(162 / 404 * 242 / 404 / 404) * 100
    assert rows["first"]["standard_error"] == pytest.approx(first)
    assert rows["last"]["standard_error"] == pytest.approx(last)
    group = result["groups"]["held-out tasks"]
    assert group["standard_error"] == pytest.approx(math.hypot(first, last) / 2)


def test_a_perfect_score_is_not_taken_for_certain():
    result = reports.table([score("qa", 100.0)], None, ["other"], 3)
    assert 0.3 < result["groups"]["held-out tasks"]["standard_error"] < 0.5


def test_losses_have_no_standard_error_and_no_part_in_the_mean():
    def scored(task, figure, kind="rank"):
        return TaskScore(task, kind, 10, {}, figure, None, {})

    scores = [scored("a", 80.0), scored("b", 60.0), scored("b.as_a", 5.0), scored("chat", 2.5, "loss")]
    metrics = reports.metrics_of(scores)
    # A loss is no percentage: it is kept, and is no part of the mean.
    assert metrics == {"a/score": 80.0, "b/score": 60.0, "b.as_a/score": 5.0, "chat/score": 2.5, "mean/score": 70.0}


def test_the_text_says_what_the_figures_mean(result):
    text = reports.render(result)
    assert "Zero-shot scores at step 12" in text
    assert "keep 87.5% of the trained ones' score, 32 points above chance" in text
    above, error = 57.5 - 44.0, result["groups"]["held-out tasks"]["standard_error"]
    assert f"{above:+.1f} points from the stronger of chance" in text
    assert f"{above / error:+.1f} standard errors" in text
    assert "give this task's answer in 32.3%" in text
    assert "55.0 (counts)" in text


def test_without_baselines_nothing_is_made_up():
    result = reports.table([score("qa", 10.0, chance=None)], None, [], 3)
    assert result["tasks"][0]["before"] is None and result["groups"]["seen wordings"]["chance"] is None
    assert "qa" in reports.render(result)


def test_of_losses_alone_the_lowest_is_best():
    assert reports.metrics_of([TaskScore("chat", "loss", 10, {"loss": 2.5}, 2.5, None, {})])["mean/score"] == -2.5
    row = reports.table([score("chat", 2.5) | {"kind": "loss"}], None, ["chat"], 3)["tasks"][0]
    assert row["standard_error"] == 0.0


@pytest.mark.parametrize(("steps", "shown"), [(2000, "--step 100 "), (30, "--step 30 ")])
def test_what_to_type_next_names_a_step_that_the_run_has(steps, shown):
    lines = reports.next_steps("runs/a", steps).splitlines()[1:]
    assert shown in lines[1]
    said = ("ask it something", "what it trained on in that step", "its curves")
    assert len({line.index(words) for line, words in zip(lines, said, strict=True)}) == 1


def test_losses_alone_are_told_as_losses():
    loss = lambda value: {**score("chats", value, chance=None), "kind": "loss", "metrics": {"loss": value}}
    text = reports.render(reports.table([loss(1.5)], [loss(2.25)], ["chats"], 7))
    title, heads, _, row = text.splitlines()
    assert "not trained on, at step 7" in title and heads.split() == [
        "task",
        "examples",
        *["loss", "before", "loss", "after"],
    ]
    assert row.split() == ["chats", "400", "2.25", "1.50"]
    taken = TaskScore("chats", "loss", 400, {"loss": 1.5}, 1.5, None, {})
    assert reports.one_line([taken]) == "mean loss 1.5000 over 1 task"
