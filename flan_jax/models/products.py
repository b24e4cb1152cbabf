"""Products as the XLA compiler for CPUs takes them fastest: attention's, and those of a kernel with few rows.

XLA multiplies on CPU with the left side's last dimension summed over; anything else is first copied, transposed. JAX's
own gradients put the array of all attention weights [B, H, Lq, Lk] there, a layer's largest. Here whatever is turned is
small: queries, keys and values, or their gradients.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from flan_jax.parallel.mesh import current_platform


def sums_in(dtype: Any) -> Any:
    """The dtype that a product of arrays of `dtype` is asked for, before it is rounded to theirs.

    XLA multiplies bfloat16 on CPU by the processor's own instructions only if float32 comes out. Otherwise it widens
    both sides first: a training step's products take twice as long, a decoded token's eight times.
    """
    return jnp.float32 if _widened(dtype) else dtype


def _widened(dtype: Any) -> bool:
    return dtype == jnp.bfloat16 and current_platform() == "cpu"


def turned(x: Array, first: int = -2, second: int = -1) -> Array:
    """`x` with two dimensions exchanged, for a product that sums over the last one of its left side.

    XLA would fold a plain transpose into the product, and the processor's bfloat16 instructions are then given up again
    (`sums_in`). It does not see through one of which a dimension is in two parts.

    >>> turned(jnp.arange(4, dtype=jnp.bfloat16).reshape(2, 2)).tolist()
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
    k_grad = _product(turned(q), gradient, (3, 2), k.dtype)
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
    v_grad = _product(turned(gradient), weights, (3, 2), v.dtype)
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
def for_rows(bias: Float[Array, "1 N G Lq Lk"], rows: int) -> Float[Array, "B N G Lq Lk"]:
    """A bias that all rows share. On CPU its gradient is summed over the rows as a product: twenty times as fast."""
    return jnp.broadcast_to(bias, (rows, *bias.shape[1:]))


def _for_rows_forward(bias: Array, rows: int) -> tuple[Array, None]:
    return for_rows(bias, rows), None


def _for_rows_backward(rows: int, _: None, gradient: Array) -> tuple[Array]:
    by_product = lambda g: jnp.tensordot(jnp.ones(rows, g.dtype), g, 1)[None]
    by_sum = functools.partial(jnp.sum, axis=0, keepdims=True)
    return (jax.lax.platform_dependent(gradient, cpu=by_product, default=by_sum),)


for_rows.defvjp(_for_rows_forward, _for_rows_backward)


_FEW = 16  # rows that XLA multiplies at once, whether or not there are so many
_SHORT, _LONG = 640, 1024  # below so many columns, and above so many rows, a kernel is read as one of half the rows


@jax.custom_batching.custom_vmap
def few_rows(x: Float[Array, "R I"], kernel: Float[Array, "O I"]) -> Float[Array, "R O"]:
    """x @ kernel.T for the few rows of one token, with the kernel on the left.

    On the right the kernel would be packed anew for every token, which takes longer than the product. Of a kernel with
    many short rows, two are read as one, which meets [[x, 0], [0, x]]: that fills the columns which XLA computes in any
    case, and halves what a row costs besides its numbers (12 to 25% of a token's time; tests/benchmarks/decoding.py).
    """
    (rows, length), outputs, dtype = x.shape, kernel.shape[0], x.dtype
    if rows > _FEW:
        return jnp.matmul(x, kernel.T, preferred_element_type=sums_in(dtype)).astype(dtype)
    if length < _SHORT and outputs > _LONG and rows <= _FEW // 2 and not outputs % 2:
        kernel = kernel.reshape(-1, 2 * length)
        x = (jnp.eye(2, dtype=x.dtype)[:, None, :, None] * x[:, None, :]).reshape(2 * rows, 2 * length)
    out = jax.lax.dot_general(kernel, x, (((1,), (1,)), ((), ())), preferred_element_type=sums_in(dtype))
    # Without the barrier XLA would turn the product round again.
    return jax.lax.optimization_barrier(out).reshape(outputs, rows).T.astype(dtype)


@few_rows.def_vmap
def _few_rows_vmap(size: int, batched: list[bool], x: Array, kernel: Array) -> tuple[Array, Any]:
    """Beams are rows like others."""
    if batched[1]:
        return jnp.einsum("wri,woi->wro" if batched[0] else "ri,woi->wro", x, kernel), True
    return few_rows(x.reshape(-1, x.shape[-1]), kernel).reshape(size, -1, kernel.shape[0]), True
