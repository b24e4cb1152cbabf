"""A model of ours as a `config.json`: the family that computes the same, or which setting none has.

Two scales that transformers' classes do not have are folded into weights, which changes a logit by rounding alone:
attention's 1/sqrt(head_dim) of an encoder-decoder into its queries, the logits' 1/sqrt(embed_dim) into the last norm.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face.families import FAMILIES, FEED_FORWARDS, model_config

Scales = dict[tuple[str, ...], float]
_ENCODER_DECODERS, _DECODERS = ("t5", "umt5"), tuple(kind for kind in FAMILIES if "t5" not in kind)
_HOW_IT_COMPUTES = ("dtype", "param_dtype", "remat", "unroll", "attention", "dropout_rate", "embedding_noise")
_HOW_IT_STARTS = ("embedding_init_std", "local_heads", "begin_id")


def config_json(model: ModelConfig, *, eos_id: int, pad_id: int = 0) -> tuple[dict[str, Any], Scales]:
    """The config.json of a model that came from no folder.

    Args:
      model: with `vocab_size`.
      eos_id: the token that ends an answer.
      pad_id: the token that pads.

    Returns:
      What config.json holds, and factors by which parameters must be multiplied, by their path.

    Raises:
      UserError: no family computes it; names the settings that differ from the nearest one.
    """
    plain, scales = _folded(model)
    both = model.architecture == "encoder_decoder"
    faults: list[tuple[str, list[str]]] = []
    for kind in _ENCODER_DECODERS if both else _DECODERS:
        raw = (_t5 if both else _decoder)(plain, kind)
        name = FAMILIES[kind].architectures[0]
        raw = {"architectures": [name], "model_type": kind, **raw, "eos_token_id": eos_id, "pad_token_id": pad_id}
        try:
            differing = differences(plain, model_config(raw))
        except UserError as error:
            differing = [str(error)]
        if not differing:
            return raw, scales
        faults.append((name, differing))
    nearest, differing = min(faults, key=lambda fault: len(fault[1]))
    raise UserError(
        f"no model of transformers computes this one; {nearest} is nearest, but for {', '.join(differing)}. Train with "
        "those settings changed, or keep the run as it is"
    )


def differences(one: ModelConfig, other: ModelConfig) -> list[str]:
    """The settings by which two models compute another thing from the same parameters, in words."""
    ours, theirs = _function(one), _function(other)
    return [f"Model.{name} {ours[name]!r} (it has {theirs[name]!r})" for name in ours if ours[name] != theirs[name]]


def _function(config: ModelConfig) -> dict[str, Any]:
    """The settings that matter to what a model computes, each in one spelling."""
    said = dataclasses.asdict(config)
    decoder = config.architecture == "decoder"
    local = decoder and any(config.local_layers)
    scaled = config.scale_attention or decoder
    usual = config.width**-0.5 if scaled else 1.0
    said |= {"num_kv_heads": config.kv_heads, "head_dim": config.width, "query_scale": config.query_scale or usual}
    said |= {"layer_pattern": config.local_layers if local else (), "window": config.window if local else 0}
    own = config.local_rope_theta if local else 0.0
    plain = config.rope_scaling == "none"
    said["local_rope_theta"] = 0.0 if plain and own == config.rope_theta else own
    unused = [*_HOW_IT_COMPUTES, *_HOW_IT_STARTS, "scale_attention"]
    if decoder:
        unused += ["num_encoder_layers", "relative_buckets", "relative_max_distance", "relative_bias"]
    else:
        unused += [name for name in said if name.startswith("rope_")]
    if plain:
        unused.append("rope_factor")
    if config.rope_scaling != "llama3":
        unused += ["rope_low_frequency", "rope_high_frequency", "rope_original_length"]
    return {name: value for name, value in said.items() if name not in unused}


def _folded(model: ModelConfig) -> tuple[ModelConfig, Scales]:
    """The model without the scales that its parameters can take."""
    scales: Scales = {}
    if model.architecture == "encoder_decoder":
        scale = model.query_scale or (model.width**-0.5 if model.scale_attention else 1.0)
        if scale != 1.0 and model.qk_norm == "none":
            for path in (("encoder", "self"), ("decoder", "self"), ("decoder", "cross")):
                for leaf in ("kernel", "bias") if model.attention_bias else ("kernel",):
                    scales[(path[0], "layers", f"{path[1]}_attention", "query", leaf)] = scale
            model = dataclasses.replace(model, scale_attention=False, query_scale=0.0)
    # T5 divides tied logits and no others, decoders divide none.
    wanted = model.tie_embeddings and model.architecture == "encoder_decoder"
    if model.scale_logits != wanted and not model.norm_offset:
        scales[("decoder", "norm", "scale")] = model.embed_dim ** (0.5 if wanted else -0.5)
        model = dataclasses.replace(model, scale_logits=wanted)
    return model, scales


def _t5(model: ModelConfig, kind: str) -> dict[str, Any]:
    words = {ours: word for word, ours in FEED_FORWARDS.items()}
    return {
        "vocab_size": model.vocab_size,
        "d_model": model.embed_dim,
        "d_kv": model.width,
        "d_ff": model.mlp_dim,
        "num_layers": model.num_encoder_layers,
        "num_decoder_layers": model.num_decoder_layers,
        "num_heads": model.num_heads,
        "relative_attention_num_buckets": model.relative_buckets,
        "relative_attention_max_distance": model.relative_max_distance,
        "dropout_rate": model.dropout_rate,
        "layer_norm_epsilon": model.norm_eps,
        "feed_forward_proj": words[model.mlp_activation],
        "is_encoder_decoder": True,
        "tie_word_embeddings": model.tie_embeddings,
        "decoder_start_token_id": model.begin_id,
    }


def _decoder(model: ModelConfig, kind: str) -> dict[str, Any]:
    """A decoder in the older spelling, which both versions of transformers read."""
    gemma = kind.startswith("gemma")
    act = {"gated_silu": "silu", "gated_gelu": "gelu_pytorch_tanh"}.get(model.mlp_activation, model.mlp_activation)
    raw: dict[str, Any] = {
        "vocab_size": model.vocab_size,
        "hidden_size": model.embed_dim,
        "intermediate_size": model.mlp_dim,
        "num_hidden_layers": model.num_decoder_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.width,
        "hidden_activation" if kind in ("gemma2", "gemma3_text") else "hidden_act": act,
        "rms_norm_eps": model.norm_eps,
        "rope_theta": model.rope_theta,
        "tie_word_embeddings": model.tie_embeddings,
        "bos_token_id": None if model.begin_id < 0 else model.begin_id,
    }
    if kind != "qwen2":
        raw["attention_bias"] = model.attention_bias and model.attention_out_bias
    if scaling := _rope_scaling(model):
        raw["rope_scaling"] = scaling
    if kind in ("mistral", "qwen2", "qwen3", "gemma2", "gemma3_text"):
        raw |= _windows(model, kind)
    if gemma and kind != "gemma":
        scale = model.query_scale or model.width**-0.5
        raw["query_pre_attn_scalar"] = round(scale**-2) if abs(round(scale**-2) - scale**-2) < 1e-6 else scale**-2
        raw["attn_logit_softcapping"] = model.attention_cap or None
        raw["final_logit_softcapping"] = model.logit_cap or None
    if kind == "gemma3_text":
        raw["rope_local_base_freq"] = model.local_rope_theta or model.rope_theta
    return raw


def _rope_scaling(model: ModelConfig) -> Mapping[str, Any] | None:
    if model.rope_scaling == "none":
        return None
    raw: dict[str, Any] = {"rope_type": model.rope_scaling, "factor": model.rope_factor}
    if model.rope_scaling == "llama3":
        raw |= {
            "low_freq_factor": model.rope_low_frequency,
            "high_freq_factor": model.rope_high_frequency,
            "original_max_position_embeddings": model.rope_original_length,
        }
    return raw


def _windows(model: ModelConfig, kind: str) -> dict[str, Any]:
    window = model.window if any(model.local_layers) else None
    # Gemma's classes make the mask of local layers even where there are none, and want a window for it.
    raw: dict[str, Any] = {"sliding_window": window or (4096 if kind.startswith("gemma") else None)}
    if kind != "mistral":
        raw["layer_types"] = ["sliding_attention" if one else "full_attention" for one in model.local_layers]
    if kind.startswith("qwen"):
        raw["use_sliding_window"] = window is not None
    return raw
