"""Adapters in the models: what they compute, where they stand, and a quantised base."""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.models import abstract_model, quantised
from flan_jax.models import lora as adapters
from flan_jax.models.lora_config import LoraConfig, module_names
from flan_jax.parallel.axes import sharding_of
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.loss import LossConfig, losses_of
from tests.models.batches import CAUSAL, ENCODER_DECODER, VOCAB, examples, model_of, rows

SMALL = {"vocab_size": VOCAB, "dtype": "float32"}
MODELS = {
    "encoder_decoder": dataclasses.replace(ENCODER_DECODER, **SMALL),
    "decoder": dataclasses.replace(CAUSAL, **SMALL),
}


def batch_of(config):
    return rows([examples([(5, 4), (3, 2)]), examples([(6, 5)])], config, 12, 10)


def base_of(config):
    """Parameters of a model, in buffers of their own."""
    return jax.tree.map(lambda leaf: leaf.copy(), nnx.split(model_of(config), nnx.Param)[1])


def moved(adapter, size=0.03):
    """An adapter that does something."""
    return jax.tree.map(lambda a: a + size * jax.random.normal(jax.random.key(a.size), a.shape), adapter)


@functools.partial(jax.jit, static_argnums=0)
def forward(graph, parts, batch, key):
    return nnx.merge(graph, *parts)(batch, dropout_key=key)


def logits(graph, batch, *parts, key=None):
    return np.asarray(forward(graph, parts, batch, key))


@pytest.mark.parametrize("name", MODELS)
def test_an_adapter_adds_nothing_at_first_and_then_what_the_folded_weights_add(name):
    config, lora = MODELS[name], LoraConfig(rank=4)
    batch, base = batch_of(config), base_of(config)
    graph, shapes, (kept,) = adapters.parts(config, lora)
    first = adapters.draw(shapes, 0)
    plain = logits(graph, batch, first, base)
    graph_of_plain, _, none = adapters.parts(config, LoraConfig())
    assert none == ()
    np.testing.assert_array_equal(plain, logits(graph_of_plain, batch, base))
    tuned = moved(first)
    with_adapter = logits(graph, batch, tuned, base)
    folded = logits(graph_of_plain, batch, jax.jit(adapters.folded)(tuned, base, lora.scale))
    scale = np.abs(plain).max()
    assert np.abs(with_adapter - plain).max() > 0.02 * scale
    np.testing.assert_allclose(with_adapter, folded, atol=2e-5 * scale)
    # Each layer has its own, drawn within the bound of its inputs.
    a = tuned["decoder"]["layers"]["self_attention"]["out"]["lora_a"]
    assert a.get_value().shape == (2, 4, 8, 4) and a.axes == ("heads", "head_dim", None)
    drawn = first["decoder"]["layers"]["self_attention"]["out"]["lora_a"].get_value()
    assert 0.9 / 32**0.5 < float(jnp.abs(drawn).max()) <= 1 / 32**0.5
    assert not np.array_equal(drawn[0], drawn[1])
    jax.tree.map(lambda a, b: None, kept, base)  # the same tree


@pytest.mark.parametrize("name", MODELS)
def test_the_names_of_projections_are_those_of_the_model(name):
    config = MODELS[name]
    assert sorted(module_names(config)) == sorted(name for name, _ in adapters.linears(abstract_model(config)))


def test_targets_choose_projections_and_each_is_drawn_by_itself():
    config = MODELS["decoder"]
    _, both, _ = adapters.parts(config, LoraConfig(rank=2, targets="q_proj,mlp.*"))
    assert {path[-2] for path, _ in nnx.to_flat_state(both)} == {"query", "gate", "up", "down"}
    _, one, _ = adapters.parts(config, LoraConfig(rank=2, targets=("query",)))
    pick = lambda tree: np.asarray(tree["decoder"]["layers"]["self_attention"]["query"]["lora_a"].get_value())
    np.testing.assert_array_equal(pick(adapters.draw(both, 5)), pick(adapters.draw(one, 5)))
    with pytest.raises(UserError, match=r"'cross_attention.\*'.*there are query, key, value, out, gate, up, down"):
        LoraConfig(rank=2, targets="query,cross_attention.*").modules(config)


