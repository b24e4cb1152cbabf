"""One command trains, scores and keeps a model: what its folder holds, and the ways a run can be made."""

import collections
import json
import math
import shutil
import struct

import numpy as np
import pytest

from flan_jax.data.stores.store import open_store
from flan_jax.evaluation import samples
from tests.project import losses, plan_of, rows, scores


def test_the_folder_of_a_run_holds_what_it_should(trained):
    every = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert ["scores" in row for row in every] == [True, *[False] * 30, True]
    metrics = [row for row in every if "loss" in row]
    assert [row["step"] for row in metrics] == list(range(1, 31))
    assert all(row["loss"] > 0 and row["tokens_per_second"] > 0 for row in metrics)
    assert [row["step"] for row in metrics if "by_task" in row] == [7, 14, 21, 28, 30]
    assert all(row["trainable_tokens"] == row["weight_sum"] > 0 for row in metrics)  # each weighs 1
    assert all(np.float32(row["loss"]) == row["loss"] or len(repr(row["loss"])) < 12 for row in metrics)

    results = json.loads((trained / "results.json").read_text())
    assert [task["task"] for task in results["tasks"]] == ["capitals", "capitals.held_out_templates", "parity"]
    assert results["step"] == 30 and all(task["before"] is not None for task in results["tasks"])
    assert "mask proved on 64 examples of 2 tasks" in results["mask"]["said"]
    assert results["mask"]["tasks"]["parity"]["proved"] == 40
    assert "MIXTURE = 'ours'" in (trained / "operative.gin").read_text()
    assert {task["name"] for task in plan_of(trained)["plan"]["tasks"]} == {"capitals", "parity"}
    versions = json.loads((trained / "versions.json").read_text())["packages"]
    assert versions["jax"] and versions["seqio"] and versions["flan-jax"]


def test_scores_are_a_curve_over_steps(trained):
    """Those before and after, each as the run's folder keeps them elsewhere."""
    found, results = scores(trained), json.loads((trained / "results.json").read_text())
    for step, when in ((0, "before"), (30, "after")):
        by_task = {row["task"]: {next(iter(row["metrics"])): row[when]} for row in results["tasks"]}
        assert found[step]["by_task"] == by_task
        groups = {"seen_templates": "seen templates", "held-out_templates": "held-out templates"}
        assert found[step]["by_group"] == {tag: results["groups"][name][when] for tag, name in groups.items()}
        assert found[step]["mean"] == pytest.approx(np.mean([row[when] for row in results["tasks"]]))


def test_what_was_asked_and_answered_is_kept_and_scores_as_the_task_does(trained):
    results = json.loads((trained / "results.json").read_text())
    kept = dict(samples.tasks_in(trained / "samples" / "step-30"))
    assert set(kept) == {task["task"] for task in results["tasks"]}
    for task in results["tasks"]:
        rows = samples.read(kept[task["task"]])
        assert len(rows) == task["examples"] and all(row["prompt"] for row in rows)
        assert np.mean([row["score"] for row in rows]) == pytest.approx(task["after"])
    of_options = samples.read(kept["parity"])
    for row in of_options:
        best = row["options"][int(np.argmax(row["option_log_probabilities"]))]
        assert row["answer"] == best and row["answer_log_probability"] == max(row["option_log_probabilities"])
        assert row["target"][0] in row["options"] and (row["score"] == 100) == (row["prediction"] in row["target"])


def test_tensorboard_has_every_steps_loss_and_the_scores(trained):
    (events,) = trained.rglob("events.out.tfevents.*")
    raw, at, payloads = events.read_bytes(), 0, []
    while at < len(raw):  # a record: its length (8 bytes), a checksum (4), the event, a checksum (4)
        (length,) = struct.unpack_from("<Q", raw, at)
        payloads.append(raw[at + 12 : at + 12 + length])
        at += 16 + length
    assert at == len(raw)
    assert sum(b"loss" in event for event in payloads) >= 30
    assert sum(b"scores/by_group/held-out_templates" in event for event in payloads) == 2


def test_losses_by_task_are_sums_of_the_steps_between(trained):
    metrics = rows(trained)
    totals = {7: metrics[:7], 14: metrics[7:14], 30: metrics[28:]}
    for step, part in totals.items():
        by_task = metrics[step - 1]["by_task"]
        assert sum(task["weight_sum"] for task in by_task.values()) == sum(row["weight_sum"] for row in part)
        whole = sum(row["loss"] * row["weight_sum"] for row in part)
        assert sum(task["loss_sum"] for task in by_task.values()) == pytest.approx(whole, rel=1e-5)


def test_the_loss_falls(trained):
    found = losses(trained)
    assert found[-1] < 0.5 * found[0]


@pytest.mark.usefixtures("warm")
def test_only_tasks_that_occurred_are_told(project, tmp_path):
    # With a rate of 1 in 1000, `capitals` does not come up in two steps.
    project.train(tmp_path / "run", "--mixture", "rare", "--steps", 2, "--log_period", 1)
    assert [set(row["by_task"]) for row in rows(tmp_path / "run")] == [{"parity"}, {"parity"}]


