"""Attention over one or more sources of keys, its masks, and the two ways of telling positions."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from flan_jax.models.attention_kernels import Packed, attend, kernel_of
from flan_jax.models.config import ModelConfig
from flan_jax.models.layers import Linear, RMSNorm, capped, dropout, kernel
from flan_jax.models.products import for_rows, mix, scores, softmax, turned
from flan_jax.parallel.axes import shard

MASKED = -1e9  # finite, so that a row that may look at nothing stays finite
# From so many queries on, causal attention is taken in four blocks of queries over the keys up to each block's end: 5/8
# of all products and weights, and a training step in 0.9 of its time (Qwen3 of 60M at 4 x 512 on CPU).
LONG, BLOCKS = 512, 4


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KeysValues:
    """What queries look at: keys and values [B, Lk, N, K], stacked layers in front where there are."""

    keys: Array
    values: Array
    order: ClassVar[str] = "bsnk"

    def read(self) -> tuple[Array, Array]:
        """Keys and values."""
        return self.keys, self.values

    def kept(self) -> "Kept":
        """The same, laid out for being read again and again."""
        return Kept(jnp.swapaxes(self.keys, -3, -2), jnp.swapaxes(self.values, -3, -2))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Kept:
    """Keys and values of a cache, [B, N, Lk, K]: as products with few queries read them, without a copy each time.

    Attributes:
      keys: stacked layers in front where there are.
      values: likewise.
      layer: of stacked layers, the one that is read and written; None: there is one layer, or all are meant.
    """

    keys: Array
    values: Array
    layer: Int[Array, ""] | None = None
    order: ClassVar[str] = "bnsk"

    def write(self, more: KeysValues, index: Array | int) -> "Kept":
        """The same with `more` written from position `index` of the length on, in place inside a loop."""
        new = more.kept()
        start = (0, 0, index, 0)

        def put(old: Array, new: Array) -> Array:
            new = new.astype(old.dtype)
            if self.layer is None:
                return jax.lax.dynamic_update_slice(old, new, start)
            return jax.lax.dynamic_update_slice(old, new[None], (self.layer, *start))

        return dataclasses.replace(self, keys=put(self.keys, new.keys), values=put(self.values, new.values))

    def read(self) -> tuple[Array, Array]:
        """Keys and values of the one layer."""
        if self.layer is None:
            return self.keys, self.values
        take = lambda leaf: jax.lax.dynamic_index_in_dim(leaf, self.layer, keepdims=False)
        return take(self.keys), take(self.values)


@dataclasses.dataclass(frozen=True)
class Source:
    """Keys and values with the biases on their logits, each of which broadcasts to [B, N, H / N, Lq, Lk].

    Where `packed` says the same as the biases, as the mask of a layer that is `local` or not, a kernel may read it.
    """

    seen: KeysValues | Kept
    biases: tuple[Array, ...] = ()
    packed: Packed | None = None
    local: Bool[Array, ""] | None = None

    def until(self, end: int, queries: int) -> "Source":
        """What the `queries` before position `end` see of it, where none looks ahead."""
        assert isinstance(self.seen, KeysValues)
        seen = KeysValues(self.seen.keys[:, :end], self.seen.values[:, :end])
        biases = tuple(bias[..., end - queries : end, :end] for bias in self.biases)
        return dataclasses.replace(self, seen=seen, biases=biases)


def mask_bias(allowed: Bool[Array, "B Lq Lk"]) -> Float[Array, "B 1 1 Lq Lk"]:
    """Zero where a query may look, a large negative number elsewhere."""
    return jnp.where(allowed, 0.0, MASKED).astype(jnp.float32)[:, None, None]


def segment_mask(
    query_segments: Int[Array, "B Lq"],
    key_segments: Int[Array, "B Lk"],
    *,
    causal: bool = False,
    prefix: Int[Array, "B Lk"] | None = None,
    window: int = 0,
) -> Bool[Array, "B Lq Lk"]:
    """Which keys each query may look at: those of its own segment, so that neighbours in a packed row never meet.

    Args:
      query_segments: segment of each query; 0 is padding (which sees only padding and carries no loss).
      key_segments: segment of each key.
      causal: whether keys after the query are hidden.
      prefix: 1 at positions of a segment's inputs, which see one another in both directions although `causal`.
      window: the tokens that a query sees, itself among them; 0: all.

    >>> import numpy as np
    >>> row = np.array([[1, 1, 2]])
    >>> segment_mask(row, row, causal=True)[0].astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    allowed = query_segments[:, :, None] == key_segments[:, None, :]
    if causal:
        rows, columns = jnp.arange(query_segments.shape[1]), jnp.arange(key_segments.shape[1])
        order = (columns[None, :] <= rows[:, None])[None]
        if prefix is not None:
            order = order | ((prefix[:, :, None] > 0) & (prefix[:, None, :] > 0))
        allowed = allowed & order
    if window:
        rows, columns = jnp.arange(query_segments.shape[1]), jnp.arange(key_segments.shape[1])
        allowed = allowed & (jnp.abs(columns[None, :] - rows[:, None]) < window)[None]
    return allowed


