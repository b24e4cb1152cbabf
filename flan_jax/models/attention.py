"""Attention: project, norm, rotary, KV cache, attend, out; one form for self-attention, cross-attention and decoding.

`attend` is the plain form of what is between the projections. `flan_jax.models.fast.choice` may know a faster one.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from flan_jax.models.activations import capped, dropout
from flan_jax.models.config import ModelConfig
from flan_jax.models.fast.choice import attention_form
from flan_jax.models.kv_cache import KeysValues, KVBlock, KVCache, Source, joined
from flan_jax.models.layers import Linear, RMSNorm
from flan_jax.models.masks import PackedMask
from flan_jax.models.positions import rotate
from flan_jax.parallel.axes import shard

QUERY_AXES = ("batch", "length", "heads", "head_dim")
KEY_AXES = ("batch", "length", "kv_heads", "head_dim")


def attend(
    query: Float[Array, "B Lq H K"],
    key: Float[Array, "B Lk N K"],
    value: Float[Array, "B Lk N K"],
    biases: Sequence[Array] = (),
    *,
    softcap: float = 0.0,
    dropout_rate: float = 0.0,
    dropout_key: PRNGKeyArray | None = None,
) -> Float[Array, "B Lq H K"]:
    """What each query sees: the values, weighted by how well their keys fit (Vaswani et al., 2017).

    Each of the N heads of keys and values serves G = H / N heads of queries (Ainslie et al., 2023).

    Args:
      query: already scaled.
      key: keys.
      value: values.
      biases: masks and relative biases, added in turn; each broadcasts to [B, N, G, Lq, Lk].
      softcap: see `capped`.
      dropout_rate: share of weights to drop.
      dropout_key: None for no dropout.
    """
    batch, length, heads, width = query.shape
    kv_heads = key.shape[2]
    query = query.reshape(batch, length, kv_heads, heads // kv_heads, width)  # [B, Lq, N, G, K]
    logits = jnp.einsum("blngk,bsnk->bngls", query, key, preferred_element_type=jnp.float32)
    logits = capped(logits, softcap)
    for bias in biases:
        logits = logits + bias
    weights = jax.nn.softmax(logits, axis=-1)  # [B, N, G, Lq, Lk], in float32
    weights = dropout(weights, dropout_rate, dropout_key).astype(value.dtype)
    mixed = jnp.einsum("bngls,bsnk->blngk", weights, value)
    return mixed.reshape(batch, length, heads, width)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AttentionContext:
    """What attention needs to know besides its inputs, the same for all layers of one kind (global or local).

    Attributes:
      biases: masks and relative biases on the logits over the tokens of this call or, with a cache, over all of
        `KVCache.new`.
      rotary: cosines and sines of the positions; None: they are not told by rotation.
      prompt_biases: as `biases`, on the logits over `KVCache.prompt`.
    """

    biases: tuple[Array, ...]
    rotary: tuple[Array, Array] | None = None
    prompt_biases: tuple[Array, ...] = ()


class Attention(nnx.Module):
    """Multi-head attention with fewer heads for keys and values where asked (grouped queries).

    `flan_jax.inference.decoding.layout` may join the three projections.
    """

    query_key_value: Callable[[Array], Array]

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        embed, heads, kv_heads, width = config.embed_dim, config.num_heads, config.kv_heads, config.width
        # T5 has no 1/sqrt(K) on the logits and starts with smaller queries instead.
        scaled = config.scale_attention or config.architecture == "decoder"
        self.scale = config.query_scale or (width**-0.5 if scaled else 1.0)
        query_std = embed**-0.5 if scaled else (embed * width) ** -0.5
        of = lambda count, axis, std: Linear(
            rngs, (embed, count, width), ("embed", axis, "head_dim"), std, config, bias=config.attention_bias
        )
        self.query = of(heads, "heads", query_std)
        self.key = of(kv_heads, "kv_heads", embed**-0.5)
        self.value = of(kv_heads, "kv_heads", embed**-0.5)
        out, axes = (heads, width, embed), ("heads", "head_dim", "embed")
        self.out = Linear(rngs, out, axes, (heads * width) ** -0.5, config, dims=2, bias=config.attention_out_bias)
        whole = config.qk_norm == "whole"  # all heads of a token are one vector
        norm = lambda count: RMSNorm(count * width if whole else width, config) if config.qk_norm != "none" else None
        self.query_norm, self.key_norm = norm(heads), norm(kv_heads)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        context: AttentionContext,
        *,
        memory: KeysValues | KVBlock | None = None,
        cache: KVCache | None = None,
        index: Int[Array, ""] | int = 0,
        packed: PackedMask | None = None,
        dropout_key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, "B L D"], KeysValues | KVBlock | KVCache]:
        """Lets tokens look at one another, at those in a KV cache, or at an encoder's output.

        Args:
          x: the tokens.
          context: masks and positions.
          memory: from `keys_values` of the encoder's output, for cross-attention; None: the tokens have their own.
          cache: keys and values of earlier tokens, behind which those of `x` are written.
          index: where in `KVCache.new` they go.
          packed: what the masks say, where they are those of causal self-attention within segments.
          dropout_key: drops attention weights; None for no dropout.

        Returns:
          What they saw, and the keys and values that were looked at: the cache, where there is one.
        """
        keys_values: KeysValues | KVBlock | KVCache
        if memory is None:
            query, key, value = self.project(x)  # [B, L, H, K], and twice [B, L, N, K]
            own = KeysValues(rotate(self.normed(key, self.key_norm), context.rotary), value)
            keys_values = own if cache is None else cache.write(own, index)
        else:
            query, keys_values = shard(self.query(x), *QUERY_AXES), memory
        query = rotate(self.normed(query, self.query_norm), context.rotary) * self.scale
        sources = keys_values.sources(context.biases, context.prompt_biases)
        seen = self.attended(query, sources, packed, dropout_key)  # [B, L, H, K]
        out = self.out(shard(seen, *QUERY_AXES))
        return shard(out, "batch", "length", "embed"), keys_values

    def project(self, x: Float[Array, "B L D"]) -> tuple[Array, Array, Array]:
        """Query [B, L, H, K], key and value [B, L, N, K] of the same tokens."""
        if hasattr(self, "query_key_value"):
            heads, kv_heads = self.config.num_heads, self.config.kv_heads
            query, key, value = jnp.split(self.query_key_value(x), (heads, heads + kv_heads), axis=-2)
        else:
            query, key, value = self.query(x), self.key(x), self.value(x)
        return shard(query, *QUERY_AXES), shard(key, *KEY_AXES), shard(value, *KEY_AXES)

    def keys_values(self, memory: Float[Array, "B Lk D"]) -> KeysValues:
        """Keys and values of an encoder's output, for cross-attention."""
        key, value = shard(self.key(memory), *KEY_AXES), shard(self.value(memory), *KEY_AXES)
        return KeysValues(self.normed(key, self.key_norm), value)

    def normed(self, x: Float[Array, "B L H K"], norm: RMSNorm | None) -> Float[Array, "B L H K"]:
        """Norms each head, or all heads of a token as one vector, where the model has such norms."""
        if norm is None:
            return x
        return norm(x) if self.config.qk_norm == "head" else norm(x.reshape(*x.shape[:-2], -1)).reshape(x.shape)

    def attended(
        self,
        query: Float[Array, "B L H K"],
        sources: Sequence[Source],
        packed: PackedMask | None,
        dropout_key: PRNGKeyArray | None,
    ) -> Float[Array, "B L H K"]:
        """`attend` over all sources as one list of keys, in the form that is fastest here."""
        rate = self.config.dropout_rate if dropout_key is not None else 0.0
        settings: dict[str, Any] = {"dropout_rate": rate, "dropout_key": dropout_key}
        settings["softcap"] = self.config.attention_cap
        form = attention_form(self.config, query.shape[1], sources, packed, drops=rate > 0)
        if form is not None:
            return form(query, sources, **settings)
        whole = joined(sources)
        return attend(query, whole.key, whole.value, whole.biases, **settings)
