import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.models import ModelConfig, abstract_model
from flan_jax.training.optimizer import (
    OptimizerConfig,
    describe_schedule,
    learning_rate_schedule,
    make_optimizer,
)
from flan_jax.training.parameter_names import decay_mask, layer_counts, path_names


def named(tree):
    return {"/".join(path_names(path)): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", {0: 0.5, 1: 1.0, 2: 2.0 / 2, 7: 1.0, 12: 1.0, 99: 1.0}),
        ("linear", {0: 0.5, 1: 1.0, 2: 1.0, 7: 0.6, 12: 0.2, 99: 0.2}),
        ("cosine", {0: 0.5, 1: 1.0, 2: 1.0, 7: 0.6, 4: 0.2 + 0.8 * (1 + np.cos(np.pi / 5)) / 2, 12: 0.2, 99: 0.2}),
        ("wsd", {0: 0.5, 1: 1.0, 6: 1.0, 9: 1.0, 10: 0.2 + 0.8 * 2 / 3, 12: 0.2, 99: 0.2}),
        ("rsqrt", {0: 0.5, 1: 1.0, 2: (2 / 3) ** 0.5, 7: 0.5, 31: 0.25, 199: 0.1}),
    ],
)
def test_schedules_values(schedule, wanted):
    config = OptimizerConfig(
        learning_rate=3.0, schedule=schedule, warmup_steps=2, final_fraction=0.2, decay_fraction=0.25
    )
    rate = learning_rate_schedule(config, 12)
    for step, value in wanted.items():
        np.testing.assert_allclose(rate(step), 3 * value, rtol=1e-5, err_msg=f"{schedule} at {step}")
        np.testing.assert_allclose(jax.jit(rate)(jnp.int32(step)), 3 * value, rtol=1e-5)


def test_wsd_falls_steeply_at_first_by_the_square_root():
    config = OptimizerConfig(learning_rate=2.0, schedule="wsd", final_fraction=0.0, decay_fraction=0.4, decay="1-sqrt")
    rate = learning_rate_schedule(config, 100)
    wanted = [2.0, 2.0, 2 * (1 - (10 / 40) ** 0.5), 2 * (1 - (30 / 40) ** 0.5), 0.0]
    np.testing.assert_allclose([rate(step) for step in (0, 60, 70, 90, 100)], wanted, rtol=1e-5, atol=1e-7)
    assert describe_schedule(config, 100) == "wsd: 2 up to step 60, then by '1-sqrt' to 0 at step 100"


def test_without_warmup_the_first_step_has_the_peak():
    for schedule in ("constant", "linear", "cosine", "rsqrt", "wsd"):
        assert float(learning_rate_schedule(OptimizerConfig(learning_rate=0.5, schedule=schedule), 10)(0)) == 0.5


def test_more_steps_stretch_the_curve_and_nothing_else_does():
    config = OptimizerConfig(learning_rate=1.0, schedule="linear", final_fraction=0.0)
    assert [float(learning_rate_schedule(config, 10)(5)) for _ in range(2)] == [0.5, 0.5]
    assert float(learning_rate_schedule(config, 20)(5)) == 0.75


def test_a_users_schedule_gets_peak_and_steps():
    def halves(learning_rate, total_steps):
        return lambda step: jnp.where(step < total_steps // 2, learning_rate, learning_rate / 2)

    config = OptimizerConfig(learning_rate=0.8, schedule=halves)
    rate = learning_rate_schedule(config, 10)
    assert [round(float(rate(step)), 6) for step in (0, 4, 5, 9)] == [0.8, 0.8, 0.4, 0.4]
    assert describe_schedule(config, 10) == "halves: 0.8 at step 0, 0.4 at step 5, 0.4 at step 10"
    with pytest.raises(UserError, match="<lambda>, which gave 0.8, wanted a function of the step"):
        learning_rate_schedule(OptimizerConfig(schedule=lambda learning_rate, total_steps: 0.8), 10)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (OptimizerConfig(learning_rate=0.01), "constant 0.01, 50 steps"),
        (
            OptimizerConfig(schedule="linear", warmup_steps=5),
            "linear from 0.001 (after 5 warm-up steps) to 0.0001 at step 50",
        ),
        (OptimizerConfig(warmup_steps=100), "constant, but all 50 steps are warm-up (100): up to 0.0005"),
    ],
)
def test_describe_schedule(config, wanted):
    assert describe_schedule(config, 50) == wanted


