"""Tables of scores: which group a task falls in, its baselines, its standard error."""

import dataclasses
import math

import pytest

from flan_jax.errors import UserError
from flan_jax.evaluation import reports
from flan_jax.evaluation.scoring import TaskScore
from flan_jax.tasks.formats import natural_instructions, super_natural_instructions


def score(task, after, chance=50.0, examples=400, **about):
    kind = {"kind": "rank", "metrics": {"accuracy": after}, "about": about}
    return {"task": task, "examples": examples, "score": after, "chance": chance, **kind}


AFTER = [
    score("likes", 90.0, cluster="reviews"),
    score("likes.held_out_templates", 80.0),
    score("counts", 70.0, chance=25.0),
    score("counts.held_out_templates", 60.0, chance=25.0),
    score("first", 75.0, chance=20.0, examples=100),
    score("first.held_out_templates", 66.0, chance=20.0),
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
        "seen templates": ["likes", "counts"],
        "held-out templates": ["likes.held_out_templates", "counts.held_out_templates"],
        "held-out tasks": ["first", "last"],
        "held-out tasks under held-out templates": ["first.held_out_templates"],
        "another task's instruction": ["first.as_likes", "first.as_counts", "last.as_likes"],
    }
    assert result["step"] == 12
    assert result["groups"]["seen templates"]["after"] == 80.0
    assert result["groups"]["held-out templates"]["after"] == 70.0


def test_scores_before_stand_beside_those_after(result):
    rows = {row["task"]: row for row in result["tasks"]}
    assert rows["likes"]["before"] == 48.0 and rows["counts"]["before"] is None
    # Not of the tasks that were scored before alone: beside it stands the score of all.
    assert result["groups"]["seen templates"]["before"] is None


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


def scored(task, figure, unit="%", kind="rank", failures=()):
    return TaskScore(task, kind, 10, {} if figure is None else {"f": figure}, figure, None, {}, unit, failures)


def chat(task, figure):
    return scored(task, figure, "loss", "loss")


@pytest.mark.parametrize(
    ("scores", "mean", "line"),
    [
        # A loss is no percentage: it is kept, and is no part of the mean. Nor is a control.
        (
            [scored("a", 80.0), scored("b", 60.0), scored("b.as_a", 5.0), chat("c", 2.5)],
            70.0,
            "mean score 70.0 over 2 tasks, mean loss 2.5000 over 1 task",
        ),
        # A user's own metrics may count in anything.
        ([scored("a", 80.0), scored("b", 0.5, "equal")], 80.0, "mean score 80.0 over 1 task, mean equal 0.5000 over 1"),
        ([scored("a", 0.25, "equal"), scored("b", 0.5, "equal")], 0.375, "mean equal 0.3750 over 2 tasks"),
        ([scored("a", 20.0, "bleu"), scored("b", 0.5, "equal")], None, "mean bleu 20.0000 over 1 task, mean equal"),
        ([chat("a", 2.0), chat("b", 3.0)], -2.5, "mean loss 2.5000 over 2 tasks"),
        ([chat("a", 2.0), scored("b", 0.5, "equal")], None, "mean loss 2.0000 over 1 task, mean equal 0.5000"),
        # One that has no score would make it a mean of other tasks than another step's.
        ([scored("a", 80.0), scored("b", None)], None, "mean score 80.0 over 1 task, 1 task without a score"),
        ([scored("b", None)], None, "1 task without a score"),
    ],
)
def test_there_is_no_mean_over_unlike_units(scores, mean, line):
    metrics = reports.metrics_of(scores)
    wanted = {f"{score.task}/score": score.score for score in scores if score.score is not None}
    assert metrics == (wanted if mean is None else {**wanted, "mean/score": mean})
    assert reports.one_line(scores).startswith(line)


def table_of(*scores, before=None, trained=("a", "b", "c")):
    as_kept = lambda some: None if some is None else [dataclasses.asdict(score) for score in some]
    return reports.table(as_kept(scores), as_kept(before), list(trained), 3)


