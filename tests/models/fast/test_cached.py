import functools

import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models.fast import cached
from flan_jax.models.kv_cache import KeysValues, KVCache
from flan_jax.models.masks import mask_bias
from tests.models.fast.written_out import BATCH, HEADS, KV_HEADS, assert_the_same, normal, query_key_value


@pytest.mark.parametrize(("queries", "heads_alone"), [(3, False), (1, False), (1, True)])
@pytest.mark.parametrize("cap", [0.0, 1.5])
@pytest.mark.parametrize("prompt", [0, 4])
def test_a_cache_is_one_list_of_keys(queries, heads_alone, cap, prompt):
    query, key, value = query_key_value(queries, 7)
    see = lambda length, seed: mask_bias(
        jnp.asarray(np.random.default_rng(seed).random((BATCH, queries, length)) < 0.7).at[:, :, 0].set(True)
    )
    biases = (see(7, 0), normal(1, KV_HEADS, HEADS // KV_HEADS, queries, 7, seed=5))
    cache, prompt_biases = KVCache(KeysValues(key, value).block()), ()
    if prompt:
        prompt_biases = (see(prompt, 1),)
        _, key, value = query_key_value(queries, prompt, seed=6)
        cache = KVCache(cache.new, KeysValues(key, value).block())
    sources = cache.sources(biases, prompt_biases)
    assert len(sources) == 1 + bool(prompt) and all(source.cached for source in sources)
    assert_the_same(functools.partial(cached.attend, heads_alone=heads_alone), query, sources, softcap=cap)
