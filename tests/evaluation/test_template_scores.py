"""Scores by template: from rows scored under each, and of the template that another split chose."""

import json
import re

import pytest

from flan_jax.evaluation import template_scores
from tests.project import run

DEV = {
    "mixture": "m",
    "split": "validation",
    "step": 30,
    "tasks": [{"task": "a", "by_template": {"0": 50.0, "1": 75.0}}],
}


def test_the_template_is_chosen_on_another_split_of_the_same_mixture_and_step():
    expected = {"split": "validation", "by_template": {"a": {"0": 50.0, "1": 75.0}}}
    assert template_scores.chosen(DEV, "m", "test", 30) == expected
    assert template_scores.chosen(DEV, "m", "validation", 30) is None
    assert template_scores.chosen(DEV, "other", "test", 30) is None
    assert template_scores.chosen(DEV, "m", "test", 20) is None
    assert template_scores.chosen(None, "m", "test", 30) is None
    # A test that is scored again still has the choice that it rested on.
    again = {"mixture": "m", "split": "test", "step": 30, "tasks": [], "chosen_on": expected}
    assert template_scores.chosen(again, "m", "test", 30) == expected
    assert template_scores.chosen({"mixture": "m", "split": "old", "step": 30, "tasks": [{"task": "a"}]}, "m", "x", 30)


def test_mean_spread_and_the_chosen_templates_score():
    scored = {"a": {"0": 40.0, "1": 60.0, "2": 80.0}, "b": {"0": 10.0, "3": 30.0}}
    chosen_on = {"split": "validation", "by_template": {"a": {"0": 70.0, "1": 90.0, "2": 10.0}}}
    a, b = template_scores.rows(scored, chosen_on)
    assert (a["mean"], a["worst"], a["best"], a["chosen"], a["chosen_score"]) == (60.0, 40.0, 80.0, 2, 60.0)
    assert a["spread"] == pytest.approx((800 / 3) ** 0.5)
    assert (b["mean"], b["spread"], b["chosen"], b["chosen_score"]) == (20.0, 10.0, None, None)
    text = template_scores.render([a, b], chosen_on)
    assert re.search(r"best on validation +its score", text)
    assert text.splitlines()[-1].split() == ["2", "tasks", "-", "40.00", "13.16", "-", "-", "-", "60.00"]
    assert template_scores.render([], None) == ""


def test_every_row_is_scored_under_every_template_and_the_choice_is_kept(project, trained, tmp_path):
    """Of the user's tasks `capitals` has two templates and `parity` one."""
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    argv = ("eval", "--run_dir", folder, "--mixture", "ours")
    done = run(*argv, "--each_template", cwd=project.folder, compiled=project.compiled)
    assert done.code == 0, done.err
    assert "By template" in done.out and "best on" not in done.out
    first = json.loads((folder / "eval.json").read_text())
    rows = {row["task"]: row for row in first["tasks"]}
    assert rows["capitals"]["examples"] == 12 and set(rows["capitals"]["by_template"]) == {"0", "1"}
    assert rows["parity"]["examples"] == 6 and rows["parity"]["by_template"] == {}
    mean = sum(rows["capitals"]["by_template"].values()) / 2
    assert rows["capitals"]["after"] == pytest.approx(mean)
    # Six rows under two templates tell no more than six rows: the error is that of six.
    drawn = {**rows["capitals"], "kind": "generate", "score": rows["capitals"]["after"], "about": {}, "failures": ()}
    from flan_jax.evaluation.reports import table

    six = table([{**drawn, "examples": 6}], None, (), 30)["tasks"][0]
    assert rows["capitals"]["standard_error"] == six["standard_error"]
    done = run(*argv, "--split", "train", "--each_template", cwd=project.folder, compiled=project.compiled)
    assert done.code == 0, done.err
    assert "best on validation" in done.out
    second = json.loads((folder / "eval.json").read_text())
    (row,) = second["templates"]
    best = max(rows["capitals"]["by_template"], key=rows["capitals"]["by_template"].get)
    assert row["chosen"] == int(best) + 1 and second["chosen_on"]["split"] == "validation"
