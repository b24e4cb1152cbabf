"""Muon, against `optax.contrib.muon` on every matrix by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from flan_jax.models import ModelConfig, abstract_model
from flan_jax.models.lora import parts
from flan_jax.models.lora_config import LoraConfig
from flan_jax.training.muon import matrix_axes
from flan_jax.training.optimizer import OptimizerConfig, make_optimizer

SIZES = {"vocab_size": 32, "embed_dim": 12, "num_heads": 2, "head_dim": 4, "mlp_dim": 20}


def ends(axes):
    """The last words of the names, each with its axes."""
    return {names[-2:] if len(names) > 1 else names: tuple(sides) for names, sides in axes.items()}


def test_the_matrices_between_layers_and_no_tables_norms_or_biases_are_muons():
    params = nnx.split(abstract_model(ModelConfig(architecture="encoder_decoder", **SIZES)), nnx.Param)[1]
    found = matrix_axes(params)
    into, out = ((1,), (2, 3)), ((1, 2), (3,))
    wanted = dict.fromkeys((("query", "kernel"), ("key", "kernel"), ("value", "kernel")), into) | {
        ("out", "kernel"): out,
        **dict.fromkeys((("up", "kernel"), ("gate", "kernel"), ("down", "kernel")), ((1,), (2,))),
    }
    assert ends(found) == wanted
    # Of both stacks, and of cross-attention.
    assert len(found) == 4 + 3 + 4 + 4 + 3
    untied = abstract_model(ModelConfig(architecture="decoder", tie_embeddings=False, **SIZES))
    assert ends(matrix_axes(nnx.split(untied, nnx.Param)[1])) == wanted


def test_adapters_are_matrices_and_rows_of_tokens_are_none():
    lora = LoraConfig(rank=2, targets="query,out", rows=(3, 4))
    found = matrix_axes(parts(ModelConfig(architecture="decoder", **SIZES), lora)[1])
    assert ends(found) == {
        ("query", "lora_a"): ((1,), (2,)),
        ("query", "lora_b"): ((1,), (2, 3)),
        ("out", "lora_a"): ((1, 2), (3,)),
        ("out", "lora_b"): ((1,), (2,)),
    }


def test_every_layer_and_all_heads_together_move_as_optax_moves_a_matrix(tiny):
    _, params = tiny.make(layers=2)
    draw = jax.random.normal
    params["stack"]["query"] = nnx.Param(draw(jax.random.key(1), (2, 8, 2, 5)), axes=("embed", "heads", "head_dim"))
    params["stack"]["out"] = nnx.Param(draw(jax.random.key(2), (2, 2, 5, 8)), axes=("heads", "head_dim", "embed"))
    # Layers of unlike size: orthogonal together they would not be so one by one.
    params["stack"]["up"][...] = params["stack"]["up"][...] * jnp.array([0.01, 10.0])[:, None, None]
    flat = {"up": (8, 16), "query": (8, 10), "out": (10, 8)}
    config = OptimizerConfig(name="muon", learning_rate=0.1, weight_decay=0.2, clip_norm=None, b2=0.95)
    ours = make_optimizer(config, 10, params)
    theirs = optax.contrib.muon(0.1, weight_decay=0.2, consistent_rms=0.2)
    others = optax.adamw(0.1, b2=0.95, weight_decay=0.2)

    def matrices(tree):
        return [{k: tree["stack"][k][...][i].reshape(shape) for k, shape in flat.items()} for i in range(2)]

    def rest(tree):
        return {"embed": tree["embed"][...]}

    alone = matrices(params)
    states, state = [theirs.init(each) for each in alone], ours.init(params)
    table, table_state, moved = rest(params), others.init(rest(params)), params
    update = jax.jit(ours.update)
    their_update = jax.jit(theirs.update)
    for step in range(2):
        grads = jax.tree.map(lambda x, seed=step: draw(jax.random.key(seed), x.shape), moved)
        updates, state = update(grads, state, moved)
        for i, part in enumerate(matrices(grads)):
            by_them, states[i] = their_update(part, states[i], alone[i])
            alone[i] = optax.apply_updates(alone[i], by_them)
        by_them, table_state = others.update(rest(grads), table_state, table)
        table = optax.apply_updates(table, by_them)
        moved = optax.apply_updates(moved, updates)
    for mine, wanted in zip(matrices(moved), alone, strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), mine, wanted)
    np.testing.assert_allclose(moved["embed"][...], table["embed"], rtol=1e-5, atol=1e-6)
    scale = moved["stack"]["norm"]["scale"][...]
    assert not np.allclose(scale, 1.0) and np.all(np.abs(scale - 1) < 0.5), "norms move by AdamW, without decay"


@pytest.mark.parametrize("name", ["muon", "lion", "sgd"])
def test_where_a_step_is_skipped_statistics_stay_and_are_float32(tiny, name):
    _, params = tiny.make()
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    tx = make_optimizer(OptimizerConfig(name=name, weight_decay=0.1), 10, params)
    update = jax.jit(tx.update)
    _, state = update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"int32", "float32"}
    nan = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), params)
    _, after = update(nan, state, params, finite=False)
    changed = [
        path
        for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(after), strict=True)
        if not np.array_equal(old, new)
    ]
    # The learning rate's step alone goes on.
    assert len(changed) == 1 and state[-1].count == 1 and after[-1].count == 2


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("lion", optax.lion(0.1, 0.8, 0.9, weight_decay=0.0)), ("sgd", optax.sgd(0.1, momentum=0.8))],
)
def test_lion_and_sgd_are_optaxs(tiny, name, theirs):
    _, params = tiny.make()
    ours = make_optimizer(OptimizerConfig(name=name, learning_rate=0.1, clip_norm=None, b1=0.8, b2=0.9), 10, params)
    states = [ours.init(params), theirs.init(params)]
    for step in range(2):
        grads = jax.tree.map(lambda x, seed=step: jax.random.normal(jax.random.key(seed), x.shape), params)
        both = []
        for i, tx in enumerate((ours, theirs)):
            updates, states[i] = tx.update(grads, states[i], params)
            both.append(updates)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *both)
    plain = make_optimizer(OptimizerConfig(name="sgd", clip_norm=None, b1=0.0), 10, params)
    assert not [leaf for leaf in jax.tree.leaves(plain.init(params)) if leaf.ndim], "no momentum, no memory"
