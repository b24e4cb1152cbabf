"""What a `config.json` says of a model, in our terms: one function a family, all faults of a config at once.

Field names and defaults are those of the transformers library, in the spelling of its versions 4 (`rope_theta`,
`rope_scaling`) and 5 (`rope_parameters`). What a family's class there does not read is not read here either:
`attention_bias` of Mistral, `attn_logit_softcapping` of Gemma 3.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.files.typed_json import OBJECT, typed
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face.raw_config import ROPE_KINDS, Raw

Fields = dict[str, Any]

# T5's feed_forward_proj, and decoders' hidden_act, by our activation.
FEED_FORWARDS = {"relu": "relu", "gated-gelu": "gated_gelu", "gated-silu": "gated_silu"}
TANH_GELUS = ("gelu_pytorch_tanh", "gelu_new")
ROPE_TYPES = ("default", "linear", "llama3")
_NAMES = ("model_type", "architectures")


@dataclasses.dataclass(frozen=True)
class Family:
    """One `model_type`.

    Attributes:
      architectures: names of its class; the first is the one that transformers makes of the `model_type`.
      read: from a config to fields of `ModelConfig`.
    """

    architectures: tuple[str, ...]
    read: Callable[[Raw], Fields]


def model_config(values: Mapping[str, Any], where: str = "config.json") -> ModelConfig:
    """The model that a `config.json` describes; whether its head is tied follows from the files too (`folder`).

    Args:
      values: the parsed file.
      where: what to call it in an error.

    Raises:
      UserError: an architecture or an option that is not supported, all of them named.

    >>> sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    >>> model_config({"model_type": "llama", "vocab_size": 32, "rope_theta": 5e5, **sizes}).rope_theta
    500000.0
    """
    raw = Raw(values)
    if raw.mistyped & set(_NAMES):
        raise UserError(f"{where} cannot be used: " + "; ".join(raw.faults))
    kind, family = family_of(values, where)
    fields = family.read(raw)
    if raw.get("quantization_config"):
        raw.faults.append("quantization_config: the weights are quantised; save the model in float32 or bfloat16")
    if raw.faults:
        raise UserError(f"{where} ({kind}) cannot be used: " + "; ".join(dict.fromkeys(raw.faults)))
    config = ModelConfig(**fields)
    try:
        config.check()
    except UserError as fault:
        raise UserError(f"{where} ({kind}) cannot be used: {fault}") from None
    return config


def family_of(values: Mapping[str, Any], where: str = "config.json") -> tuple[str, Family]:
    """The `model_type` of a config and its family.

    Raises:
      UserError: it is none of `FAMILIES`.
    """
    kind = values.get("model_type")
    named = values.get("architectures") or []
    supported = ", ".join(family.architectures[0] for family in FAMILIES.values())
    if kind not in FAMILIES:
        hint = "; save its text model on its own (Gemma3ForCausalLM)" if kind == "gemma3" else ""
        raise UserError(
            f"{where} is of {', '.join(named) or 'no architecture'} (model_type {kind!r}), which is not "
            f"supported{hint}; supported: {supported}"
        )
    family = FAMILIES[kind]
    if named and not set(named) & set(family.architectures):
        raise UserError(
            f"{where} is of {', '.join(named)}, which is not supported: of model_type {kind!r} only "
            f"{family.architectures[0]} is; supported: {supported}"
        )
    return kind, family


# What the classes have where a file leaves it out.
T5_DEFAULTS: Fields = {"vocab_size": 32128, "num_layers": 6, "num_heads": 8, "d_ff": 2048, "feed_forward_proj": "relu"}
MT5_DEFAULTS: Fields = {
    "vocab_size": 250112,
    "num_layers": 8,
    "num_heads": 6,
    "d_ff": 1024,
    "feed_forward_proj": "gated-gelu",
}


def _t5(raw: Raw, relative_bias: str = "shared", scaled: bool | None = None, defaults: Fields = MT5_DEFAULTS) -> Fields:
    projection = raw.get("feed_forward_proj", defaults["feed_forward_proj"])
    if projection not in FEED_FORWARDS:
        raw.faults.append(
            f"feed_forward_proj is {projection!r}, of which only {', '.join(FEED_FORWARDS)} are supported"
        )
    # Where these are there, transformers takes them and not what feed_forward_proj says.
    gate, _, act = projection.rpartition("-")
    raw.only("is_gated_act", bool(gate))
    raw.only("dense_act_fn", *(TANH_GELUS if projection == "gated-gelu" else (act,)))
    # Version 5 keeps the scale of the output apart, as it takes the head to be tied in every T5.
    untied = raw.values.get("tie_word_embeddings") is False
    layers = raw.number("num_layers", defaults["num_layers"])
    return {
        "architecture": "encoder_decoder",
        "vocab_size": raw.number("vocab_size", defaults["vocab_size"]),
        "embed_dim": raw.number("d_model", 512),
        "num_heads": raw.number("num_heads", defaults["num_heads"]),
        "head_dim": raw.number("d_kv", 64),
        "mlp_dim": raw.number("d_ff", defaults["d_ff"]),
        "num_encoder_layers": layers,
        "num_decoder_layers": raw.number("num_decoder_layers", layers),
        "mlp_activation": FEED_FORWARDS.get(projection, "relu"),
        "dropout_rate": float(raw.get("dropout_rate", 0.1)),
        "tie_embeddings": not untied,
        "scale_logits": raw.get("scale_decoder_outputs", not untied) if scaled is None else scaled,
        "scale_attention": False,
        "relative_buckets": raw.number("relative_attention_num_buckets", 32),
        "relative_max_distance": raw.number("relative_attention_max_distance", 128),
        "relative_bias": relative_bias,
        "norm_eps": float(raw.number("layer_norm_epsilon", 1e-6)),
        "begin_id": raw.get("decoder_start_token_id", raw.get("pad_token_id", 0)),
    }


def _decoder(
    raw: Raw,
    *,
    activations: Mapping[str, str],
    act: str,
    tied: bool,
    eps: float = 1e-6,
    head_dim: int = 0,
    kv_heads: int | None = None,
    act_key: str = "hidden_act",
) -> Fields:
    """What decoders have in common.

    Args:
      raw: the config.
      activations: our activation by the config's word.
      act: the config's word where it has none.
      tied: whether the head is the embedding where the config does not say.
      eps: of the norms, where the config does not say.
      head_dim: where the config does not say; 0: embed_dim / num_heads.
      kv_heads: where the config leaves them out; None, or a null in it: as many as num_heads.
      act_key: where the config says its activation.
    """
    word = raw.get(act_key, act)
    if word not in activations:
        raw.faults.append(f"{act_key} is {word!r}, of which only {', '.join(activations)} is supported")
    raw.only("mlp_bias", False)
    raw.only("partial_rotary_factor", 1.0)
    raw.only("use_bidirectional_attention", False)
    heads, named = raw.number("num_attention_heads"), "num_key_value_heads" in raw.values
    bias = bool(raw.get("attention_bias", False))
    return {
        "architecture": "decoder",
        "vocab_size": raw.number("vocab_size"),
        "embed_dim": raw.number("hidden_size"),
        "num_heads": heads,
        "num_kv_heads": raw.number("num_key_value_heads", (not named and kv_heads) or heads),
        "head_dim": raw.number("head_dim", head_dim or max(raw.number("hidden_size") // heads, 1)),
        "mlp_dim": raw.number("intermediate_size"),
        "num_decoder_layers": raw.number("num_hidden_layers"),
        "mlp_activation": activations.get(word, "gated_silu"),
        "tie_embeddings": bool(raw.get("tie_word_embeddings", tied)),
        "scale_logits": False,
        "embedding_init_std": 0.02,
        "attention_bias": bias,
        "attention_out_bias": bias,
        "norm_eps": float(raw.number("rms_norm_eps", eps)),
        "begin_id": -1,
        **_rope(raw, *_rope_source(raw), raw.get("rope_theta", 10_000.0)),
    }


def _rope_source(raw: Raw) -> tuple[str, Mapping[str, Any]]:
    """The object that says the positions, and its key: the older one where it says anything, as in transformers 5."""
    older = raw.get("rope_scaling")
    return ("rope_scaling", older) if older else ("rope_parameters", raw.get("rope_parameters", {}))


def _rope(raw: Raw, within: str, parameters: Mapping[str, Any], theta: float) -> Fields:
    """Rotary positions, from `rope_parameters` or `rope_scaling`."""
    parameters, faults = typed(parameters, ROPE_KINDS, f"{within}.")
    raw.faults += faults
    nested = [name for name, value in parameters.items() if isinstance(value, Mapping)]
    if nested:
        raw.faults.append(f"{within} has positions for {', '.join(nested)} apart, which this family has not")
    fields: Fields = {"rope_theta": float(parameters.get("rope_theta") or theta)}
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if kind not in ROPE_TYPES:
        raw.faults.append(f"rope_type is {kind!r}, of which only {', '.join(ROPE_TYPES)} are supported")
    if parameters.get("partial_rotary_factor") not in (None, 1, 1.0):
        raw.faults.append("partial_rotary_factor is not 1: heads that are turned in part are not supported")
    names = {"linear": {"factor": "rope_factor"}}
    names["llama3"] = names["linear"] | {
        "low_freq_factor": "rope_low_frequency",
        "high_freq_factor": "rope_high_frequency",
        "original_max_position_embeddings": "rope_original_length",
    }
    length = "original_max_position_embeddings"
    # Beside the object it goes before what is in it.
    found = {**parameters, length: raw.get(length, parameters.get(length, raw.get("max_position_embeddings")))}
    for name, ours in names.get(kind, {}).items():
        value = found.get(name)
        if value is not None:
            fields[ours] = int(value) if name == length else float(value)
        elif not any(fault.startswith(f"{within}.{name} ") for fault in faults):
            raw.faults.append(f"{kind} rope wants a number for {name}, which is {value!r}")
    return fields | ({"rope_scaling": kind} if kind in names else {})


def _local(raw: Raw, kinds: list[str], window: int | None, off: bool = False) -> Fields:
    """Local layers, from a list like `layer_types`; the shortest pattern that repeats to it.

    Args:
      raw: the config.
      kinds: of its layers.
      window: what they see; None: all.
      off: whether there is no window as a switch says so.
    """
    if "sliding_attention" not in kinds or "sliding_window" in raw.mistyped:
        return {}
    if window is None or window < 1:
        said = "use_sliding_window is off" if off else f"sliding_window is {window!r}"
        raw.faults.append(f"{said}, but there are layers of sliding attention, which want a window of 1 or more")
        return {}
    pattern = tuple("local" if kind == "sliding_attention" else "global" for kind in kinds)
    for length in range(1, len(pattern)):
        if all(pattern[i] == pattern[i % length] for i in range(len(pattern))):
            pattern = pattern[:length]
            break
    return {"window": int(window), "layer_pattern": pattern}


def _kinds(raw: Raw, is_local: Callable[[int], bool]) -> list[str]:
    """`layer_types`, or what the older spelling means by it."""
    layers = raw.get("num_hidden_layers", 0)
    kinds = raw.get("layer_types")
    if kinds is None:
        return ["sliding_attention" if is_local(i) else "full_attention" for i in range(layers)]
    if len(kinds) != layers:
        raw.faults.append(f"layer_types is of length {len(kinds)}, wanted that of num_hidden_layers, {layers}")
    strange = sorted(set(kinds) - {"sliding_attention", "full_attention"})
    if strange:
        raw.faults.append(f"layer_types has {', '.join(map(repr, strange))}, which is not supported")
    return kinds


SILU = {"silu": "gated_silu"}
GELU = {name: "gated_gelu" for name in TANH_GELUS}


def _llama(raw: Raw) -> Fields:
    return _decoder(raw, activations=SILU, act="silu", tied=False)


def _mistral(raw: Raw) -> Fields:
    # What the file leaves out is the class's default, a null is no window.
    window = raw.values.get("sliding_window", 4096)
    fields = _decoder(raw, activations=SILU, act="silu", tied=False, kv_heads=8)
    fields |= {"attention_bias": False, "attention_out_bias": False}  # the class has none, whatever the file says
    # With layer_types transformers' Auto classes take Ministral's, which reads them.
    return fields | _local(raw, _kinds(raw, lambda i: window is not None), window)


def _qwen(raw: Raw, **changes: Any) -> Fields:
    on = raw.get("use_sliding_window", False)
    window = raw.values.get("sliding_window", 4096) if on else None
    since = raw.get("max_window_layers", 28)
    return changes | _local(raw, _kinds(raw, lambda i: window is not None and i >= since), window, off=not on)


def _qwen2(raw: Raw) -> Fields:
    fields = _decoder(raw, activations=SILU, act="silu", tied=False, kv_heads=32)
    return fields | _qwen(raw, attention_bias=True, attention_out_bias=False)


def _qwen3(raw: Raw) -> Fields:
    fields = _decoder(raw, activations=SILU, act="silu", tied=False, head_dim=128, kv_heads=32)
    return fields | _qwen(raw, qk_norm="head")


def _gemma(raw: Raw) -> Fields:
    # The releases say "gelu" and mean its tanh form.
    acts = GELU | {"gelu": "gated_gelu"}
    fields = _decoder(raw, activations=acts, act=TANH_GELUS[0], tied=True, head_dim=256, kv_heads=16)
    return fields | {"norm_offset": True, "scale_embedding": True}


def _gemma2(raw: Raw, attention_cap: float = 50.0, logit_cap: float = 30.0) -> Fields:
    how: Fields = {"act": TANH_GELUS[0], "act_key": "hidden_activation", "tied": True, "head_dim": 256, "kv_heads": 4}
    fields = _decoder(raw, activations=GELU, **how)
    fields |= {"norm_offset": True, "scale_embedding": True, "norm_placement": "both"}
    for name, ours, cap in (
        ("attn_logit_softcapping", "attention_cap", attention_cap),
        ("final_logit_softcapping", "logit_cap", logit_cap),
    ):
        value = raw.values.get(name, cap)
        fields[ours] = float(value or 0)
        if value is not None and name in raw.values and value <= 0:
            raw.faults.append(f"{name} is {value!r}, wanted a number above 0, or null for none")
    fields["query_scale"] = float(raw.number("query_pre_attn_scalar", 256)) ** -0.5
    return fields | _local(raw, _kinds(raw, lambda i: i % 2 == 0), raw.values.get("sliding_window", 4096))


def _gemma3(raw: Raw) -> Fields:
    # Kinds of layers have positions of their own here, which `_decoder` does not look for.
    flat = {name: value for name, value in raw.values.items() if name not in ("rope_parameters", "rope_scaling")}
    inner = Raw(flat)
    # The class keeps attn_logit_softcapping and its attention does not read it.
    fields = _gemma2(inner, 0.0, 0.0) | {"qk_norm": "head", "attention_cap": 0.0}
    raw.faults += inner.faults
    layers = dict.fromkeys(("sliding_attention", "full_attention"), OBJECT)
    both, faults = typed(raw.get("rope_parameters", {}), layers, "rope_parameters.")
    raw.faults += faults
    far = (both.get("full_attention") or {}) | raw.get("rope_scaling", {})
    near = _rope(
        raw,
        "rope_parameters.sliding_attention",
        both.get("sliding_attention") or {},
        raw.get("rope_local_base_freq", 10_000.0),
    )
    if "rope_scaling" in near:
        raw.faults.append(
            f"rope_type of sliding_attention is {near['rope_scaling']!r}, of which only 'default' is supported"
        )
    where = "rope_scaling" if raw.get("rope_scaling") else "rope_parameters.full_attention"
    fields |= _rope(raw, where, far, raw.get("rope_theta", 1_000_000.0))
    fields["local_rope_theta"] = near["rope_theta"]
    every = raw.get("sliding_window_pattern", 6)
    kinds = _kinds(raw, lambda i: (i + 1) % every != 0)
    fields |= {"window": 0, "layer_pattern": ("global",)} | _local(raw, kinds, raw.values.get("sliding_window", 4096))
    return fields if fields["window"] else fields | {"local_rope_theta": 0.0}


def _olmo2(raw: Raw) -> Fields:
    fields = _decoder(raw, activations=SILU, act="silu", tied=False, eps=1e-5)
    return fields | {"qk_norm": "whole", "norm_placement": "after"}


FAMILIES: dict[str, Family] = {
    "t5": Family(("T5ForConditionalGeneration", "T5WithLMHeadModel"), lambda raw: _t5(raw, defaults=T5_DEFAULTS)),
    "mt5": Family(("MT5ForConditionalGeneration",), lambda raw: _t5(raw, scaled=False)),
    "umt5": Family(("UMT5ForConditionalGeneration",), lambda raw: _t5(raw, "per_layer")),
    "llama": Family(("LlamaForCausalLM",), _llama),
    "mistral": Family(("MistralForCausalLM",), _mistral),
    "qwen2": Family(("Qwen2ForCausalLM",), _qwen2),
    "qwen3": Family(("Qwen3ForCausalLM",), _qwen3),
    "gemma": Family(("GemmaForCausalLM",), _gemma),
    "gemma2": Family(("Gemma2ForCausalLM",), _gemma2),
    "gemma3_text": Family(("Gemma3ForCausalLM",), _gemma3),
    "olmo2": Family(("Olmo2ForCausalLM",), _olmo2),
}
