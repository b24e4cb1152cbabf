"""Causal self-attention over packed rows by a fused kernel: splash attention on TPU, cuDNN on NVIDIA GPUs.

A kernel goes through the keys in blocks, skips blocks that nobody may look at, and never holds a row's logits
[H, L, L]. What it needs to know of the mask is in `Packed`. Relative biases (T5), prefix LMs, whose mask depends on the
data in both directions, cross-attention, KV caches and dropped attention weights have no kernel here: they are XLA's.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from flan_jax.errors import UserError
from flan_jax.models.config import ModelConfig
from flan_jax.parallel.axes import fitted_spec
from flan_jax.parallel.mesh import current_platform

RESIDUAL = "attention"  # what a kernel's output is called in remat policies, so that it need not run twice
SPLASH_LENGTH = 512  # from this row length on "auto" takes splash attention; a shorter row's logits are small
LANES = 128  # of a TPU's vector unit: rows are padded to a multiple
LARGEST_BLOCK = 512
FUSED_BLOCKS = 8  # the fused backward kernel holds a copy of the queries' gradient for each block of keys


@functools.partial(jax.tree_util.register_dataclass, data_fields=["segments"], meta_fields=["window", "local_window"])
@dataclasses.dataclass(frozen=True)
class Packed:
    """The mask of causal self-attention within segments.

    Attributes:
      segments: [B, L] the segment of each token.
      window: tokens that a query sees, itself among them; 0: all.
      local_window: the same for local layers, where a model has both kinds.
    """

    segments: Int[Array, "B L"]
    window: int = 0
    local_window: int = 0


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


def attend(
    config: ModelConfig,
    kernel: str,
    q: Float[Array, "B L H K"],
    k: Float[Array, "B L N K"],
    v: Float[Array, "B L N K"],
    packed: Packed,
    local: Bool[Array, ""] | None = None,
) -> Float[Array, "B L H K"]:
    """What each query sees, by a kernel.

    Args:
      config: `attention_cap` is read.
      kernel: "splash" (Mosaic on TPU, Pallas's interpreter elsewhere) or "cudnn".
      q: queries, scaled.
      k: keys.
      v: values.
      packed: the mask.
      local: whether this layer is a local one, where a model has both kinds.
    """
    one = _splash if kernel == "splash" else _cudnn
    far = functools.partial(one, config, packed.window)
    if local is None or not packed.local_window:
        return far(q, k, v, packed.segments)
    # A window is part of the kernel, and the layers are scanned: both kernels are there, and one runs.
    near = functools.partial(one, config, packed.local_window)
    return jax.lax.cond(local, near, far, q, k, v, packed.segments)


def _splash(config: ModelConfig, window: int, q: Array, k: Array, v: Array, segments: Array) -> Array:
    """Each device runs the kernel on its rows and heads."""
    on_device = functools.partial(_splash_on_device, cap=config.attention_cap, window=window)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return on_device(q, k, v, segments)
    rows, _, heads, _ = fitted_spec(k.shape, ("batch", "length", "kv_heads", "head_dim"), mesh)
    of_heads, of_rows = PartitionSpec(rows, None, heads, None), PartitionSpec(rows, None)
    placed = jax.shard_map(
        on_device, mesh=mesh, in_specs=(of_heads, of_heads, of_heads, of_rows), out_specs=of_heads, check_vma=False
    )
    return placed(q, k, v, segments)


def _splash_on_device(q: Array, k: Array, v: Array, segments: Array, *, cap: float, window: int) -> Array:
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
        residual_checkpoint_name=RESIDUAL,
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


def _cudnn(config: ModelConfig, window: int, q: Array, k: Array, v: Array, segments: Array) -> Array:
    own = (segments[:, :, None] == segments[:, None, :])[:, None]
    near: dict[str, Any] = {"local_window_size": (window - 1, 0)} if window else {}
    return jax.nn.dot_product_attention(q, k, v, mask=own, scale=1.0, is_causal=True, implementation="cudnn", **near)
