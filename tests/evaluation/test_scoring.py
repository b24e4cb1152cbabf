"""Scores of a trained run against a plain loop: one row at a time, full forward passes, no shared prompt, no cache."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from flan_jax import setup
from flan_jax.config.kept import load_run
from flan_jax.data.preparing import references
from flan_jax.data.resolve import resolve
from flan_jax.data.stores.store import open_store
from flan_jax.evaluation.scoring import rank, score
from flan_jax.inference.generation import GenerationConfig
from tests.evaluation.by_hand import log_probability, row, shape_of


@pytest.fixture(scope="module")
def resolved(project, trained, worker):
    """The eval mixture's tasks, prepared."""
    config = load_run(trained)
    return resolve(setup.request_of(config, "ours_eval", "validation", 200), worker)


def by_hand(forward, config, store, i, ranking):
    """The scores of one example's options."""
    prompt = store.tokens("inputs", i)
    found = []
    for option in store.options(i):
        value = log_probability(forward, config, prompt, option)
        if ranking == "mean":
            value /= len(option)
        if ranking == "unconditional":
            value -= log_probability(forward, config, prompt[:0], option)
        found.append(value)
    return found


@pytest.mark.parametrize("ranking", ["sum", "mean", "unconditional"])
def test_ranking_is_what_a_plain_loop_finds(run, resolved, ranking):
    folder, model, forward, _ = run
    store = open_store(next(task for task in resolved.tasks if task.name == "parity").store())
    assert store.count == 6 and len(store.options(0)) == 2
    values = [by_hand(forward, load_run(folder), store, i, ranking) for i in range(store.count)]
    found, sums = rank(model, store, 64, 4, ranking)
    # An example of two options has no third.
    assert found.shape == sums.shape == (6, 4) and np.isneginf(found[:, 2:]).all()
    # The figures themselves, as the best of two agrees by luck half the time.
    np.testing.assert_allclose(found[:, :2], values, atol=1e-4)
    np.testing.assert_allclose(
        sums[:, :2], [by_hand(forward, load_run(folder), store, i, "sum") for i in range(6)], atol=1e-4
    )


def test_the_three_rankings_are_not_one(run, resolved):
    """ "odd" and "even" differ in length, so what is divided or taken off matters."""
    _, model, _, _ = run
    store = open_store(next(task for task in resolved.tasks if task.name == "parity").store())
    gaps = [np.subtract(*rank(model, store, 64, 4, how)[0][0, :2]) for how in ("sum", "mean", "unconditional")]
    assert len({round(float(gap), 4) for gap in gaps}) == 3


def test_seqio_metrics_of_scores_get_the_log_likelihood_of_the_targets(run, worker):
    """And those of auxiliary values that of the answers; one that raises takes no other with it."""
    folder, model, forward, codec = run
    config = load_run(folder)
    task = resolve(setup.request_of(config, "judged", "validation", 200), worker)
    (found,) = score(model, task, worker, codec, shape=shape_of(config), batch_size=2)
    store = open_store(task.tasks[0].store())
    prompts, targets = ([store.tokens(name, i) for i in range(3)] for name in ("inputs", "targets"))
    by_loop = [log_probability(forward, config, *pair) for pair in zip(prompts, targets, strict=True)]
    answers = [model.generate(row(prompt + 1, 64) - 1, GenerationConfig(16)).tokens[0] for prompt in prompts]
    sure = [log_probability(forward, config, p, a[a >= 0]) for p, a in zip(prompts, answers, strict=True)]
    assert found.metrics == {
        "log_likelihood": pytest.approx(sum(by_loop), rel=1e-4),
        "sure": pytest.approx(sum(sure), rel=1e-4),
    }
    assert (found.kind, found.unit, found.chance) == ("generate", "broken", None)
    # Functions of predictions come first, as in seqio: the score would be theirs.
    assert found.score is None
    (sentence,) = found.failures
    assert sentence.startswith("The metric 'broken' of task 'judged' raised ZeroDivisionError: no words (")
    assert "more_tasks.py, line" in sentence


def test_scores_are_the_tasks_own_metrics_of_these_choices(run, resolved, worker):
    folder, model, forward, codec = run
    config = load_run(folder)
    scores = {each.task: each for each in score(model, resolved, worker, codec, shape=shape_of(config), batch_size=4)}
    store = open_store(next(task for task in resolved.tasks if task.name == "parity").store())
    right = [int(np.argmax(by_hand(forward, config, store, i, "sum"))) == store.answer(i) for i in range(store.count)]
    parity = scores["parity"]
    assert (parity.kind, parity.examples, parity.chance) == ("rank", 6, 50.0)
    assert parity.score == pytest.approx(100 * np.mean(right)) == parity.metrics["accuracy"]
    capitals = scores["capitals"]
    assert (capitals.kind, capitals.examples, capitals.chance) == ("generate", 6, None)
    assert set(capitals.metrics) == {"exact_match"}
    # The next scoring finds what these were compared with beside the tokens.
    assert all(pathlib.Path(task.store(), references.NAME).exists() for task in resolved.tasks)


