import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.models import ModelConfig
from flan_jax.models.layers import Embedding, FeedForward, RMSNorm

CONFIG = ModelConfig(vocab_size=40, embed_dim=16, mlp_dim=24, dtype="float32")


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_norm_has_unit_mean_square_and_counts_in_float32():
    x = 300.0 * normal(4, 16)
    norm = RMSNorm(16, CONFIG)
    np.testing.assert_allclose(np.square(norm(x)).mean(axis=-1), 1.0, rtol=1e-5)
    half = norm(x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    # rounded once, at the end
    np.testing.assert_array_equal(half, norm(x.astype(jnp.bfloat16).astype(jnp.float32)).astype(jnp.bfloat16))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
def test_logits_start_near_unit_size(tied, scaled):
    std = 1.0 if scaled else 0.25  # 1 / sqrt(16): what a tied embedding needs without the scale
    config = dataclasses.replace(CONFIG, tie_embeddings=tied, scale_logits=scaled, embedding_init_std=std)
    logits = Embedding(config, rngs=nnx.Rngs(0)).logits(normal(4, 10, 16))
    assert logits.dtype == jnp.float32 and 0.8 < float(logits.std()) < 1.2


@pytest.mark.parametrize("activation", ["gated_gelu", "gated_silu", "relu"])
def test_feed_forward(activation):
    mlp = FeedForward(dataclasses.replace(CONFIG, mlp_activation=activation), rngs=nnx.Rngs(0))
    x = normal(2, 3, 16)
    up = np.asarray(x @ mlp.up.kernel[...])
    if activation == "relu":
        assert not hasattr(mlp, "gate")
        hidden = np.maximum(up, 0)
    else:
        gate = np.asarray(x @ mlp.gate.kernel[...])
        inner = np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)
        hidden = up * gate * (0.5 * (1 + np.tanh(inner)) if activation == "gated_gelu" else 1 / (1 + np.exp(-gate)))
    np.testing.assert_allclose(mlp(x), hidden @ np.asarray(mlp.down.kernel[...]), rtol=1e-4, atol=1e-5)
