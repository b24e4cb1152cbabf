"""Products of a large kernel with few rows, as one token of every answer gives them, for CPU."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flan_jax.models.fast.cpu_products import sums_in

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


class FewRowsLinear(nnx.Module):
    """One or more of `layers.Linear` with the same inputs, their kernels transposed and joined in a matrix [O, I].

    Args:
      kernels: the dimensions summed over, then those that come out; joined along the first of these.
      biases: of each, or none.
      dims: how many dimensions are summed over.
    """

    def __init__(self, kernels: Sequence[Array], biases: Sequence[Array], dims: int):
        self.dims = dims
        self.outputs = (sum(kernel.shape[dims] for kernel in kernels), *kernels[0].shape[dims + 1 :])
        rows = [kernel.reshape(math.prod(kernel.shape[:dims]), -1).T for kernel in kernels]
        self.kernel = nnx.Param(jnp.concatenate(rows))
        if biases:
            self.bias = nnx.Param(jnp.concatenate(biases))

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """Applies it in the dtype of `x`."""
        batch = x.shape[: x.ndim - self.dims]
        kernel = self.kernel[...].astype(x.dtype)
        y = few_rows(x.reshape(math.prod(batch), -1), kernel).reshape(*batch, *self.outputs)
        return y + self.bias[...].astype(x.dtype) if hasattr(self, "bias") else y
