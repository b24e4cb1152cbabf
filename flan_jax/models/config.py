"""What a model is made of: one frozen dataclass for both architectures."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from flan_jax.errors import UserError, nearest, together

ARCHITECTURES = ("encoder_decoder", "decoder")
ACTIVATIONS = ("gated_gelu", "gated_silu", "relu")
REMAT_POLICIES = ("none", "dots", "full", "offload")
DTYPES = ("float32", "bfloat16")
QK_NORMS = ("none", "head", "whole")
NORM_PLACEMENTS = ("before", "after", "both")
LAYER_KINDS = ("global", "local")
ROPE_SCALINGS = ("none", "linear", "llama3")
RELATIVE_BIASES = ("shared", "per_layer")
MOST_UNROLLED = 16  # layers; compiling 8 + 8 of them takes 2 s more than a scan on two cores
_MOST_NUMBERS = 1 << 42  # of one array, all layers together: far beyond any model
ATTENTIONS = ("auto", "xla", "splash", "cudnn")


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
      remat: what the backward pass computes anew: "none", "dots" (all but products with weights, and what attention
        kernels gave), "full", or "offload" (as "full", with the layers' inputs in the host memory until then).
      unroll: layers in one turn of the scan over layers. 1 compiles in a time that is flat in depth; all of them trains
        10 to 15% faster on CPU. 0 is all on CPU, up to 16 layers and without remat, and 1 elsewhere.
      relative_buckets: buckets of the relative bias.
      relative_max_distance: distance from which on the last bucket holds.
      relative_bias: whether all layers of a stack share one relative bias ("shared", T5) or each has its own
        ("per_layer", UMT5).
      rope_theta: base of the rotary positions' wavelengths.
      rope_scaling: how wavelengths are stretched for longer texts: "none", "linear" (all by rope_factor) or "llama3"
        (the long ones by rope_factor, the short ones not at all, evenly between).
      rope_factor: how much longer the stretched wavelengths are.
      rope_low_frequency: "llama3" stretches wavelengths above rope_original_length / this by the whole factor.
      rope_high_frequency: "llama3" leaves wavelengths below rope_original_length / this as they are.
      rope_original_length: tokens that a model was trained on before it was stretched ("llama3").
      norm_eps: added to the mean square in each norm.
      norm_offset: whether a norm multiplies by 1 + its parameter (Gemma) instead of by the parameter.
      norm_placement: whether a layer's parts are normed "before" they read (T5, Llama), "after" (OLMo 2: what they
        add), or "both" (Gemma 2 and 3).
      qk_norm: norms of queries and keys: "none", of each "head" (Qwen 3, Gemma 3) or of all heads as a "whole"
        (OLMo 2).
      attention_bias: whether queries, keys and values have a bias (Qwen 2).
      attention_out_bias: whether attention's output has a bias.
      attention_cap: attention logits x become cap * tanh(x / cap) (Gemma 2); 0: they are left as they are.
      logit_cap: the same for the vocabulary's logits.
      query_scale: what queries are multiplied by; 0: 1 / sqrt(head_dim), or for an encoder-decoder what
        scale_attention says.
      window: how many tokens a "local" layer sees, the query itself among them (decoder only).
      layer_pattern: "global" or "local" for each decoder layer, repeated until all have one.
      local_rope_theta: rope_theta of local layers, without rope_scaling (Gemma 3); 0: as all others.
      scale_embedding: whether embeddings are multiplied by sqrt(embed_dim) where they enter (Gemma).
      begin_id: the token that is read before a segment's first; -1: none, a decoder reads from the first token on and
        never predicts it (Qwen).
      attention: what computes attention in training: "xla" everywhere, "splash" on TPU, "cudnn" on NVIDIA GPUs, or
        "auto": the fastest that the machine and the model allow.
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
    unroll: int = 0
    relative_buckets: int = 32
    relative_max_distance: int = 128
    relative_bias: str = "shared"
    rope_theta: float = 10_000.0
    rope_scaling: str = "none"
    rope_factor: float = 1.0
    rope_low_frequency: float = 1.0
    rope_high_frequency: float = 4.0
    rope_original_length: int = 8192
    norm_eps: float = 1e-6
    norm_offset: bool = False
    norm_placement: str = "before"
    qk_norm: str = "none"
    attention_bias: bool = False
    attention_out_bias: bool = False
    attention_cap: float = 0.0
    logit_cap: float = 0.0
    query_scale: float = 0.0
    window: int = 0
    layer_pattern: tuple[str, ...] = ("global",)
    local_rope_theta: float = 0.0
    scale_embedding: bool = False
    begin_id: int = 0
    attention: str = "auto"

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values, with 0 filled in."""
        return self.num_kv_heads or self.num_heads

    @property
    def width(self) -> int:
        """Width of one head, with 0 filled in."""
        return self.head_dim or self.embed_dim // self.num_heads

    @property
    def local_layers(self) -> tuple[bool, ...]:
        """Whether each decoder layer is local.

        >>> ModelConfig(num_decoder_layers=3, layer_pattern=("local", "global")).local_layers
        (True, False, True)
        """
        pattern = self.layer_pattern
        return tuple(pattern[i % len(pattern)] == "local" for i in range(self.num_decoder_layers))

    def resolved(self, platform: str | None = None) -> "ModelConfig":
        """The same config with what is left to the machine ("auto", an unroll of 0) settled.

        Args:
          platform: "cpu", "gpu" or "tpu"; by default what JAX runs on here. Name it when compiling for another machine.

        >>> ModelConfig().resolved("tpu").dtype
        'bfloat16'
        """
        if self.dtype != "auto" and self.unroll:
            return self
        if platform is None:
            import jax

            platform = jax.default_backend()
        auto = "float32" if platform == "cpu" else "bfloat16"
        layers = max(self.num_decoder_layers, self.num_encoder_layers if self.architecture != "decoder" else 0)
        whole = platform == "cpu" and layers <= MOST_UNROLLED and self.remat == "none"
        return dataclasses.replace(
            self, dtype=auto if self.dtype == "auto" else self.dtype, unroll=self.unroll or (layers if whole else 1)
        )

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
        faults = [*self._word_faults(), *self._number_faults()] or self._size_faults()
        faults += self._joint_faults()
        if faults:
            raise UserError(together(faults, "The model's config cannot be built"))

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
            *choice("qk_norm", QK_NORMS),
            *choice("norm_placement", NORM_PLACEMENTS),
            *choice("rope_scaling", ROPE_SCALINGS),
            *choice("relative_bias", RELATIVE_BIASES),
            *choice("attention", ATTENTIONS),
            *self._pattern_faults(),
        ]

    def _pattern_faults(self) -> list[str]:
        strange = [kind for kind in self.layer_pattern if kind not in LAYER_KINDS]
        if self.layer_pattern and not strange:
            return []
        return [f"layer_pattern is {self.layer_pattern!r}, wanted one or more of {', '.join(LAYER_KINDS)}"]

    def _number_faults(self) -> list[str]:
        at_least = {name: 1 for name in ("embed_dim", "num_heads", "mlp_dim", "num_decoder_layers")}
        at_least |= {name: 0 for name in ("unroll", "vocab_size", "num_kv_heads", "head_dim", "window")}
        at_least |= {name: 0 for name in ("attention_cap", "logit_cap", "query_scale", "local_rope_theta")}
        if self.architecture != "decoder":
            at_least |= {"num_encoder_layers": 1, "relative_buckets": 4}
        faults = [
            f"{n} is {getattr(self, n)}, wanted {least} or more"
            for n, least in at_least.items()
            if getattr(self, n) < least
        ]
        faults += [
            f"{name} is {getattr(self, name)}, wanted more than 0"
            for name in ("rope_theta", "rope_factor", "rope_original_length", "norm_eps", "embedding_init_std")
            if not getattr(self, name) > 0
        ]
        if not 0 <= self.dropout_rate < 1:
            faults.append(f"dropout_rate is {self.dropout_rate}, wanted at least 0 and less than 1")
        return faults

    def _size_faults(self) -> list[str]:
        """Arrays that nothing holds; those of more than 2^63 numbers end the compiler, and the process with it."""
        layers = max(self.num_decoder_layers, self.num_encoder_layers)
        inner = {"mlp_dim": self.mlp_dim, "num_heads x head_dim": self.num_heads * self.width}
        sizes = {f"{layers:,} layers of embed_dim x {name}": layers * self.embed_dim * n for name, n in inner.items()}
        sizes["vocab_size x embed_dim"] = self.vocab_size * self.embed_dim
        return [
            f"{what} makes an array of {size:,} numbers, wanted {_MOST_NUMBERS:,} or less"
            for what, size in sizes.items()
            if size > _MOST_NUMBERS
        ]

    def _kernel_faults(self) -> list[str]:
        """What a fused attention kernel that was asked for by name cannot compute."""
        if self.attention not in ("splash", "cudnn"):
            return []
        lacks = {
            "relative biases (architecture 'encoder_decoder')": self.architecture == "encoder_decoder",
            "prefix_lm": self.prefix_lm,
            "dropout_rate": self.dropout_rate > 0,
            "attention_cap": self.attention == "cudnn" and self.attention_cap > 0,
        }
        return [
            f"attention {self.attention!r} has no {w}: set attention to 'auto'" for w, there in lacks.items() if there
        ]

    def _joint_faults(self) -> list[str]:
        faults = []
        if self.num_heads > 0 and not self.head_dim and self.embed_dim % self.num_heads:
            faults.append(f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}: set head_dim")
        if self.num_heads > 0 and self.kv_heads > 0 and self.num_heads % self.kv_heads:
            faults.append(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}")
        if "local" in self.layer_pattern and not self.window:
            faults.append("layer_pattern has local layers, but window is 0; set window to the tokens they see")
        if self.rope_scaling == "llama3" and not self.rope_high_frequency > self.rope_low_frequency > 0:
            faults.append(
                f"rope_low_frequency is {self.rope_low_frequency} and rope_high_frequency {self.rope_high_frequency}, "
                "wanted 0 < low < high"
            )
        faults += self._kernel_faults()
        if self.architecture == "decoder":
            if self.begin_id < -1:
                faults.append(f"begin_id is {self.begin_id}, wanted a token, or -1 for none")
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
            if self.begin_id < 0:
                faults.append(f"begin_id is {self.begin_id}, wanted the token that a decoder starts from")
            if self.window or "local" in self.layer_pattern:
                faults.append("window and local layers are for architecture 'decoder'")
            if self.prefix_lm:
                faults.append("prefix_lm is for architecture 'decoder'; an encoder sees its inputs whole anyway")
        return faults