def test_decay_spares_by_name_also_on_stacked_leaves(tiny):
    _, params = tiny.make()
    mask = named(decay_mask(params))
    assert mask == {"embed": True, "stack/norm/scale": False, "stack/up": True, "stack/down": True}
    assert named(params)["stack/norm/scale"].ndim == 2
    config = OptimizerConfig(learning_rate=0.5, weight_decay=0.1, clip_norm=None)
    for name in ("adamw", "adafactor"):
        tx = make_optimizer(OptimizerConfig(**{**vars(config), "name": name}), 10, params)
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        for leaf, update in named(updates).items():
            wanted = -0.5 * 0.1 * named(params)[leaf] if mask[leaf] else jnp.zeros_like(update)
            np.testing.assert_allclose(update, wanted, rtol=1e-6, err_msg=f"{name} {leaf}")


@pytest.mark.parametrize("architecture", ["encoder_decoder", "decoder"])
def test_decay_and_layers_of_the_real_models(architecture):
    model = abstract_model(
        ModelConfig(architecture=architecture, vocab_size=32, num_encoder_layers=3, num_decoder_layers=2)
    )
    params = nnx.split(model, nnx.Param)[1]
    decayed = {name for name, decays in named(decay_mask(params)).items() if decays}
    spared = set(named(params)) - decayed
    kernels = {"kernel", "embedding"}
    assert {name.split("/")[-1] for name in decayed} == kernels
    assert {name.split("/")[-1] for name in spared} == {"scale", "table"} - (
        {"table"} if architecture == "decoder" else set()
    )
    layers = named(layer_counts(params))
    assert {name.split("/")[0]: count for name, count in layers.items() if count} == (
        {"decoder": 2, "encoder": 3} if architecture == "encoder_decoder" else {"decoder": 2}
    )
    assert {name for name, count in layers.items() if not count} == {name for name in layers if "/layers/" not in name}


# A constant rate, and one that every step has another of: a quarter of the peak, a half, three quarters, ...
RATES = [({}, 0.01), ({"schedule": "linear", "warmup_steps": 4}, lambda count: 0.01 * (count + 1) / 4)]


@pytest.mark.parametrize(("schedule", "rate"), RATES, ids=["constant", "rising"])
def test_adamw_equals_optax(tiny, schedule, rate):
    _, params = tiny.make()
    config = OptimizerConfig(learning_rate=0.01, weight_decay=0.1, clip_norm=0.5, b1=0.8, b2=0.95, eps=1e-6, **schedule)
    ours = make_optimizer(config, 10, params)
    theirs = optax.chain(
        optax.clip_by_global_norm(0.5), optax.adamw(rate, 0.8, 0.95, 1e-6, weight_decay=0.1, mask=decay_mask(params))
    )
    states, moved = [ours.init(params), theirs.init(params)], [params, params]
    for step in range(3):
        grads = jax.tree.map(lambda x, seed=step: jax.random.normal(jax.random.key(seed), x.shape), params)
        for i, tx in enumerate((ours, theirs)):
            updates, states[i] = tx.update(grads, states[i], moved[i])
            moved[i] = optax.apply_updates(moved[i], updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *moved)
    assert not np.allclose(moved[0]["embed"][...], params["embed"][...])