def bucket_table(num_buckets: int, max_distance: int) -> np.ndarray:
    """The bucket of each distance from 0 to max_distance: exact for the near half, then logarithmic (T5).

    >>> bucket_table(8, 20).tolist()
    [0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7]
    """
    exact = num_buckets // 2
    distance = np.arange(max_distance + 1, dtype=np.float32)
    ratio = np.log(np.maximum(distance, 1) / exact) / np.float32(np.log(max_distance / exact))
    far = np.minimum(exact + (ratio * (num_buckets - exact)).astype(np.int32), num_buckets - 1)
    return np.where(distance < exact, distance.astype(np.int32), far).astype(np.int32)


class RelativeBias(nnx.Module):
    """T5's position bias: a learned number for each head and each bucket of the distance from query to key.

    Positions are row indices, which serves packed rows too: segments are contiguous, so within one the differences of
    row indices are the differences of positions.
    """

    def __init__(self, config: ModelConfig, *, bidirectional: bool, rngs: nnx.Rngs):
        self.bidirectional, self.kv_heads = bidirectional, config.kv_heads
        self.num_buckets, self.max_distance = config.relative_buckets, config.relative_max_distance
        self.table = kernel(rngs, (self.num_buckets, config.num_heads), (None, "heads"), 0.1, config.param_dtype)
        if config.local_heads:
            # exp(5) outweighs some 60 other keys: the first head starts on the left neighbour, the second on the right.
            sides = (-1, 1) if bidirectional else (-1,)
            table = self.table.get_value()
            for head, side in zip(range(config.num_heads), sides, strict=False):
                table = table.at[self.buckets(jnp.array(side)), head].set(5.0)
            self.table.set_value(table)

    def buckets(self, distance: Int[Array, "*S"]) -> Int[Array, "*S"]:
        """The bucket of each distance, key's position less query's."""
        half = self.num_buckets // 2 if self.bidirectional else self.num_buckets
        table = jnp.asarray(bucket_table(half, self.max_distance))
        if not self.bidirectional:
            return table[jnp.clip(-distance, 0, self.max_distance)]
        return table[jnp.clip(jnp.abs(distance), 0, self.max_distance)] + half * (distance > 0)

    def __call__(self, queries: int, keys: int, first_query: Int[Array, ""] | int = 0) -> Float[Array, "1 N G Lq Lk"]:
        """The bias for `queries` rows from row `first_query` on, over keys 0 .. keys - 1, in float32."""
        # Bias depends on key - query alone: it is looked up once for each of n distances and laid out as a Toeplitz
        # matrix by repeating the n values and cutting rows of n - 1, each of which starts one value later. Unlike an
        # index for each pair, this has no scatter over all pairs in its gradient.
        n = queries + keys
        steps = jnp.arange(n)
        distance = jnp.where(steps < keys, steps, steps - n) - first_query
        by_distance = self.table[...].astype(jnp.float32)[self.buckets(distance)].T  # [H, n]
        tiled = jnp.broadcast_to(by_distance[:, None], (by_distance.shape[0], queries, n)).reshape(-1, queries * n)
        skewed = tiled[:, : queries * (n - 1)].reshape(-1, queries, n - 1)
        bias = shard(skewed[:, :, :keys], "heads", None, None)
        return bias.reshape(1, self.kv_heads, -1, queries, keys)


