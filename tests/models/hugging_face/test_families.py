"""Configs as they were published, in the spellings of transformers 4 and 5, and the options that are refused."""

import dataclasses

import pytest

from flan_jax.errors import UserError
from flan_jax.models.hugging_face.families import FAMILIES, model_config
from tests.models.hugging_face.written import DECODER, T5

FLAN_T5_SMALL = {
    "architectures": ["T5ForConditionalGeneration"],
    "d_ff": 1024,
    "d_kv": 64,
    "d_model": 512,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06,
    "model_type": "t5",
    "num_decoder_layers": 8,
    "num_heads": 6,
    "num_layers": 8,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "tie_word_embeddings": False,
    "vocab_size": 32128,
}
LLAMA_3_2 = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 128000,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "tie_word_embeddings": True,
    "vocab_size": 128256,
}
LLAMA3_ROPE = {
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
GEMMA_3_270M = {
    "architectures": ["Gemma3ForCausalLM"],
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 640,
    "intermediate_size": 2048,
    "model_type": "gemma3_text",
    "num_attention_heads": 4,
    "num_hidden_layers": 18,
    "num_key_value_heads": 1,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "sliding_window": 512,
    "vocab_size": 262144,
}


def of(kind: str, **changes):
    return model_config({"model_type": kind, **(T5 if "t5" in kind else DECODER), **changes})


def test_flan_t5():
    config = model_config(FLAN_T5_SMALL)
    assert (config.embed_dim, config.num_heads, config.head_dim, config.mlp_dim) == (512, 6, 64, 1024)
    assert (config.mlp_activation, config.tie_embeddings, config.scale_logits) == ("gated_gelu", False, False)
    assert not config.scale_attention and config.begin_id == 0 and config.dropout_rate == 0.1


def test_what_scales_the_logits_of_each_t5():
    assert of("t5").scale_logits and of("t5").tie_embeddings and of("t5").mlp_activation == "relu"
    assert not of("t5", scale_decoder_outputs=False, tie_word_embeddings=True).scale_logits
    assert not of("mt5").scale_logits and not of("mt5", tie_word_embeddings=False).scale_logits
    assert of("umt5", feed_forward_proj="gated-silu").mlp_activation == "gated_silu"
    assert of("umt5").relative_bias == "per_layer" and of("mt5").relative_bias == "shared"


def test_both_spellings_of_llama_3s_rope():
    old = model_config(LLAMA_3_2 | {"rope_theta": 500000.0, "rope_scaling": LLAMA3_ROPE})
    new = model_config(LLAMA_3_2 | {"rope_parameters": LLAMA3_ROPE | {"rope_theta": 500000.0}})
    assert old == new
    assert (old.rope_theta, old.rope_scaling, old.rope_factor, old.rope_original_length) == (5e5, "llama3", 32, 8192)
    assert (old.norm_eps, old.kv_heads, old.width, old.scale_logits) == (1e-5, 8, 64, False)
    linear = of("llama", rope_scaling={"type": "linear", "factor": 2})
    assert (linear.rope_scaling, linear.rope_factor) == ("linear", 2.0)


def test_windows():
    assert of("mistral", sliding_window=None).window == 0
    assert of("mistral").window == 4096 and of("mistral").layer_pattern == ("local",)
    assert of("qwen2", sliding_window=8).window == 0  # `use_sliding_window` is off by default
    some = of("qwen2", sliding_window=8, use_sliding_window=True, max_window_layers=1)
    assert (some.window, some.local_layers) == (8, (False, True))
    told = of("qwen3", sliding_window=8, use_sliding_window=True, layer_types=["full_attention", "sliding_attention"])
    assert told.local_layers == (False, True)
    mixed = of("mistral", sliding_window=8, layer_types=["sliding_attention", "full_attention"])
    assert mixed.local_layers == (True, False)


def test_biases_and_norms():
    assert (of("qwen2").attention_bias, of("qwen2").attention_out_bias, of("qwen2").qk_norm) == (True, False, "none")
    assert (of("qwen3").attention_bias, of("qwen3").qk_norm) == (False, "head")
    biased = of("llama", attention_bias=True)
    assert biased.attention_bias and biased.attention_out_bias
    assert (of("olmo2").norm_placement, of("olmo2").qk_norm, of("olmo2").norm_eps) == ("after", "whole", 1e-5)


def test_gemma():
    first, second = of("gemma", hidden_act="gelu"), of("gemma2", query_pre_attn_scalar=16)
    assert first.norm_offset and first.scale_embedding and first.tie_embeddings and first.norm_placement == "before"
    assert (second.attention_cap, second.logit_cap, second.query_scale) == (50.0, 30.0, 0.25)
    assert (second.layer_pattern, second.window, second.norm_placement) == (("local", "global"), 4096, "both")
    assert of("gemma2", attn_logit_softcapping=None).attention_cap == 0


def test_gemma_3_has_positions_of_two_kinds():
    third = model_config(GEMMA_3_270M)
    assert third.layer_pattern == ("local",) * 5 + ("global",) and third.window == 512
    assert (third.rope_theta, third.local_rope_theta, third.qk_norm, third.logit_cap) == (1e6, 1e4, "head", 0)
    far = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
    new = {"sliding_attention": {"rope_type": "default", "rope_theta": 1e4}, "full_attention": far}
    both = (
        model_config(GEMMA_3_270M | {"rope_parameters": new}),
        model_config(GEMMA_3_270M | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    )
    assert both[0] == both[1] and both[0] == dataclasses.replace(third, rope_scaling="linear", rope_factor=8.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]}, ("MixtralForCausalLM", "supported: T5")),
        ({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}, ("LlamaForCausalLM",)),
        ({"model_type": "gemma3"}, ("text model on its own",)),
        ({}, ("no architecture",)),
    ],
)
def test_an_architecture_that_is_not_supported(values, words):
    with pytest.raises(UserError) as told:
        model_config(values)
    assert all(word in str(told.value) for word in words) and all(
        family.architectures[0] in str(told.value) for family in FAMILIES.values()
    )