def test_adafactor_on_stacked_leaves_equals_adafactor_layer_by_layer(tiny):
    # Sizes above 128, from which on Adafactor factors its statistics; layers whose scales lie far apart.
    _, params = tiny.make(layers=3, dim=130, hidden=140)
    assert set(jax.tree.leaves(layer_counts(params))) == {0, 3}
    sizes = jnp.array([0.01, 0.1, 1.0])[:, None, None]
    params["stack"]["up"][...] = params["stack"]["up"][...] * sizes
    config = OptimizerConfig(name="adafactor", learning_rate=0.02, clip_norm=None, schedule="linear", warmup_steps=4)
    ours = make_optimizer(config, 10, params)
    theirs = optax.adafactor(lambda count: 0.02 * (count + 1) / 4)
    layer = lambda tree, i: {"up": tree["stack"]["up"][...][i], "scale": tree["stack"]["norm"]["scale"][...][i]}
    alone = [layer(params, i) for i in range(3)] + [{"embed": params["embed"][...]}]
    ours, theirs = (optax.GradientTransformation(tx.init, jax.jit(tx.update)) for tx in (ours, theirs))
    state, states, moved = ours.init(params), [theirs.init(each) for each in alone], params
    for step in range(3):
        grads = jax.tree.map(lambda x, seed=step: jax.random.normal(jax.random.key(seed), x.shape), params)
        grads["stack"]["up"][...] = grads["stack"]["up"][...] * sizes[::-1]
        updates, state = ours.update(grads, state, moved)
        moved = optax.apply_updates(moved, updates)
        for i in range(4):
            part = layer(grads, i) if i < 3 else {"embed": grads["embed"][...]}
            update, states[i] = theirs.update(part, states[i], alone[i])
            alone[i] = optax.apply_updates(alone[i], update)
    for i in range(3):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7), layer(moved, i), alone[i])
    np.testing.assert_allclose(moved["embed"][...], alone[3]["embed"], rtol=2e-5, atol=1e-7)
    whole, _ = theirs.update(grads, theirs.init(params), params)
    first, _ = ours.update(grads, ours.init(params), params)
    assert not np.allclose(whole["stack"]["up"][...], first["stack"]["up"][...], rtol=0.5), "the trap is not there"


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_statistics_stay_float32_for_narrow_parameters(tiny, name):
    _, params = tiny.make()
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    tx = make_optimizer(OptimizerConfig(name=name, weight_decay=0.1), 10, params)
    state = tx.init(params)
    updates, after = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
    types = lambda tree: jax.tree.map(lambda leaf: leaf.dtype.name, tree)
    assert types(state) == types(after)
    assert set(jax.tree.leaves(types(state))) == {"int32", "float32"}
    assert set(jax.tree.leaves(types(optax.apply_updates(params, updates)))) == {"bfloat16"}


def test_a_users_factory_gets_the_schedule_and_clipped_gradients(tiny):
    _, params = tiny.make()
    seen = []

    def mine(learning_rate):
        seen.append(float(learning_rate(1)))
        return optax.sgd(learning_rate)

    config = OptimizerConfig(learning_rate=0.1, schedule="linear", final_fraction=0.0, clip_norm=2.0, factory=mine)
    tx = make_optimizer(config, 10, params)
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    assert seen == [pytest.approx(0.09)]
    np.testing.assert_allclose(optax.global_norm(updates), 0.1 * 2.0, rtol=1e-5)
    with pytest.raises(UserError, match="which gave None, wanted an optax.GradientTransformation"):
        make_optimizer(OptimizerConfig(factory=lambda learning_rate: None), 10, params)


def test_all_faults_are_told_at_once():
    config = OptimizerConfig(
        name="adamv",
        schedule="cosin",
        learning_rate=-1.0,
        b2=1.0,
        clip_norm=0.0,
        weight_decay=0.1,
        factory=optax.sgd,
        max_skipped_steps=0,
    )
    with pytest.raises(UserError) as error:
        config.check()
    assert all(fault.startswith("Optimizer: ") for fault in error.value.each())
    for phrase in (
        "name is 'adamv', known are adamw, adafactor, muon, lion, sgd; did you mean 'adamw'?",
        "schedule is 'cosin', known are constant, linear, cosine, rsqrt, wsd, or a callable; did you mean 'cosine'?",
        "learning_rate is -1.0",
        "b2 is 1.0",
        "clip_norm is 0.0",
        "weight_decay is 0.1, but your own factory would ignore it",
        "max_skipped_steps is 0, it must be 1 or more",
    ):
        assert phrase in str(error.value)
    with pytest.raises(UserError, match="warmup_steps is 5, but your own schedule would ignore it"):
        OptimizerConfig(schedule=lambda learning_rate, total_steps: None, warmup_steps=5).check()
