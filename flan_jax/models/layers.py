"""The parts both architectures are made of: parameters, linear maps, norm, embedding, feed-forward.

One legend for the shapes of `flan_jax.models`: B batch, L length (Lq of queries, Lk of keys), D embed, H heads, N heads
of keys and values, K head dim, F feed-forward, V vocab, S segments.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from flan_jax.models import quantised
from flan_jax.models.activations import capped, dropout, noisy
from flan_jax.models.config import ModelConfig
from flan_jax.models.fast.choice import logits_form, projection_form
from flan_jax.parallel.axes import shard


def kernel(rngs: nnx.Rngs, shape: tuple[int, ...], axes: tuple[str | None, ...], std: float, dtype: str) -> nnx.Param:
    """Makes a parameter of normal draws that knows its logical axes.

    Args:
      rngs: draws from the stream "params".
      shape: shape of one layer's parameter.
      axes: a logical axis for each dimension (see `flan_jax.parallel.axes`).
      std: standard deviation at the start.
      dtype: what it is kept in.
    """
    return nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.dtype(dtype)), axes=axes)


def project(x: Float[Array, "*B I"], weights: Float[Array, "I O"], dims: int = 1) -> Float[Array, "*B O"]:
    """A matrix product over the last `dims` dimensions of `x` and the first `dims` of `weights`.

    Args:
      x: activations [B, L, ...].
      weights: a kernel in the dtype of `x`.
      dims: how many dimensions to sum over.
    """
    form = projection_form()
    return jnp.tensordot(x, weights, dims) if form is None else form(x, weights, dims)


class Linear(nnx.Module):
    """A matrix product over one or more dimensions, with a bias where asked.

    `flan_jax.models.lora` may put an adapter beside the kernel (`lora_a`, `lora_b`), and make the kernel codes that
    `kernel_scale` goes with.

    Args:
      rngs: draws the kernel.
      shape: the dimensions summed over, then those that come out.
      axes: their logical axes.
      std: standard deviation of the kernel at the start; a bias starts at 0.
      config: `param_dtype` is read.
      dims: how many dimensions are summed over.
      bias: whether there is a bias.
    """

    kernel: nnx.Param
    kernel_scale: nnx.Param
    lora_a: nnx.LoRAParam
    lora_b: nnx.LoRAParam
    lora_key: PRNGKeyArray

    def __init__(
        self,
        rngs: nnx.Rngs,
        shape: tuple[int, ...],
        axes: tuple[str | None, ...],
        std: float,
        config: ModelConfig,
        *,
        dims: int = 1,
        bias: bool = False,
    ):
        self.dims, self.lora_scale, self.lora_dropout = dims, 0.0, 0.0
        self.kernel = kernel(rngs, shape, axes, std, config.param_dtype)
        if bias:
            self.bias = nnx.Param(jnp.zeros(shape[dims:], jnp.dtype(config.param_dtype)), axes=axes[dims:])

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """Applies it in the dtype of `x`."""
        y = project(x, self._weights(x.dtype), self.dims)
        if hasattr(self, "lora_a"):
            y = y + self._adapter(x)
        return y + self.bias[...].astype(x.dtype) if hasattr(self, "bias") else y

    def _weights(self, dtype: Any) -> Array:
        if not hasattr(self, "kernel_scale"):
            return self.kernel[...].astype(dtype)
        return quantised.wide(self.kernel[...], self.kernel_scale[...], dtype)

    def _adapter(self, x: Array) -> Array:
        """(dropout(x) A) B scale, two thin products; the merged kernel is never formed."""
        x = dropout(x, self.lora_dropout, getattr(self, "lora_key", None), shared=())
        inner = project(x, self.lora_a[...].astype(x.dtype), self.dims)
        return project(inner * self.lora_scale, self.lora_b[...].astype(x.dtype))


class RMSNorm(nnx.Module):
    """Divides by the root mean square, in float32, and scales (Zhang and Sennrich, 2019)."""

    def __init__(self, dim: int, config: ModelConfig):
        self.eps, self.offset = config.norm_eps, config.norm_offset
        start = jnp.zeros if config.norm_offset else jnp.ones
        self.scale = nnx.Param(start((dim,), jnp.dtype(config.param_dtype)), axes=(None,))

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        """Normalises the last dimension; the result has the dtype of `x`."""
        wide = x.astype(jnp.float32)
        wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.eps)
        scale = self.scale[...].astype(jnp.float32)
        return (wide * (1.0 + scale if self.offset else scale)).astype(x.dtype)


class Embedding(nnx.Module):
    """Token embeddings [V, D], and the logits that are read with them.

    `flan_jax.models.lora` may have what is trained of some `rows` stand beside a frozen table (`embedding_rows`,
    `head_rows`).
    """

    embedding_rows: nnx.LoRAParam
    head_rows: nnx.LoRAParam

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.rows: tuple[int, ...] = ()
        self.few_rows = False  # whether logits are read for the few rows of one token; see `decoding.layout`
        shape, axes = (config.vocab_size, config.embed_dim), ("vocab", "embed")
        self.embedding = kernel(rngs, shape, axes, config.embedding_init_std, config.param_dtype)
        if not config.tie_embeddings:
            # With scaled logits a unit draw gives unit logits; without, the kernel itself carries the 1/sqrt(D).
            std = 1.0 if config.scale_logits else config.embed_dim**-0.5
            self.head = kernel(rngs, shape, axes, std, config.param_dtype)

    def noisy(
        self, tokens: Int[Array, "B L"], segments: Int[Array, "B L"], key: PRNGKeyArray | None
    ) -> Float[Array, "B L D"]:
        """Looks tokens up as training reads them: with `embedding_noise`, where there is any and a key to draw it by.

        Args:
          tokens: ids.
          segments: which example of its row each belongs to; 0 is padding.
          key: of the stack that reads them; None for no noise.
        """
        # The stack splits its key in three, which may be the folds 0 to 2 of it.
        draw = None if key is None or not self.config.embedding_noise else jax.random.fold_in(key, 3)
        return noisy(self(tokens), segments, self.config.embedding_noise, draw)

    def __call__(self, tokens: Int[Array, "B L"]) -> Float[Array, "B L D"]:
        """Looks the tokens up; an id below 0 stands for padding."""
        table = self._trained("embedding").astype(self.config.compute_dtype)
        x = jnp.take(table, tokens, axis=0, mode="clip")
        if self.config.scale_embedding:
            x = x * jnp.asarray(self.config.embed_dim**0.5, x.dtype)
        return shard(x, "batch", "length", "embed")

    @property
    def table(self) -> Float[Array, "V D"]:
        """What logits are read with: the embedding, or a head of its own."""
        return self._trained("embedding" if self.config.tie_embeddings else "head")

    def _trained(self, name: str) -> Float[Array, "V D"]:
        """A table, with what was added to some of its rows since."""
        table: Array = getattr(self, name)[...]
        if not self.rows:
            return table
        return table.at[jnp.array(self.rows, jnp.int32)].add(getattr(self, f"{name}_rows")[...].astype(table.dtype))

    def logits(self, x: Float[Array, "B L D"]) -> Float[Array, "B L V"]:
        """Reads logits, in float32, off the last layer's output."""
        if self.config.scale_logits:
            x = x * self.config.embed_dim**-0.5
        table = self.table.astype(x.dtype)
        form = logits_form(x.dtype, few_rows=self.few_rows)
        if form is None:
            out = jnp.einsum("bld,vd->blv", x, table, preferred_element_type=jnp.float32)
        else:
            out = form(x.reshape(-1, x.shape[-1]), table).reshape(*x.shape[:-1], -1)
        return shard(capped(out, self.config.logit_cap), "batch", "length", "vocab")


