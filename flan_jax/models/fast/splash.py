"""Causal self-attention over packed rows by splash attention, JAX's Pallas kernel for TPUs.

A kernel goes through the keys in blocks, skips blocks that nobody may look at, and never holds a row's logits
[H, L, L]. What it needs to know of the mask is in `PackedMask`. Relative biases (T5), prefix LMs, whose mask depends on
the data in both directions, cross-attention, KV caches and dropped attention weights have no kernel.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from flan_jax.models.kv_cache import Source
from flan_jax.models.masks import PackedMask
from flan_jax.parallel.axes import fitted_spec
from flan_jax.parallel.mesh import current_platform

OUTPUT = "attention"  # what the kernel's output is called in remat policies, so that it need not run twice
LANES = 128  # of a TPU's vector unit: rows are padded to a multiple
LARGEST_BLOCK = 512
FUSED_BLOCKS = 8  # the fused backward kernel holds a copy of the queries' gradient for each block of keys


def attend(
    query: Float[Array, "B L H K"], sources: Sequence[Source], *, packed: PackedMask, softcap: float, **_: Any
) -> Float[Array, "B L H K"]:
    """As `attention.attend`: by Mosaic on TPU, by Pallas's interpreter elsewhere.

    Args:
      query: queries, scaled.
      sources: one, of the same tokens; `packed` is read instead of its biases.
      packed: the mask.
      softcap: as there.
      **_: nothing is dropped.
    """
    (source,) = sources
    return of_window(functools.partial(_on_mesh, softcap), packed, query, source)


def of_window(
    kernel: Callable[..., Array], packed: PackedMask, query: Float[Array, "B L H K"], source: Source
) -> Float[Array, "B L H K"]:
    """Runs `kernel(window, query, key, value, segments)` with the window of the layer at hand."""
    given = query, source.key, source.value, packed.segments
    far = functools.partial(kernel, packed.window)
    if packed.local is None or not packed.local_window:
        return far(*given)
    # A window is part of the kernel, and the layers are scanned: both kernels are there, and one runs.
    return jax.lax.cond(packed.local, functools.partial(kernel, packed.local_window), far, *given)


def _on_mesh(cap: float, window: int, q: Array, k: Array, v: Array, segments: Array) -> Array:
    """Each device runs the kernel on its rows and heads; rows are whole there, as the kernel reads them."""
    on_device = functools.partial(_on_device, cap=cap, window=window)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return on_device(q, k, v, segments)
    of_heads = fitted_spec(k.shape, ("batch", None, "kv_heads", "head_dim"), mesh)
    of_rows = PartitionSpec(*of_heads[:2])
    placed = jax.shard_map(
        on_device, mesh=mesh, in_specs=(of_heads, of_heads, of_heads, of_rows), out_specs=of_heads, check_vma=False
    )
    return placed(q, k, v, segments)


def _on_device(q: Array, k: Array, v: Array, segments: Array, *, cap: float, window: int) -> Array:
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    length = q.shape[1]
    more = -length % LANES
    heads_first = lambda x: jnp.pad(x, ((0, 0), (0, more), (0, 0), (0, 0))).swapaxes(1, 2)
    size = length + more
    mask = masks.LocalMask((size, size), (window - 1, 0), 0) if window else masks.CausalMask((size, size))
    kernel = splash.make_splash_mha(
        masks.MultiHeadMask([mask] * q.shape[2]),
        block_sizes=_block_sizes(size, fused=not window),
        head_shards=1,
        q_seq_shards=1,
        attn_logits_soft_cap=cap or None,
        residual_checkpoint_name=OUTPUT,
        interpret=current_platform() != "tpu",
    )
    ids = jnp.pad(segments, ((0, 0), (0, more)), constant_values=-1)
    one_row = lambda q, k, v, ids: kernel(q, k, v, segment_ids=splash.SegmentIds(ids, ids))
    seen = jax.vmap(one_row)(heads_first(q), heads_first(k), heads_first(v), ids)
    return seen.swapaxes(1, 2)[:, :length]


def _block_sizes(size: int, *, fused: bool) -> Any:
    """Square blocks, as large as divide the row; a window's backward pass is two kernels, which skip what is far."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash

    block = next(b for b in (LARGEST_BLOCK, 256, LANES) if size % b == 0)
    sizes: dict[str, Any] = dict.fromkeys(("block_q", "block_kv", "block_q_dkv", "block_kv_dkv"), block)
    if fused and size // block <= FUSED_BLOCKS:
        return splash.BlockSizes(**sizes, use_fused_bwd_kernel=True)
    return splash.BlockSizes(**sizes, block_q_dq=block, block_kv_dq=block)
