import functools

import jax
import jax.numpy as jnp
import pytest

from flan_jax.models.fast import cached, causal_blocks, cpu_products
from flan_jax.models.kv_cache import Source
from flan_jax.models.masks import mask_bias, segment_mask
from tests.models.fast.written_out import PLAIN, assert_the_same, plain, query_key_value

LENGTH = causal_blocks.LONG


def given(window):
    query, key, value = query_key_value(LENGTH, LENGTH)
    segments = jnp.repeat(
        jnp.array([[1, 1, 2, 3], [1, 2, 2, 0]]), LENGTH // 4, axis=1
    )  # ends fall on blocks' and within
    segments = segments.at[0, 70:200].set(2)
    return query, Source(key, value, (mask_bias(segment_mask(segments, segments, causal=True, window=window)),))


@pytest.mark.parametrize("window", [0, 100])
@pytest.mark.parametrize("of_block", [cpu_products.attend, functools.partial(cached.attend, heads_alone=False)])
def test_blocks_are_the_plain_form(window, of_block):
    query, source = given(window)
    assert_the_same(functools.partial(causal_blocks.attend, of_block=of_block), query, [source])


def test_blocks_multiply_less():
    query, source = given(0)
    blocks = functools.partial(causal_blocks.attend, of_block=cpu_products.attend)
    flops = lambda form: (
        jax.jit(lambda query: form(query, [source], **PLAIN)).lower(query).compile().cost_analysis()["flops"]
    )
    assert flops(blocks) < 0.8 * flops(plain)


def test_only_long_rows_that_divide_are_taken_in_blocks():
    assert [causal_blocks.fits(length) for length in (511, 512, 514, 1024)] == [False, True, False, True]