def test_all_options_that_are_not_supported_are_told_at_once():
    with pytest.raises(UserError) as told:
        of(
            "llama",
            mlp_bias=True,
            hidden_act="gelu",
            rope_scaling={"rope_type": "yarn", "factor": 4.0},
            partial_rotary_factor=0.5,
            quantization_config={"quant_method": "gptq"},
            num_hidden_layers=None,
        )
    for word in ("mlp_bias", "'gelu'", "'yarn'", "partial_rotary_factor", "quantization_config", "num_hidden_layers"):
        assert word in str(told.value)
    with pytest.raises(UserError, match="feed_forward_proj is 'gated-relu'"):
        of("t5", feed_forward_proj="gated-relu")
    with pytest.raises(UserError, match="use_bidirectional_attention"):
        of("gemma3_text", use_bidirectional_attention=True)
    with pytest.raises(UserError, match="wants a number for factor"):
        of("llama", rope_scaling={"rope_type": "linear"})
    with pytest.raises(UserError, match="chunked_attention"):
        of("qwen3", layer_types=["chunked_attention"] * 2)


WRONG = {
    "vocab_size": "40",
    "hidden_size": 16.5,
    "num_hidden_layers": [2],
    "num_attention_heads": True,
    "hidden_act": ["silu"],
    "tie_word_embeddings": "false",
    "attention_bias": 1,
    "rms_norm_eps": "1e-5",
    "rope_theta": "big",
    "rope_scaling": "linear",
    "eos_token_id": ["</s>"],
    "bos_token_id": [1, "<s>"],
    "pad_token_id": 2**40,
    "partial_rotary_factor": "half",
    "layer_types": "full_attention",
}


def test_values_of_another_type_are_told_at_once():
    with pytest.raises(UserError) as told:
        of("llama", **WRONG)
    for name in WRONG:
        assert f"{name} is {WRONG[name]!r}, wanted " in str(told.value), told.value
    with pytest.raises(UserError, match=r"feed_forward_proj is \['relu'\].*decoder_start_token_id is '<pad>'"):
        of("t5", decoder_start_token_id="<pad>", feed_forward_proj=["relu"])
    with pytest.raises(UserError, match=r"model_type is \['llama'\], wanted a word.*architectures is 5, wanted a list"):
        model_config({"model_type": ["llama"], "architectures": 5})
    with pytest.raises(UserError, match="architectures is 'BertModel', wanted a list of words"):
        of("llama", architectures="BertModel")
    with pytest.raises(UserError, match=r"rope_scaling.rope_theta is -1, wanted.*rope_scaling.factor is '2', wanted"):
        of("qwen2", rope_scaling={"type": "linear", "factor": "2", "rope_theta": -1})
    with pytest.raises(UserError, match="rope_parameters.sliding_attention is 'default', wanted an object"):
        of("gemma3_text", rope_parameters={"sliding_attention": "default"})


