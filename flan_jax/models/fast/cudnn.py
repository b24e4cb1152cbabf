"""Causal self-attention over packed rows by cuDNN's flash attention, on NVIDIA GPUs.

It computes in bfloat16, and has no soft caps; for what else a kernel lacks see `splash`.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jaxtyping import Array, Float

from flan_jax.models.fast.splash import of_window
from flan_jax.models.kv_cache import Source
from flan_jax.models.masks import PackedMask
from flan_jax.parallel.axes import shard


def attend(
    query: Float[Array, "B L H K"], sources: Sequence[Source], *, packed: PackedMask, **_: Any
) -> Float[Array, "B L H K"]:
    """As `attention.attend`.

    Args:
      query: queries, scaled.
      sources: one, of the same tokens; `packed` is read instead of its biases.
      packed: the mask.
      **_: nothing is capped or dropped.
    """
    (source,) = sources
    return of_window(_one_window, packed, query, source)


def _one_window(window: int, q: Array, k: Array, v: Array, segments: Array) -> Array:
    q, k, v = (shard(x, "batch", None, "kv_heads", "head_dim") for x in (q, k, v))  # cuDNN reads rows whole
    own = (segments[:, :, None] == segments[:, None, :])[:, None]
    near: dict[str, Any] = {"local_window_size": (window - 1, 0)} if window else {}
    return jax.nn.dot_product_attention(q, k, v, mask=own, scale=1.0, is_causal=True, implementation="cudnn", **near)
