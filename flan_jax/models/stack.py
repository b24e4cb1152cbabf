"""A stack of layers, scanned: one layer is traced, whatever the depth."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from flan_jax.models.attention import Attention, KeysValues, Source
from flan_jax.models.config import ModelConfig
from flan_jax.models.layers import FeedForward, RMSNorm, dropout


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """What has been computed of the tokens so far; every array has the layers in front when it belongs to a stack.

    Attributes:
      new: keys and values of the tokens that come one after another, room for all of them.
      prompt: keys and values of a decoder's prompt, written once.
      memory: keys and values of the encoder's output for cross-attention, computed once.
    """

    new: KeysValues
    prompt: KeysValues | None = None
    memory: KeysValues | None = None


@dataclasses.dataclass(frozen=True)
class Context:
    """What all layers of one forward pass share, built once.

    Attributes:
      self_biases: biases of self-attention over the tokens of this call or, with a cache, over all of `Cache.new`.
      turns: rotary cosines and sines of the positions.
      prompt_biases: biases over `Cache.prompt`.
      memory: the encoder's output, where there is no cache.
      memory_biases: biases of cross-attention.
      sees_memory: whether a query has any key in the encoder; a segment with empty inputs has none, and adds nothing.
      index: where in `Cache.new` the tokens of this call go.
    """

    self_biases: tuple[Array, ...]
    turns: tuple[Array, Array] | None = None
    prompt_biases: tuple[Array, ...] = ()
    memory: Float[Array, "B Lk D"] | None = None
    memory_biases: tuple[Array, ...] = ()
    sees_memory: Bool[Array, "B Lq"] | None = None
    index: Int[Array, ""] | int = 0


class Layer(nnx.Module):
    """Self-attention, cross-attention where there is an encoder, feed-forward; each normed before and added after."""

    def __init__(self, config: ModelConfig, *, cross: bool, rngs: nnx.Rngs):
        self.config = config
        self.self_norm = RMSNorm(config.embed_dim, config)
        self.self_attention = Attention(config, rngs=rngs)
        self.has_cross = cross
        if cross:
            self.cross_norm = RMSNorm(config.embed_dim, config)
            self.cross_attention = Attention(config, rngs=rngs)
        self.mlp_norm = RMSNorm(config.embed_dim, config)
        self.mlp = FeedForward(config, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B L D"], context: Context, cache: Cache | None = None, key: PRNGKeyArray | None = None
    ) -> tuple[Float[Array, "B L D"], Cache | KeysValues]:
        """Applies the layer.

        Returns:
          The new activations, and the cache with this call's tokens written; without a cache, their keys and values.
        """
        keys = iter([None] * 6 if key is None else list(jax.random.split(key, 6)))
        drop = lambda y: dropout(y, self.config.dropout_rate, next(keys))
        h = self.self_norm(x)
        own = self.self_attention.keys_values(h, context.turns)
        result: Cache | KeysValues = own
        if cache is None:
            sources = [Source(own, context.self_biases)]
        else:
            result = dataclasses.replace(cache, new=cache.new.write(own, context.index))
            sources = [Source(result.new, context.self_biases)]
            if cache.prompt is not None:
                sources.insert(0, Source(cache.prompt, context.prompt_biases))
        x = x + drop(self.self_attention(self.self_attention.queries(h, context.turns), sources, next(keys)))
        if self.has_cross:
            x = x + drop(self._cross(self.cross_norm(x), context, cache, next(keys)))
        x = x + drop(self.mlp(self.mlp_norm(x), next(keys)))
        return x, result

    def _cross(self, h: Array, context: Context, cache: Cache | None, key: PRNGKeyArray | None) -> Array:
        attention = self.cross_attention
        memory = cache.memory if cache is not None else None
        if memory is None:
            assert context.memory is not None
            memory = attention.keys_values(context.memory)
        out = attention(attention.queries(h), [Source(memory, context.memory_biases)], key)
        # Where every key is masked softmax spreads over all of them, a neighbour's among them.
        return (
            out
            if context.sees_memory is None
            else jnp.where(context.sees_memory[..., None], out, 0.0).astype(out.dtype)
        )


def rematerialised(layer: Callable[..., Any], policy: str) -> Callable[..., Any]:
    """Wraps a scanned layer so that its backward pass computes anew what `ModelConfig.remat` names."""
    if policy == "none":
        return layer
    policies = {
        "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        "full": jax.checkpoint_policies.nothing_saveable,
    }
    # The scan keeps the compiler from merging the two passes, so the barriers against that would only cost.
    return jax.checkpoint(layer, policy=policies[policy], prevent_cse=False)


class Stack(nnx.Module):
    """Layers whose parameters are stacked in front, and the norm after the last."""

    def __init__(self, config: ModelConfig, num_layers: int, *, cross: bool, rngs: nnx.Rngs):
        self.config, self.num_layers = config, num_layers
        self.layers = nnx.vmap(lambda r: Layer(config, cross=cross, rngs=r))(rngs.split(num_layers))
        self.norm = RMSNorm(config.embed_dim, config)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        context: Context,
        *,
        cache: Cache | None = None,
        keep: bool = False,
        dropout_key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, "B L D"], Any]:
        """Applies all layers and the norm.

        Args:
          x: embedded tokens.
          context: what the layers share.
          cache: stacked caches of earlier tokens.
          keep: whether to return keys and values although there is no cache.
          dropout_key: None for no dropout; otherwise each layer draws from its own fold of it.

        Returns:
          The activations, and the stacked caches (or keys and values), or None.
        """
        graph, stacked = nnx.split(self.layers)
        keys = None
        if dropout_key is not None:
            enter, leave, rest = jax.random.split(dropout_key, 3)
            x = dropout(x, self.config.dropout_rate, enter)
            keys = jax.vmap(lambda i: jax.random.fold_in(rest, i))(jnp.arange(self.num_layers))

        def layer(x: Array, one: tuple[Any, Cache | None, PRNGKeyArray | None]) -> tuple[Array, Any]:
            params, past, key = one
            x, result = nnx.merge(graph, params)(x, context, past, key)
            return x, result if keep or past is not None else None

        scanned = rematerialised(layer, self.config.remat)
        x, results = jax.lax.scan(scanned, x, (stacked, cache, keys), unroll=min(self.config.unroll, self.num_layers))
        x = self.norm(x)
        return x if dropout_key is None else dropout(x, self.config.dropout_rate, leave), results

    def memory(self, encoded: Float[Array, "B Lk D"]) -> KeysValues:
        """Every layer's keys and values [layers, B, Lk, N, K] of the encoder's output."""
        graph, stacked = nnx.split(self.layers)
        one = lambda params: nnx.merge(graph, params).cross_attention.keys_values(encoded)
        return jax.lax.map(one, stacked)
