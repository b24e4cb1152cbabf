"""Functions of activations alone: dropout, noise on embeddings, soft caps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray


def dropout(x: Array, rate: float, key: PRNGKeyArray | None, shared: tuple[int, ...] = (-2,)) -> Array:
    """Drops activations and scales up the others so that the mean stays.

    Args:
      x: activations.
      rate: share to drop.
      key: None leaves `x` as it is. A fixed key drops the same activations.
      shared: dimensions along which one draw holds; sharing it along the length, as T5 does, makes the draws cheap.
    """
    if key is None or rate == 0.0:
        return x
    shape = list(x.shape)
    for dim in shared:
        shape[dim] = 1
    keep = jax.random.bernoulli(key, 1.0 - rate, tuple(shape))
    return x * (keep.astype(x.dtype) / (1.0 - rate)).astype(x.dtype)


def noisy(
    x: Float[Array, "B L D"], segments: Int[Array, "B L"], alpha: float, key: PRNGKeyArray | None
) -> Float[Array, "B L D"]:
    """Adds even noise to embedded tokens, the less the longer an example is (NEFTune, Jain et al. 2023).

    The noise of a token is drawn from (-1, 1) and scaled by alpha / sqrt(L D), where L counts the tokens of its own
    example: neither padding nor the neighbours in a packed row change how noisy an example is.

    Args:
      x: embedded tokens.
      segments: which example of its row each belongs to, from 1 on; padding is 0 and stays as it is.
      alpha: how much; 0 leaves `x` as it is.
      key: None leaves `x` as it is.
    """
    if key is None or alpha == 0.0:
        return x
    rows, length = segments.shape
    row = jnp.arange(rows)[:, None]
    tokens = jnp.zeros((rows, length + 1), jnp.int32).at[row, segments].add(1)[row, segments]
    scale = jnp.where(segments > 0, alpha * jax.lax.rsqrt(jnp.float32(x.shape[-1]) * tokens), 0.0)
    noise = jax.random.uniform(key, x.shape, jnp.float32, -1.0, 1.0)
    return x + (noise * scale[..., None]).astype(x.dtype)


def capped(x: Array, cap: float) -> Array:
    """Keeps logits within -cap and cap, smoothly; a cap of 0 leaves them as they are (Gemma 2)."""
    return cap * jnp.tanh(x / cap) if cap else x