def test_a_finished_run_says_so_and_trains_nothing(project, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    before = (tmp_path / "run/metrics.jsonl").read_bytes()
    done = project.train(tmp_path / "run", "--eval_mixture", "ours_eval", "--gin.Evaluation.before=True")
    assert "is finished: step 30 of 30" in done.out and "training" not in done.err
    assert "capitals.held_out_templates" in done.out and "Next:" in done.out
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == before


def test_more_steps_go_on_and_say_what_becomes_of_the_schedule(project, tmp_path):
    linear = "--gin.Optimizer.schedule='linear'"
    project.train(tmp_path / "run", "--steps", 10, linear)
    done = project.train(tmp_path / "run", "--steps", 20, linear)
    assert "going on from step 10 of 20" in done.out
    said = next(line for line in done.out.splitlines() if line.startswith("STEPS was 10, is 20"))
    assert said.count("linear") == 2 and "step 10" in said and "step 20" in said
    found = rows(tmp_path / "run")
    assert [row["step"] for row in found] == list(range(1, 21))
    # The longer schedule's rate from there on, not the old one's end.
    assert found[10]["learning_rate"] > 2 * found[9]["learning_rate"]


def test_init_from_takes_the_parameters_and_nothing_else(project, trained, tmp_path):
    done = project.train(tmp_path / "run", "--init_from", trained, "--steps", 2)
    assert f"starting from the parameters of {trained}" in done.out
    first = rows(tmp_path / "run")[0]
    assert first["step"] == 1 and first["learning_rate"] == pytest.approx(3e-3 / 5)
    # Trained parameters on the batch that step 1 of the other run began with.
    assert first["weight_sum"] == rows(trained)[0]["weight_sum"]
    assert first["loss"] < 0.5 * losses(trained)[0]


@pytest.mark.usefixtures("warm")
def test_two_objectives_train_in_one_run_and_are_told_apart(project, loader_of, tmp_path):
    project.train(tmp_path / "run", "--mixture", "two_objectives", "--steps", 12, "--log_period", 4)
    found = rows(tmp_path / "run")
    for start in (0, 4, 8):
        part = found[start : start + 4]
        parts = part[-1]["by_objective"]
        assert set(parts) == {"instruction", "span_corruption"}
        assert sum(each["weight_sum"] for each in parts.values()) == sum(row["weight_sum"] for row in part)
        whole = sum(row["loss"] * row["weight_sum"] for row in part)
        assert sum(each["loss_sum"] for each in parts.values()) == pytest.approx(whole, rel=1e-5)
    contents = loader_of(tmp_path / "run").contents(0)
    assert any(len({task for task, *_ in row}) == 2 for row in contents), "no row holds both objectives"


def test_microbatches_change_nothing_but_memory(project, trained, tmp_path):
    project.train(tmp_path / "run", "--microbatches", 4, "--steps", 8)
    assert losses(tmp_path / "run") == pytest.approx(losses(trained)[:8], rel=1e-5)


def test_bfloat16_trains_near_float32(project, trained, tmp_path):
    project.train(tmp_path / "run", "--gin.Model.dtype='bfloat16'")
    found, wanted = losses(tmp_path / "run"), losses(trained)
    assert found != wanted and found[0] == pytest.approx(wanted[0], rel=0.02)
    assert found[-1] < 0.5 * found[0]


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("prefix_lm", [False, True])
def test_a_decoder_trains_scores_and_answers(project, tmp_path, prefix_lm):
    how = ["--model", "tiny_decoder.gin", f"--gin.Model.prefix_lm={prefix_lm}", "--eval_mixture", "ours_eval"]
    project.train(tmp_path / "run", *how)
    found = losses(tmp_path / "run")
    assert found[-1] < 0.5 * found[0]
    tasks = json.loads((tmp_path / "run/results.json").read_text())["tasks"]
    assert all(0 <= task["after"] <= 100 for task in tasks) and len(tasks) == 3
    answer = project("generate", "--run_dir", tmp_path / "run", "--prompt", "Is 7 odd or even?", "--max_new_tokens", 5)
    assert answer.code == 0 and len(answer.out.encode()) <= 6, answer


@pytest.mark.usefixtures("warm")
def test_three_epochs_train_every_example_three_times(project, loader_of, tmp_path):
    project.train(tmp_path / "run", "--mixture", "few", "--epochs", 3, "--batch_size", 1)
    loader, steps = loader_of(tmp_path / "run"), len(losses(tmp_path / "run"))
    seen: collections.Counter = collections.Counter()
    for step in range(steps):
        for row in loader.contents(step):
            seen.update(index for _, index, _, _ in row)
    assert seen == {index: 3 for index in range(37)}
    # What the run trained on is what the plan says: the same number of target tokens, all told.
    lengths = open_store(plan_of(tmp_path / "run")["folders"][0] + "/draw-0").lengths("targets")
    assert sum(row["weight_sum"] for row in rows(tmp_path / "run")) == 3 * lengths.sum()
    assert not math.isnan(losses(tmp_path / "run")[-1])
