"""The mean of the parameters that a run keeps, and the step with parameters that are held; against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.averaging import as_parameters, mean_of, moved, scored_parameters, started
from flan_jax.training.loss import LossConfig, cross_entropy
from flan_jax.training.objective import likelihood
from flan_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from flan_jax.training.parameter_groups import moving
from flan_jax.training.state import create_state, state_sharding
from flan_jax.training.step import make_train_step, place_batch

POISON = 31
LOSS = LossConfig(
    function=lambda logits, targets: jnp.where(targets == POISON, jnp.nan, cross_entropy(logits, targets))
)


def copied(tree):
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)


def by_hand(history, decay):
    """The weighted mean of a list of arrays, the newest last, written out."""
    ages = np.arange(len(history))[::-1].astype(np.float64)
    weights = decay**ages / (decay**ages).sum()
    return sum(weight * np.asarray(one, np.float64) for weight, one in zip(weights, history, strict=True))


@pytest.mark.parametrize("decay", [0.5, 0.999, 0.99999])
def test_the_mean_weighs_every_step_by_its_age_from_the_first_on(decay):
    draw = np.random.default_rng(0)
    history = [draw.normal(size=5).astype(np.float32) + 100 for _ in range(40)]
    mean = {"a": jnp.zeros(5)}
    move = jax.jit(lambda mean, params, step: moved(mean, params, step, decay, True))
    for step, params in enumerate(history):
        mean = move(mean, {"a": params}, jnp.int32(step))
    np.testing.assert_allclose(mean["a"], by_hand(history, decay), rtol=1e-6)
    still = moved(mean, {"a": jnp.full(5, 7.0)}, jnp.int32(40), decay, jnp.bool_(False))
    np.testing.assert_array_equal(still["a"], mean["a"])


def test_the_mean_is_float32_and_is_read_in_the_parameters_type():
    params = {"a": jnp.ones(3, jnp.bfloat16)}
    averages = started(params)
    assert averages["a"].dtype == jnp.float32
    # Below what bfloat16 can tell from 1.
    averages = moved(averages, {"a": jnp.full(3, 1.0078125, jnp.bfloat16)}, jnp.int32(9), 0.99, True)
    assert 1.0 < float(averages["a"][0]) < 1.0078125
    assert as_parameters(averages, params)["a"].dtype == jnp.bfloat16
    state = {"params": params, "averages": averages}
    assert scored_parameters(state, False) is params
    assert scored_parameters({"params": params}, True) is params
    np.testing.assert_array_equal(scored_parameters(state, True)["a"], as_parameters(averages, params)["a"])


def test_the_mean_of_several_trees_is_numpys():
    draw = np.random.default_rng(1)
    trees = [{"a": draw.normal(size=(3, 4)).astype(np.float32)} for _ in range(5)]
    mean = mean_of(iter(trees))
    np.testing.assert_allclose(mean["a"], np.mean([tree["a"] for tree in trees], axis=0), rtol=1e-5, atol=1e-6)
    assert mean_of([{"a": jnp.ones(2, jnp.bfloat16)}])["a"].dtype == jnp.float32


class Craft:
    """A step with a mean, and with all but the embedding held."""

    def __init__(self, tiny, groups, microbatches=1):
        mesh = make_mesh()
        graph, params = tiny.make()
        config = OptimizerConfig(learning_rate=0.1, weight_decay=0.1, ema=0.6, groups=groups)
        tx = make_optimizer(config, 20, params)
        self.mesh, self.state = mesh, create_state(params, tx, mesh, averaged=True)
        self.step = make_train_step(
            likelihood(graph, LOSS),
            tx,
            mesh=mesh,
            state_shardings=state_sharding(self.state, mesh),
            schedule=learning_rate_schedule(config, 20),
            num_tasks=tiny.tasks,
            microbatches=microbatches,
            dropout=False,
            moving=moving(config, params),
            ema=config.ema,
        )

    def flops(self, batch):
        return self.step.lower(self.state, place_batch(batch, self.mesh)).cost_analysis()["flops"]

    def go(self, batch):
        self.state, metrics = self.step(self.state, place_batch(batch, self.mesh))
        return metrics


@pytest.mark.parametrize("microbatches", [1, 2])
def test_a_run_with_a_mean_and_held_parameters(tiny, microbatches):
    run = Craft(tiny, {"stack.*": {"frozen": True}}, microbatches)
    held = copied(run.state["params"]["stack"])
    # A step donates the state: the mean at the start has buffers of its own.
    history = []
    for seed, poison in enumerate([False, True, False, False]):
        batch = tiny.batch(seed=seed)
        batch["decoder_target_tokens"][batch["decoder_target_tokens"] == POISON] = 1
        if poison:
            batch["decoder_target_tokens"][0, 0], batch["decoder_loss_weights"][0, 0] = POISON, 1.0
        before = copied(run.state["averages"])
        metrics = run.go(batch)
        assert bool(metrics["skipped"]) == poison
        if poison:
            jax.tree.map(np.testing.assert_array_equal, run.state["averages"], before)
        history.append(np.asarray(run.state["params"]["embed"][...]))
    jax.tree.map(np.testing.assert_array_equal, run.state["params"]["stack"], held)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), run.state["averages"]["stack"], held)
    assert not np.allclose(history[0], history[3])
    # As step 2 was skipped, the mean stands where step 1 put it; the weights go on counting steps.
    wanted = history[0]
    for step in (3, 4):
        share = (1 - 0.6) / (1 - 0.6**step)
        wanted = wanted + share * (history[step - 1] - wanted)
    np.testing.assert_allclose(run.state["averages"]["embed"][...], wanted, rtol=1e-5)
    statistics = sum(leaf.size for leaf in jax.tree.leaves(run.state["opt"]) if leaf.ndim)
    assert statistics == 2 * history[0].size


def test_no_gradient_is_computed_of_what_is_held(tiny):
    batch = tiny.batch()
    all_move, most_held = Craft(tiny, {}), Craft(tiny, {"stack.*": {"frozen": True}})
    of_two_matrices = 2 * 2 * batch["decoder_input_tokens"].size * 8 * 16  # of one layer: a loop's body counts once
    assert all_move.flops(batch) - most_held.flops(batch) > of_two_matrices
