"""Which tokens may come next, and the draw among them; in the order and with the ties of transformers' `generate`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from flan_jax.parallel.mesh import current_platform


def ids_of(eos_id: int | Sequence[int]) -> Int[Array, " E"]:
    """The ids that end an answer, as an array; none for an empty sequence."""
    return jnp.atleast_1d(jnp.asarray(eos_id, jnp.int32))


def most_probable(logits: Float[Array, "B V"]) -> Int[Array, " B"]:
    """The id of each row's largest logit, the first of equals.

    On CPU by the largest value, then where it is: each a plain reduction, together four times as fast as `argmax`.

    >>> most_probable(jnp.array([[1.0, 3.0, 3.0]])).tolist()
    [1]
    """
    if current_platform() != "cpu":
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    ids, last = jnp.arange(logits.shape[-1], dtype=jnp.int32), logits.shape[-1] - 1
    return jnp.min(jnp.where(logits == logits.max(axis=-1, keepdims=True), ids, last), axis=-1)


def without_end(logits: Float[Array, "*B V"], ends: Int[Array, " E"], barred: Array | bool) -> Float[Array, "*B V"]:
    """Logits with the tokens that end an answer ruled out while `barred`."""
    ending = jnp.isin(jnp.arange(logits.shape[-1]), ends)
    return jnp.where(ending & barred, -jnp.inf, logits)


def keep_top_k(logits: Float[Array, "B V"], top_k: int) -> Float[Array, "B V"]:
    """Rules out tokens less probable than the k-th; tokens as probable as the k-th all stay.

    >>> keep_top_k(jnp.array([[1.0, 3.0, 2.0, 2.0]]), 2).tolist()
    [[-inf, 3.0, 2.0, 2.0]]
    """
    least = jax.lax.top_k(logits, min(top_k, logits.shape[-1]))[0][:, -1:]
    return jnp.where(logits < least, -jnp.inf, logits)


def keep_top_p(logits: Float[Array, "B V"], top_p: Array | float) -> Float[Array, "B V"]:
    """Rules out the least probable tokens that together have a probability of at most 1 - top_p.

    Of equally probable tokens those with the lower ids go first, and the most probable token always stays.

    >>> jnp.isfinite(keep_top_p(jnp.log(jnp.array([[0.1, 0.2, 0.3, 0.4]])), 0.5))[0].tolist()
    [False, False, True, True]
    """
    batch, size = logits.shape
    ids = jnp.broadcast_to(jnp.arange(size), (batch, size))
    ascending, order = jax.lax.sort((logits, ids), num_keys=1, is_stable=True)
    out = jnp.cumsum(jax.nn.softmax(ascending), axis=-1) <= 1.0 - top_p
    out = out.at[:, -1].set(False)
    kept = jnp.where(out, -jnp.inf, ascending)
    return jnp.zeros_like(logits).at[jnp.arange(batch)[:, None], order].set(kept)


def draw(
    keys: PRNGKeyArray,
    logits: Float[Array, "B V"],
    temperature: Array | float,
    top_k: int,
    top_p: Array | float | None,
) -> Int[Array, " B"]:
    """Draws a token a row.

    Args:
      keys: a key a row, so that a row's draw depends on nothing else in the batch.
      logits: the model's.
      temperature: they are divided by it first.
      top_k: then all but the k most probable tokens are ruled out; 0: none.
      top_p: then all but the most probable that together have this probability; None: none.
    """
    logits = logits / temperature
    if top_k:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    return jax.vmap(jax.random.categorical)(keys, logits).astype(jnp.int32)
