"""How attention knows positions: T5's relative biases, and rotary embeddings."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.models.config import ModelConfig
from flan_jax.models.layers import kernel
from flan_jax.parallel.axes import shard


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


def rotary_embedding(
    positions: Int[Array, "B L"], frequencies: np.ndarray
) -> tuple[Float[Array, "B L h"], Float[Array, "B L h"]]:
    """Cosines and sines of the rotary angles, for the h = K / 2 planes of a head, in float32 (Su et al., 2021)."""
    angles = positions[..., None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Float[Array, "B L H K"], rotary: tuple[Array, Array] | None) -> Float[Array, "B L H K"]:
    """Turns each plane (i, i + K/2) of every head by its position's angle (the layout of Llama's checkpoints).

    Args:
      x: queries or keys.
      rotary: from `rotary_embedding`; None leaves `x` as it is.
    """
    if rotary is None:
        return x
    cosine, sine = (part[:, :, None] for part in rotary)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return rotated.astype(x.dtype)