def test_a_task_of_other_code_is_scored_by_its_own_metric(run, project, worker):
    """`shout` wants the number that its prompt says; its metric is its own function, of its own name."""
    folder, model, _, codec = run
    request = setup.request_of(load_run(folder), "shout", "validation", 12)
    task = resolve(request, worker)
    (found,) = score(model, task, worker, codec, shape=shape_of(load_run(folder)), batch_size=4)
    assert found.kind == "generate" and set(found.metrics) == {"equal"} and found.examples == 12
    store = open_store(task.tasks[0].store())
    hits = 0
    for i in range(12):
        inputs = np.full((1, 64), -1, np.int32)
        inputs[0, : len(store.tokens("inputs", i))] = store.tokens("inputs", i)
        hits += codec.decode(
            [token for token in model.generate(inputs, GenerationConfig(16)).tokens[0] if token >= 0]
        ) == codec.decode(store.tokens("targets", i))
    assert found.metrics["equal"] == pytest.approx(hits / 12)
    # Perfect answers get a perfect score: predictions and examples are in the same order.
    answers = [codec.decode(store.tokens("targets", i)) for i in range(12)]
    job = {"task": "shout", "store": task.tasks[0].store()}
    assert worker.call("score", jobs=[{**job, "predictions": answers}], request=request) == [
        {"figures": {"equal": 1.0}, "score": "equal", "unit": "equal", "failures": [], "by_template": {}, "samples": []}
    ]
    wrong = [*answers[1:], answers[0]]
    assert worker.call("score", jobs=[{**job, "predictions": wrong}], request=request)[0]["figures"] == {"equal": 0.0}
    # A task that cannot be scored is told, and leaves the others alone.
    jobs = [{**job, "predictions": answers[:3]}, {**job, "predictions": answers}]
    told, sound = worker.call("score", jobs=jobs, request=request)
    assert sound["figures"] == {"equal": 1.0} and not told["figures"]
    assert told["failures"] == [
        "Task 'shout' could not be scored: Task 'shout' has 12 examples in 'validation' and 3 predictions were given; "
        "give one for each."
    ]


def test_a_task_without_a_metric_is_scored_by_its_loss(run, project, worker):
    """Against the loop: minus the log-probability of every target token, over their number."""
    folder, model, forward, codec = run
    request = setup.request_of(load_run(folder), "plain", "train")
    task = resolve(request, worker)
    (found,) = score(model, task, worker, codec, shape=shape_of(load_run(folder)), batch_size=2)
    store = open_store(task.tasks[0].store())
    pairs = [(store.tokens("inputs", i), store.tokens("targets", i)) for i in range(3)]
    whole = -sum(log_probability(forward, load_run(folder), *pair) for pair in pairs)
    assert (found.kind, found.examples) == ("loss", 3)
    assert found.metrics == {"loss": pytest.approx(whole / sum(len(targets) for _, targets in pairs), rel=1e-5)}


@pytest.mark.usefixtures("warm")
def test_eval_prints_the_table_of_the_run(project, trained):
    done = project("eval", "--run_dir", trained)
    assert done.code == 0, done.err
    results = {row["task"]: row for row in json.loads((trained / "results.json").read_text())["tasks"]}
    told = {line.split()[0]: line.split() for line in done.out.splitlines() if line.startswith("  ")}
    assert set(told) == set(results)
    for name, kept in results.items():
        assert float(told[name][3]) == pytest.approx(kept["after"], abs=0.01), name
    assert "HELD-OUT TEMPLATES" in done.out and "SEEN TEMPLATES" in done.out


@pytest.mark.usefixtures("warm")
def test_eval_scores_what_is_asked_for(project, trained, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    done = project("eval", "--run_dir", run_dir, "--mixture", "parity", "--step", 10, "--split", "train")
    assert done.code == 0 and "at step 10" in done.out
    assert [line.split()[:2] for line in done.out.splitlines() if line.startswith("  ")] == [["parity", "40"]]
    kept = json.loads((run_dir / "eval.json").read_text())
    assert (kept["mixture"], kept["split"], kept["step"]) == ("parity", "train", 10)
    assert [row["task"] for row in kept["tasks"]] == ["parity"]
    # Of another's folder: all is printed, and nothing is lost but the file.
    (run_dir / "eval.json").unlink()
    (run_dir / f"eval.json.partial-{os.getpid()}").mkdir()
    again = project("eval", "--run_dir", run_dir, "--mixture", "parity", "--step", 10, "--split", "train")
    assert again == done and not (run_dir / "eval.json").exists()