class FeedForward(nnx.Module):
    """The feed-forward layer, gated (a product of two projections) or not.

    `flan_jax.inference.decoding.layout` may join the two projections.
    """

    gate_and_up: Callable[[Array], Array]

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        embed, mlp = config.embed_dim, config.mlp_dim
        if config.mlp_activation.startswith("gated_"):
            self.gate = Linear(rngs, (embed, mlp), ("embed", "mlp"), embed**-0.5, config)
        self.up = Linear(rngs, (embed, mlp), ("embed", "mlp"), embed**-0.5, config)
        self.down = Linear(rngs, (mlp, embed), ("mlp", "embed"), mlp**-0.5, config)

    def __call__(self, x: Float[Array, "B L D"], key: PRNGKeyArray | None = None) -> Float[Array, "B L D"]:
        """Applies the layer; `key` drops hidden activations."""
        if self.config.mlp_activation == "relu":
            hidden = jax.nn.relu(self.up(x))
        else:
            joined = hasattr(self, "gate_and_up")
            gate, up = jnp.split(self.gate_and_up(x), 2, axis=-1) if joined else (self.gate(x), self.up(x))
            # gelu is the tanh form, as in T5 1.1.
            hidden = (jax.nn.gelu(gate) if self.config.mlp_activation == "gated_gelu" else jax.nn.silu(gate)) * up
        hidden = dropout(shard(hidden, "batch", "length", "mlp"), self.config.dropout_rate, key)
        return shard(self.down(hidden), "batch", "length", "embed")
