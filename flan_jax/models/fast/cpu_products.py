"""Products and their gradients as the XLA compiler for CPUs takes them fastest: attention's, and those with weights.

XLA multiplies on CPU with the left side's last dimension summed over; anything else is first copied, transposed. JAX's
own gradients put the array of all attention weights [B, H, Lq, Lk] there, a layer's largest. Here only small arrays are
transposed: queries, keys and values, or their gradients. Measured on CPU, and run nowhere else.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from flan_jax.models.activations import capped, dropout
from flan_jax.models.kv_cache import Source
from flan_jax.parallel.mesh import current_platform


def attend(
    query: Float[Array, "B Lq H K"],
    sources: Sequence[Source],
    *,
    softcap: float,
    dropout_rate: float,
    dropout_key: PRNGKeyArray | None,
) -> Float[Array, "B Lq H K"]:
    """As `attention.attend`.

    Args:
      query: queries, scaled.
      sources: one, not of a KV cache.
      softcap: as there.
      dropout_rate: as there.
      dropout_key: as there.
    """
    (source,) = sources
    batch, length, heads, width = query.shape
    kv_heads = source.key.shape[2]
    group = heads // kv_heads
    k, v = transposed(source.key, 1, 2), transposed(source.value, 1, 2)
    # The heads that share keys are rows of one matrix: M = G Lq.
    grouped = query.reshape(batch, length, kv_heads, group, width)
    q = grouped.transpose(0, 2, 3, 1, 4).reshape(batch, kv_heads, group * length, width)
    logits = capped(scores(q, k).reshape(batch, kv_heads, group, length, -1), softcap)
    for bias in source.biases:
        logits = logits + (over_rows(bias, batch) if bias.shape[0] == 1 and batch > 1 else bias)
    # Of one shape for both, so that what the gradients of the softmax and of the mixing keep is one array.
    weights = softmax(logits.reshape(*q.shape[:3], -1))
    weights = dropout(weights.reshape(logits.shape), dropout_rate, dropout_key).reshape(weights.shape)
    mixed = mix(weights.astype(q.dtype), v)
    return mixed.reshape(batch, kv_heads, group, length, width).transpose(0, 3, 1, 2, 4).reshape(query.shape)


def sums_in(dtype: Any) -> Any:
    """The dtype that a product of arrays of `dtype` is asked for, before it is rounded to theirs.

    XLA multiplies bfloat16 on CPU by the processor's own instructions only if float32 comes out. Otherwise it widens
    both sides first: a training step's products take twice as long, a decoded token's eight times.
    """
    return jnp.float32 if _widened(dtype) else dtype


def _widened(dtype: Any) -> bool:
    return dtype == jnp.bfloat16 and current_platform() == "cpu"


def transposed(x: Array, first: int = -2, second: int = -1) -> Array:
    """`x` with two dimensions exchanged, for a product that sums over the last one of its left side.

    XLA would fold a plain transpose into the product, and the processor's bfloat16 instructions are then given up again
    (`sums_in`). It does not see through one of which a dimension is in two parts.

    >>> transposed(jnp.arange(4, dtype=jnp.bfloat16).reshape(2, 2)).tolist()
    [[0.0, 2.0], [1.0, 3.0]]
    """
    first, second = first % x.ndim, second % x.ndim
    if not _widened(x.dtype) or x.shape[first] % 2:
        return x.swapaxes(first, second)
    halves = x.reshape(*x.shape[:first], 2, x.shape[first] // 2, *x.shape[first + 1 :])
    order = [[dim + (dim > first)] for dim in range(x.ndim)]
    order[first], order[second] = order[second], [first, first + 1]
    return halves.transpose(*itertools.chain(*order)).reshape(x.swapaxes(first, second).shape)


def _product(left: Array, right: Array, dims: tuple[int, int], dtype: jnp.dtype) -> Array:
    """For each row and head a product over dimension `dims[0]` of `left` and `dims[1]` of `right`."""
    sums = ((dims[0],), (dims[1],)), ((0, 1), (0, 1))
    return jax.lax.dot_general(left, right, sums, preferred_element_type=sums_in(dtype)).astype(dtype)


@jax.custom_vjp
def scores(q: Float[Array, "B N M K"], k: Float[Array, "B N S K"]) -> Float[Array, "B N M S"]:
    """Each query's product with each key, in float32."""
    return _product(q, k, (3, 3), jnp.float32)


