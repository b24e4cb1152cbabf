import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.loss import CROSS_ENTROPY, LossConfig, cross_entropy
from flan_jax.training.objective import likelihood
from flan_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from flan_jax.training.state import create_state, state_sharding
from flan_jax.training.step import make_train_step, place_batch

# An epsilon that keeps Adam's first update from being the sign of a gradient that rounding decides.
ADAM = OptimizerConfig(learning_rate=0.1, clip_norm=0.05, eps=1e-3, weight_decay=0.1, schedule="linear")
SGD = OptimizerConfig(learning_rate=0.1, clip_norm=0.05, factory=optax.sgd)


@functools.cache
def set_up(make, tasks, config, settings):
    """Mesh, graph, shardings, step and first state as `train` makes them; one compile for all tests that share them."""
    mesh = make_mesh()
    graph, params = make()
    tx = make_optimizer(config, 20, params)
    state = create_state(params, tx, mesh)
    shardings = state_sharding(state, mesh)
    settings = {"dropout": False, **dict(settings)}
    step = make_train_step(
        likelihood(graph, settings.pop("loss_config", CROSS_ENTROPY)),
        tx,
        mesh=mesh,
        state_shardings=shardings,
        schedule=learning_rate_schedule(config, 20),
        num_tasks=tasks,
        **settings,
    )
    return mesh, graph, shardings, step, jax.tree.map(np.asarray, state)


class Run:
    """A step and a state of its own."""

    def __init__(self, tiny, config=ADAM, **settings):
        set_up_as = (tiny.make, tiny.tasks, config, tuple(sorted(settings.items())))
        self.mesh, self.graph, self.shardings, self.step, first = set_up(*set_up_as)
        self.state = jax.tree.map(lambda leaf, sharding: jax.device_put(leaf.copy(), sharding), first, self.shardings)

    def go(self, *batches):
        history = []
        for batch in batches:
            self.state, metrics = self.step(self.state, place_batch(batch, self.mesh))
            history.append(jax.tree.map(np.asarray, metrics))
        return history


def gradient_of_mean(run, batch):
    """The loss's gradient written out without the code under test."""

    def loss(params):
        logits = nnx.merge(run.graph, params)(batch)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["decoder_target_tokens"])
        return (losses * batch["decoder_loss_weights"]).sum() / batch["decoder_loss_weights"].sum()

    return jax.jit(jax.value_and_grad(loss))(run.state["params"])


@pytest.mark.parametrize("config", [ADAM, SGD], ids=["adamw", "sgd"])
def test_microbatches_change_nothing(tiny, config):
    batches = [tiny.batch(seed=seed) for seed in range(3)]
    parts = batches[0]["decoder_loss_weights"].reshape(2, 4, -1).sum((0, 2))
    assert parts.max() > 3 * parts.min(), "the microbatches' weights should differ"
    runs = [Run(tiny, config, microbatches=count, loss_config=LossConfig(z_loss=1e-3)) for count in (1, 2, 4)]
    mean, grads = gradient_of_mean(Run(tiny), batches[0])
    histories = [run.go(*batches) for run in runs]
    plain = histories[0][0]
    np.testing.assert_allclose((plain["loss_sum"] - plain["z_loss_sum"]) / plain["weight_sum"], mean, rtol=1e-5)
    assert float(optax.global_norm(grads)) > 0.05, "clipping should be at work"
    for run, history in zip(runs[1:], histories[1:], strict=True):
        for ours, theirs in zip(history, histories[0], strict=True):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), ours, theirs)
        pairs = (run.state["params"], runs[0].state["params"])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), *pairs)


def test_gradient_is_that_of_the_weighted_mean_and_clipped_after_the_division(tiny):
    run, batch = Run(tiny, SGD, microbatches=2), tiny.batch()
    before = jax.tree.map(np.asarray, run.state["params"])
    _, grads = gradient_of_mean(run, batch)
    norm = optax.global_norm(grads)
    (metrics,) = run.go(batch)
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)
    wanted = jax.tree.map(lambda p, g: p - 0.1 * g * 0.05 / norm, before, grads)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), run.state["params"], wanted)


def test_tasks_sums_add_up_and_are_each_tasks_own(tiny):
    run, batch = Run(tiny, microbatches=2), tiny.batch()
    (whole,) = run.go(batch)
    np.testing.assert_allclose(whole["task_loss_sum"].sum(), whole["loss_sum"], rtol=1e-6)
    np.testing.assert_allclose(whole["task_weight_sum"].sum(), whole["weight_sum"], rtol=1e-6)
    np.testing.assert_allclose(whole["weight_sum"], batch["decoder_loss_weights"].sum(), rtol=1e-6)
    for task in range(tiny.tasks):
        mine = {**batch, "decoder_loss_weights": batch["decoder_loss_weights"] * (batch["decoder_task_ids"] == task)}
        (alone,) = Run(tiny).go(mine)
        assert alone["weight_sum"] > 0
        np.testing.assert_allclose(whole["task_loss_sum"][task], alone["loss_sum"], rtol=1e-5)
        np.testing.assert_allclose(whole["task_weight_sum"][task], alone["weight_sum"], rtol=1e-6)


