"""The shape of a model: what it computes, whatever the machine."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

ARCHITECTURES = ("encoder_decoder", "decoder")
ACTIVATIONS = ("gated_gelu", "gated_silu", "relu")
QK_NORMS = ("none", "head", "whole")
NORM_PLACEMENTS = ("before", "after", "both")
LAYER_KINDS = ("global", "local")
ROPE_SCALINGS = ("none", "linear", "llama3")
RELATIVE_BIASES = ("shared", "per_layer")


@dataclasses.dataclass(frozen=True)
class ShapeConfig:
    """The shape of a model.

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
      embedding_noise: NEFTune's alpha (Jain et al. 2023): while training, noise is added to the embedding of each token
        that is read, even in (-1, 1) times alpha / sqrt(tokens of its example * embed_dim); 0: none.
      tie_embeddings: whether logits are read with the input embedding.
      scale_logits: whether logits are divided by sqrt(embed_dim); wanted with tied embeddings of standard deviation 1.
      scale_attention: whether an encoder-decoder divides attention logits by sqrt(head_dim), as a decoder always does.
        T5 does not, and starts with smaller queries instead, which Adam's steps of equal size upset: in a small model
        trained from random weights at 3e-3 they saturate attention within tens of steps.
      embedding_init_std: standard deviation of the embedding at the start.
      local_heads: start the relative bias with heads that look one left and one right (encoder_decoder only).
      prefix_lm: whether a decoder sees all of a segment's inputs at once (decoder only).
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
    """

    WORDS: ClassVar[Mapping[str, Sequence[str]]] = {
        "architecture": ARCHITECTURES,
        "mlp_activation": ACTIVATIONS,
        "qk_norm": QK_NORMS,
        "norm_placement": NORM_PLACEMENTS,
        "rope_scaling": ROPE_SCALINGS,
        "relative_bias": RELATIVE_BIASES,
    }

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
    embedding_noise: float = 0.0
    tie_embeddings: bool = True
    scale_logits: bool = True
    scale_attention: bool = True
    embedding_init_std: float = 1.0
    local_heads: bool = False
    prefix_lm: bool = False
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

        >>> ShapeConfig(num_decoder_layers=3, layer_pattern=("local", "global")).local_layers
        (True, False, True)
        """
        pattern = self.layer_pattern
        return tuple(pattern[i % len(pattern)] == "local" for i in range(self.num_decoder_layers))
