"""Splash attention, in Pallas's interpreter, against attention written out; which machine gets which kernel."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.models import attention_kernels
from flan_jax.models.attention import segment_mask
from flan_jax.models.attention_kernels import Packed, attend, kernel_of
from flan_jax.models.config import ModelConfig
from tests.models.batches import CAUSAL, examples, model_of, rows

BATCH, LENGTH, HEADS, KV_HEADS, WIDTH = 2, 140, 4, 2, 16
CONFIG = ModelConfig(architecture="decoder", num_heads=HEADS, num_kv_heads=KV_HEADS, head_dim=WIDTH, dtype="float32")


def given():
    draw = np.random.default_rng(0)
    of = lambda heads: jnp.asarray(draw.normal(size=(BATCH, LENGTH, heads, WIDTH)), jnp.float32)
    segments = np.zeros((BATCH, LENGTH), np.int32)
    segments[0, :50], segments[0, 50:133] = 1, 2
    segments[1, :140] = 1
    return of(HEADS), of(KV_HEADS), of(KV_HEADS), jnp.asarray(segments)


def written_out(q, k, v, segments, window, cap):
    grouped = q.reshape(BATCH, LENGTH, KV_HEADS, -1, WIDTH)
    logits = jnp.einsum("blngk,bsnk->bngls", grouped, k)
    logits = cap * jnp.tanh(logits / cap) if cap else logits
    allowed = segment_mask(segments, segments, causal=True, window=window)[:, None, None]
    weights = jax.nn.softmax(jnp.where(allowed, logits, -jnp.inf), axis=-1)
    return jnp.einsum("bngls,bsnk->blngk", weights, v).reshape(q.shape)


@pytest.mark.parametrize(("window", "cap"), [(0, 2.0), (9, 0.0)])
def test_splash_sees_what_attention_written_out_sees(window, cap):
    q, k, v, segments = given()
    config = dataclasses.replace(CONFIG, attention_cap=cap)
    read = (segments > 0)[..., None, None] * jnp.cos(jnp.arange(WIDTH))  # a sum that tells the outputs apart

    def figures(fn):
        weigh = lambda *qkv: (lambda out: (jnp.sum(out * read), out))(fn(*qkv))
        (_, out), grads = jax.jit(jax.value_and_grad(weigh, (0, 1, 2), has_aux=True))(q, k, v)
        return out, grads

    ours = figures(lambda *qkv: attend(config, "splash", *qkv, Packed(segments, window)))
    theirs = figures(lambda *qkv: written_out(*qkv, segments, window, cap))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert np.abs(b).max() > 0.1
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_a_model_with_local_and_global_layers_has_the_same_logits_and_gradients():
    base = dataclasses.replace(
        CAUSAL, num_decoder_layers=2, layer_pattern=("local", "global"), window=4, attention_cap=3.0
    )
    batch = rows([examples([(5, 6), (9, 8)]), examples([(20, 10)], seed=1)], base, 24, 12)

    def figures(attention):
        graph, params = nnx.split(model_of(dataclasses.replace(base, attention=attention)), nnx.Param)
        logits = lambda params: nnx.merge(graph, params)(batch)
        read = lambda params: (
            lambda out: (jnp.sum(jnp.sin(out) * (batch["decoder_segment_ids"] > 0)[..., None]), out)
        )(logits(params))
        (_, out), grads = jax.jit(jax.value_and_grad(read, has_aux=True))(params)
        return np.asarray(out)[batch["decoder_segment_ids"] > 0], grads

    ours, theirs = figures("splash"), figures("xla")
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max() + 1e-6)


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
    monkeypatch.setattr(attention_kernels, "current_platform", lambda: platform)
    assert kernel_of(dataclasses.replace(CONFIG, **settings), length, drops=drops) == wanted


def test_a_kernel_of_another_machine_is_refused():
    with pytest.raises(UserError, match="'cudnn', which 'cpu' does not have; set Model.attention to 'auto'"):
        kernel_of(dataclasses.replace(CONFIG, attention="cudnn"), 64)


def test_what_a_kernel_lacks_is_told():
    asked = ModelConfig(attention="cudnn", dropout_rate=0.1, attention_cap=2.0)
    with pytest.raises(UserError, match="(?s)no relative biases.*no dropout_rate.*no attention_cap"):
        asked.check()
    dataclasses.replace(CONFIG, attention="splash", attention_cap=2.0, window=8).check()


def test_cudnn_gets_the_same_mask(monkeypatch):
    """There is no GPU here: the call is looked at, and computed by the same function's XLA path."""
    seen, real = [], jax.nn.dot_product_attention

    def watched(q, k, v, *, implementation, **settings):
        seen.append(implementation)
        return real(q, k, v, implementation="xla", **settings)

    monkeypatch.setattr(jax.nn, "dot_product_attention", watched)
    q, k, v, segments = given()
    out = attend(CONFIG, "cudnn", q, k, v, Packed(segments, window=9))
    np.testing.assert_allclose(out, written_out(q, k, v, segments, 9, 0.0), rtol=2e-5, atol=2e-5)
    assert seen == ["cudnn"]
