import dataclasses

import pytest
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.models import ModelConfig, build
from flan_jax.models.compute_config import ComputeConfig
from flan_jax.models.shape_config import ShapeConfig
from tests.models.batches import ALL

FAULTS = [
    ({"architecture": "encoder-decoder"}, "architecture is 'encoder-decoder'.*did you mean 'encoder_decoder'"),
    ({"mlp_activation": "gelu"}, "mlp_activation is 'gelu', wanted one of gated_gelu, gated_silu, relu"),
    ({"remat": "dot"}, "remat is 'dot'.*did you mean 'dots'"),
    ({"dtype": "float16"}, "dtype is 'float16'"),
    ({"param_dtype": "auto"}, "param_dtype is 'auto'"),
    ({"embed_dim": 0}, "embed_dim is 0, wanted 1 or more"),
    (
        {"embed_dim": 2**31 - 4},
        "3 layers of embed_dim x num_heads x head_dim makes an array of .* wanted 4,398,046,511,104",
    ),
    ({"num_decoder_layers": 2**31 - 1}, "2,147,483,647 layers of embed_dim x mlp_dim makes an array"),
    ({"vocab_size": 2**31 - 1, "embed_dim": 1 << 13}, "vocab_size x embed_dim makes an array of 17,592,186,036,224"),
    ({"unroll": -1}, "unroll is -1, wanted 0 or more"),
    ({"vocab_size": -1}, "vocab_size is -1, wanted 0 or more"),
    ({"num_encoder_layers": 0}, "num_encoder_layers is 0"),
    ({"num_heads": 3}, "embed_dim 128 is not a multiple of num_heads 3: set head_dim"),
    ({"num_kv_heads": 3}, "num_heads 4 is not a multiple of num_kv_heads 3"),
    ({"dropout_rate": 1.0}, "dropout_rate is 1.0, wanted at least 0 and less than 1"),
    ({"norm_eps": 0.0}, "norm_eps is 0.0, wanted more than 0"),
    ({"embedding_init_std": -1.0}, "embedding_init_std is -1.0"),
    ({"relative_buckets": 31}, "relative_buckets is 31, wanted an even number"),
    ({"relative_max_distance": 16}, "relative_max_distance is 16"),
    ({"prefix_lm": True}, "prefix_lm is for architecture 'decoder'"),
    ({"architecture": "decoder", "local_heads": True}, "local_heads needs the relative bias"),
    ({"architecture": "decoder", "head_dim": 7}, "head_dim is 7, wanted an even number"),
    ({"architecture": "decoder", "rope_theta": 0.0}, "rope_theta is 0.0"),
    ({"qk_norm": "heads"}, "qk_norm is 'heads'.*did you mean 'head'"),
    ({"norm_placement": "pre"}, "norm_placement is 'pre', wanted one of before, after, both"),
    ({"relative_bias": "layer"}, "relative_bias is 'layer', wanted one of shared, per_layer"),
    ({"attention": "flash"}, "attention is 'flash'.*did you mean 'splash'"),
    ({"layer_pattern": ("local", "far")}, "layer_pattern is .*, wanted one or more of global, local"),
    ({"layer_pattern": ()}, "layer_pattern is .*, wanted one or more"),
    ({"architecture": "decoder", "layer_pattern": ("local",)}, "layer_pattern has local layers, but window is 0"),
    ({"layer_pattern": ("local",), "window": 4}, "window and local layers are for architecture 'decoder'"),
    ({"attention_cap": -1.0}, "attention_cap is -1.0, wanted 0 or more"),
    ({"architecture": "decoder", "rope_scaling": "yarn"}, "rope_scaling is 'yarn', wanted one of none, linear, llama3"),
    (
        {"architecture": "decoder", "rope_scaling": "llama3", "rope_low_frequency": 5.0},
        "rope_low_frequency is 5.0 and rope_high_frequency 4.0, wanted 0 < low < high",
    ),
    ({"architecture": "decoder", "begin_id": -2}, "begin_id is -2, wanted a token, or -1 for none"),
    ({"begin_id": -1}, "begin_id is -1, wanted the token that a decoder starts from"),
]


@pytest.mark.parametrize(("changes", "words"), FAULTS)
def test_a_fault_is_told(changes, words):
    with pytest.raises(UserError, match=words):
        ModelConfig(**changes).check()


def test_all_faults_are_told_at_once():
    bad = ModelConfig(remat="dot", dropout_rate=2.0, num_kv_heads=3, dtype="half", vocab_size=-5, relative_buckets=2)
    with pytest.raises(UserError) as caught:
        bad.check()
    for setting in ("remat", "dropout_rate", "num_kv_heads", "dtype", "vocab_size", "relative_buckets"):
        assert setting in str(caught.value)


def test_good_configs_pass():
    for config in (ModelConfig(), *ALL.values()):
        config.check()
    ModelConfig(architecture="decoder", num_encoder_layers=0, relative_buckets=0).check()


def test_settings_are_those_of_shape_and_compute_side_by_side():
    names = lambda config: [item.name for item in dataclasses.fields(config)]
    assert names(ModelConfig) == names(ShapeConfig) + names(ComputeConfig)
    assert names(ComputeConfig) == ["dtype", "param_dtype", "remat", "unroll", "attention"]
    assert {"architecture", "embed_dim", "window", "begin_id"} < set(names(ShapeConfig))


def test_a_vocabulary_of_unknown_size_is_refused():
    with pytest.raises(UserError, match="vocab_size is 0, to be taken from the data"):
        build(ModelConfig(), nnx.Rngs(0))


def test_auto_is_settled_by_the_machine():
    assert [ModelConfig().resolved(platform).dtype for platform in ("cpu", "gpu", "tpu")] == ["float32"] + [
        "bfloat16"
    ] * 2
    named = dataclasses.replace(ModelConfig(), dtype="bfloat16")
    assert named.resolved("cpu").dtype == "bfloat16"


def test_zeros_are_filled_in():
    config = ModelConfig(embed_dim=96, num_heads=6)
    assert (config.kv_heads, config.width) == (6, 16)
    config = ModelConfig(embed_dim=96, num_heads=6, num_kv_heads=2, head_dim=32)
    assert (config.kv_heads, config.width) == (2, 32)


def test_layers_are_unrolled_where_that_pays():
    settled = lambda platform="cpu", **changes: ModelConfig(**changes).resolved(platform).unroll
    assert settled(num_encoder_layers=8, num_decoder_layers=4) == 8
    assert settled(architecture="decoder", num_encoder_layers=40, num_decoder_layers=11) == 11
    assert settled(num_decoder_layers=17) == 1 and settled("tpu", num_decoder_layers=4) == 1
    assert settled(num_decoder_layers=4, remat="full") == 1 and settled(num_decoder_layers=4, unroll=2) == 2
    assert settled(num_decoder_layers=4, dtype="bfloat16") > 1
