"""A sweep's table: means and ranges over seeds, differences from the first row, and how both are told."""

import numpy as np
import pytest

from flan_jax.evaluation import reports, sweep_scores

SEEN, HELD_OUT = reports.SEEN, "held-out tasks: loss"
SCORES = {
    ("0.001", 0): 60.0,
    ("0.001", 1): 64.0,
    ("0.01", 0): 70.0,
    ("0.01", 1): 71.5,
    ("0.1", 0): 58.0,
    ("0.1", 1): 61.0,
}


def run(values, figures, before=(), tasks=(), finished=True):
    named = lambda pairs: {name: {"value": value, "unit": unit} for name, value, unit in pairs}
    return {"values": values, "finished": finished} | (
        {"figures": named(figures), "before": named(before), "tasks": named(tasks)} if finished else {}
    )


@pytest.fixture
def runs():
    return [
        run({"LEARNING_RATE": rate, "SEED": str(seed)}, [(SEEN, score, "%"), ("training loss", 2.0 - seed, "loss")])
        for (rate, seed), score in SCORES.items()
    ]


def test_rows_are_means_and_ranges_over_seeds(runs):
    found = sweep_scores.summary(runs)
    assert [row["values"] for row in found["rows"]] == [{"LEARNING_RATE": rate} for rate in ("0.001", "0.01", "0.1")]
    for rate, cell in zip(("0.001", "0.01", "0.1"), found["figures"][SEEN]["cells"], strict=True):
        values = [score for (name, _), score in SCORES.items() if name == rate]
        assert (cell["mean"], cell["low"], cell["high"]) == (np.mean(values), np.min(values), np.max(values))


def test_a_difference_is_from_the_first_row_and_says_whether_ranges_meet(runs):
    first, apart, meets = sweep_scores.summary(runs)["figures"][SEEN]["cells"]
    assert "difference" not in first
    assert (apart["difference"], apart["apart"]) == (pytest.approx(8.75), True)
    assert (meets["difference"], meets["apart"]) == (pytest.approx(-2.5), False)


def test_runs_that_are_not_finished_or_lack_a_figure_take_no_part(runs):
    runs[3] = run(runs[3]["values"], (), finished=False)
    runs[5]["figures"].pop(SEEN)
    found = sweep_scores.summary(runs)
    assert [(row["finished"], row["of"]) for row in found["rows"]] == [(2, 2), (1, 2), (2, 2)]
    cells = found["figures"][SEEN]["cells"]
    assert [cell["runs"] for cell in cells] == [2, 1, 1]
    assert cells[1]["mean"] == 70.0 and "apart" not in cells[1]  # of one run there is no range
    for one in runs[2:4]:
        one["finished"] = False
    assert sweep_scores.summary(runs)["figures"][SEEN]["cells"][1] is None


def test_the_table_has_a_block_a_figure_with_the_scores_before(runs):
    for number, one in enumerate(runs):
        one["before"] = {SEEN: {"value": 20.0 + number, "unit": "%"}}
    lines = sweep_scores.render(sweep_scores.summary(runs)).splitlines()
    cells = [line.split() for line in lines]
    assert " ".join(cells[0]) == "LEARNING_RATE runs mean lowest highest from the first ranges"
    assert cells[2:7] == [
        ["seen", "templates", "(%)"],
        ["before", "6", "22.5", "20.0", "25.0"],
        ["after", "0.001", "2", "62.0", "60.0", "64.0", "-"],
        ["after", "0.01", "2", "70.8", "70.0", "71.5", "+8.8", "apart"],
        ["after", "0.1", "2", "59.5", "58.0", "61.0", "-2.5", "overlap"],
    ]
    assert cells[8][:2] == ["training", "loss"] and cells[9][3:6] == ["1.5000", "1.0000", "2.0000"]
    assert lines[-1].startswith("finished: 2 of 2 runs with LEARNING_RATE=0.001; 2 of 2")


def test_seeds_alone_make_one_row_without_differences(runs):
    seeds = [one | {"values": {"SEED": one["values"]["SEED"]}} for one in runs[:2]]
    text = sweep_scores.render(sweep_scores.summary(seeds))
    assert "from the first" not in text and "62.0    60.0     64.0" in text
    assert text.endswith("finished: 2 of 2 runs")


def test_a_task_is_shown_on_request_and_one_that_nobody_scored_is_named(runs):
    for one in runs:
        one["tasks"] = {"summaries": {"value": 0.25, "unit": "rouge"}}
    assert sweep_scores.summary(runs)["figures"].keys() == {SEEN, "training loss"}
    shown = sweep_scores.summary(runs, ["summaries", "summary"])["figures"]
    assert list(shown) == [SEEN, "summaries", "training loss"] and shown["summaries"]["cells"][0]["mean"] == 0.25
    said = sweep_scores.unknown_tasks(runs, ["summaries", "summary"])
    assert said == ["--show summary: no run has a score of it; did you mean 'summaries'?"]


def task_score(task, score, **more):
    return {
        "task": task,
        "kind": "rank",
        "examples": 10,
        "score": score,
        "chance": None,
        "metrics": {},
        "about": {},
        "unit": "%",
        **more,
    }


def test_figures_of_a_run_are_its_groups_its_tasks_and_what_its_log_ends_with():
    after = [task_score("a", 50.0), task_score("b", 70.0), task_score("c", 1.5, unit="loss")]
    before = [task_score("a", 10.0), task_score("b", 20.0), task_score("c", 2.5, unit="loss")]
    log = [
        {"step": 1, "tokens_per_second": 5.0},
        {"step": 2, "tokens_per_second": 90.0, "by_objective": {"x": {"loss_sum": 9.0, "weight_sum": 1.0}}},
        {"step": 3, "tokens_per_second": 100.0},
        {
            "step": 4,
            "tokens_per_second": None,
            "by_objective": {"x": {"loss_sum": 6.0, "weight_sum": 2.0}, "y": {"loss_sum": 1.0, "weight_sum": 5.0}},
        },
    ]
    found = sweep_scores.figures_of(reports.table(after, before, ["a", "b"], 4), None, log)
    assert {name: one["value"] for name, one in found["figures"].items()} == {
        "seen templates": 60.0,
        "held-out tasks: loss": 1.5,
        "training loss": 1.0,
        "tokens/s": 90.0,
    }
    assert {name: one["value"] for name, one in found["before"].items()} == {"seen templates": 15.0, HELD_OUT: 2.5}
    assert found["tasks"]["c"] == {"value": 1.5, "unit": "loss"}


def test_stages_are_told_by_their_matrix():
    cells = {"old": {"mean": 80.0}, "old: loss": {"mean": 1.0}}
    rows = [{"after": "before", "step": 0, "means": cells}, {"after": "tasks", "step": 9, "means": cells}]
    result = reports.table([task_score("a", 50.0)], None, ["a"], 4)
    found = sweep_scores.figures_of(result, {"rows": rows}, [])
    assert found["figures"] == {
        "old after tasks": {"value": 80.0, "unit": "%"},
        "old: loss after tasks": {"value": 1.0, "unit": "loss"},
    }
