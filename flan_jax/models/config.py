"""What a model is made of: one frozen dataclass for both architectures."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from flan_jax.errors import UserError, nearest

ARCHITECTURES = ("encoder_decoder", "decoder")
ACTIVATIONS = ("gated_gelu", "gated_silu", "relu")
REMAT_POLICIES = ("none", "dots", "full")
DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shape of a model and how it computes.

    The defaults are a small encoder-decoder that trains in minutes on a laptop.

    Attributes:
      architecture: "encoder_decoder" (T5 1.1: relative position bias) or "decoder" (Llama: rotary positions).
      vocab_size: number of token ids; 0 is filled in from the data's vocabulary.
      embed_dim: width D of the residual stream.
      num_heads: query heads H.
      num_kv_heads: heads of keys and values, each serving num_heads / num_kv_heads query heads; 0: as many as queries.
      head_dim: width K of a head; 0: embed_dim / num_heads.
      mlp_dim: width F of the feed-forward layer.
      num_encoder_layers: layers of the encoder; not read by a decoder.
      num_decoder_layers: layers of the decoder.
      mlp_activation: "gated_gelu" (T5 1.1), "gated_silu" (Llama) or "relu" (not gated).
      dropout_rate: share of activations dropped while training; a mask is shared along a row's length.
      tie_embeddings: whether logits are read with the input embedding.
      scale_logits: whether logits are divided by sqrt(embed_dim); wanted with tied embeddings of standard deviation 1.
      scale_attention: whether an encoder-decoder divides attention logits by sqrt(head_dim), as a decoder always does.
        T5 does not, and starts with smaller queries instead, which Adam's steps of equal size upset: in a small model
        trained from random weights at 3e-3 they saturate attention within tens of steps.
      embedding_init_std: standard deviation of the embedding at the start.
      local_heads: start the relative bias with heads that look one left and one right (encoder_decoder only).
      prefix_lm: whether a decoder sees all of a segment's inputs at once (decoder only).
      dtype: what is computed in; "auto" is bfloat16 on accelerators and float32 on CPU.
      param_dtype: what parameters are kept in.
      remat: what the backward pass computes anew: "none", "dots" (all but matrix products of weights) or "full".
      unroll: layers in one turn of the scan over layers. 1 compiles in a time that is flat in depth; all of them is a
        quarter faster for a small model on CPU.
      relative_buckets: buckets of the relative bias.
      relative_max_distance: distance from which on the last bucket holds.
      rope_theta: base of the rotary positions' wavelengths.
      norm_eps: added to the mean square in each norm.
    """

    architecture: str = "encoder_decoder"
    vocab_size: int = 0
    embed_dim: int = 128
    num_heads: int = 4
    num_kv_heads: int = 0
    head_dim: int = 0
    mlp_dim: int = 256
    num_encoder_layers: int = 3
    num_decoder_layers: int = 2
    mlp_activation: str = "gated_gelu"
    dropout_rate: float = 0.0
    tie_embeddings: bool = True
    scale_logits: bool = True
    scale_attention: bool = True
    embedding_init_std: float = 1.0
    local_heads: bool = False
    prefix_lm: bool = False
    dtype: str = "auto"
    param_dtype: str = "float32"
    remat: str = "none"
    unroll: int = 1
    relative_buckets: int = 32
    relative_max_distance: int = 128
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values, with 0 filled in."""
        return self.num_kv_heads or self.num_heads

    @property
    def width(self) -> int:
        """Width of one head, with 0 filled in."""
        return self.head_dim or self.embed_dim // self.num_heads

    def resolved(self, platform: str | None = None) -> "ModelConfig":
        """The same config with "auto" replaced.

        Args:
          platform: "cpu", "gpu" or "tpu"; by default what JAX runs on here. Name it when compiling for another machine.

        >>> ModelConfig().resolved("tpu").dtype
        'bfloat16'
        """
        if self.dtype != "auto":
            return self
        if platform is None:
            import jax

            platform = jax.default_backend()
        return dataclasses.replace(self, dtype="float32" if platform == "cpu" else "bfloat16")

    @property
    def compute_dtype(self) -> Any:
        """The JAX dtype that activations have."""
        import jax.numpy as jnp

        return jnp.dtype(self.resolved().dtype)

    def check(self) -> None:
        """Refuses a config that no model can be built from.

        Raises:
          UserError: names every fault at once, each with its setting.
        """
        faults = [*self._word_faults(), *self._number_faults(), *self._joint_faults()]
        if faults:
            raise UserError("The model's config cannot be built: " + "; ".join(faults) + ".")

    def _word_faults(self) -> list[str]:
        def choice(name: str, known: Sequence[str]) -> list[str]:
            value = getattr(self, name)
            if value in known:
                return []
            return [f"{name} is {value!r}, wanted one of {', '.join(known)}{nearest(str(value), known).rstrip('?')}"]

        return [
            *choice("architecture", ARCHITECTURES),
            *choice("mlp_activation", ACTIVATIONS),
            *choice("remat", REMAT_POLICIES),
            *choice("dtype", ("auto", *DTYPES)),
            *choice("param_dtype", DTYPES),
        ]

    def _number_faults(self) -> list[str]:
        at_least = {name: 1 for name in ("embed_dim", "num_heads", "mlp_dim", "num_decoder_layers", "unroll")}
        at_least |= {name: 0 for name in ("vocab_size", "num_kv_heads", "head_dim")}
        if self.architecture != "decoder":
            at_least |= {"num_encoder_layers": 1, "relative_buckets": 4}
        faults = [
            f"{n} is {getattr(self, n)}, wanted {least} or more"
            for n, least in at_least.items()
            if getattr(self, n) < least
        ]
        faults += [
            f"{name} is {getattr(self, name)}, wanted more than 0"
            for name in ("rope_theta", "norm_eps", "embedding_init_std")
            if not getattr(self, name) > 0
        ]
        if not 0 <= self.dropout_rate < 1:
            faults.append(f"dropout_rate is {self.dropout_rate}, wanted at least 0 and less than 1")
        return faults

    def _joint_faults(self) -> list[str]:
        faults = []
        if self.num_heads > 0 and not self.head_dim and self.embed_dim % self.num_heads:
            faults.append(f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}: set head_dim")
        if self.num_heads > 0 and self.kv_heads > 0 and self.num_heads % self.kv_heads:
            faults.append(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}")
        if self.architecture == "decoder":
            if self.num_heads > 0 and self.width % 2:
                faults.append(f"head_dim is {self.width}, wanted an even number for rotary positions")
            if self.local_heads:
                faults.append(
                    "local_heads needs the relative bias of architecture 'encoder_decoder'; a decoder has none"
                )
        if self.architecture == "encoder_decoder":
            if self.relative_buckets % 2:
                faults.append(
                    f"relative_buckets is {self.relative_buckets}, wanted an even number: half for each direction"
                )
            if self.relative_max_distance <= self.relative_buckets // 2:
                faults.append(
                    f"relative_max_distance is {self.relative_max_distance}, wanted more than half of relative_buckets"
                )
            if self.prefix_lm:
                faults.append("prefix_lm is for architecture 'decoder'; an encoder sees its inputs whole anyway")
        return faults
