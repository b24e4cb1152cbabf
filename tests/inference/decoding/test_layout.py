"""The layout that tokens are made with on CPU computes what the model computes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.inference import decoding
from flan_jax.inference.decoding.layout import cache_for
from flan_jax.models import ModelConfig
from flan_jax.models import lora as adapters
from flan_jax.models.layers import Linear
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel.mesh import make_mesh
from tests.models.batches import CAUSAL, ENCODER_DECODER, model_of

WIDE = {"vocab_size": 1100, "mlp_dim": 600, "dtype": "float32"}  # large enough for two rows to be read as one
CONFIGS = {
    "t5, relu, tied": dataclasses.replace(ENCODER_DECODER, mlp_activation="relu", **WIDE),
    "mt5": dataclasses.replace(ENCODER_DECODER, relative_bias="per_layer", tie_embeddings=False, **WIDE),
    "biased": dataclasses.replace(CAUSAL, attention_bias=True, attention_out_bias=True, **WIDE),
    "normed": dataclasses.replace(CAUSAL, qk_norm="whole", **WIDE),
}
PROMPTS = np.array([[5, 6, 7, 8], [9, 3, -1, -1], [4, -1, -1, -1]], np.int32)


def disturbed(params, size=0.05):
    """Parameters none of which is 0 or 1 everywhere, as biases and norms are at first."""
    return jax.tree.map(lambda p: p + size * jax.random.normal(jax.random.key(p.size), p.shape, p.dtype), params)


def logits_of_two_tokens(model):
    """What the model says after the prompt and after each of two tokens more."""
    cache, first = model.prefill(PROMPTS, 2)
    cache, found = cache_for(model, cache), [first[:, None]]
    for index in range(2):
        logits, cache = model.extend(cache, jnp.array([[2], [3], [4]]), index, PROMPTS)
        found.append(logits)
    return np.concatenate(found, axis=1)


def assert_the_same(model):
    laid = decoding.laid_out(model)
    assert model.decoder.unstacked is None and len(laid.decoder.unstacked) == model.decoder.num_layers
    assert decoding.laid_out(laid) is laid
    plain = logits_of_two_tokens(model)
    np.testing.assert_allclose(logits_of_two_tokens(laid), plain, atol=2e-5 * np.abs(plain).max())


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow if one in ("biased", "mt5") else ()) for one in CONFIGS]
)
def test_a_layout_changes_no_logit(name):
    graph, params = nnx.split(model_of(CONFIGS[name]), nnx.Param)
    assert_the_same(nnx.merge(graph, disturbed(params)))


@pytest.mark.parametrize("base_dtype", [pytest.param("float32", marks=pytest.mark.slow), "int8"])
def test_adapters_and_codes_stay_as_they_are(base_dtype):
    if base_dtype == "int8":
        pytest.importorskip("qwix")
    config, lora = CONFIGS["normed"], LoraConfig(rank=2, targets=("query", "up"), base_dtype=base_dtype)
    graph, shapes, _ = adapters.parts(config, lora)
    mesh = make_mesh({"data": 1}, jax.devices()[:1])
    base = nnx.to_flat_state(nnx.split(model_of(config), nnx.Param)[1])
    model = nnx.merge(graph, disturbed(adapters.draw(shapes, 0)), adapters.stored(base, config, lora, mesh))
    assert_the_same(model)
    kept = decoding.laid_out(model).decoder.unstacked[0]
    assert isinstance(kept.mlp.gate, Linear) and not hasattr(kept.self_attention, "query_key_value")


def test_kernels_are_held_in_the_dtype_that_is_computed_in():
    model = decoding.laid_out(model_of(ModelConfig(**{**dataclasses.asdict(CAUSAL), "dtype": "bfloat16"})))
    assert model.decoder.unstacked[0].mlp.down.kernel.get_value().dtype == jnp.bfloat16
    assert model.decoder.layers.mlp.down.kernel.get_value().dtype == jnp.float32
