"""The matrix of stages, from tables written out by hand."""

import math

import pytest

from flan_jax.evaluation import stage_scores


def row(task, after, before=None, unit="%", error=0.0, group="seen templates"):
    return {
        "task": task,
        "after": after,
        "before": before,
        "unit": unit,
        "standard_error": error,
        "group": group,
        "examples": 9,
    }


def table(step, *rows):
    return {"step": step, "tasks": list(rows)}


@pytest.fixture
def found():
    stages = {
        "one": table(
            30,
            row("a", 80.0, 10.0, error=3.0),
            row("b", 60.0, 20.0, error=4.0),
            row("chat", 3.0, 7.0, "loss"),
            row("a.as_b", 5.0, 5.0, group="another task's instruction"),
        ),
        "two": table(20, row("a", 90.0, error=3.0), row("b", 70.0, error=4.0), row("chat", 1.0, unit="loss")),
        "three": table(10, row("a", 50.0, error=6.0), row("b", 40.0, error=8.0), row("chat", 1.5, unit="loss")),
    }
    return stage_scores.matrix(stages, {"tasks": ["a", "b", "a.as_b"], "chat": ["chat"], "a": ["a"]})


def test_rows_are_stages_and_columns_means_of_one_unit(found):
    assert [(row["after"], row["step"]) for row in found["rows"]] == [
        ("before", 0),
        ("one", 30),
        ("two", 20),
        ("three", 10),
    ]
    means = {name: [row["means"][name]["mean"] for row in found["rows"]] for name in ("tasks", "chat: loss", "a")}
    # Under another task's instruction a high score is none of the task's.
    assert means == {"tasks": [15, 70, 80, 45], "chat: loss": [7, 3, 1, 1.5], "a": [10, 80, 90, 50]}
    assert found["rows"][1]["means"]["tasks"]["standard_error"] == pytest.approx(math.sqrt(9 + 16) / 2)
    assert found["rows"][1]["tasks"]["b"] == {"score": 60.0, "unit": "%", "standard_error": 4.0}


def test_what_was_forgotten_is_the_best_of_earlier_stages_less_the_last(found):
    lost = found["forgotten"]
    assert lost["tasks"]["after"] == "two" and lost["tasks"]["forgotten"] == 35
    assert lost["tasks"]["standard_error"] == pytest.approx(math.hypot(2.5, 5.0))
    assert (lost["chat: loss"]["after"], lost["chat: loss"]["forgotten"]) == ("two", 0.5)  # of losses low is good


def test_the_table_and_what_it_says(found, tmp_path):
    said = stage_scores.render(found, tmp_path / "stages.json")
    lines = said.splitlines()
    assert lines[0].startswith("Scores after each stage") and "stages.json" in lines[0]
    assert lines[1].split("  ")[0] == "after" and lines[3].split() == ["before", "0", "15.00", "7.0000", "10.00"]
    assert lines[6].split() == ["three", "10", "45.00", "1.5000", "50.00"]
    assert "tasks: 80.0 after two, 45.0 now, 35.0 ± 5.6 forgotten." in lines
    assert "chat: loss: 1.0000 after two, 1.5000 now, 0.5000 forgotten." in lines


def test_what_got_better_was_not_forgotten(tmp_path):
    found = stage_scores.matrix({"one": table(3, row("a", 10.0)), "two": table(3, row("a", 30.0))}, {"a": ["a"]})
    assert found["forgotten"]["a"]["forgotten"] == -20
    assert "20.0 ± 0.0 better: nothing forgotten" in stage_scores.render(found, tmp_path)
    assert [row["after"] for row in found["rows"]] == ["one", "two"]  # nothing was scored before


def test_a_stage_alone_forgets_nothing_and_a_task_without_a_score_has_no_part():
    found = stage_scores.matrix({"one": table(3, row("a", 10.0), row("b", None))}, {"ab": ["a", "b"]})
    assert found["forgotten"] == {} and found["rows"][0]["means"]["ab"]["tasks"] == 1
