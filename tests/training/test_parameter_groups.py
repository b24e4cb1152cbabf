"""Settings by patterns over parameters' names, against rules of Optax put together by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flan_jax.errors import UserError
from flan_jax.training.optimizer import OptimizerConfig, make_optimizer
from flan_jax.training.parameter_groups import Cut, described, labels, moving
from flan_jax.training.parameter_names import path_names


def named(tree):
    return {".".join(path_names(path)): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def plain(tree):
    """A plain dict of arrays, for rules that know nothing of ours."""
    return {name: jnp.asarray(leaf) for name, leaf in named(tree).items()}


def bytes_of(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if leaf.ndim)


def test_the_first_pattern_that_matches_is_taken(tiny):
    _, params = tiny.make()
    slow = {"learning_rate_factor": 0.1}
    config = OptimizerConfig(groups={"*.up": slow, "stack.*": {"frozen": True}})
    assert named(labels(config, params)) == {
        "embed": "rest",
        "stack.down": "group_2",
        "stack.norm.scale": "group_2",
        "stack.up": "group_1",
    }
    assert named(moving(config, params)) == {
        "embed": True,
        "stack.down": False,
        "stack.norm.scale": False,
        "stack.up": True,
    }
    assert moving(OptimizerConfig(groups={"*.up": slow}), params) is None
    assert described(config, params) == [
        "*.up: learning_rate_factor 0.1 (256 parameters)",
        "stack.*: frozen (272 parameters)",
    ]


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (
            {"embedd": {"frozen": True}},
            "no parameter matches 'embedd'; did you mean 'embed'?; there are embed, stack.do",
        ),
        ({"*.upp": {"frozen": True}}, "no parameter matches '*.upp'; did you mean 'up'?"),
        ({"stack.*": {"frozen": True}, "*.up": {"frozen": True}}, "earlier patterns match all that '*.up' does"),
        ({"*": {"frozen": True}}, "freezes every one of the 4 parameters"),
    ],
)
def test_a_pattern_that_no_parameter_is_left_for_is_refused(tiny, groups, words):
    _, params = tiny.make()
    with pytest.raises(UserError) as refused:
        make_optimizer(OptimizerConfig(groups=groups), 10, params)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ({"learning_rat": 0.1}, "it sets 'learning_rat', wanted name, learning_rate"),
        ({}, "it says nothing"),
        ({"frozen": True, "weight_decay": 0.1}, "what is frozen has no other settings"),
        ({"learning_rate": 0.1, "learning_rate_factor": 2.0}, "keep one"),
        ({"learning_rate": "high"}, "learning_rate is 'high', wanted a number"),
        ({"learning_rate_factor": -1}, "learning_rate_factor is -1, it must be 0 or more"),
        ({"name": "muom"}, "name is 'muom', known are adamw"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1, it must be 0 or more"),
    ],
)
def test_faults_of_a_group_are_told_with_its_pattern(group, words):
    faults = OptimizerConfig(groups={"a.*": group}).faults()
    assert len(faults) == 1 and faults[0].startswith("groups['a.*']: ") and words in faults[0]


def test_a_fault_of_the_section_is_not_told_again_for_every_group():
    assert len(OptimizerConfig(b1=2.0, groups={"a": {"frozen": True}, "b": {"name": "lion"}}).faults()) == 1


def test_each_group_moves_by_its_own_rule_and_the_clipping_is_over_all(tiny):
    _, params = tiny.make()
    config = OptimizerConfig(
        learning_rate=0.1,
        weight_decay=0.2,
        clip_norm=0.5,
        schedule="linear",
        warmup_steps=4,
        groups={
            "embed": {"learning_rate_factor": 0.5, "weight_decay": 0.0},
            "*.up": {"name": "sgd", "learning_rate": 3.0},
            "*.down": {"frozen": True},
        },
    )
    rate = lambda peak: lambda count: peak * (count + 1) / 4
    rules = {
        "embed": optax.adam(rate(0.05)),
        "stack.up": optax.chain(
            optax.trace(0.9), optax.add_decayed_weights(0.2), optax.scale_by_learning_rate(rate(3.0))
        ),
        "stack.down": optax.set_to_zero(),
        "stack.norm.scale": optax.adam(rate(0.1)),
    }
    ours = make_optimizer(config, 10, params)
    state, states = ours.init(params), {name: rules[name].init(leaf) for name, leaf in plain(params).items()}
    moved, alone = params, plain(params)
    for step in range(3):
        grads = jax.tree.map(lambda x, seed=step: jax.random.normal(jax.random.key(seed), x.shape), params)
        # What is frozen has no gradient, in the step, and so no part in the norm.
        grads["stack"]["down"][...] = jnp.zeros_like(grads["stack"]["down"][...])
        updates, state = ours.update(grads, state, moved)
        moved = optax.apply_updates(moved, updates)
        norm = np.sqrt(sum(float(jnp.sum(g**2)) for g in plain(grads).values()))
        assert norm > 0.5
        for name, gradient in plain(grads).items():
            update, states[name] = rules[name].update(gradient * (0.5 / norm), states[name], alone[name])
            alone[name] = alone[name] + update
    for name, leaf in plain(moved).items():
        np.testing.assert_allclose(leaf, alone[name], rtol=2e-5, atol=1e-6, err_msg=name)


def test_what_is_frozen_has_no_statistics(tiny):
    _, params = tiny.make()
    of = lambda **groups: bytes_of(make_optimizer(OptimizerConfig(groups=groups), 10, params).init(params))
    whole = bytes_of(make_optimizer(OptimizerConfig(), 10, params).init(params))
    assert whole == 2 * bytes_of(params)
    assert of(embed={"frozen": True}) == whole - 2 * bytes_of(params["embed"])
    assert of(embed={"name": "sgd"}) == whole - bytes_of(params["embed"])


def test_a_users_factory_serves_the_groups_that_name_no_other_rule(tiny):
    _, params = tiny.make()
    seen = []

    def mine(learning_rate):
        seen.append(round(float(learning_rate(0)), 3))
        return optax.sgd(learning_rate)

    groups = {"embed": {"learning_rate_factor": 0.5}, "*.up": {"name": "adamw"}}
    tx = make_optimizer(OptimizerConfig(learning_rate=0.1, clip_norm=None, factory=mine, groups=groups), 10, params)
    assert seen == [0.1, 0.05]
    updates = named(tx.update(jax.tree.map(lambda x: jnp.full_like(x, 3.0), params), tx.init(params), params)[0])
    sizes = {name: float(jnp.abs(jnp.asarray(leaf)).max()) for name, leaf in updates.items()}
    assert sizes == pytest.approx(
        {"embed": 0.15, "stack.up": 0.1, "stack.down": 0.3, "stack.norm.scale": 0.3}, rel=1e-3
    )


def test_cutting_and_putting_together_again():
    tree = {"a": 1, "b": {"c": 2, "d": 3}}
    cut = Cut({"a": True, "b": {"c": False, "d": True}})
    assert cut.moving(tree) == [1, 3]
    assert cut.whole([10, 30], tree) == {"a": 10, "b": {"c": 2, "d": 30}}
    assert Cut(None).moving(tree) is tree and Cut(None).whole(tree, None) is tree
