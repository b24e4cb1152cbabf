"""The loss in chunks is the loss of whole logits: every term, every gradient, whatever the chunk."""

import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.models.activations import capped
from flan_jax.parallel.mesh import make_mesh
from flan_jax.parallel.rules import LOGICAL_RULES
from flan_jax.training.chunked_loss import Readout, chunk_tokens, chunked_losses, local_sizes
from flan_jax.training.loss import LossConfig, losses_of, token_losses, z_losses
from tests.models.batches import ALL as ALL_MODELS
from tests.models.batches import VOCAB as VOCAB_OF_MODELS
from tests.models.batches import examples, model_of, rows

ROWS, LENGTH, DIM, VOCAB = 8, 6, 16, 40
PLAIN = LossConfig()
ALL = LossConfig(z_loss=0.03, label_smoothing=0.1)
CASES = {
    "plain": (PLAIN, Readout()),
    "z-loss, smoothing, scale, cap": (ALL, Readout(scale=0.5, cap=3.0)),
}


def arrays(dtype=jnp.float32):
    draw = np.random.default_rng(0)
    x = jnp.asarray(draw.normal(size=(ROWS, LENGTH, DIM)), dtype)
    table = jnp.asarray(draw.normal(size=(VOCAB, DIM)), jnp.float32)
    targets = jnp.asarray(draw.integers(0, VOCAB, (ROWS, LENGTH)), jnp.int32)
    weights = draw.random((ROWS, LENGTH)) * (draw.random((ROWS, LENGTH)) < 0.4)
    return x, table, targets, jnp.asarray(weights, jnp.float32)


def whole(x, table, targets, weights, config, readout):
    """Total, losses and z-losses from whole logits."""
    scores = jnp.einsum("bld,vd->blv", x * readout.scale, table.astype(x.dtype), preferred_element_type=jnp.float32)
    logits = capped(scores, readout.cap)
    losses = token_losses(logits, targets, config)
    return (losses * weights).sum(), (losses * (weights > 0), z_losses(logits, config) * (weights > 0))


def in_chunks(x, table, targets, weights, config, readout, chunk):
    losses = chunked_losses(x, table, targets, weights, config, readout=readout, chunk=chunk)
    return losses.total, (losses.tokens, losses.z)


def both(config, readout, chunk, given=None):
    """Values and gradients of both, with a factor on the total so that the backward pass has something to scale."""
    given = arrays() if given is None else given

    def figures(fn):
        def scaled(x, table):
            total, rest = fn(x, table, *given[2:])
            return total * 0.7, (total, rest)

        return jax.jit(jax.value_and_grad(scaled, (0, 1), has_aux=True))(*given[:2])

    return figures(lambda *a: in_chunks(*a, config, readout, chunk)), figures(lambda *a: whole(*a, config, readout))


def check_close(ours, theirs, tolerance):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize(("case", "chunk"), [("plain", 1), *((list(CASES)[1], chunk) for chunk in (7, 1000))])
def test_values_and_gradients_are_those_of_whole_logits(case, chunk):
    ours, theirs = both(*CASES[case], chunk)
    assert theirs[0][1][1][0].any() and np.abs(theirs[1][1]).max() > 1e-3
    check_close(ours, theirs, 2e-6)


def test_bfloat16_sums_in_float32():
    ours, theirs = both(*CASES["plain"], 5, arrays(jnp.bfloat16))
    assert ours[1][0].dtype == jnp.bfloat16 and ours[1][1].dtype == jnp.float32
    check_close(ours[0], theirs[0], 1e-5)
    check_close(ours[1], theirs[1], 1e-2)


def test_a_batch_without_loss_costs_nothing():
    x, table, targets, weights = arrays()
    (_, (total, rest)), grads = both(PLAIN, Readout(), 4, (x, table, targets, weights * 0))[0]
    assert total == 0 and not any(np.asarray(leaf).any() for leaf in jax.tree.leaves((rest, grads)))


def text_of(fn, *given):
    return jax.jit(fn).lower(*given).as_text()