def test_a_group_is_of_one_unit():
    """Two accuracies of 90 and 110 % and a loss of 0.07 were "66.69" once."""
    result = table_of(scored("a", 90.0), scored("b", 100.0), chat("c", 0.07), before=[chat("c", 0.5)])
    groups = result["groups"]
    assert {name: group["after"] for name, group in groups.items()} == {
        "seen templates": 95.0,
        "seen templates: loss": 0.07,
    }
    assert [group["tasks"] for group in groups.values()] == [2, 1]
    assert groups["seen templates"]["before"] is None and groups["seen templates: loss"]["before"] == 0.5
    text = reports.render(result)
    assert "SEEN TEMPLATES: LOSS" in text and "66.69" not in text


def test_chance_and_score_are_of_the_same_tasks():
    """Under templates not trained on, an open task has no chance: only the others stand above theirs."""
    after = [
        *(score("a", 80.0, chance=50.0), score("b", 20.0, chance=None), score("c", 50.0)),
        *(score("a.held_out_templates", 60.0, chance=50.0), score("b.held_out_templates", 10.0, chance=None)),
    ]
    result = reports.table(after, None, ["a", "b", "c"], 3)
    templates = result["groups"]["held-out templates"]
    assert (templates["after"], templates["chance"], templates["above_chance"]) == (35.0, None, 10.0)
    text = reports.render(result)
    # 60 and 10 of 80 and 20; `c` was scored under its trained templates alone.
    assert "keep 70.0% of the trained ones' score; the 1 of 2 tasks that have a chance are 10 points above it." in text
    held_out = [score("d", 70.0, chance=40.0), score("e", 10.0, chance=None)]
    text = reports.render(reports.table(held_out, None, ["a"], 3))
    assert "Tasks never trained on (1 of 2): 70.0, +30.0 points from the stronger of chance" in text


def test_many_tasks_are_told_by_their_group_and_its_worst():
    names = [f"task_{number}" for number in range(40)]
    after = [scored(name, 50.0 + number) for number, name in enumerate(names)]
    after += [scored(f"{name}.as_task_0", 40.0 - number) for number, name in enumerate(names)]
    after += [chat(f"chat_{number}", float(number)) for number in range(20)]
    result = table_of(*after, trained=[*names, *(one.task for one in after)])
    assert len(result["tasks"]) == 100
    text = reports.render(result, "run/results.json")
    told = [line.split()[0] for line in text.splitlines() if line.startswith("  ")]
    # The lowest scores; the highest losses; under another's instruction, those that most often give their own answer.
    assert told == [
        *[f"task_{number}" for number in range(5)],
        *[f"chat_{number}" for number in (19, 18, 17, 16, 15)],
        *[f"task_{number}.as_task_0" for number in range(5)],
    ]
    assert "Of 100 tasks the worst 5 of each group are shown; all are in run/results.json." in text
    assert "SEEN TEMPLATES " in text and "69.50" in text
    whole = reports.render(result)
    assert all(f"  {one.task} " in whole for one in after) and "are shown" not in whole
    losses = reports.render(table_of(*[one for one in after if one.unit == "loss"]), "results.json")
    assert len(losses.splitlines()) == 3 + 1 + 5 + 1 and "9.50" in losses


def test_what_failed_is_told_and_has_no_figure():
    sentence = "The metric 'm' of task 'b' raised ValueError: no."
    result = table_of(scored("a", 90.0), scored("b", None, failures=[sentence] * 7))
    assert result["groups"]["seen templates"]["after"] == 90.0
    text = reports.render(result, "results.json")
    assert text.count(sentence) == 5 and text.endswith("And 2 more metrics failed: see results.json.")
    (row,) = [line.split() for line in text.splitlines() if line.startswith("  b")]
    assert row == ["b", "10", "-", "-", "-", "-"]


def test_the_best_metric_is_one_of_the_scores():
    for name in ("mean/score", "a/score"):
        reports.check_metric("Checkpoints.best_metric", name, ["a", "b"])
    with pytest.raises(
        UserError, match=r"best_metric is 'a/scor'; .* mean/score, a/score, b/score; did you mean 'a/sc"
    ):
        reports.check_metric("Checkpoints.best_metric", "a/scor", ["a", "b"])


