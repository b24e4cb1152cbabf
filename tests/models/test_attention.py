import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.models import ModelConfig
from flan_jax.models.attention import (
    LONG,
    Attention,
    KeysValues,
    RelativeBias,
    Source,
    bucket_table,
    mask_bias,
    rotary,
    rotary_frequencies,
    rotate,
    segment_mask,
)
from flan_jax.models.attention_kernels import Packed

CONFIG = ModelConfig(embed_dim=16, num_heads=4, num_kv_heads=2, dtype="float32")


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_buckets_are_t5s():
    # 32 buckets in one direction up to 128, and 16 a direction: borders of the logarithmic half, worked out by hand
    causal, half = bucket_table(32, 128), bucket_table(16, 128)
    assert causal[:17].tolist() == list(range(17)) and causal[[128, 113, 112, 64]].tolist() == [31, 31, 30, 26]
    assert half[[7, 8, 11, 12, 15, 16, 22, 23, 31, 32, 45, 46, 63, 64, 90, 91, 128]].tolist() == [
        *(7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15)
    ]
    assert (np.diff(causal) >= 0).all() and (np.diff(half) >= 0).all()


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_bias_is_the_table_looked_up_by_distance(bidirectional):
    config = dataclasses.replace(CONFIG, relative_buckets=8, relative_max_distance=20)
    bias = RelativeBias(config, bidirectional=bidirectional, rngs=nnx.Rngs(0))
    table = np.asarray(bias.table[...])

    def bucket(distance):  # key - query
        if bidirectional:
            return bucket_table(4, 20)[min(abs(distance), 20)] + 4 * (distance > 0)
        return bucket_table(8, 20)[min(max(-distance, 0), 20)]

    for queries, keys, first in ((5, 5, 0), (3, 40, 0), (30, 4, 0), (1, 9, 6), (2, 7, 3)):
        got = np.asarray(bias(queries, keys, jnp.asarray(first))).reshape(4, queries, keys)
        want = [[table[bucket(k - q - first)] for k in range(keys)] for q in range(queries)]
        np.testing.assert_array_equal(got, np.moveaxis(np.array(want), -1, 0))


def test_local_heads_start_on_their_neighbours():
    config = dataclasses.replace(CONFIG, local_heads=True)
    both = np.asarray(RelativeBias(config, bidirectional=True, rngs=nnx.Rngs(0))(9, 9)).reshape(4, 9, 9)
    rows = np.arange(1, 8)
    assert (both[0].argmax(axis=-1)[rows] == rows - 1).all() and (both[1].argmax(axis=-1)[rows] == rows + 1).all()
    assert both[2:].max() < 1
    causal = np.asarray(RelativeBias(config, bidirectional=False, rngs=nnx.Rngs(0))(9, 9)).reshape(4, 9, 9)
    assert (causal[0].argmax(axis=-1)[rows] == rows - 1).all() and causal[1:].max() < 1


def test_masks():
    row = jnp.array([[1, 1, 1, 2, 2, 0]])
    causal = np.asarray(segment_mask(row, row, causal=True))[0]
    assert causal.astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    prefix = np.asarray(segment_mask(row, row, causal=True, prefix=jnp.array([[1, 1, 0, 1, 0, 0]])))[0]
    assert (prefix.astype(int) - causal).tolist() == np.eye(6, k=1, dtype=int)[[0, *[5] * 5]].tolist()


def test_rotary_depends_on_differences_alone():
    q, k = normal(1, 1, 4, 8), normal(1, 1, 4, 8, seed=1)
    at = lambda x, position: rotate(x, rotary(jnp.array([[position]]), rotary_frequencies(ModelConfig(head_dim=8))))
    products = [float((at(q, i) * at(k, j)).sum()) for i, j in ((3, 1), (12, 10), (102, 100))]
    np.testing.assert_allclose(products, products[0], rtol=1e-4)
    assert abs(float((at(q, 3) * at(k, 2)).sum()) - products[0]) > 1e-2
    np.testing.assert_array_equal(at(q, 0), q)


@pytest.mark.parametrize(
    ("architecture", "scaled"), [("encoder_decoder", False), ("encoder_decoder", True), ("decoder", True)]
)
def test_attention_is_the_textbooks(architecture, scaled):
    config = dataclasses.replace(CONFIG, architecture=architecture, scale_attention=scaled)
    attention = Attention(config, rngs=nnx.Rngs(0))
    x, allowed = normal(2, 5, 16), jnp.asarray(np.tril(np.ones((2, 5, 5), bool)))
    got = attention(attention.queries(x), [Source(attention.keys_values(x), (mask_bias(allowed),))])
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


def test_two_sources_are_one_list_of_keys():
    attention = Attention(CONFIG, rngs=nnx.Rngs(0))
    x, memory = normal(2, 3, 16), attention.keys_values(normal(2, 7, 16, seed=1))
    bias = mask_bias(jnp.asarray(np.random.default_rng(0).random((2, 3, 7)) < 0.7).at[:, :, 0].set(True))
    whole = attention(attention.queries(x), [Source(memory, (bias,))])
    cut = lambda at: Source(KeysValues(memory.keys[:, at], memory.values[:, at]), (bias[..., at],))
    parts = attention(attention.queries(x), [cut(slice(0, 2)), cut(slice(2, 7))])
    np.testing.assert_allclose(whole, parts, rtol=1e-5, atol=1e-6)


def test_softmax_is_in_float32():
    attention = Attention(CONFIG, rngs=nnx.Rngs(0))
    x = normal(1, 3, 16).astype(jnp.bfloat16)
    jaxpr = str(jax.make_jaxpr(lambda x: attention(attention.queries(x), [Source(attention.keys_values(x))]))(x))
    exponentials = [line for line in jaxpr.splitlines() if " = exp " in line]
    assert exponentials and all(":f32[" in line for line in exponentials)


@pytest.mark.parametrize("window", [0, 100])
def test_long_causal_rows_are_taken_in_blocks_that_change_nothing(window):
    config = dataclasses.replace(CONFIG, architecture="decoder", attention="xla", window=window)
    attention = Attention(config, rngs=nnx.Rngs(0))
    x = normal(2, LONG, 16)
    segments = jnp.repeat(jnp.array([[1, 1, 2, 3], [1, 2, 2, 0]]), LONG // 4, axis=1)  # ends fall on blocks' and within
    segments = segments.at[0, 70:200].set(2)
    bias = mask_bias(segment_mask(segments, segments, causal=True, window=window))

    def seen(x, packed):
        queries, own = attention.projections(x)
        return (attention(queries, [Source(own, (bias,), packed)]) ** 2).sum()

    of = lambda packed: jax.jit(jax.value_and_grad(lambda x: seen(x, packed)))
    blocks, whole = of(Packed(segments, window)), of(None)
    (got, got_grad), (want, want_grad) = blocks(x), whole(x)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(got_grad, want_grad, rtol=1e-5, atol=1e-5)
    flops = lambda f: f.lower(x).compile().cost_analysis()["flops"]
    assert flops(blocks) < 0.8 * flops(whole)
