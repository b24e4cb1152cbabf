"""Attention over a KV cache: several sources, whose keys and values are never copied together."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from flan_jax.models.activations import capped, dropout
from flan_jax.models.kv_cache import Source


def attend(
    query: Float[Array, "B Lq H K"],
    sources: Sequence[Source],
    *,
    softcap: float,
    dropout_rate: float,
    dropout_key: PRNGKeyArray | None,
    heads_alone: bool,
) -> Float[Array, "B Lq H K"]:
    """As `attention.attend` over all sources as one list of keys.

    Args:
      query: queries, scaled.
      sources: keys, values and biases.
      softcap: as there.
      dropout_rate: as there.
      dropout_key: as there.
      heads_alone: whether each of the heads that share keys is multiplied by itself, as CPUs take one token faster.
    """
    batch, length, heads, width = query.shape
    kv_heads = sources[0].key.shape[2]
    grouped = query.reshape(batch, length, kv_heads, heads // kv_heads, width)
    one = functools.partial(_attend, softcap=softcap, rate=dropout_rate, key=dropout_key)
    if not heads_alone:
        return one(grouped, sources).reshape(query.shape)
    groups = [slice(group, group + 1) for group in range(grouped.shape[3])]
    alone = [one(grouped[:, :, :, group], [_of_group(source, group) for source in sources]) for group in groups]
    return jnp.concatenate(alone, axis=3).reshape(query.shape)


def _of_group(source: Source, group: slice) -> Source:
    """The source with the biases of one of the G heads that share keys."""
    biases = [bias if bias.shape[2] == 1 else bias[:, :, group] for bias in source.biases]
    return dataclasses.replace(source, biases=tuple(biases))


def _attend(
    query: Float[Array, "B Lq N G K"],
    sources: Sequence[Source],
    *,
    softcap: float,
    rate: float,
    key: PRNGKeyArray | None,
) -> Float[Array, "B Lq N G K"]:
    logits = []
    for source in sources:
        raw = jnp.einsum("blngk,bsnk->bngls", query, source.key, preferred_element_type=jnp.float32)
        logits.append(functools.reduce(jnp.add, source.biases, capped(raw, softcap)))
    weights = jax.nn.softmax(jnp.concatenate(logits, axis=-1) if len(logits) > 1 else logits[0], axis=-1)
    weights = dropout(weights, rate, key).astype(query.dtype)
    parts, start = [], 0
    for source in sources:
        end = start + source.key.shape[1]
        # Not asked for in float32, as in `cpu_products`: XLA's CPU backend fails at that in some of these shapes.
        parts.append(jnp.einsum("bngls,bsnk->blngk", weights[..., start:end], source.value))
        start = end
    return functools.reduce(jnp.add, parts)
