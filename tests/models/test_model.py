import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.models import abstract_model, build
from flan_jax.models.attention import AttentionContext
from flan_jax.models.positions import rotary_embedding, rotary_frequencies
from flan_jax.models.stack import Context, Stack
from tests.models.batches import ALL, examples, logits_of, model_of, rows


@pytest.fixture(scope="module", params=ALL)
def config(request):
    return ALL[request.param]


def batch_of(config):
    return rows([examples([(5, 3), (7, 4)], seed) for seed in range(2)], config, 14, 8)


def forward(config, dropout=False):
    """(params, batch, key) -> logits, and abstract parameters."""
    graph, params = nnx.split(abstract_model(config), nnx.Param)
    return lambda p, b, key: nnx.merge(graph, p)(b, dropout_key=key if dropout else None), params


def test_logits_are_float32_and_a_fresh_models_are_near_unit_size(config):
    model = build(config, nnx.Rngs(0))
    logits = logits_of(model, batch_of(config))
    assert logits.dtype == np.float32 and logits.shape[-1] == config.vocab_size
    assert 0.3 < logits.std() < 3


def test_a_model_holds_parameters_and_no_random_state(config):
    model = build(config, nnx.Rngs(0))
    _, params, rest = nnx.split(model, nnx.Param, ...)
    assert not jax.tree.leaves(rest)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), nnx.split(abstract_model(config), nnx.Param)[1])
    assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), params)


def test_stacked_layers_differ_at_the_start(config):
    up = build(config, nnx.Rngs(0)).decoder.layers.mlp.up.kernel[...]
    assert up.shape[0] == config.num_decoder_layers and jnp.abs(up[0] - up[1]).max() > 0.01
    assert float(up.std()) == pytest.approx(config.embed_dim**-0.5, rel=0.1)


def test_computing_in_bfloat16_stays_close(config):
    model = model_of(config)
    half = model_of(dataclasses.replace(config, dtype="bfloat16"))
    exact, rounded = logits_of(model, batch_of(config)), logits_of(half, batch_of(config))
    assert rounded.dtype == np.float32
    distance = np.linalg.norm(exact - rounded) / np.linalg.norm(exact)
    assert 1e-5 < distance < 0.05


def test_the_program_is_flat_in_depth(config):
    def size(layers):
        deep = dataclasses.replace(config, num_encoder_layers=layers, num_decoder_layers=layers, remat="dots")
        call, params = forward(deep)
        loss = lambda p, b: call(p, b, None).sum()
        return str(jax.make_jaxpr(jax.grad(loss))(params, batch_of(config))).count(" = ")

    assert size(2) == size(12) > 100


@pytest.mark.parametrize("name", ["encoder_decoder", pytest.param("causal", marks=pytest.mark.slow)])
def test_remat_and_unrolling_change_no_gradient(name):
    config = ALL[name]
    batch = batch_of(config)

    def gradient(**changes):
        graph, params = nnx.split(model_of(dataclasses.replace(config, **changes)), nnx.Param)
        loss = lambda p, b: (jax.nn.log_softmax(nnx.merge(graph, p)(b)) ** 2).mean()
        jaxpr = str(jax.make_jaxpr(jax.grad(loss))(params, batch))
        return jax.jit(jax.grad(loss))(params, batch), "remat" in jaxpr or "checkpoint" in jaxpr

    reference, marked = gradient(remat="none")
    assert not marked and max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(reference)) > 1e-3
    for changes in ({"remat": "dots"}, {"remat": "full"}, {"remat": "offload"}, {"unroll": 1}):
        other, marked = gradient(**changes)
        assert marked == ("remat" in changes)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), reference, other)


@pytest.mark.parametrize("config", [ALL["encoder_decoder"], ALL["causal"]], ids=["encoder_decoder", "causal"])
def test_full_remat_keeps_less_for_the_backward_pass(config):
    batch = batch_of(config)

    def kept(remat):
        call, _ = forward(dataclasses.replace(config, remat=remat))
        params = nnx.split(model_of(config), nnx.Param)[1]
        _, backward = jax.vjp(lambda p: call(p, batch, None), params)
        return sum(leaf.size for leaf in jax.tree.leaves(backward))

    assert kept("full") < kept("dots") < kept("none")


def test_dropout_is_fixed_by_its_key(config):
    config = dataclasses.replace(config, dropout_rate=0.3)
    call, _ = forward(config, dropout=True)
    params, batch = nnx.split(model_of(config), nnx.Param)[1], batch_of(config)
    step = jax.jit(call)
    first, again, other = (np.asarray(step(params, batch, jax.random.key(seed))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert np.abs(first - logits_of(model_of(config), batch)).max() > 0.1
    assert step._cache_size() == 1


def test_dropout_without_a_rate_changes_nothing(config):
    call, _ = forward(config, dropout=True)
    params, batch = nnx.split(model_of(config), nnx.Param)[1], batch_of(config)
    np.testing.assert_allclose(
        jax.jit(call)(params, batch, jax.random.key(0)), logits_of(model_of(config), batch), rtol=1e-5, atol=1e-5
    )


def test_noise_on_embeddings_is_fixed_by_its_key_and_off_without_one(config):
    config = dataclasses.replace(config, embedding_noise=5.0)
    call, _ = forward(config, dropout=True)
    model = model_of(config)
    params, batch = nnx.split(model, nnx.Param)[1], batch_of(config)
    step = jax.jit(call)
    first, again, other = (np.asarray(step(params, batch, jax.random.key(seed))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    quiet = logits_of(model_of(dataclasses.replace(config, embedding_noise=0.0)), batch)
    np.testing.assert_array_equal(logits_of(model, batch), quiet)
    if config.architecture == "encoder_decoder":  # both sides read embeddings
        read = lambda key: model.encode(batch["encoder_input_tokens"], batch["encoder_segment_ids"], dropout_key=key)
        assert np.abs(np.asarray(read(jax.random.key(0)) - read(None))).max() > 0.01


def test_dropout_differs_from_layer_to_layer():
    """Two layers that add the same number to every feature: one mask for both leaves features of two sizes."""
    config = dataclasses.replace(ALL["causal"], dropout_rate=0.5)
    stack = Stack(config, 2, cross=False, rngs=nnx.Rngs(0))
    layers, length = stack.layers, 3
    # feature 0 outweighs all others, so every norm gives nearly the same; attention reads it and writes to the others
    x = jnp.zeros((8, length, config.embed_dim)).at[..., 0].set(1e4)
    attention = layers.self_attention
    attention.value.kernel[...] = jnp.zeros_like(attention.value.kernel[...]).at[:, 0].set(1.0)
    attention.out.kernel[...] = jnp.ones_like(attention.out.kernel[...]).at[..., 0].set(0.0)
    layers.mlp.down.kernel[...] = jnp.zeros_like(layers.mlp.down.kernel[...])
    rotary = rotary_embedding(jnp.zeros((8, length)), rotary_frequencies(config))
    y, _ = stack(x, Context(AttentionContext((), rotary)), dropout_key=jax.random.key(0))
    sizes = [len(np.unique(np.asarray(row[0, 1:]).round(6))) for row in y if row[0, 0] != 0]
    assert len(sizes) > 1 and max(sizes) >= 3
