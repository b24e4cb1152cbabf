"""Which form runs where."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.inference import decoding
from flan_jax.models import attention, layers
from flan_jax.models.config import ModelConfig
from flan_jax.models.fast import cached, causal_blocks, choice, cpu_products, cudnn, splash
from flan_jax.models.fast.choice import attention_form, kernel_of
from flan_jax.models.kv_cache import Source
from flan_jax.models.masks import PackedMask
from tests.models.batches import ALL, examples, model_of, rows

CONFIG = ModelConfig(architecture="decoder", num_heads=4, num_kv_heads=2, head_dim=16, dtype="float32")


@pytest.mark.parametrize(
    ("platform", "settings", "length", "drops", "wanted"),
    [
        ("cpu", {}, 4096, False, "xla"),
        ("tpu", {}, 4096, False, "splash"),
        ("tpu", {}, 128, False, "xla"),
        ("tpu", {}, 4096, True, "xla"),
        ("tpu", {"attention": "xla"}, 4096, False, "xla"),
        ("cpu", {"attention": "splash"}, 64, False, "splash"),
        ("gpu", {"dtype": "bfloat16"}, 64, False, "cudnn"),
        ("gpu", {"dtype": "bfloat16", "attention_cap": 30.0}, 64, False, "xla"),
        ("gpu", {}, 64, False, "xla"),
    ],
)
def test_the_machine_and_the_model_decide(monkeypatch, platform, settings, length, drops, wanted):
    monkeypatch.setattr(choice, "current_platform", lambda: platform)
    assert kernel_of(dataclasses.replace(CONFIG, **settings), length, drops=drops) == wanted


def test_a_kernel_of_another_machine_is_refused():
    with pytest.raises(UserError, match="'cudnn', which 'cpu' does not have; set Model.attention to 'auto'"):
        kernel_of(dataclasses.replace(CONFIG, attention="cudnn"), 64)


def test_what_a_kernel_lacks_is_told():
    asked = ModelConfig(attention="cudnn", dropout_rate=0.1, attention_cap=2.0)
    with pytest.raises(UserError, match="(?s)no relative biases.*no dropout_rate.*no attention_cap"):
        asked.check()
    dataclasses.replace(CONFIG, attention="splash", attention_cap=2.0, window=8).check()


def form_on(monkeypatch, platform, length, *, packed=True, cached=False, **settings):
    """The function that the seam names, without what it is bound to."""
    monkeypatch.setattr(choice, "current_platform", lambda: platform)
    source, mask = Source(jnp.zeros(0), jnp.zeros(0), cached=cached), PackedMask(jnp.zeros((1, length), jnp.int32))
    config = dataclasses.replace(CONFIG, **settings)
    form = attention_form(config, length, [source], mask if packed else None, drops=False)
    return getattr(form, "func", form), getattr(form, "keywords", {})


def test_the_seam_names_a_form_or_none(monkeypatch):
    form = functools.partial(form_on, monkeypatch)
    assert (
        form("cpu", 64) == form("cpu", 64, packed=False) == form("cpu", 512, packed=False) == (cpu_products.attend, {})
    )
    assert form("cpu", 512) == (causal_blocks.attend, {"of_block": cpu_products.attend})
    assert form("gpu", 64) == form("tpu", 64) == form("tpu", 2048, packed=False) == (None, {})
    assert form("gpu", 512)[1]["of_block"].func is cached.attend  # float32 has no kernel
    assert form("tpu", 512)[0] is splash.attend and form("gpu", 64, dtype="bfloat16")[0] is cudnn.attend
    for platform, alone in (("cpu", True), ("gpu", False), ("tpu", False)):
        assert form(platform, 1, packed=False, cached=True) == (cached.attend, {"heads_alone": alone})
    assert form("cpu", 2, packed=False, cached=True) == (cached.attend, {"heads_alone": False})


def test_hand_made_gradients_run_on_cpu_alone(monkeypatch):
    """Elsewhere the traced step has no gradient of its own."""
    config = dataclasses.replace(ALL["encoder_decoder"], dtype="bfloat16")
    batch = rows([examples([(5, 3), (4, 4)])], config, 10, 8)
    graph, params = nnx.split(model_of(config), nnx.Param)

    def has_own_gradients(platform):
        monkeypatch.setattr(choice, "current_platform", lambda: platform)
        return "custom_vjp" in str(jax.make_jaxpr(lambda params: nnx.merge(graph, params)(batch))(params))

    assert [has_own_gradients(platform) for platform in ("cpu", "gpu", "tpu")] == [True, False, False]


@pytest.mark.parametrize(
    "name", [name if name == "causal" else pytest.param(name, marks=pytest.mark.slow) for name in ALL]
)
def test_plain_forms_alone_make_the_model(monkeypatch, name):
    """Logits, gradients and answers without any fast form are those with them."""
    config = dataclasses.replace(ALL[name], dtype="float32", attention_cap=3.0)
    batch, prompts = rows([examples([(5, 3), (4, 4)])], config, 10, 8), np.array([[5, 6, 7], [9, -1, -1]])
    graph, params = nnx.split(model_of(config), nnx.Param)

    def figures():
        jax.clear_caches()
        read = lambda params: (lambda out: (jnp.sum(jnp.sin(out)), out))(nnx.merge(graph, params)(batch))
        whole = jax.jit(jax.value_and_grad(read, has_aux=True))(params)
        return jax.tree.leaves((whole, decoding.beam_search(nnx.merge(graph, params), prompts, 4, (1,), 2)))

    fast = figures()
    monkeypatch.setattr(attention, "attention_form", lambda *_, **__: None)
    monkeypatch.setattr(layers, "projection_form", lambda: None)
    monkeypatch.setattr(decoding.layout, "decodes_in_few_rows", lambda: False)
    for one, other in zip(fast, figures(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5 * np.abs(other).max() + 1e-6)
    jax.clear_caches()
