"""Plain text beside instructions in one run: told in the plan, in the losses and in the results."""

import json

import numpy as np
import pytest

from tests.project import check_refused, plan_of, rows, scores

pytestmark = pytest.mark.usefixtures("warm")
MERGED = ("--mixture", "parity_with_sentinels", "--pretraining", "held_prose")


def test_a_merged_run_tells_its_losses_apart_and_scores_held_out_text(project, tmp_path):
    share = ("--pretraining_fraction", "0:0.5,1:0.5")  # a schedule that does not change is none
    scored = ("--gin.Evaluation.before=True", "--gin.Checkpoints.best_metric='held_prose/score'")
    scored += ("--gin.Evaluation.split='test'",)
    done = project.train(tmp_path / "run", *MERGED, *share, *scored, "--steps", 12, "--log_period", 4)
    assert "pretraining: " in done.out and "tokens prepared of 'held_prose'" in done.out
    kept = plan_of(tmp_path / "run")
    parts = {part["part"]: part for part in kept["table"]["parts"]}
    assert {name: part["tasks"] for name, part in parts.items()} == {
        "instruction": ["parity_with_sentinels"],
        "pretraining": ["held_prose"],
    }
    assert [task["beside"] for task in kept["plan"]["tasks"]] == [False, True]
    found = rows(tmp_path / "run")
    for row in found[3::4]:
        assert set(row["by_part"]) == {"instruction", "pretraining"}
        assert row["by_part"]["pretraining"] == row["by_objective"]["span_corruption"]
    learnt = {name: sum(row["by_part"][name]["weight_sum"] for row in found[3::4]) for name in parts}
    assert learnt["pretraining"] / sum(learnt.values()) == pytest.approx(0.5, abs=0.04)
    # Without EVAL_MIXTURE the text alone is scored, by its validation split as it has no other that is held out: before
    # the first step, and after the last.
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    (text,) = results["tasks"]
    assert text["task"] == "held_prose" and text["group"] == "held-out pretraining" and text["unit"] == "loss"
    assert text["examples"] == 9 and text["after"] < text["before"]
    assert set(scores(tmp_path / "run")) == {0, 12}
    table = done.out.partition("Losses a token, on rows that were not trained on, at step 12")[2]
    assert "HELD-OUT PRETRAINING" in table and "held_prose" in table
    assert f"step 12: mean pretraining loss {text['after']:.4f} over 1 task" in done.err


def test_the_control_without_text_is_scored_by_it_too(project, tmp_path):
    fraction = ("--pretraining_fraction", 0, "--eval_mixture", "parity_with_sentinels")
    done = project.train(tmp_path / "run", *MERGED, *fraction, "--gin.Evaluation.split='train'", "--steps", 4)
    assert [task["name"] for task in plan_of(tmp_path / "run")["plan"]["tasks"]] == ["parity_with_sentinels"]
    assert not any("by_part" in row for row in rows(tmp_path / "run"))
    groups = json.loads((tmp_path / "run" / "results.json").read_text())["groups"]
    assert set(groups) == {"seen templates", "held-out pretraining: loss"} and "mean pretraining loss" in done.err
    # A split that it lacks leaves it out, with a word; here that of the other task.
    lacks = project("plan", "--gin_file", "run.gin", *MERGED[:3], "prose", "--steps", 4)
    assert lacks.code == 0 and "held-out loss: prose lack the split 'validation'" in lacks.err


def test_a_schedule_goes_by_the_length_of_the_run_which_then_may_not_change(project, tmp_path):
    schedule = ("--pretraining_fraction", "0:0.6,1:0.1", "--gin.Pretraining.tokens=400", "--gin.Pretraining.eval=False")
    project.train(tmp_path / "run", *MERGED, *schedule, "--steps", 30)
    window = [row["by_part"] for row in rows(tmp_path / "run") if "by_part" in row]
    share = [part["pretraining"]["weight_sum"] / sum(p["weight_sum"] for p in part.values()) for part in window]
    assert share[0] > 0.45 and share[-1] < 0.3 and np.all(np.diff(share) < 0.05)
    more = project("train", "--gin_file", "run.gin", "--run_dir", tmp_path / "run", *MERGED, *schedule, "--steps", 60)
    check_refused(
        more, "PRETRAINING_FRACTION is ((0.0, 0.6), (1.0, 0.1)), a schedule over the whole run", "was 30 steps"
    )
    assert rows(tmp_path / "run")[-1]["step"] == 30


def test_more_steps_go_on_where_the_text_is_all_there(project, tmp_path):
    share = ("--pretraining_fraction", 0.3, "--gin.Pretraining.eval=False")
    project.train(tmp_path / "run", *MERGED, *share, "--steps", 2)
    done = project.train(tmp_path / "run", *MERGED, *share, "--steps", 6)
    assert "going on from step 2 of 6" in done.out


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("--pretraining", "parity", "--pretraining_fraction", 0.1), ("PRETRAINING", "'parity'", "no plain text")),
        (("--pretraining", "parity"), ("PRETRAINING", "'parity'", "no plain text")),
        (("--pretraining_fraction", 0.1), ("PRETRAINING_FRACTION is 0.1", "no task of plain text")),
        (("--pretraining", "prosa", "--pretraining_fraction", 0.1), ("prosa", "Set PRETRAINING to one")),
        (("--replay_fraction", 0.2), ("REPLAY_FRACTION is 0.2, and REPLAY is not set",)),
        (("--replay", "parity", "--replay_fraction", 0.2), ("REPLAY 'parity' has another vocabulary",)),
        (
            ("--pretraining_fraction", 0.6, "--replay_fraction", 0.5),
            ("PRETRAINING_FRACTION is 0.6 and REPLAY_FRACTION 0.5", "less than 1 together"),
        ),
        (
            ("--pretraining", "prose", "--gin.Pretraining.lengths={'inputs': 128, 'targets': 16}"),
            ("Pretraining.lengths is", "wanted no more than rows of FEATURE_LENGTHS"),
        ),
        (("--gin.Pretraining.lengths={'inputs': 128}", "--gin.Pretraining.tokens=0"), ("lengths is", "tokens is 0")),
    ],
)
def test_shares_that_cannot_be_are_refused_in_words(project, settings, words):
    done = project("plan", "--gin_file", "run.gin", "--mixture", "parity_with_sentinels", "--steps", 4, *settings)
    check_refused(done, *words)
