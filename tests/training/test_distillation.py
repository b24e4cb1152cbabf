"""A teacher's distribution beside the targets, compared with what SciPy and NumPy make of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import nnx

from flan_jax.config.training_settings import DistillationConfig
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.chunked_loss import Readout, chunked_losses
from flan_jax.training.distillation import divergences, teacher_of
from flan_jax.training.loss import LossConfig, cross_entropy, losses_of
from flan_jax.training.objective import distillation, likelihood
from flan_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from flan_jax.training.state import create_state, state_sharding
from flan_jax.training.step import make_train_step, place_batch

ROWS, LENGTH, DIM, VOCAB, K = 4, 6, 8, 40, 5


def of_teacher(top_k=K, silent=0.3, seed=3):
    """A teacher's whole log-probabilities, and of them what a batch holds; of some positions nothing."""
    draw = np.random.default_rng(seed)
    whole = scipy.special.log_softmax(2 * draw.normal(size=(ROWS, LENGTH, VOCAB)), axis=-1)
    ids = np.argsort(-whole, axis=-1)[..., :top_k].astype(np.int32)
    kept = np.take_along_axis(whole, ids, axis=-1).astype(np.float16)
    kept[draw.random((ROWS, LENGTH)) < silent] = -np.inf
    return whole, {"decoder_teacher_ids": ids, "decoder_teacher_logprobs": kept}


def expected(logits, held, temperature):
    """T^2 KL of each position, one at a time."""
    found = np.zeros((ROWS, LENGTH))
    for place in np.ndindex(ROWS, LENGTH):
        ids, logprobs = (held[f"decoder_teacher_{name}"][place] for name in ("ids", "logprobs"))
        if np.isfinite(logprobs[0]):
            theirs = scipy.special.softmax(logprobs.astype(np.float64) / temperature)
            ours = scipy.special.softmax(np.asarray(logits, np.float64)[place] / temperature)
            found[place] = temperature**2 * scipy.special.rel_entr(theirs, ours[ids]).sum()
    return found


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_divergences_are_those_of_scipy(temperature):
    held = of_teacher()[1]
    logits = np.random.default_rng(0).normal(size=(ROWS, LENGTH, VOCAB))
    config = DistillationConfig(teacher="t", weight=0.4, temperature=temperature)
    ours = divergences(jnp.asarray(logits), teacher_of(held, config), temperature)
    np.testing.assert_allclose(ours, expected(logits, held, temperature), rtol=1e-5, atol=1e-6)
    speaks = np.isfinite(held["decoder_teacher_logprobs"][..., 0])
    assert speaks.any() and not speaks.all()
    np.testing.assert_allclose(teacher_of(held, config).weight, 0.4 * speaks)


