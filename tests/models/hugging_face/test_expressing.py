"""Models of ours said as configs: the family that computes the same, scales folded in, or what no family has."""

import dataclasses

import pytest

from flan_jax.errors import UserError
from flan_jax.models import ModelConfig
from flan_jax.models.hugging_face.expressing import config_json, differences
from flan_jax.models.hugging_face.families import model_config
from tests.models.hugging_face.written import CONFIGS, DECODER

LOCAL = {"sliding_window": 8, "layer_types": ["full_attention", "sliding_attention"]}
MORE = {
    "mistral": {"model_type": "mistral", "sliding_window": 8, **DECODER},
    "qwen3": {"model_type": "qwen3", "use_sliding_window": True, **LOCAL, **DECODER},
    "gemma": {"model_type": "gemma", **DECODER},
    "gemma2": {"model_type": "gemma2", "query_pre_attn_scalar": 24, **LOCAL, **DECODER},
    "llama3": {
        "model_type": "llama",
        "attention_bias": True,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
        **DECODER,
    },
}


@pytest.mark.parametrize("kind", [*CONFIGS, *MORE])
def test_each_family_is_found_again(kind):
    model = model_config((CONFIGS | MORE)[kind])
    raw, scales = config_json(model, eos_id=1)
    again = model_config(raw)
    assert not scales and not differences(model, again) and raw["eos_token_id"] == 1
    assert differences(model, dataclasses.replace(again, norm_eps=0.5)) == ["Model.norm_eps 1e-06 (it has 0.5)"] or (
        kind == "olmo2"
    )


def test_the_starter_models_scales_go_into_weights():
    raw, scales = config_json(ModelConfig(vocab_size=64, head_dim=16, local_heads=True), eos_id=1)
    assert raw["architectures"] == ["T5ForConditionalGeneration"] and raw["tie_word_embeddings"]
    assert set(scales.values()) == {0.25} and all(path[-2:] == ("query", "kernel") for path in scales)
    assert len(scales) == 3
    decoder = ModelConfig(vocab_size=64, architecture="decoder", mlp_activation="gated_silu")
    raw, scales = config_json(decoder, eos_id=1)
    assert raw["model_type"] == "llama" and raw["bos_token_id"] == 0
    assert scales == {("decoder", "norm", "scale"): 128**-0.5}
    raw, scales = config_json(dataclasses.replace(decoder, scale_logits=False, begin_id=-1), eos_id=1)
    assert not scales and raw["bos_token_id"] is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"logit_cap": 30.0}, ("T5ForConditionalGeneration is nearest", "Model.logit_cap 30.0")),
        ({"num_kv_heads": 2}, ("Model.num_kv_heads 2",)),
        ({"architecture": "decoder", "mlp_activation": "relu"}, ("hidden_act is 'relu'",)),
        (
            {"architecture": "decoder", "mlp_activation": "gated_silu", "qk_norm": "whole"},
            ("Model.qk_norm 'whole'",),
        ),
    ],
)
def test_what_no_family_has_is_named(changes, words):
    with pytest.raises(UserError) as told:
        config_json(dataclasses.replace(ModelConfig(vocab_size=64), **changes), eos_id=1)
    assert all(word in str(told.value) for word in words), told.value


def test_gemmas_without_local_layers_have_a_window_all_the_same():
    # Transformers makes the mask of local layers for every Gemma 2 and 3, and raises where there is no window.
    for kind in ("gemma2", "gemma3_text"):
        model = model_config({"model_type": kind, "layer_types": ["full_attention"] * 2, **DECODER})
        raw, _ = config_json(model, eos_id=1)
        assert raw["model_type"] == kind and raw["sliding_window"] > 0 and not model_config(raw).window
