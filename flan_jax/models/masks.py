"""Who may look at whom: masks of packed rows, and the biases that they put on attention's logits."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

MASKED = -1e9  # finite, so that a row that may look at nothing stays finite


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["segments", "local"], meta_fields=["window", "local_window"]
)
@dataclasses.dataclass(frozen=True)
class PackedMask:
    """The mask of causal self-attention within segments, as kernels read it that make their own.

    Attributes:
      segments: [B, L] the segment of each token.
      window: tokens that a query sees, itself among them; 0: all.
      local_window: the same for local layers, where a model has both kinds.
      local: whether the layer at hand is a local one, where a model has both kinds.
    """

    segments: Int[Array, "B L"]
    window: int = 0
    local_window: int = 0
    local: Bool[Array, ""] | None = None


def mask_bias(allowed: Bool[Array, "B Lq Lk"]) -> Float[Array, "B 1 1 Lq Lk"]:
    """Zero where a query may look, a large negative number elsewhere."""
    return jnp.where(allowed, 0.0, MASKED).astype(jnp.float32)[:, None, None]


def segment_mask(
    query_segments: Int[Array, "B Lq"],
    key_segments: Int[Array, "B Lk"],
    *,
    causal: bool = False,
    prefix: Int[Array, "B Lk"] | None = None,
    window: int = 0,
) -> Bool[Array, "B Lq Lk"]:
    """Which keys each query may look at: those of its own segment, so that neighbours in a packed row never meet.

    Args:
      query_segments: segment of each query; 0 is padding (which sees only padding and carries no loss).
      key_segments: segment of each key.
      causal: whether keys after the query are hidden.
      prefix: 1 at positions of a segment's inputs, which see one another in both directions although `causal`.
      window: the tokens that a query sees, itself among them; 0: all.

    >>> import numpy as np
    >>> row = np.array([[1, 1, 2]])
    >>> segment_mask(row, row, causal=True)[0].astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    allowed = query_segments[:, :, None] == key_segments[:, None, :]
    if causal:
        rows, columns = jnp.arange(query_segments.shape[1]), jnp.arange(key_segments.shape[1])
        order = (columns[None, :] <= rows[:, None])[None]
        if prefix is not None:
            order = order | ((prefix[:, :, None] > 0) & (prefix[:, None, :] > 0))
        allowed = allowed & order
    if window:
        rows, columns = jnp.arange(query_segments.shape[1]), jnp.arange(key_segments.shape[1])
        allowed = allowed & (jnp.abs(columns[None, :] - rows[:, None]) < window)[None]
    return allowed