def test_of_the_whole_vocabulary_it_is_the_exact_divergence():
    whole, held = of_teacher(VOCAB, silent=0)
    logits = np.random.default_rng(0).normal(size=whole.shape)
    ours = divergences(jnp.asarray(logits), teacher_of(held, DistillationConfig(teacher="t")), 1.0)
    log_ours = scipy.special.log_softmax(logits, axis=-1)
    np.testing.assert_allclose(ours, (np.exp(whole) * (whole - log_ours)).sum(-1), rtol=2e-3)  # kept in 16 bits


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_in_chunks_it_is_the_loss_of_whole_logits(temperature):
    draw = np.random.default_rng(0)
    x, table = draw.normal(size=(ROWS, LENGTH, DIM)), draw.normal(size=(VOCAB, DIM))
    x, table = jnp.asarray(x, jnp.float32), jnp.asarray(table, jnp.float32)
    targets = jnp.asarray(draw.integers(0, VOCAB, (ROWS, LENGTH)), jnp.int32)
    weights = jnp.asarray(draw.random((ROWS, LENGTH)) * (draw.random((ROWS, LENGTH)) < 0.7), jnp.float32)
    teacher = teacher_of(of_teacher()[1], DistillationConfig(teacher="t", weight=0.3, temperature=temperature))
    config, readout = LossConfig(z_loss=0.03, label_smoothing=0.1), Readout(0.5, 3.0)

    def whole(x, table):
        logits = 3.0 * jnp.tanh(0.5 * x @ table.T / 3.0)
        of_targets, z = cross_entropy(logits, targets, 0.1), 0.03 * jax.nn.logsumexp(logits, axis=-1) ** 2
        apart = divergences(logits, teacher, temperature)
        return jnp.sum(weights * ((1 - teacher.weight) * of_targets + teacher.weight * apart + z)), apart

    def chunked(x, table):
        given = {"readout": readout, "chunk": 5, "teacher": teacher, "temperature": temperature}
        losses = chunked_losses(x, table, targets, weights, config, **given)
        return losses.total, losses.divergence

    (ours, apart), gradients = jax.jit(jax.value_and_grad(chunked, (0, 1), has_aux=True))(x, table)
    (theirs, whole_apart), wanted = jax.jit(jax.value_and_grad(whole, (0, 1), has_aux=True))(x, table)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(apart[0], np.where(weights > 0, whole_apart, 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(apart[1], np.where(teacher.weight > 0, weights, 0))
    for one, other in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_step_learns_from_both_and_tells_them_apart(tiny):
    mesh, (graph, params) = make_mesh(), tiny.make()
    batch = tiny.batch()
    rows, length = batch["decoder_target_tokens"].shape
    draw = np.random.default_rng(5)
    logprobs = np.sort(draw.normal(size=(rows, length, 3)))[..., ::-1].astype(np.float16)
    logprobs[: rows // 2] = -np.inf  # a task that no teacher has read
    ids = draw.permuted(np.tile(np.arange(tiny.vocab), (rows, length, 1)), axis=-1)[..., :3].astype(np.int32)
    held = {"decoder_teacher_ids": ids, "decoder_teacher_logprobs": logprobs}
    settings = DistillationConfig(teacher="t", weight=0.25)
    optimizer = OptimizerConfig()
    tx = make_optimizer(optimizer, 9, params)
    state = create_state(params, tx, mesh)
    figures = {}
    for microbatches in (1, 2):
        step = make_train_step(
            distillation(graph, LossConfig(), settings),
            tx,
            mesh=mesh,
            state_shardings=state_sharding(state, mesh),
            schedule=learning_rate_schedule(optimizer, 9),
            num_tasks=tiny.tasks,
            microbatches=microbatches,
            dropout=False,
        )
        copy = jax.tree.map(jnp.copy, state)
        figures[microbatches] = {k: np.asarray(v) for k, v in step(copy, place_batch(batch | held, mesh))[1].items()}
    logits = nnx.merge(graph, tiny.make()[1])(batch)
    weights = batch["decoder_loss_weights"]
    apart, of_targets = np.zeros((rows, length)), np.asarray(cross_entropy(logits, batch["decoder_target_tokens"]))
    ours = scipy.special.log_softmax(np.asarray(logits, np.float64), axis=-1)
    theirs = scipy.special.softmax(logprobs[rows // 2 :].astype(np.float64), axis=-1)
    there = np.take_along_axis(ours, ids, axis=-1)[rows // 2 :]
    apart[rows // 2 :] = (theirs * (np.log(theirs) - there)).sum(-1)
    part = np.where(np.arange(rows) < rows // 2, 0, 0.25)[:, None]
    for found in figures.values():
        np.testing.assert_allclose(
            found["loss_sum"], (weights * ((1 - part) * of_targets + part * apart)).sum(), rtol=1e-5
        )
        np.testing.assert_allclose(found["distillation_sum"], (weights * apart).sum(), rtol=1e-5)
        np.testing.assert_allclose(found["distillation_weight_sum"], weights[rows // 2 :].sum(), rtol=1e-6)
        np.testing.assert_allclose(found["weight_sum"], weights.sum(), rtol=1e-6)


def test_where_the_teacher_says_nothing_it_is_the_likelihood(tiny):
    graph, params = tiny.make()
    batch = tiny.batch()
    shape = (*batch["decoder_target_tokens"].shape, 2)
    held = {"decoder_teacher_ids": np.zeros(shape, np.int32), "decoder_teacher_logprobs": np.full(shape, -np.inf)}
    taught = distillation(graph, LossConfig(), DistillationConfig(teacher="t", weight=1.0))
    ours = jax.value_and_grad(lambda p: taught(p, (), batch | held, None).total)(params)
    theirs = jax.value_and_grad(lambda p: likelihood(graph)(p, (), batch, None).total)(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), ours, theirs)


def test_a_loss_function_of_the_users_own_stands_beside_a_teacher(tiny):
    graph, params = tiny.make()
    batch, constant = tiny.batch(), LossConfig(function=lambda logits, targets: 0.0 * targets + 2.0)
    shape = (*batch["decoder_target_tokens"].shape, 1)
    held = {"decoder_teacher_ids": np.zeros(shape, np.int32), "decoder_teacher_logprobs": np.zeros(shape, np.float16)}
    settings = DistillationConfig(teacher="t", weight=0.5)
    model = nnx.merge(graph, params)
    losses = losses_of(model, batch | held, constant, distillation=settings)
    sure = -jax.nn.log_softmax(model(batch))[..., 0]  # of a teacher that is sure of token 0
    np.testing.assert_allclose(losses.tokens, 1.0 + 0.5 * sure, rtol=1e-5)
