"""Scores of a trained run against a plain loop: one row at a time, full forward passes, no shared prompt, no cache."""

import json

import jax
import numpy as np
import pytest
from flax import nnx

from flan_jax import setup
from flan_jax.config import load_run
from flan_jax.data.resolve import resolve
from flan_jax.data.rows import RowShape, Segment, assemble
from flan_jax.data.store import open_store
from flan_jax.evaluation.model import Writing
from flan_jax.evaluation.run import load_model
from flan_jax.evaluation.scoring import choose, score


@pytest.fixture(scope="module", params=["encoder_decoder", "causal", "prefix_lm"])
def run(request, project, trained, tmp_path_factory):
    """A run of each kind of model: its folder, the model ready to be asked, its plain forward pass, its codec."""
    folder = trained
    if request.param != "encoder_decoder":
        folder = tmp_path_factory.mktemp("runs") / request.param
        how = ["--model", "tiny_decoder.gin", f"--gin.Model.prefix_lm={request.param == 'prefix_lm'}"]
        project.train(folder, *how)
    asked, codec, _ = load_model(load_run(folder), None)
    forward = jax.jit(lambda params, batch: jax.nn.log_softmax(nnx.merge(asked.graph, params)(batch), axis=-1))
    return folder, asked, lambda batch: np.asarray(forward(asked.params, batch))[0], codec


@pytest.fixture(scope="module")
def resolved(project, trained, worker):
    """The eval mixture's tasks, prepared."""
    config = load_run(trained)
    return resolve(setup.request_of(config, "ours_eval", "validation", 200), worker)


def shape_of(config):
    return RowShape(config.model.architecture, 64, 16)


def log_probability(model, config, prompt, answer):
    """Sum over the answer's tokens, from the logits of one row that holds prompt and answer alone."""
    batch = assemble([[Segment(np.asarray(prompt), np.asarray(answer))]], shape_of(config))
    log_probs = model(batch)
    held = batch["decoder_loss_weights"][0] > 0
    assert held.sum() == len(answer)
    return float(sum(log_probs[t, token] for t, token in zip(np.flatnonzero(held), answer, strict=True)))


def by_hand(model, config, store, i, ranking):
    """The scores of one example's options."""
    prompt = store.tokens("inputs", i)
    found = []
    for option in store.options(i):
        value = log_probability(model, config, prompt, option)
        if ranking == "mean":
            value /= len(option)
        if ranking == "unconditional":
            value -= log_probability(model, config, prompt[:0], option)
        found.append(value)
    return found


@pytest.mark.parametrize("ranking", ["sum", "mean", "unconditional"])
def test_ranking_is_what_a_plain_loop_finds(run, resolved, ranking):
    folder, asked, model, _ = run
    store = open_store(next(task for task in resolved.tasks if task.name == "parity").store())
    assert store.count == 6 and len(store.options(0)) == 2
    values = [by_hand(model, load_run(folder), store, i, ranking) for i in range(store.count)]
    chosen = choose(asked, store, 64, 4, ranking)
    assert chosen == [int(np.argmax(each)) for each in values]
    # The figures themselves, so that a ranking cannot agree by luck.
    prompts = np.full((6, 64), -1, np.int32)
    options = np.full((6, 2, 6), -1, np.int32)
    for i in range(6):
        prompts[i, : len(store.tokens("inputs", i))] = store.tokens("inputs", i)
        for o, option in enumerate(store.options(i)):
            options[i, o, : len(option)] = option
    sums, lengths = asked.option_scores(prompts, options)
    wanted = [by_hand(model, load_run(folder), store, i, "sum") for i in range(6)]
    np.testing.assert_allclose(sums, wanted, atol=1e-4)
    assert lengths.tolist() == [[len(option) for option in store.options(i)] for i in range(6)]


def test_the_three_rankings_are_not_one(run, resolved):
    """ "odd" and "even" differ in length, so what is divided or taken off matters."""
    folder, _, model, _ = run
    store = open_store(next(task for task in resolved.tasks if task.name == "parity").store())
    gaps = {
        how: np.subtract(*by_hand(model, load_run(folder), store, 0, how)) for how in ("sum", "mean", "unconditional")
    }
    assert len({round(float(gap), 4) for gap in gaps.values()}) == 3