def test_the_text_says_what_the_figures_mean(result):
    text = reports.render(result)
    assert "Zero-shot scores at step 12" in text
    assert "keep 87.5% of the trained ones' score, 32 points above chance" in text
    above, error = 57.5 - 44.0, result["groups"]["held-out tasks"]["standard_error"]
    assert f"{above:+.1f} points from the stronger of chance" in text
    assert f"{above / error:+.1f} standard errors" in text
    assert "give this task's answer in 32.3%" in text
    assert "55.0 (counts)" in text


def test_clusters_are_shown_as_means_over_examples(result):
    assert result["clusters"] == {} and "By cluster" not in reports.render(result)
    scores = [score("a", 90.0, cluster="reviews", examples=10), score("b", 30.0, cluster="counts", examples=30)]
    scores += [score("b.as_a", 5.0, cluster="counts", examples=30)]  # a control takes no part
    result = reports.table(scores, None, [], 3)
    assert result["clusters"]["all"] == {"tasks": 2, "examples": 40, "accuracy": 45.0}
    assert reports.render(result).splitlines()[-1].split() == ["all", "2", "40", "45.00"]


def test_a_task_trained_under_another_encoding_is_no_held_out_task():
    for module in (natural_instructions, super_natural_instructions):
        for encoding in module.ENCODINGS:
            rows = reports.table([score("t", 1.0)], None, [f"t.{encoding}"], 0)["tasks"]
            assert rows[0]["group"] == reports.SEEN, encoding


def test_without_baselines_nothing_is_made_up():
    result = reports.table([score("qa", 10.0, chance=None)], None, [], 3)
    assert result["tasks"][0]["before"] is None and result["groups"]["seen templates"]["chance"] is None
    assert "qa" in reports.render(result)


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
    row = reports.table([loss(1.5)], None, ["chats"], 7)["tasks"][0]
    assert row["standard_error"] == 0.0


def test_a_task_that_was_trained_in_any_way_is_not_held_out():
    """With its inverted templates, after exemplars or without its options: its rows and answers were seen."""
    trained = ["a.with_inverted", "b.0_to_16_shot.no_options", "c.3_shot"]
    scores = [score("a", 60.0), score("b.no_options", 60.0), score("c.held_out_templates", 60.0), score("d", 60.0)]
    groups = {row["task"]: row["group"] for row in reports.table(scores, None, trained, 1)["tasks"]}
    assert groups == {
        "a": "seen templates",
        "b.no_options": "seen templates",
        "c.held_out_templates": "held-out templates",
        "d": "held-out tasks",
    }


def test_held_out_text_is_a_group_of_its_own_and_no_part_of_the_mean():
    text = [reports.of_text(scored(f"web_{i}", loss, "loss", "loss")) for i, loss in enumerate((2.0, 3.0))]
    chat = scored("chat", 1.0, "loss", "loss")
    figures = reports.metrics_of([scored("likes", 80.0), chat, *text])
    assert figures["mean/score"] == 80.0 and figures["web_1/score"] == 3.0
    assert reports.metrics_of([chat, *text])["mean/score"] == -1.0
    assert reports.metrics_of(text)["mean/score"] == -2.5
    said = reports.one_line([scored("likes", 80.0), chat, *text])
    assert (
        said == "mean score 80.0 over 1 task, mean loss 1.0000 over 1 task, mean pretraining loss 2.5000 over 2 tasks"
    )
    assert reports.one_line(text) == "mean pretraining loss 2.5000 over 2 tasks"
    before = [dataclasses.replace(one, score=one.score - 0.5) for one in text]
    as_kept = lambda scores: [dataclasses.asdict(one) for one in scores]
    result = reports.table(as_kept([scored("likes", 80.0), chat, *text]), as_kept(before), ["likes", "web_0"], 9)
    group = result["groups"]["held-out pretraining: loss"]
    assert (group["before"], group["after"], group["tasks"]) == (2.0, 2.5, 2)
    assert result["groups"]["seen templates"]["tasks"] == 1
    shown = reports.render(result)
    assert shown.index("HELD-OUT PRETRAINING: LOSS") < shown.index("web_0")
    assert "HELD-OUT PRETRAINING" in reports.render(reports.table(as_kept([chat, *text]), None, [], 9))
