import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.models import ModelConfig
from flan_jax.models.positions import RelativeBias, bucket_table, rotary_embedding, rotary_frequencies, rotate

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


def test_rotary_depends_on_differences_alone():
    q, k = normal(1, 1, 4, 8), normal(1, 1, 4, 8, seed=1)
    at = lambda x, position: rotate(
        x, rotary_embedding(jnp.array([[position]]), rotary_frequencies(ModelConfig(head_dim=8)))
    )
    products = [float((at(q, i) * at(k, j)).sum()) for i, j in ((3, 1), (12, 10), (102, 100))]
    np.testing.assert_allclose(products, products[0], rtol=1e-4)
    assert abs(float((at(q, 3) * at(k, 2)).sum()) - products[0]) > 1e-2
    np.testing.assert_array_equal(at(q, 0), q)
