"""Objectives of a user's own: the step takes what they minimise, whatever it is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.chunked_loss import Losses
from flan_jax.training.loss import LossConfig
from flan_jax.training.objective import likelihood
from flan_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from flan_jax.training.state import create_state, state_sharding
from flan_jax.training.step import make_train_step, place_batch

SGD = OptimizerConfig(learning_rate=0.1, clip_norm=None, factory=optax.sgd)


def divergence(logits, teacher):
    """KL divergence from a teacher's distribution, of each token [B, L]."""
    theirs = jax.nn.log_softmax(teacher)
    return jnp.sum(jnp.exp(theirs) * (theirs - jax.nn.log_softmax(logits)), axis=-1)


def test_a_teacher_and_weights_by_row_need_no_other_trainer(tiny):
    mesh = make_mesh()
    (graph, params), (_, teacher) = tiny.make(), tiny.make(seed=1)
    batch = tiny.batch()
    by_row = np.linspace(0.5, 2.0, len(batch["decoder_loss_weights"]), dtype=np.float32)
    batch |= {"row_weights": by_row[:, None]}

    def objective(params, frozen, batch, key):
        tokens = divergence(nnx.merge(graph, params)(batch, dropout_key=key), nnx.merge(graph, *frozen)(batch))
        weights = batch["decoder_loss_weights"] * batch["row_weights"]
        tokens = jnp.where(weights > 0, tokens, 0.0)
        return Losses(jnp.sum(tokens * weights), jax.lax.stop_gradient(tokens), jnp.zeros_like(tokens), weights)

    tx = make_optimizer(SGD, 9, params)
    state = create_state(params, tx, mesh)
    first = jax.tree.map(np.asarray, state["params"])
    step = make_train_step(
        objective,
        tx,
        mesh=mesh,
        state_shardings=state_sharding(state, mesh),
        schedule=learning_rate_schedule(SGD, 9),
        num_tasks=tiny.tasks,
        microbatches=2,
        dropout=False,
        frozen_shardings=(jax.tree.map(lambda leaf: leaf.sharding, teacher),),
    )
    state, metrics = step(state, place_batch(batch, mesh), teacher)

    def mean(params):
        tokens = divergence(nnx.merge(graph, params)(batch), nnx.merge(graph, teacher)(batch))
        weights = batch["decoder_loss_weights"] * by_row[:, None]
        return (tokens * weights).sum() / weights.sum()

    value, grads = jax.jit(jax.value_and_grad(mean))(first)
    np.testing.assert_allclose(metrics["loss_sum"] / metrics["weight_sum"], value, rtol=1e-5)
    np.testing.assert_allclose(
        metrics["weight_sum"], (batch["decoder_loss_weights"] * by_row[:, None]).sum(), rtol=1e-6
    )
    np.testing.assert_allclose(np.sum(metrics["task_loss_sum"]), metrics["loss_sum"], rtol=1e-5)
    wanted = jax.tree.map(lambda p, g: p - 0.1 * g, first, grads)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state["params"], wanted)


def test_a_likelihood_of_no_sense_is_refused(tiny):
    with pytest.raises(UserError, match="z_loss is -1"):
        likelihood(tiny.make()[0], LossConfig(z_loss=-1))