def test_what_has_no_weight_teaches_nothing(tiny):
    batch = tiny.batch()
    other = {**batch, "decoder_target_tokens": batch["decoder_target_tokens"].copy()}
    silent = batch["decoder_loss_weights"] == 0
    other["decoder_target_tokens"][silent] = 1
    assert (other["decoder_target_tokens"] != batch["decoder_target_tokens"]).any()
    first, second = Run(tiny), Run(tiny)
    jax.tree.map(np.testing.assert_array_equal, first.go(batch), second.go(other))
    jax.tree.map(np.testing.assert_array_equal, first.state, second.state)


@pytest.mark.parametrize("microbatches", [1, 4])
def test_trainable_tokens_are_counted_whatever_they_weigh(tiny, microbatches):
    batch = tiny.batch()
    uneven = batch["decoder_loss_weights"] * np.linspace(0.25, 3, 8, dtype=np.float32)[:, None]
    (metrics,) = Run(tiny, microbatches=microbatches).go({**batch, "decoder_loss_weights": uneven})
    count = sum(weight > 0 for weight in uneven.flat)
    assert 0 < count < uneven.size and metrics["trainable_tokens"] == count != metrics["weight_sum"]
    assert np.issubdtype(metrics["trainable_tokens"].dtype, np.integer)


def test_weights_scale_the_sum_not_the_gradient(tiny):
    batch = tiny.batch()
    twice = {**batch, "decoder_loss_weights": batch["decoder_loss_weights"] * 2}
    (once,), (doubled,) = Run(tiny).go(batch), Run(tiny).go(twice)
    np.testing.assert_allclose(doubled["loss_sum"], once["loss_sum"] * 2, rtol=1e-6)
    np.testing.assert_allclose(doubled["grad_norm"], once["grad_norm"], rtol=1e-6)


@pytest.mark.parametrize("microbatches", [1, 2])
def test_a_step_without_weight_does_no_harm(tiny, microbatches):
    run = Run(tiny, SGD, microbatches=microbatches)
    before = jax.tree.map(np.asarray, run.state["params"])
    empty = {**tiny.batch(), "decoder_loss_weights": np.zeros((8, 6), np.float32)}
    (metrics,) = run.go(empty)
    assert metrics["weight_sum"] == metrics["loss_sum"] == metrics["grad_norm"] == 0
    jax.tree.map(np.testing.assert_array_equal, run.state["params"], before)
    adam = Run(tiny, microbatches=microbatches)
    adam.go(empty, tiny.batch())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(adam.state))


POISON = 31
MOMENTUM = OptimizerConfig(learning_rate=0.1, schedule="linear", factory=functools.partial(optax.sgd, momentum=0.5))
ADAFACTOR = OptimizerConfig(name="adafactor", learning_rate=0.1, weight_decay=0.1)


def of_poison(instead):
    """A loss that is `instead` where the target is POISON."""
    return lambda logits, targets: jnp.where(targets == POISON, instead, cross_entropy(logits, targets))


def of_poisoned_gradient(logits, targets):
    """A loss that is finite everywhere; the square root's gradient at 0 is not."""
    return cross_entropy(logits, targets) + jnp.sqrt(jnp.where(targets == POISON, 0.0, 1.0) * logits[..., 0] ** 2)


NAN, INFINITE = of_poison(jnp.nan), of_poison(jnp.inf)


def poisoned(tiny, seed, at=None):
    """A batch with POISON at one position, or nowhere."""
    batch = tiny.batch(seed=seed)
    batch["decoder_target_tokens"][batch["decoder_target_tokens"] == POISON] = 1
    if at is not None:
        batch["decoder_target_tokens"][at], batch["decoder_loss_weights"][at] = POISON, 1.0
    return batch


def counting(state, steps):
    """A state whose step, and whose learning rate's, is another."""
    count = lambda s: s._replace(count=s.count * 0 + steps) if is_schedule(s) else s
    is_schedule = lambda s: isinstance(s, optax.ScaleByScheduleState)
    return {**state, "opt": jax.tree.map(count, state["opt"], is_leaf=is_schedule), "step": state["step"] * 0 + steps}