def rotary_frequencies(config: ModelConfig, *, local: bool = False) -> np.ndarray:
    """The angle a position further of each of a head's K / 2 planes, in float32.

    Args:
      config: its rope settings.
      local: for local layers, which may have a theta of their own.

    >>> rotary_frequencies(ModelConfig(head_dim=4, rope_theta=100.0)).tolist()
    [1.0, 0.10000000149011612]
    """
    own = local and config.local_rope_theta > 0
    exponents = np.arange(0, config.width, 2, dtype=np.float32) / np.float32(config.width)
    frequencies = np.float32(1) / np.float32(config.local_rope_theta if own else config.rope_theta) ** exponents
    if own or config.rope_scaling == "none":
        return frequencies
    stretched = frequencies / np.float32(config.rope_factor)
    if config.rope_scaling == "linear":
        return stretched
    # Llama 3: between the two bounds a share that is even in the number of turns over the original length.
    turns = np.float32(config.rope_original_length) * frequencies / np.float32(2 * np.pi)
    low, high = config.rope_low_frequency, config.rope_high_frequency
    kept = np.clip((turns - np.float32(low)) / np.float32(high - low), 0, 1)
    return ((1 - kept) * stretched + kept * frequencies).astype(np.float32)


def rotary(
    positions: Int[Array, "B L"], frequencies: np.ndarray
) -> tuple[Float[Array, "B L h"], Float[Array, "B L h"]]:
    """Cosines and sines of the rotary angles, for the h = K / 2 planes of a head, in float32 (Su et al., 2021)."""
    angles = positions[..., None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Float[Array, "B L H K"], turns: tuple[Array, Array]) -> Float[Array, "B L H K"]:
    """Turns each plane (i, i + K/2) of every head by its position's angle (the layout of Llama's checkpoints)."""
    cosine, sine = (turn[:, :, None] for turn in turns)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return turned.astype(x.dtype)


