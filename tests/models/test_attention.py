import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.models import ModelConfig
from flan_jax.models.attention import Attention, AttentionContext, attend
from flan_jax.models.kv_cache import KVBlock, KVCache, Source, joined
from flan_jax.models.masks import mask_bias

CONFIG = ModelConfig(embed_dim=16, num_heads=4, num_kv_heads=2, dtype="float32")


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    ("architecture", "scaled"), [("encoder_decoder", False), ("encoder_decoder", True), ("decoder", True)]
)
def test_attention_is_the_textbooks(architecture, scaled):
    config = dataclasses.replace(CONFIG, architecture=architecture, scale_attention=scaled)
    attention = Attention(config, rngs=nnx.Rngs(0))
    x, allowed = normal(2, 5, 16), jnp.asarray(np.tril(np.ones((2, 5, 5), bool)))
    got, kept = attention(x, AttentionContext((mask_bias(allowed),)))
    want = np.zeros((2, 5, 16))
    for head in range(4):
        q = x @ attention.query.kernel[...][:, head]
        k, v = (x @ weights.kernel[...][:, head // 2] for weights in (attention.key, attention.value))
        logits = np.einsum("bqk,bsk->bqs", q, k) * (0.5 if scaled else 1.0)
        weights = np.where(allowed, np.exp(logits), 0)
        want += np.einsum("bqs,bsk->bqk", weights / weights.sum(-1, keepdims=True), v) @ np.asarray(
            attention.out.kernel[...][head]
        )
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(kept.key[..., 1, :], x @ attention.key.kernel[...][:, 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cap", [0.0, 2.0])
def test_attend_is_softmax_over_capped_and_biased_logits(cap):
    query, key, value = normal(2, 5, 4, 8), normal(2, 7, 2, 8, seed=1), normal(2, 7, 2, 8, seed=2)
    allowed = np.random.default_rng(0).random((2, 5, 7)) < 0.7
    allowed[:, :, 0] = True
    of_heads = np.asarray(normal(1, 2, 2, 5, 7, seed=3))
    got = attend(query, key, value, (mask_bias(jnp.asarray(allowed)), of_heads), softcap=cap)
    for head in range(4):
        logits = np.einsum("bqk,bsk->bqs", query[:, :, head], key[:, :, head // 2])
        logits = (cap * np.tanh(logits / cap) if cap else logits) + of_heads[:, head // 2, head % 2]
        weights = np.where(allowed, np.exp(logits), 0)
        want = np.einsum("bqs,bsk->bqk", weights / weights.sum(-1, keepdims=True), value[:, :, head // 2])
        np.testing.assert_allclose(got[:, :, head], want, rtol=1e-4, atol=1e-5)


def test_several_sources_are_one_list_of_keys():
    query, key, value = normal(2, 3, 4, 8), normal(2, 7, 2, 8, seed=1), normal(2, 7, 2, 8, seed=2)
    of_heads = normal(1, 2, 2, 3, 7, seed=3)
    cut = lambda at, *biases: Source(key[:, at], value[:, at], tuple(bias[..., at] for bias in biases))
    nobody = jnp.zeros((2, 1, 1, 3, 7))
    both = joined([cut(slice(0, 2), nobody), cut(slice(2, 7), nobody, of_heads)])
    whole = attend(query, key, value, (of_heads.at[..., :2].set(0),))
    np.testing.assert_array_equal(attend(query, both.key, both.value, both.biases), whole)


@pytest.mark.parametrize("qk_norm", ["none", "head", "whole"])
def test_token_by_token_with_a_cache_is_all_at_once(qk_norm):
    attention = Attention(dataclasses.replace(CONFIG, qk_norm=qk_norm), rngs=nnx.Rngs(0))
    x, causal = normal(2, 5, 16), jnp.tril(jnp.ones((1, 5, 5), bool))
    whole, _ = attention(x, AttentionContext((mask_bias(causal),)))
    cache = KVCache(KVBlock(*[jnp.zeros((2, 2, 5, 4))] * 2))
    for index in range(5):
        here = slice(index, index + 1)
        one, cache = attention(x[:, here], AttentionContext((mask_bias(causal[:, here]),)), cache=cache, index=index)
        np.testing.assert_allclose(one, whole[:, here], rtol=1e-5, atol=1e-6)


def test_an_encoders_keys_and_values_are_the_same_cached():
    attention = Attention(dataclasses.replace(CONFIG, qk_norm="head"), rngs=nnx.Rngs(0))
    x, memory = normal(2, 3, 16), attention.keys_values(normal(2, 7, 16, seed=1))
    assert memory.key.shape == (2, 7, 2, 4)
    fresh, _ = attention(x, AttentionContext(()), memory=memory)
    cached, _ = attention(x, AttentionContext(()), memory=memory.block())
    np.testing.assert_allclose(cached, fresh, rtol=1e-5, atol=1e-6)


def test_softmax_is_in_float32():
    attention = Attention(CONFIG, rngs=nnx.Rngs(0))
    x = normal(1, 3, 16).astype(jnp.bfloat16)
    jaxpr = str(jax.make_jaxpr(lambda x: attention(x, AttentionContext(()))[0])(x))
    exponentials = [line for line in jaxpr.splitlines() if " = exp " in line]
    assert exponentials and all(":f32[" in line for line in exponentials)
