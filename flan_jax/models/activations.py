"""Functions of activations alone: dropout and soft caps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray


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


def capped(x: Array, cap: float) -> Array:
    """Keeps logits within -cap and cap, smoothly; a cap of 0 leaves them as they are (Gemma 2)."""
    return cap * jnp.tanh(x / cap) if cap else x