@pytest.mark.parametrize("kinds", [["full_attention"], ["sliding_attention", "full_attention", "full_attention"], []])
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "gemma2", "gemma3_text"])
def test_layer_types_are_one_a_layer(family, kinds):
    with pytest.raises(UserError, match=f"layer_types is of length {len(kinds)}, wanted that of num_hidden_layers, 2"):
        of(family, layer_types=kinds, sliding_window=8, use_sliding_window=True)


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("gemma2", {"sliding_window": None}),
        ("gemma3_text", {"sliding_window": 0}),
        ("mistral", {"sliding_window": 0}),
        ("qwen2", {"sliding_window": 8, "layer_types": ["sliding_attention"] * 2, "use_sliding_window": False}),
    ],
)
def test_local_layers_want_a_window(family, values):
    with pytest.raises(UserError, match="layers of sliding attention, which want a window of 1 or more"):
        of(family, **values)


LINEAR, LLAMA3 = {"rope_type": "linear", "factor": 2.0}, {k: v for k, v in LLAMA3_ROPE.items() if k[0] != "o"}


@pytest.mark.parametrize(
    ("family", "values", "same"),
    [
        # What transformers 5 does with each was looked at: logits of small random folders.
        ("gemma3_text", {"attn_logit_softcapping": 0.5}, {}),
        ("gemma3_text", {"_sliding_window_pattern": 2}, {}),
        ("mistral", {"attention_bias": True}, {}),
        ("llama", {"hidden_activation": "gelu"}, {}),
        ("gemma2", {"hidden_act": "gelu"}, {}),
        ("llama", {"rope_scaling": LINEAR, "rope_parameters": {"rope_theta": 300.0}}, {"rope_scaling": LINEAR}),
        ("llama", {"rope_scaling": {}, "rope_parameters": LINEAR}, {"rope_scaling": LINEAR}),
        (
            "llama",
            {"rope_scaling": LLAMA3, "max_position_embeddings": 64},
            {"rope_scaling": LLAMA3 | {"original_max_position_embeddings": 64}},
        ),
        (
            "llama",
            {"rope_scaling": LLAMA3_ROPE, "original_max_position_embeddings": 64},
            {"rope_scaling": LLAMA3 | {"original_max_position_embeddings": 64}},
        ),
        ("mt5", {}, {"feed_forward_proj": "gated-gelu"}),
        ("t5", {"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu_new"}, {"feed_forward_proj": "gated-gelu"}),
    ],
)
def test_what_transformers_does_not_read_is_not_read(family, values, same):
    assert of(family, **values) == of(family, **same)


def test_what_a_file_leaves_out_is_its_classs_default():
    bare = {name: value for name, value in DECODER.items() if name != "num_key_value_heads"} | {"head_dim": 8}
    heads = {"qwen2": 32, "qwen3": 32, "gemma": 16, "gemma2": 4, "gemma3_text": 4, "mistral": 8}
    for family, wanted in heads.items():
        raw = {"model_type": family, **bare, "num_attention_heads": 32}
        assert model_config(raw).num_kv_heads == wanted
        assert model_config(raw | {"num_key_value_heads": None}).num_kv_heads == 32
    sizes = model_config({"model_type": "umt5"})
    assert (sizes.vocab_size, sizes.mlp_dim, sizes.num_heads, sizes.num_encoder_layers) == (250112, 1024, 6, 8)
    with pytest.raises(UserError, match="dense_act_fn is 'relu'.*"):
        of("t5", feed_forward_proj="gated-gelu", dense_act_fn="relu")
    with pytest.raises(UserError, match=r"final_logit_softcapping is 0.0, wanted a number above 0, or null"):
        of("gemma2", final_logit_softcapping=0.0)