@pytest.mark.parametrize(
    ("config", "microbatches", "function", "loss_is_lost"),
    [
        (ADAM, 1, NAN, True),
        (ADAM, 2, of_poisoned_gradient, False),
        (ADAFACTOR, 2, INFINITE, True),
        (MOMENTUM, 1, of_poisoned_gradient, False),
    ],
    ids=["adamw", "adamw in parts", "adafactor", "a user's"],
)
def test_a_step_that_is_not_finite_changes_nothing_but_the_step(tiny, config, microbatches, function, loss_is_lost):
    settings = {"microbatches": microbatches, "loss_config": LossConfig(function=function)}
    run, other = Run(tiny, config, **settings), Run(tiny, config, **settings)
    first, last = poisoned(tiny, 0), poisoned(tiny, 2)
    bad = poisoned(tiny, 1, at=(2, 3))
    history = run.go(first, bad)
    other.go(first)
    other.state = counting(other.state, 2)
    jax.tree.map(np.testing.assert_array_equal, run.state, other.state)
    assert [m["skipped"] for m in history] == [0, 1]
    task = bad["decoder_task_ids"][2, 3]
    assert [bool(np.isfinite(value)) for value in history[1]["task_loss_sum"]] == [
        each != task or not loss_is_lost for each in range(tiny.tasks)
    ]
    assert np.isfinite(history[1]["loss_sum"]) != loss_is_lost
    assert np.isfinite(history[1]["grad_norm"]) == loss_is_lost, "one of the two is enough"
    (after,), (wanted,) = run.go(last), other.go(last)
    jax.tree.map(np.testing.assert_array_equal, run.state, other.state)
    assert after["learning_rate"] == wanted["learning_rate"] and after["skipped"] == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.state))
    assert (np.asarray(run.state["params"]["embed"][...]) != np.asarray(Run(tiny).state["params"]["embed"][...])).any()


def test_one_compile_serves_all_steps_and_the_states_buffers_are_donated(tiny):
    run = Run(tiny, microbatches=2)
    given = jax.tree.leaves(run.state)
    run.go(*(tiny.batch(seed=seed) for seed in range(5)))
    assert run.step._cache_size() == 1
    assert all(leaf.is_deleted() for leaf in given)
    memory = run.step.lower(run.state, tiny.batch()).compile().memory_analysis()
    assert memory.alias_size_in_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(run.state))
    assert int(run.state["step"]) == 5


def test_dropout_differs_by_step_and_is_equal_when_a_step_is_run_again(tiny):
    still = OptimizerConfig(learning_rate=0.0, clip_norm=None, factory=optax.sgd)
    batch = tiny.batch()
    runs = [Run(tiny, still, dropout=True, seed=seed, microbatches=2) for seed in (7, 7, 8)]
    losses = [[float(m["loss_sum"]) for m in run.go(batch, batch, batch)] for run in runs]
    assert len(set(losses[0])) == 3
    assert losses[1] == losses[0]
    assert not set(losses[0]) & set(losses[2])
    again = Run(tiny, still, dropout=True, seed=7, microbatches=2)
    again.state["step"] = jnp.int32(2)
    assert float(again.go(batch)[0]["loss_sum"]) == losses[0][2]
    assert len({float(m["loss_sum"]) for m in Run(tiny, still).go(batch, batch)}) == 1


def test_microbatches_draw_masks_of_their_own(tiny):
    batch = {name: np.concatenate([value[:1]] * 2) for name, value in tiny.batch().items()}
    batch["decoder_task_ids"][:] = np.array([[0], [1]])
    batch["decoder_loss_weights"][:] = 1
    (metrics,) = Run(tiny, dropout=True, microbatches=2).go(batch)
    assert metrics["task_loss_sum"][0] != metrics["task_loss_sum"][1]


def test_learning_rate_is_that_of_the_step(tiny):
    rates = [float(m["learning_rate"]) for m in Run(tiny).go(*[tiny.batch()] * 3)]
    np.testing.assert_allclose(rates, [0.1, 0.1 * (1 - 0.9 / 20), 0.1 * (1 - 0.9 * 2 / 20)], rtol=1e-5)


def test_a_users_loss_is_minimised(tiny):
    def squared(logits, targets):
        return jnp.square(logits[..., 0] - 3.0)

    run = Run(tiny, OptimizerConfig(learning_rate=0.05), loss_config=LossConfig(function=squared))
    history = run.go(*[tiny.batch()] * 30)
    means = [m["loss_sum"] / m["weight_sum"] for m in history]
    assert means[-1] < 0.2 * means[0]
    with pytest.raises(UserError, match="z_loss is -1"):
        Run(tiny, loss_config=LossConfig(z_loss=-1))