def _scores_forward(q: Array, k: Array) -> tuple[Array, tuple[Array, Array]]:
    return scores(q, k), (q, k)


def _scores_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    q, k = kept
    gradient = gradient.astype(q.dtype)
    k_grad = _product(transposed(q), gradient, (3, 2), k.dtype)
    return _product(gradient, k, (3, 2), q.dtype), k_grad.swapaxes(2, 3)


scores.defvjp(_scores_forward, _scores_backward)


@jax.custom_vjp
def mix(weights: Float[Array, "B N M S"], v: Float[Array, "B N S K"]) -> Float[Array, "B N M K"]:
    """The values, weighted and summed."""
    return _product(weights, v, (3, 2), v.dtype)


def _mix_forward(weights: Array, v: Array) -> tuple[Array, tuple[Array, Array]]:
    return mix(weights, v), (weights, v)


def _mix_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    weights, v = kept
    v_grad = _product(transposed(gradient), weights, (3, 2), v.dtype)
    return _product(gradient, v, (3, 3), weights.dtype), v_grad.swapaxes(2, 3)


mix.defvjp(_mix_forward, _mix_backward)


@jax.custom_vjp
def softmax(logits: Float[Array, "*B S"]) -> Float[Array, "*B S"]:
    """Over the last dimension; its result alone is kept for the gradient."""
    return jax.nn.softmax(logits, axis=-1)


def _softmax_forward(logits: Array) -> tuple[Array, Array]:
    weights = jax.nn.softmax(logits, axis=-1)
    return weights, weights


def _softmax_backward(weights: Array, gradient: Array) -> tuple[Array]:
    inner = jnp.sum(gradient * weights, axis=-1, keepdims=True)
    return (weights * (gradient - inner),)


softmax.defvjp(_softmax_forward, _softmax_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def over_rows(bias: Float[Array, "1 N G Lq Lk"], rows: int) -> Float[Array, "B N G Lq Lk"]:
    """A bias that all rows share. Its gradient is summed over the rows as a product: twenty times as fast."""
    return jnp.broadcast_to(bias, (rows, *bias.shape[1:]))


def _over_rows_forward(bias: Array, rows: int) -> tuple[Array, None]:
    return over_rows(bias, rows), None


def _over_rows_backward(rows: int, _: None, gradient: Array) -> tuple[Array]:
    return (jnp.tensordot(jnp.ones(rows, gradient.dtype), gradient, 1)[None],)


over_rows.defvjp(_over_rows_forward, _over_rows_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def project(x: Array, weights: Array, dims: int = 1) -> Array:
    """As `layers.project`.

    The kernel's gradient is written with `x` on the left, other than JAX writes it, and of two matrices. On CPU the
    left side of anything larger is copied transposed, number by number, and a copy of the incoming gradient would be
    fused with the activation's derivative besides: a training step of a small model then takes half as long again.

    Args:
      x: activations [B, L, ...].
      weights: a kernel in the dtype of `x`.
      dims: how many dimensions to sum over.
    """
    return _tensordot(x, weights, dims)


def _tensordot(left: Array, right: Array, dims: Any) -> Array:
    return jnp.tensordot(left, right, dims, preferred_element_type=sums_in(left.dtype)).astype(left.dtype)


def _project_forward(x: Array, weights: Array, dims: int) -> tuple[Array, tuple[Array, Array]]:
    return _tensordot(x, weights, dims), (x, weights)


def _project_backward(dims: int, kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, weights = kept
    outputs = weights.ndim - dims
    last = tuple(range(gradient.ndim - outputs, gradient.ndim)), tuple(range(dims, weights.ndim))
    tokens = math.prod(x.shape[: x.ndim - dims])
    sums = x.reshape(tokens, -1), gradient.reshape(tokens, -1)
    by_kernel = _tensordot(transposed(sums[0]), sums[1], 1).reshape(weights.shape)
    return _tensordot(gradient, weights, last), by_kernel


project.defvjp(_project_forward, _project_backward)
