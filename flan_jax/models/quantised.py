"""Kernels of a frozen base in 8 or 4 bits, by Qwix's array functions (QLoRA, Dettmers et al. 2023).

Qwix's own way into a model rewrites modules as they run; here a quantised kernel is two plain parameters instead,
`kernel` (the codes) and `kernel_scale`, so that sharding, scanning and checkpoints see arrays as ever. Kernels are made
wide when their layer runs, inside the scan: one layer at a time.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from flan_jax.errors import UserError

_QTYPES = {"int8": jnp.int8, "int4": jnp.int4, "nf4": "nf4"}
_OF_CODES = {"int8": jnp.int8, "int4": jnp.int4, "uint4": "nf4"}  # nf4 has codes of its own, kept as uint4


def qwix() -> Any:
    """The library, which only a quantised base needs.

    Raises:
      UserError: it is not installed.
    """
    try:
        import qwix
    except ImportError:
        raise UserError(
            "Lora.base_dtype asks for a quantised base, which needs Qwix: pip install 'flan-jax[quant]', or set "
            "Lora.base_dtype to 'bfloat16'"
        ) from None
    return qwix


def block_size(inputs: int, block: int) -> int:
    """The largest block up to `block` that divides the inputs.

    >>> block_size(576, 64), block_size(100, 64)
    (64, 50)
    """
    return next(size for size in range(min(block, inputs), 0, -1) if inputs % size == 0)


def quantise(kernel: Array, stacked: int, dims: int, dtype: str, block: int) -> tuple[Array, Array]:
    """Quantises a kernel, symmetric about 0.

    Args:
      kernel: [layers.., inputs.., outputs..].
      stacked: dimensions of layers in front.
      dims: dimensions of inputs after them.
      dtype: "int8", with a float32 scale for each output; "int4" or "nf4", with a bfloat16 scale for each output and
        each block of the last input dimension.
      block: inputs in one.

    Returns:
      Codes of the kernel's shape, and scales with as many dimensions.
    """
    last = stacked + dims - 1
    blocked = dtype != "int8"
    tiles = {last: block_size(kernel.shape[last], block)} if blocked else {}
    inputs = range(stacked, stacked + dims)
    each = [axis for axis in range(kernel.ndim) if axis not in inputs or (blocked and axis != last)]
    made = qwix().quantize(
        kernel.astype(jnp.float32),
        _QTYPES[dtype],
        channelwise_axes=each,
        tiled_axes=tiles,
        scale_dtype=jnp.bfloat16 if blocked else jnp.float32,
    )
    return made.qvalue, made.scale


def wide(codes: Array, scale: Array, dtype: Any) -> Array:
    """The kernel that codes and scales stand for, in a floating dtype."""
    qtype = _OF_CODES[jnp.dtype(codes.dtype).name]
    return qwix().dequantize(qwix().QArray(codes, scale.astype(jnp.float32), qtype=qtype)).astype(dtype)


def unfold(base: Any) -> Any:
    """Parameters with every quantised kernel wide again, in float32, and no scales."""
    flat = dict(nnx.to_flat_state(base))
    for path in [path for path in flat if path[-1] == "kernel_scale"]:
        scale, kernel = flat.pop(path), (*path[:-1], "kernel")
        codes = flat[kernel]
        values = wide(codes.get_value(), scale.get_value(), jnp.float32)
        flat[kernel] = codes.replace(values)
    return nnx.from_flat_state(list(flat.items()))


@functools.lru_cache(maxsize=256)
def quantiser(stacked: int, dims: int, dtype: str, block: int, shardings: Any) -> Any:
    """`quantise` jitted, one layer after another where layers are stacked: its own temporaries are many."""

    def one(kernel: Array) -> tuple[Array, Array]:
        return quantise(kernel, 0, dims, dtype, block)

    return jax.jit(lambda kernel: jax.lax.map(one, kernel) if stacked else one(kernel), out_shardings=shardings)
