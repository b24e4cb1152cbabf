"""Small random models of every family, made by transformers and saved as users' folders are."""

import dataclasses
import json
import pathlib
from collections.abc import Callable

import torch
import transformers as hf

BEGIN = 1  # what families with a token to begin with begin with


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large the models are; the width of a head is not the model's width divided by heads where a family allows."""

    vocab: int
    width: int
    head: int
    mlp: int
    layers: int


PARITY = Sizes(vocab=101, width=48, head=16, mlp=56, layers=4)
GOLDEN = Sizes(vocab=48, width=16, head=6, mlp=20, layers=2)
HEADS, KV_HEADS, WINDOW = 4, 2, 5


@dataclasses.dataclass(frozen=True)
class Family:
    """A family as it is tested.

    Attributes:
      config: its config of these sizes.
      tied: whether the head is the embedding.
      begins: whether its tokenizer puts a token before every text.
    """

    config: Callable[[Sizes], hf.PretrainedConfig]
    tied: bool
    begins: bool = False


def _t5(kind: Callable[..., hf.PretrainedConfig], projection: str, tied: bool) -> Family:
    def config(sizes: Sizes) -> hf.PretrainedConfig:
        # Few buckets and a short distance, so that texts of a dozen tokens come to the logarithmic and the last ones.
        return kind(
            vocab_size=sizes.vocab,
            d_model=sizes.width,
            d_kv=sizes.head,
            d_ff=sizes.mlp,
            # transformers 5.24 makes the cache of `generate` for num_layers, and fails where the decoder has more.
            num_layers=sizes.layers,
            num_decoder_layers=2,
            num_heads=HEADS,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=10,
            feed_forward_proj=projection,
            tie_word_embeddings=tied,
            layer_norm_epsilon=1e-3,
            decoder_start_token_id=0,
        )

    return Family(config, tied)


def _decoder(
    kind: Callable[..., hf.PretrainedConfig], *, tied: bool, begins: bool = False, head: bool = True, **settings
) -> Family:
    def config(sizes: Sizes) -> hf.PretrainedConfig:
        own = {"head_dim": sizes.head} if head else {}
        if kinds := settings.get("layer_types"):
            # Both kinds, though models be shallow.
            count = max(sizes.layers, kinds.index(_GLOBAL) + 1)
            own |= {"layer_types": kinds[:count], "num_hidden_layers": count}
        return kind(
            **{
                "vocab_size": sizes.vocab,
                "hidden_size": sizes.width,
                "intermediate_size": sizes.mlp,
                "num_hidden_layers": sizes.layers,
                "num_attention_heads": HEADS,
                "num_key_value_heads": KV_HEADS,
                "max_position_embeddings": 256,
                "tie_word_embeddings": tied,
                "bos_token_id": BEGIN,
                "pad_token_id": 0,
                "rms_norm_eps": 1e-3,
                **settings,
                **own,
            }
        )

    return Family(config, tied, begins)


def _rope(theta: float, kind: str = "default", **more) -> dict:
    return {"rope_type": kind, "rope_theta": theta, **more}


# An original length below the texts' own, so that some wavelengths are stretched, some in part and some not.
_LLAMA3 = _rope(
    500.0, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=24
)
_LOCAL, _GLOBAL = "sliding_attention", "full_attention"
_GEMMA3 = {_LOCAL: _rope(100.0), _GLOBAL: _rope(5000.0, "linear", factor=4.0)}

FAMILIES = {
    "t5": _t5(hf.T5Config, "relu", tied=True),
    "t5_v1_1": _t5(hf.T5Config, "gated-gelu", tied=False),
    "ul2": _t5(hf.T5Config, "gated-silu", tied=False),
    "mt5": _t5(hf.MT5Config, "gated-gelu", tied=False),
    "umt5": _t5(hf.UMT5Config, "gated-gelu", tied=False),
    "llama2": _decoder(hf.LlamaConfig, tied=False, begins=True, num_key_value_heads=HEADS),
    "llama3": _decoder(hf.LlamaConfig, tied=True, rope_parameters=_LLAMA3),
    "mistral": _decoder(hf.MistralConfig, tied=False, begins=True, sliding_window=WINDOW),
    "qwen2": _decoder(hf.Qwen2Config, tied=True, head=False, rope_parameters=_rope(1000.0)),
    "qwen3": _decoder(hf.Qwen3Config, tied=False, rope_parameters=_rope(1000.0)),
    "gemma": _decoder(hf.GemmaConfig, tied=True, begins=True),
    # Caps near the logits' size, so that they bite.
    "gemma2": _decoder(
        hf.Gemma2Config,
        tied=True,
        begins=True,
        sliding_window=WINDOW,
        query_pre_attn_scalar=24,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "gemma3": _decoder(
        hf.Gemma3TextConfig,
        tied=True,
        begins=True,
        sliding_window=WINDOW,
        query_pre_attn_scalar=24,
        layer_types=[_LOCAL, _LOCAL, _GLOBAL, _LOCAL],
        rope_parameters=_GEMMA3,
    ),
    "olmo2": _decoder(hf.Olmo2Config, tied=False, head=False, rope_parameters=_rope(1000.0)),
}


def auto_class(config: hf.PretrainedConfig) -> type:
    """The class that loads a model of this config."""
    return hf.AutoModelForSeq2SeqLM if config.is_encoder_decoder else hf.AutoModelForCausalLM


def save(name: str, folder: pathlib.Path, sizes: Sizes = PARITY) -> None:
    """Makes a model of a family and writes its folder.

    Args:
      name: a key of `FAMILIES`.
      folder: where to.
      sizes: how large it is.
    """
    family = FAMILIES[name]
    config = family.config(sizes)
    torch.manual_seed(list(FAMILIES).index(name))
    model = auto_class(config).from_config(config).float()
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    if not family.tied and head.weight is table.weight:
        # Version 5 ties the head of every T5, and keeps one apart that is given to it.
        head.weight = torch.nn.Parameter(torch.empty_like(table.weight))
    assert (head.weight is table.weight) == family.tied
    with torch.no_grad():
        for parameter, value in model.named_parameters():
            value.copy_(_drawn(parameter, value, sizes))
    model.save_pretrained(folder)
    if family.begins:
        (folder / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": True, "bos_token": "<s>"}))


def _drawn(name: str, value: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    """Values that no initialiser gives, of sizes at which attention looks at some tokens and not at others."""
    noise = torch.randn_like(value)
    if value.ndim == 1 or "relative_attention_bias" in name:
        return value + 0.3 * noise
    if "shared" in name:
        return noise
    if "embed" in name or "lm_head" in name:
        # Small enough that a model with a tied head does not say its last token again and again.
        return noise * 0.3
    # T5 has no scale on the logits but starts with smaller queries.
    small = sizes.head**-0.5 if name.endswith("SelfAttention.q.weight") or name.endswith("Attention.q.weight") else 1.0
    return noise * small * value.shape[1] ** -0.5
