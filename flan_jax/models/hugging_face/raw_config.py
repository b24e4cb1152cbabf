"""What each key of a `config.json` must be, and a config being read by that."""

from collections.abc import Mapping
from typing import Any

from flan_jax.files.typed_json import (
    COUNT,
    FLAG,
    NUMBER,
    OBJECT,
    POSITIVE,
    TOKEN,
    TOKENS,
    WHOLE,
    WORD,
    WORDS,
    Kind,
    typed,
)

_COUNTS = (
    "vocab_size hidden_size intermediate_size num_attention_heads num_key_value_heads head_dim "
    "d_model d_kv d_ff num_heads relative_attention_num_buckets "
    "relative_attention_max_distance sliding_window_pattern original_max_position_embeddings"
)
_FLAGS = (
    "tie_word_embeddings scale_decoder_outputs is_gated_act attention_bias mlp_bias use_sliding_window "
    "use_bidirectional_attention"
)
_POSITIVES = "rms_norm_eps layer_norm_epsilon rope_theta rope_local_base_freq query_pre_attn_scalar"
_MOST_LAYERS = 10_000  # far above any model: each is looked for in the files
LAYERS = Kind(f"a whole number from 1 to {_MOST_LAYERS:,}", lambda value: COUNT.fits(value) and value <= _MOST_LAYERS)
# What each key of a config.json that is read must be; a null is the default.
KINDS: dict[str, Kind] = {
    "model_type": WORD,
    "architectures": WORDS,
    **dict.fromkeys(_COUNTS.split(), COUNT),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "num_decoder_layers"), LAYERS),
    **dict.fromkeys(_FLAGS.split(), FLAG),
    **dict.fromkeys(_POSITIVES.split(), POSITIVE),
    **dict.fromkeys(("hidden_act", "hidden_activation", "feed_forward_proj", "dense_act_fn"), WORD),
    **dict.fromkeys(("sliding_window", "max_window_layers", "max_position_embeddings"), WHOLE),
    **dict.fromkeys(("dropout_rate", "partial_rotary_factor"), NUMBER),
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping"), NUMBER),
    **dict.fromkeys(("rope_scaling", "rope_parameters", "text_config"), OBJECT),
    **dict.fromkeys(("eos_token_id", "bos_token_id"), TOKENS),
    **dict.fromkeys(("pad_token_id", "decoder_start_token_id"), TOKEN),
    "layer_types": WORDS,
}
ROPE_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("rope_type", "type"), WORD),
    **dict.fromkeys(("rope_theta", "factor", "low_freq_factor", "high_freq_factor"), POSITIVE),
    "original_max_position_embeddings": COUNT,
    "partial_rotary_factor": NUMBER,
}


class Raw:
    """A `config.json` being read: those of its values that have the right type, and what is wrong with the others."""

    def __init__(self, values: Mapping[str, Any]):
        self.values, self.faults = typed(values, KINDS)
        self.mistyped = set(values) - set(self.values)

    def get(self, name: str, default: Any = None) -> Any:
        """A value; the default where it is absent or null."""
        value = self.values.get(name)
        return default if value is None else value

    def number(self, name: str, default: float | None = None) -> Any:
        """A number above 0 that the config must hold, or may leave out where there is a default."""
        value = self.get(name, default)
        if value is None and name not in self.mistyped:
            self.faults.append(f"{name} is {value!r}, wanted {KINDS[name].words}")
        return 1 if value is None else value

    def only(self, name: str, *allowed: Any) -> None:
        """Notes a fault where an option has a value that our model does not compute."""
        value = self.get(name, allowed[0])
        if value not in allowed:
            wanted = " or ".join(repr(one) for one in allowed)
            self.faults.append(f"{name} is {value!r}, of which only {wanted} is supported")
