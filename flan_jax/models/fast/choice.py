"""Which form computes: chosen when a program is traced, by the platform it is for and by shapes.

    form             on             for
    cpu_products     CPU            products with weights, and attention that no form below is for
    few_rows         CPU            products of one token, in models that `decoding.layout` has laid out
    cached           everywhere     attention over a KV cache
    causal_blocks    everywhere     causal self-attention over long packed rows, without a kernel
    splash           TPU            the same
    cudnn            NVIDIA GPUs    causal self-attention over packed rows, in bfloat16

None stands for the plain form, with JAX's own gradients. Those of `cpu_products` are written by hand: they were
measured to pay on CPU, and run nowhere else.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from flan_jax.errors import UserError
from flan_jax.models.config import ModelConfig
from flan_jax.models.fast import cached, causal_blocks, cpu_products, cudnn, splash
from flan_jax.models.fast.few_rows import few_rows as by_few_rows
from flan_jax.models.kv_cache import Source
from flan_jax.models.masks import PackedMask
from flan_jax.parallel.mesh import current_platform

KERNEL_OUTPUT = splash.OUTPUT  # its name in remat policies
SPLASH_LENGTH = 512  # from this row length on "auto" takes splash attention; a shorter row's logits are small


def attention_form(
    config: ModelConfig, length: int, sources: Sequence[Source], packed: PackedMask | None, *, drops: bool
) -> Callable[..., Array] | None:
    """What computes attention faster than `attention.attend` does, and the same.

    Args:
      config: `attention` asks for a kernel, or leaves it to the machine.
      length: queries of a row.
      sources: what they look at.
      packed: the mask, where it is that of causal self-attention within segments.
      drops: whether attention weights are dropped.

    Returns:
      A function of query, sources and the keywords of `attention.attend`.

    Raises:
      UserError: on a kernel for another machine than this one.
    """
    on_cpu = current_platform() == "cpu"
    if any(source.cached for source in sources):
        return functools.partial(cached.attend, heads_alone=on_cpu and length == 1)
    by_products = cpu_products.attend if on_cpu else None
    if packed is None:
        return by_products
    kernel = kernel_of(config, length, drops=drops)
    if kernel != "xla":
        return functools.partial({"splash": splash.attend, "cudnn": cudnn.attend}[kernel], packed=packed)
    if causal_blocks.fits(length):
        of_block = by_products or functools.partial(cached.attend, heads_alone=False)
        return functools.partial(causal_blocks.attend, of_block=of_block)
    return by_products


def kernel_of(config: ModelConfig, length: int, *, drops: bool = False) -> str:
    """Which kernel computes causal self-attention over packed rows on the current mesh.

    Args:
      config: `attention` asks for one, or leaves it to the machine.
      length: tokens in a row.
      drops: whether attention weights are dropped.

    Returns:
      "splash", "cudnn" or "xla".

    Raises:
      UserError: on a kernel for another machine than this one.
    """
    asked, platform = config.attention, current_platform()
    if asked == "cudnn" and platform != "gpu" or asked == "splash" and platform == "gpu":
        raise UserError(
            f"Attention was asked of {asked!r}, which {platform!r} does not have; set Model.attention to 'auto'."
        )
    if asked != "auto":
        return asked
    if drops:
        return "xla"
    if platform == "tpu" and length >= SPLASH_LENGTH:
        return "splash"
    # cuDNN has neither soft caps nor float32, and wants head dims that its tiles divide.
    fits_cudnn = config.dtype == "bfloat16" and not config.attention_cap and config.width % 8 == 0
    return "cudnn" if platform == "gpu" and fits_cudnn and config.width <= 128 else "xla"


def projection_form() -> Callable[[Array, Array, int], Array] | None:
    """What multiplies activations and weights faster than `layers.project` does by itself, and the same."""
    return cpu_products.project if current_platform() == "cpu" else None


def logits_form(dtype: Any, *, few_rows: bool) -> Callable[[Array, Array], Array] | None:
    """What reads logits [R, V] off R rows [R, D] and a table [V, D], for a model that is laid out for few rows."""
    return by_few_rows if few_rows and dtype == jnp.float32 else None


def decodes_in_few_rows() -> bool:
    """Whether one token's products are faster with transposed kernels, layer by layer (`few_rows`)."""
    return jax.default_backend() == "cpu"