def test_dropout_is_of_the_adapters_inputs_alone_and_follows_its_key():
    config, lora = MODELS["decoder"], LoraConfig(rank=4, dropout=0.5)
    batch, base = batch_of(config), base_of(config)
    graph, shapes, _ = adapters.parts(config, lora)
    first = adapters.draw(shapes, 0)
    key = jax.random.key(3)
    np.testing.assert_array_equal(logits(graph, batch, first, base), logits(graph, batch, first, base, key=key))
    tuned = moved(first)
    plain, once, again, other = (logits(graph, batch, tuned, base, key=k) for k in (None, key, key, jax.random.key(4)))
    np.testing.assert_array_equal(once, again)
    assert not np.allclose(once, other) and not np.allclose(once, plain)
    mean = np.mean([logits(graph, batch, tuned, base, key=jax.random.key(k)) for k in range(40)], axis=0)
    np.testing.assert_allclose(mean, plain, atol=0.15 * np.abs(plain).max())


@pytest.mark.parametrize(("dtype", "bits", "worst"), [("int8", 8, 0.012), ("int4", 4, 0.13), ("nf4", 4, 0.11)])
def test_a_quantised_kernel_is_near_and_small(dtype, bits, worst):
    pytest.importorskip("qwix")
    kernel = jax.random.normal(jax.random.key(0), (3, 128, 8, 16))
    codes, scale = quantised.quantise(kernel, 1, 1, dtype, 64)
    back = quantised.wide(codes, scale, jnp.float32)
    relative = lambda a, b: float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))
    assert relative(back, kernel) < worst
    assert scale.shape == (3, 1 if dtype == "int8" else 2, 8, 16)
    # A kernel with two input dimensions has its blocks in the last.
    _, scale = quantised.quantise(kernel.swapaxes(1, 3), 1, 2, dtype, 4)
    assert scale.shape == ((3, 1, 1, 128) if dtype == "int8" else (3, 16, 2, 128))
    held = jax.jit(lambda c: c.astype(jnp.float32)).lower(codes).compile().memory_analysis().argument_size_in_bytes
    assert held == kernel.size * bits // 8


@pytest.mark.parametrize("block", [4, 16])
def test_inputs_share_a_scale_by_blocks_of_the_size_asked_for(block):
    pytest.importorskip("qwix")
    config = dataclasses.replace(MODELS["decoder"], embed_dim=32)
    lora = LoraConfig(rank=2, base_dtype="nf4", block=block)
    _, _, (base,) = adapters.parts(config, lora)
    up = base["decoder"]["layers"]["mlp"]["up"]
    assert up["kernel"].shape == (config.num_decoder_layers, 32, config.mlp_dim)
    assert up["kernel_scale"].shape == (config.num_decoder_layers, 32 // block, config.mlp_dim)
    kept = adapters.stored(nnx.to_flat_state(base_of(config)), config, lora, make_mesh({"data": 1}, jax.devices()[:1]))
    assert kept["decoder"]["layers"]["mlp"]["up"]["kernel_scale"].shape[1] == 32 // block


def test_a_quantised_base_is_kept_as_asked_and_gives_near_logits():
    pytest.importorskip("qwix")
    config, lora = MODELS["decoder"], LoraConfig(rank=2, base_dtype="nf4")
    mesh, batch = make_mesh({"data": 1}, jax.devices()[:1]), batch_of(config)
    graph, shapes, (wanted,) = adapters.parts(config, lora)
    plain = logits(adapters.parts(config, LoraConfig())[0], batch, base_of(config))
    kept = adapters.stored(nnx.to_flat_state(base_of(config)), config, lora, mesh)
    described = lambda tree: {path: (leaf.shape, leaf.dtype) for path, leaf in nnx.to_flat_state(tree)}
    assert described(kept) == described(wanted)
    assert jax.tree.structure(kept) == jax.tree.structure(sharding_of(wanted, mesh))
    tuned = moved(adapters.draw(shapes, 0))
    found = logits(graph, batch, adapters.draw(shapes, 0), kept)
    assert 0 < np.abs(found - plain).max() < np.abs(plain).max()
    # Folding unfolds the base that it was trained beside.
    folded = jax.jit(adapters.folded)(tuned, kept, lora.scale)
    ours, theirs = logits(graph, batch, tuned, kept), logits(adapters.parts(config, LoraConfig())[0], batch, folded)
    np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(plain).max())