def test_the_products_are_three_and_none_for_a_frozen_table_or_without_gradients():
    x, table, targets, weights = arrays()
    total = lambda x, table: in_chunks(x, table, targets, weights, PLAIN, Readout(), 4)[0]
    count = lambda fn: text_of(fn, x, table).count("dot_general")
    assert [count(jax.grad(total, (0, 1))), count(jax.grad(total)), count(total)] == [3, 2, 1]


def test_memory_does_not_grow_with_the_batch():
    def bytes_of(rows, chunk):
        shapes = [
            ((rows, 64, 8), jnp.float32),
            ((4096, 8), jnp.float32),
            ((rows, 64), jnp.int32),
            ((rows, 64), jnp.float32),
        ]
        given = [jax.ShapeDtypeStruct(*shape) for shape in shapes]
        of = lambda x, table, *rest: (
            in_chunks(x, table, *rest, PLAIN, Readout(), chunk) if chunk else whole(x, table, *rest, PLAIN, Readout())
        )
        compiled = jax.jit(jax.grad(of, (0, 1), has_aux=True)).lower(*given).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    logits = 64 * 4096 * 4
    assert bytes_of(32, 0) - bytes_of(2, 0) > 25 * logits
    assert bytes_of(32, 64) - bytes_of(2, 64) < 1 * logits


def test_chunks_suit_the_device():
    assert chunk_tokens(512, 32_128, "cpu") == 512 and chunk_tokens(64, 32_128, "cpu") == 0
    assert chunk_tokens(100_000, 256, "cpu") == 8192
    assert chunk_tokens(4096, 262_144, "tpu") == 512
    assert chunk_tokens(1024, 32_128, "tpu") == 0


TABLES = [  # of logical axes, with tokens and entries of the vocabulary on a device
    ({}, (ROWS * LENGTH // 4, VOCAB // 2)),
    ({"batch": "data", "length": "fsdp"}, (ROWS * LENGTH // 4, VOCAB // 2)),
    ({"batch": ("data", "fsdp"), "length": "tensor"}, (ROWS * LENGTH // 8, VOCAB)),  # where the vocabulary would be
]


def on_meshes():
    """Equal to whole logits on one device, wherever what is split; run in a process with 8 devices."""
    case = list(CASES.values())[1]
    wanted = both(*case, 4)[1]
    for rules, sizes in TABLES:
        LOGICAL_RULES.update(rules)
        with jax.set_mesh(make_mesh({"data": 2, "fsdp": 2, "tensor": 2})):
            assert local_sizes((ROWS, LENGTH), VOCAB) == sizes
            check_close(both(*case, 4)[0], wanted, 3e-6)
    print("equal on", jax.device_count())


def test_a_mesh_gives_the_same():
    flags = "--xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.getcwd()}
    code = "from tests.training.test_chunked_loss import on_meshes; on_meshes()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "equal on 8" in done.stdout, done.stderr[-3000:]


def test_a_models_losses_and_gradients_do_not_change():
    config = dataclasses.replace(ALL_MODELS["causal"], logit_cap=5.0, num_decoder_layers=1)
    model = model_of(config)
    batch = rows([examples([(5, 3), (4, 4)]), examples([(6, 5)], seed=1)], config, 10, 8)
    graph, params = nnx.split(model, nnx.Param)

    def of(chunk):
        def total(params):
            settings = dataclasses.replace(ALL, chunk=chunk)
            losses = losses_of(nnx.merge(graph, params), batch, settings)
            return losses.total, losses.tokens * batch["decoder_loss_weights"]

        return jax.jit(jax.value_and_grad(total, has_aux=True))(params)

    check_close(of(3), of(0), 1e-5)


def test_a_users_function_gets_whole_logits():
    config = ALL_MODELS["causal"]
    shapes = []

    def function(logits, targets):
        shapes.append(logits.shape)
        return logits[..., 0]

    batch = rows([examples([(5, 3)])], config, 10, 8)
    losses_of(model_of(config), batch, LossConfig(chunk=2, function=function))
    assert shapes == [(1, 18, VOCAB_OF_MODELS)]
