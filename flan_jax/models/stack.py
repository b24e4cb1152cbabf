"""A stack of layers, scanned: one layer is traced, whatever the depth."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from flan_jax.models.activations import dropout
from flan_jax.models.attention import Attention, AttentionContext
from flan_jax.models.config import ModelConfig
from flan_jax.models.fast.choice import KERNEL_OUTPUT
from flan_jax.models.kv_cache import KeysValues, KVBlock, KVCache, UnstackedKVCache
from flan_jax.models.layers import FeedForward, Linear, RMSNorm
from flan_jax.models.masks import PackedMask
from flan_jax.models.positions import RelativeBias

LAYER_INPUT = "layer_input"  # its name in remat policies
_LAYER_DRAWS = 6  # dropout masks in one layer


@dataclasses.dataclass(frozen=True)
class Context:
    """What all layers of one forward pass share, built once.

    Attributes:
      attention: of the layers that see everything.
      local_attention: of local layers, where there are.
      relative: how many queries and keys there are, and the first query's place among the keys, where each layer has
        a relative bias of its own.
      memory: the encoder's output, where there is no cache.
      memory_biases: biases of cross-attention.
      sees_memory: whether a query has any key in the encoder; a segment with empty inputs has none, and adds nothing.
      index: where in `KVCache.new` the tokens of this call go.
      packed: what the biases of self-attention are made of, for kernels that make their own mask.
    """

    attention: AttentionContext
    local_attention: AttentionContext | None = None
    relative: tuple[int, int, Int[Array, ""] | int] | None = None
    memory: Float[Array, "B Lk D"] | None = None
    memory_biases: tuple[Array, ...] = ()
    sees_memory: Bool[Array, "B Lq"] | None = None
    index: Int[Array, ""] | int = 0
    packed: PackedMask | None = None

    def of_layer(self, local: Bool[Array, ""] | bool | None) -> AttentionContext:
        """What a layer sees; None for `local` where all layers are of one kind."""
        if self.local_attention is None or local is None:
            return self.attention
        if isinstance(local, bool):
            return self.local_attention if local else self.attention
        return jax.tree.map(lambda near, far: jnp.where(local, near, far), self.local_attention, self.attention)


class Layer(nnx.Module):
    """Self-attention, cross-attention where there is an encoder, feed-forward; each normed as asked and added."""

    def __init__(self, config: ModelConfig, *, cross: bool, rngs: nnx.Rngs):
        self.config = config
        before, after = config.norm_placement != "after", config.norm_placement != "before"
        norm = lambda wanted: RMSNorm(config.embed_dim, config) if wanted else None
        self.self_norm, self.self_after_norm = norm(before), norm(after)
        self.self_attention = Attention(config, rngs=rngs)
        self.has_cross = cross
        if cross:
            self.cross_norm, self.cross_after_norm = norm(before), norm(after)
            self.cross_attention = Attention(config, rngs=rngs)
        if config.architecture == "encoder_decoder" and config.relative_bias == "per_layer":
            self.bias = RelativeBias(config, bidirectional=not cross, rngs=rngs)
        self.mlp_norm, self.mlp_after_norm = norm(before), norm(after)
        self.mlp = FeedForward(config, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        context: Context,
        cache: KVCache | None = None,
        key: PRNGKeyArray | None = None,
        local: Bool[Array, ""] | bool | None = None,
    ) -> tuple[Float[Array, "B L D"], KVCache | KeysValues]:
        """Applies the layer.

        Args:
          x: the residual stream.
          context: what the layers share.
          cache: this layer's, of earlier tokens.
          key: for dropout.
          local: whether this layer is a local one, where a model has both kinds.

        Returns:
          The new activations, and the cache with this call's tokens written; without a cache, their keys and values.
        """
        keys = iter([None] * _LAYER_DRAWS if key is None else list(jax.random.split(key, _LAYER_DRAWS)))
        drop = lambda y: dropout(y, self.config.dropout_rate, next(keys))

        seen, kept = self._self_attention(_normed(x, self.self_norm), context, cache, local, next(keys))
        x = x + drop(_normed(seen, self.self_after_norm))
        if self.has_cross:
            seen = self._cross_attention(_normed(x, self.cross_norm), context, cache, next(keys))
            x = x + drop(_normed(seen, self.cross_after_norm))
        x = x + drop(_normed(self.mlp(_normed(x, self.mlp_norm), next(keys)), self.mlp_after_norm))
        return x, kept

    def _self_attention(
        self, h: Array, context: Context, cache: KVCache | None, local: Any, key: PRNGKeyArray | None
    ) -> tuple[Array, Any]:
        of_layer = context.of_layer(local)
        if context.relative is not None:
            of_layer = dataclasses.replace(of_layer, biases=(*of_layer.biases, self.bias(*context.relative)))
        packed = None if context.packed is None else dataclasses.replace(context.packed, local=local)
        return self.self_attention(h, of_layer, cache=cache, index=context.index, packed=packed, dropout_key=key)

    def _cross_attention(self, h: Array, context: Context, cache: KVCache | None, key: PRNGKeyArray | None) -> Array:
        memory: KeysValues | KVBlock | None = None if cache is None else cache.memory
        if memory is None:
            assert context.memory is not None
            memory = self.cross_attention.keys_values(context.memory)
        out, _ = self.cross_attention(h, AttentionContext(context.memory_biases), memory=memory, dropout_key=key)
        if context.sees_memory is None:
            return out
        # Where every key is masked softmax spreads over all of them, a neighbour's among them.
        return jnp.where(context.sees_memory[..., None], out, 0.0).astype(out.dtype)


def give_keys(layer: nnx.Module, key: PRNGKeyArray | None) -> None:
    """Hands each adapter of a layer that drops inputs a key of its own, for the one pass that the layer is merged for.

    Args:
      layer: a layer that was merged here, or any module of its adapters.
      key: the layer's; folds up to `_LAYER_DRAWS` of it are the layer's own. None for no dropout.
    """
    if key is None:
        return
    adapted = [node for _, node in nnx.iter_graph(layer) if isinstance(node, Linear) and node.lora_dropout]
    for number, linear in enumerate(adapted):
        linear.lora_key = jax.random.fold_in(key, _LAYER_DRAWS + number)


def _normed(x: Array, norm: RMSNorm | None) -> Array:
    return x if norm is None else norm(x)


def rematerialised(layer: Callable[..., Any], policy: str, *, scanned: bool = True) -> Callable[..., Any]:
    """Wraps a layer so that its backward pass computes anew what `ModelConfig.remat` names."""
    if policy == "none":
        return layer
    of, to_host = jax.checkpoint_policies, {"offload_src": "device", "offload_dst": "pinned_host"}
    policies = {
        "dots": of.save_from_both_policies(
            of.dots_with_no_batch_dims_saveable, of.save_only_these_names(KERNEL_OUTPUT)
        ),
        "full": of.nothing_saveable,
        "offload": of.save_and_offload_only_these_names(
            names_which_can_be_saved=[], names_which_can_be_offloaded=[LAYER_INPUT], **to_host
        ),
    }
    if policy == "offload":
        plain = layer
        layer = lambda carry, one: plain(jax.tree.map(lambda x: checkpoint_name(x, LAYER_INPUT), carry), one)
    # A scan keeps the compiler from merging the two passes, so the barriers against that would only cost.
    return jax.checkpoint(layer, policy=policies[policy], prevent_cse=not scanned)


class Stack(nnx.Module):
    """Layers whose parameters are stacked in front, and the norm after the last."""

    def __init__(self, config: ModelConfig, num_layers: int, *, cross: bool, rngs: nnx.Rngs):
        self.config, self.num_layers = config, num_layers
        kinds = () if cross or config.architecture != "decoder" else config.local_layers
        self.mixed = kinds if len(set(kinds)) > 1 else None
        self.layers = nnx.vmap(lambda r: Layer(config, cross=cross, rngs=r))(rngs.split(num_layers))
        self.norm = RMSNorm(config.embed_dim, config)
        self.unstacked: nnx.List[Layer] | None = nnx.data(None)  # the layers one by one, from `decoding.layout`

    def __call__(
        self,
        x: Float[Array, "B L D"],
        context: Context,
        *,
        cache: KVCache | UnstackedKVCache | None = None,
        return_keys_values: bool = False,
        dropout_key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, "B L D"], Any]:
        """Applies all layers and the norm.

        Args:
          x: embedded tokens.
          context: what the layers share.
          cache: caches of earlier tokens, stacked or layer by layer.
          return_keys_values: whether to return keys and values although there is no cache.
          dropout_key: None for no dropout; otherwise each layer draws from its own fold of it.

        Returns:
          The activations, and the caches (or stacked keys and values), or None.
        """
        if isinstance(cache, UnstackedKVCache):
            return self._one_by_one(x, context, cache)
        graph, stacked = nnx.split(self.layers)
        keys = None
        if dropout_key is not None:
            enter, leave, rest = jax.random.split(dropout_key, 3)
            x = dropout(x, self.config.dropout_rate, enter)
            keys = jax.vmap(lambda i: jax.random.fold_in(rest, i))(jnp.arange(self.num_layers))

        local = None if self.mixed is None else jnp.array(self.mixed)

        # New tokens' keys and values are carried whole and written in place; as what is scanned over they would be
        # copied, all of them, for each token.
        new, given, number = None, None, None
        if cache is not None:
            new, given, number = cache.new, (cache.prompt, cache.memory), jnp.arange(self.num_layers)

        def layer(
            carried: tuple[Array, KVBlock | None], one: tuple[Any, ...]
        ) -> tuple[tuple[Array, KVBlock | None], Any]:
            (x, new), (params, given, key, local, number) = carried, one
            module = nnx.merge(graph, params)
            give_keys(module, key)
            past = None if new is None else KVCache(dataclasses.replace(new, layer=number), *given)
            x, result = module(x, context, past, key, local)
            if isinstance(result, KVCache):
                return (x, dataclasses.replace(result.new, layer=None)), None
            return (x, None), result if return_keys_values else None

        unroll = max(1, min(self.config.unroll, self.num_layers))
        layer = rematerialised(layer, self.config.remat, scanned=unroll < self.num_layers)
        (x, new), results = jax.lax.scan(layer, (x, new), (stacked, given, keys, local, number), unroll=unroll)
        if cache is not None and new is not None:
            results = dataclasses.replace(cache, new=new)
        x = self.norm(x)
        return x if dropout_key is None else dropout(x, self.config.dropout_rate, leave), results

    def _one_by_one(self, x: Array, context: Context, cache: UnstackedKVCache) -> tuple[Array, UnstackedKVCache]:
        assert self.unstacked is not None
        caches: list[Any] = []
        for layer, past, local in zip(
            self.unstacked, cache.caches, self.mixed or [None] * self.num_layers, strict=True
        ):
            x, kept = layer(x, context, past, None, local)
            caches.append(kept)
        return self.norm(x), UnstackedKVCache(tuple(caches))

    def layer(self, number: int) -> Layer:
        """One of the layers, with parameters of its own."""
        graph, stacked = nnx.split(self.layers)
        return nnx.merge(graph, jax.tree.map(lambda leaf: leaf[number], stacked))

    def cross_keys_values(self, memory: Float[Array, "B Lk D"]) -> KVBlock:
        """Every layer's keys and values [layers, B, N, Lk, K] of the encoder's output."""
        graph, stacked = nnx.split(self.layers)
        one = lambda params: nnx.merge(graph, params).cross_attention.keys_values(memory).block()
        return jax.lax.map(one, stacked)

    def empty_cache(self, batch: int, capacity: int) -> KVBlock:
        """Place for the keys and values of new tokens, in every layer."""
        config = self.config
        empty = jnp.zeros((self.num_layers, batch, config.kv_heads, capacity, config.width), config.compute_dtype)
        return KVBlock(empty, empty)