def test_a_bfloat16_base_changes_nothing_that_is_computed_in_bfloat16():
    config = dataclasses.replace(MODELS["decoder"], dtype="bfloat16")
    lora, mesh = LoraConfig(rank=2), make_mesh({"data": 1}, jax.devices()[:1])
    graph, shapes, _ = adapters.parts(config, lora)
    kept = adapters.stored(nnx.to_flat_state(base_of(config)), config, lora, mesh)
    assert (
        kept["embedding"]["embedding"].dtype == jnp.bfloat16 and kept["decoder"]["norm"]["scale"].dtype == jnp.float32
    )
    tuned, batch = moved(adapters.draw(shapes, 0)), batch_of(config)
    np.testing.assert_array_equal(logits(graph, batch, tuned, kept), logits(graph, batch, tuned, base_of(config)))


def test_a_quantised_base_without_qwix_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "qwix", None)
    with pytest.raises(UserError, match=r"flan-jax\[quant\]"):
        adapters.parts(MODELS["decoder"], LoraConfig(rank=2, base_dtype="nf4"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"rank": -1}, "rank is -1"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"block": 0}, "block is 0"),
        ({"targets": ()}, "targets is"),
        ({"base_dtype": "nf5"}, "base_dtype is 'nf5', wanted one of auto, float32, bfloat16, int8, int4, nf4"),
    ],
)
def test_settings_that_cannot_be_are_told(settings, told):
    with pytest.raises(UserError, match=told):
        LoraConfig(**{"rank": 4} | settings).check()


@pytest.mark.parametrize(("name", "tied"), [("encoder_decoder", True), ("decoder", False)])
def test_rows_of_tokens_are_trained_beside_adapters_and_nothing_else_of_the_tables(name, tied):
    config = dataclasses.replace(MODELS[name], tie_embeddings=tied)
    lora, batch, base = LoraConfig(rank=2, rows=(3, 5)), batch_of(config), base_of(config)
    graph, shapes, _ = adapters.parts(config, lora)
    tuned = moved(adapters.draw(shapes, 0))
    plain = adapters.parts(config, LoraConfig())[0]
    np.testing.assert_array_equal(logits(graph, batch, adapters.draw(shapes, 0), base), logits(plain, batch, base))
    # By hand: the model without adapters whose tables have these rows.
    whole = dict(nnx.to_flat_state(adapters.folded(tuned, base, lora.scale, rows=lora.rows)))
    given, delta = dict(nnx.to_flat_state(base)), tuned["embedding"]
    assert set(delta) == ({"embedding_rows"} if tied else {"embedding_rows", "head_rows"})
    for table in ("embedding",) if tied else ("embedding", "head"):
        wanted = np.array(given["embedding", table].get_value())
        wanted[[3, 5]] += delta[f"{table}_rows"].get_value()
        np.testing.assert_allclose(whole["embedding", table].get_value(), wanted, atol=1e-6)
    params = nnx.from_flat_state(list(whole.items()))
    np.testing.assert_allclose(logits(graph, batch, tuned, base), logits(plain, batch, params), atol=1e-4)

    def loss(graph, chunk, *parts):
        return losses_of(nnx.merge(graph, *parts), batch, LossConfig(chunk=chunk)).total

    @jax.jit
    def gradients(tuned, base, params):
        return (
            jax.grad(lambda params: loss(plain, 0, params))(params)["embedding"],
            jax.grad(lambda tuned: loss(graph, 8, tuned, base))(tuned)["embedding"],
        )

    if tied:
        return
    theirs, ours = gradients(tuned, base, params)
    for name_of_rows, leaf in ours.items():
        of_table = np.asarray(theirs[name_of_rows.removesuffix("_rows")].get_value())[[3, 5]]
        assert np.abs(of_table).max() > 1e-3
        np.testing.assert_allclose(leaf.get_value(), of_table, rtol=1e-3, atol=1e-4)
    with pytest.raises(
        UserError, match=r"Lora.rows names the token 10\d*, the model has \d+ rows; name ids below that"
    ):
        adapters.parts(config, LoraConfig(rank=2, rows=(1, 10**6)))
    with pytest.raises(UserError, match=r"rows is \(3, 3\), wanted ids of tokens, each once"):
        LoraConfig(rank=2, rows=(3, 3)).check()
