"""Packed rows of which no kernel's block divides the length."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from flan_jax.models.kv_cache import Source
from flan_jax.models.masks import PackedMask, mask_bias, segment_mask
from flan_jax.parallel.rules import LOGICAL_RULES, MESH_AXES
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


def traced_with_split_lengths(attend, monkeypatch):
    """The equations of a kernel's form on a mesh, by a table that splits lengths, and how each device may hold rows."""
    monkeypatch.setitem(LOGICAL_RULES, "batch", "data")
    monkeypatch.setitem(LOGICAL_RULES, "length", "fsdp")
    query, source, packed, _ = given(0)
    mesh = AbstractMesh((2, 2, 2), MESH_AXES, axis_types=(AxisType.Auto,) * 3)
    with jax.sharding.use_abstract_mesh(mesh):
        jaxpr = jax.make_jaxpr(lambda q: attend(q, [source], packed=packed, softcap=0.0))(query)
    return jaxpr.eqns, PartitionSpec("data", None, "tensor", None)