def test_scores_are_the_tasks_own_metrics_of_these_choices(run, resolved, worker):
    folder, asked, model, codec = run
    config = load_run(folder)
    scores = {each.task: each for each in score(asked, resolved, worker, codec, shape=shape_of(config), batch_size=4)}
    store = open_store(next(task for task in resolved.tasks if task.name == "parity").store())
    right = [int(np.argmax(by_hand(model, config, store, i, "sum"))) == store.answer(i) for i in range(store.count)]
    parity = scores["parity"]
    assert (parity.kind, parity.examples, parity.chance) == ("rank", 6, 50.0)
    assert parity.score == pytest.approx(100 * np.mean(right)) == parity.metrics["accuracy"]
    capitals = scores["capitals"]
    assert (capitals.kind, capitals.examples, capitals.chance) == ("generate", 6, None)
    assert set(capitals.metrics) == {"exact_match"}


def test_a_task_of_other_code_is_scored_by_its_own_metric(run, project, worker):
    """`shout` wants the number that its prompt says; its metric is its own function, of its own name."""
    folder, asked, _, codec = run
    request = setup.request_of(load_run(folder), "shout", "validation", 12)
    task = resolve(request, worker)
    (found,) = score(asked, task, worker, codec, shape=shape_of(load_run(folder)), batch_size=4)
    assert found.kind == "generate" and set(found.metrics) == {"equal"} and found.examples == 12
    store = open_store(task.tasks[0].store())
    hits = 0
    for i in range(12):
        inputs = np.full((1, 64), -1, np.int32)
        inputs[0, : len(store.tokens("inputs", i))] = store.tokens("inputs", i)
        hits += codec.decode(
            [token for token in asked.answers(inputs, Writing(16)).tokens[0] if token >= 0]
        ) == codec.decode(store.tokens("targets", i))
    assert found.metrics["equal"] == pytest.approx(hits / 12)
    # Perfect answers get a perfect score: predictions and examples are in the same order.
    answers = [codec.decode(store.tokens("targets", i)) for i in range(12)]
    how = {k: v for k, v in request.arguments().items() if k not in ("mixture", "store_dir", "max_draws")}
    assert worker.call("score", jobs=[{"task": "shout", "predictions": answers}], **how) == [{"equal": 1.0}]
    wrong = [*answers[1:], answers[0]]
    assert worker.call("score", jobs=[{"task": "shout", "predictions": wrong}], **how) == [{"equal": 0.0}]


def test_a_task_without_a_metric_is_scored_by_its_loss(run, project, worker):
    """Against the loop: minus the log-probability of every target token, over their number."""
    folder, asked, model, codec = run
    request = setup.request_of(load_run(folder), "plain", "train")
    task = resolve(request, worker)
    (found,) = score(asked, task, worker, codec, shape=shape_of(load_run(folder)), batch_size=2)
    store = open_store(task.tasks[0].store())
    pairs = [(store.tokens("inputs", i), store.tokens("targets", i)) for i in range(3)]
    whole = -sum(log_probability(model, load_run(folder), *pair) for pair in pairs)
    assert (found.kind, found.examples) == ("loss", 3)
    assert found.metrics == {"loss": pytest.approx(whole / sum(len(targets) for _, targets in pairs), rel=1e-5)}


@pytest.mark.usefixtures("warm")
def test_eval_prints_the_table_of_the_run(project, trained):
    done = project("eval", "--run_dir", trained)
    assert done.code == 0, done.err
    results = {row["task"]: row for row in json.loads((trained / "results.json").read_text())["tasks"]}
    told = {line.split()[0]: line.split() for line in done.out.splitlines() if line.startswith("  ")}
    assert set(told) == set(results)
    for name, row in results.items():
        assert float(told[name][3]) == pytest.approx(row["after"], abs=0.01), name
    assert "HELD-OUT WORDINGS" in done.out and "SEEN WORDINGS" in done.out


@pytest.mark.usefixtures("warm")
def test_eval_scores_what_is_asked_for(project, trained):
    done = project("eval", "--run_dir", trained, "--mixture", "parity", "--step", 10, "--split", "train")
    assert done.code == 0 and "at step 10" in done.out
    assert [line.split()[:2] for line in done.out.splitlines() if line.startswith("  ")] == [["parity", "40"]]
