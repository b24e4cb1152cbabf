"""Keys and values: those of a call, and those that a KV cache keeps between calls."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class Source:
    """Keys and values that queries look at, and the biases on their logits.

    Attributes:
      key: [B, Lk, N, K].
      value: [B, Lk, N, K].
      biases: masks and relative biases, each of which broadcasts to [B, N, H / N, Lq, Lk]; they are added in turn.
      cached: whether they come out of a KV cache.
    """

    key: Float[Array, "B Lk N K"]
    value: Float[Array, "B Lk N K"]
    biases: tuple[Array, ...] = ()
    cached: bool = False


def joined(sources: Sequence[Source]) -> Source:
    """Several sources as one list of keys, which copies them all."""
    if len(sources) == 1:
        return sources[0]
    biases = [functools.reduce(jnp.add, source.biases) for source in sources]
    shape = jnp.broadcast_shapes(*(bias.shape[:-1] for bias in biases))
    bias = jnp.concatenate([jnp.broadcast_to(bias, (*shape, bias.shape[-1])) for bias in biases], axis=-1)
    key, value = (jnp.concatenate([getattr(one, name) for one in sources], axis=1) for name in ("key", "value"))
    return Source(key, value, (bias,))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KeysValues:
    """Keys and values [B, L, N, K] of the tokens of one call; stacked layers in front where there are."""

    key: Array
    value: Array

    def sources(self, biases: tuple[Array, ...] = (), prompt_biases: tuple[Array, ...] = ()) -> list[Source]:
        """The same with the biases on its logits; nothing of a prompt is apart."""
        assert not prompt_biases
        return [Source(self.key, self.value, biases)]

    def block(self) -> "KVBlock":
        """The same, laid out for being read again and again."""
        return KVBlock(jnp.swapaxes(self.key, -3, -2), jnp.swapaxes(self.value, -3, -2))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVBlock:
    """Keys and values in a cache, [B, N, Lk, K]: as products with few queries read them, without a copy each time.

    Attributes:
      key: stacked layers in front where there are.
      value: likewise.
      layer: of stacked layers, the one that is read and written; None: there is one layer, or all are meant.
    """

    key: Array
    value: Array
    layer: Int[Array, ""] | None = None

    @property
    def capacity(self) -> int:
        """How many tokens fit in."""
        return self.key.shape[-2]

    def write(self, more: KeysValues, index: Array | int) -> "KVBlock":
        """The same with `more` written from position `index` of the length on, in place inside a loop."""
        new = more.block()
        start = (0, 0, index, 0)

        def put(old: Array, new: Array) -> Array:
            new = new.astype(old.dtype)
            if self.layer is None:
                return jax.lax.dynamic_update_slice(old, new, start)
            return jax.lax.dynamic_update_slice(old, new[None], (self.layer, *start))

        return dataclasses.replace(self, key=put(self.key, new.key), value=put(self.value, new.value))

    def sources(self, biases: tuple[Array, ...] = (), prompt_biases: tuple[Array, ...] = ()) -> list[Source]:
        """Keys and values of the one layer, with the biases on their logits; nothing of a prompt is apart."""
        assert not prompt_biases

        def read(leaf: Array) -> Array:
            one = leaf if self.layer is None else jax.lax.dynamic_index_in_dim(leaf, self.layer, keepdims=False)
            return jnp.swapaxes(one, -3, -2)

        return [Source(read(self.key), read(self.value), biases, cached=True)]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
    """What has been computed of the tokens so far; every array has the layers in front when it belongs to a stack.

    Attributes:
      new: keys and values of the tokens that come one after another, with capacity for all of them.
      prompt: keys and values of a decoder's prompt, written once.
      memory: keys and values of the encoder's output for cross-attention, computed once.
    """

    new: KVBlock
    prompt: KVBlock | None = None
    memory: KVBlock | None = None

    @property
    def capacity(self) -> int:
        """How many new tokens fit in."""
        return self.new.capacity

    def write(self, more: KeysValues, index: Array | int) -> "KVCache":
        """The same with `more` among the new tokens, from position `index` on."""
        return dataclasses.replace(self, new=self.new.write(more, index))

    def sources(self, biases: tuple[Array, ...], prompt_biases: tuple[Array, ...]) -> list[Source]:
        """What self-attention looks at: the prompt, where there is one, and the new tokens.

        They stay apart, as the prompt's is shared by all beams and options, and would be copied for each token.
        """
        prompt = [] if self.prompt is None else self.prompt.sources(prompt_biases)
        return prompt + self.new.sources(biases)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class UnstackedKVCache:
    """A stack's caches layer by layer, for `Stack.unstacked`; no array has the layers in front."""

    caches: tuple[KVCache, ...]

    @property
    def capacity(self) -> int:
        """How many new tokens fit in."""
        return self.caches[0].capacity