class Attention(nnx.Module):
    """Multi-head attention with fewer heads for keys and values where asked (grouped queries).

    `flan_jax.inference.decoding.layout` may join the three projections.
    """

    query_key_value: Linear

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
        self.few_queries = False  # whether each query is multiplied by itself; see `decoding.layout`
        if config.qk_norm != "none":
            whole = config.qk_norm == "whole"
            self.query_norm = RMSNorm(heads * width if whole else width, config)
            self.key_norm = RMSNorm(kv_heads * width if whole else width, config)

    def projections(
        self, x: Float[Array, "B L D"], turns: tuple[Array, Array] | None = None
    ) -> tuple[Float[Array, "B L H K"], KeysValues]:
        """Queries, keys and values of the same tokens, turned by rotary positions where `turns` are given."""
        if not hasattr(self, "query_key_value"):
            return self.queries(x, turns), self.keys_values(x, turns)
        heads, kv_heads = self.config.num_heads, self.config.kv_heads
        q, k, v = jnp.split(self.query_key_value(x), (heads, heads + kv_heads), axis=-2)
        return self._as_queries(q, turns), self._as_keys_values(k, v, turns)

    def queries(self, x: Float[Array, "B L D"], turns: tuple[Array, Array] | None = None) -> Float[Array, "B L H K"]:
        """Projects queries, turned by rotary positions where `turns` are given."""
        return self._as_queries(self.query(x), turns)

    def keys_values(self, x: Float[Array, "B L D"], turns: tuple[Array, Array] | None = None) -> KeysValues:
        """Projects keys and values."""
        return self._as_keys_values(self.key(x), self.value(x), turns)

    def _as_queries(self, q: Array, turns: tuple[Array, Array] | None) -> Array:
        q = shard(q, "batch", "length", "heads", "head_dim")
        if self.config.qk_norm != "none":
            q = self._normed(q, self.query_norm)
        q = q if turns is None else rotate(q, turns)
        return q if self.scale == 1.0 else q * self.scale

    def _as_keys_values(self, k: Array, v: Array, turns: tuple[Array, Array] | None) -> KeysValues:
        k = shard(k, "batch", "length", "kv_heads", "head_dim")
        if self.config.qk_norm != "none":
            k = self._normed(k, self.key_norm)
        v = shard(v, "batch", "length", "kv_heads", "head_dim")
        return KeysValues(k if turns is None else rotate(k, turns), v)

    def _normed(self, x: Array, norm: RMSNorm) -> Array:
        """Norms each head, or all heads of a token as one vector."""
        if self.config.qk_norm == "head":
            return norm(x)
        return norm(x.reshape(*x.shape[:-2], -1)).reshape(x.shape)

    def __call__(
        self, q: Float[Array, "B Lq H K"], sources: Sequence[Source], key: PRNGKeyArray | None = None
    ) -> Float[Array, "B Lq D"]:
        """Looks at all sources at once, as if their keys were one list, and projects what was seen.

        Args:
          q: queries from `queries`.
          sources: keys, values and biases; a KV cache is a source beside the new tokens, so that it is never copied.
          key: drops attention weights.
        """
        first, drops = sources[0], key is not None and self.config.dropout_rate > 0
        kernel = "xla" if first.packed is None else kernel_of(self.config, q.shape[1], drops=drops)
        if first.packed is None or isinstance(first.seen, Kept) or kernel == "xla":
            seen = self._by_xla(q, sources, key)
        else:
            seen = attend(self.config, kernel, q, first.seen.keys, first.seen.values, first.packed, first.local)
        return shard(self.out(shard(seen, "batch", "length", "heads", "head_dim")), "batch", "length", "embed")

    def _by_xla(self, q: Array, sources: Sequence[Source], key: PRNGKeyArray | None) -> Float[Array, "B Lq H K"]:
        """All logits at once, softmax in float32."""
        batch, length, heads, width = q.shape
        kv_heads, first = self.config.kv_heads, sources[0]
        grouped = q.reshape(batch, length, kv_heads, heads // kv_heads, width)
        if len(sources) == 1 and isinstance(first.seen, KeysValues):
            if first.packed is None or length < LONG or length % BLOCKS:
                return self._of_one(grouped, first, key).reshape(q.shape)
            size = length // BLOCKS
            keys = [None] * BLOCKS if key is None else list(jax.random.split(key, BLOCKS))
            parts = [
                self._of_one(grouped[:, end - size : end], first.until(end, size), one)
                for end, one in zip(range(size, length + 1, size), keys, strict=True)
            ]
            return jnp.concatenate(parts, axis=1).reshape(q.shape)
        if self.few_queries and length == 1:
            alone = [self._of_several(grouped[:, :, :, g : g + 1], sources, key) for g in range(grouped.shape[3])]
            return jnp.concatenate(alone, axis=3).reshape(q.shape)
        return self._of_several(grouped, sources, key).reshape(q.shape)

    def _of_several(self, q: Float[Array, "B Lq N G K"], sources: Sequence[Source], key: PRNGKeyArray | None) -> Array:
        """All sources' logits together: what is seen is [B, Lq, N, G, K]."""
        logits, seen = [], [(*source.seen.read(), source.seen.order) for source in sources]
        for source, (keys, _, order) in zip(sources, seen, strict=True):
            raw = jnp.einsum(f"blngk,{order}->bngls", q, keys, preferred_element_type=jnp.float32)
            logits.append(functools.reduce(jnp.add, source.biases, capped(raw, self.config.attention_cap)))
        weights = jax.nn.softmax(jnp.concatenate(logits, axis=-1) if len(logits) > 1 else logits[0], axis=-1)
        weights = dropout(weights, self.config.dropout_rate, key).astype(q.dtype)
        parts, start = [], 0
        for _, values, order in seen:
            end = start + values.shape[order.index("s")]
            # Not asked for in float32, as in `products`: XLA's CPU backend fails at that in some of these shapes.
            parts.append(jnp.einsum(f"bngls,{order}->blngk", weights[..., start:end], values))
            start = end
        return functools.reduce(jnp.add, parts)

    def _of_one(self, q: Float[Array, "B Lq N G K"], source: Source, key: PRNGKeyArray | None) -> Array:
        """The same of one source, as in training: what is seen is [B, Lq, N, G, K]."""
        batch, length, kv_heads, group, width = q.shape
        k, v = (turned(x, 1, 2) for x in source.seen.read())
        flat = q.transpose(0, 2, 3, 1, 4).reshape(batch, kv_heads, group * length, width)
        logits = capped(scores(flat, k).reshape(batch, kv_heads, group, length, -1), self.config.attention_cap)
        shared = [bias.shape[0] == 1 and batch > 1 for bias in source.biases]
        biases = [for_rows(bias, batch) if one else bias for bias, one in zip(source.biases, shared, strict=True)]
        # Of one shape for both, so that what the gradients of the softmax and of the mixing keep is one array.
        weights = softmax(functools.reduce(jnp.add, biases, logits).reshape(*flat.shape[:3], -1))
        if key is not None:
            weights = dropout(weights.reshape(logits.shape), self.config.dropout_rate, key).reshape(weights.shape)
        seen = mix(weights.astype(q.dtype), v)
        return seen.reshape(batch, kv_heads, group, length, width).transpose(0, 3, 1, 2, 4)
