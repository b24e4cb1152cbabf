"""Packed rows of which no kernel's block divides the length."""

import jax.numpy as jnp
import numpy as np

from flan_jax.models.kv_cache import Source
from flan_jax.models.masks import PackedMask, mask_bias, segment_mask
from tests.models.fast.written_out import BATCH, query_key_value

LENGTH = 140


def given(window):
    """Queries, a source with its mask, the same mask for kernels, and 1 for the queries that are no padding."""
    segments = np.zeros((BATCH, LENGTH), np.int32)
    segments[0, :50], segments[0, 50:133] = 1, 2
    segments[1, :140] = 1
    segments = jnp.asarray(segments)
    query, key, value = query_key_value(LENGTH, LENGTH)
    mask = mask_bias(segment_mask(segments, segments, causal=True, window=window))
    return query, Source(key, value, (mask,)), PackedMask(segments, window), (segments > 0)[..., None, None]
