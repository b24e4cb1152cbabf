"""Losses of held-out examples: against a plain loop, against training's, and without an array of whole logits."""

import dataclasses
import math
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from flan_jax.config.kept import load_run
from flan_jax.data.stores.store import Store
from flan_jax.evaluation import losses
from flan_jax.evaluation.losses import log_likelihoods, mean_loss, row_losses
from flan_jax.inference.model import InferenceModel
from flan_jax.parallel.axes import sharding_of
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.loss import losses_of
from tests.data.written import Written, write_store
from tests.evaluation.by_hand import shape_of, token_log_probabilities
from tests.models.batches import CAUSAL, ENCODER_DECODER, examples, model_of, rows, target_log_probs

ROWS, VOCAB = 16, 8192  # of 16 x 80 tokens, the logits are 42 MB, a chunk's 17


def of_many_ids(config):
    """A model whose logits are too many to be held, and a batch with weights of its own."""
    config = dataclasses.replace(config, vocab_size=VOCAB, num_decoder_layers=1)
    batch = rows([examples([(18, 14), (15, 9)], seed) for seed in range(ROWS)], config, 40, 40)
    share = np.random.default_rng(0).random(batch["decoder_loss_weights"].shape, np.float32)
    return model_of(config), {**batch, "decoder_loss_weights": batch["decoder_loss_weights"] * share}


def asked(model, mesh=None):
    graph, params = nnx.split(model, nnx.Param)
    mesh = mesh or make_mesh()
    return InferenceModel(graph, jax.device_put(params, sharding_of(params, mesh)), mesh, 1)


def test_of_a_chat_only_what_bears_loss_counts(run, tmp_path):
    """Targets hold the user's turns too, with weights of 0, and perhaps answers that count half."""
    folder, model, forward, _ = run
    config = load_run(folder)
    weights = [np.array([1, 1, 0, 0, 0.5, 1], np.float32), None, np.array([0, 0, 1, 0, 0, 1], np.float32)]
    examples = [Written(f"c:{i}", [70 + i, 80, 90], [100, 110 + i, 7, 8 + i, 120, 1], w) for i, w in enumerate(weights)]
    write_store(tmp_path / "chats", examples)
    weighted = [
        np.dot(
            np.ones(6) if one.weights is None else one.weights,
            token_log_probabilities(forward, config, one.inputs, one.targets),
        )
        for one in examples
    ]
    store = Store(tmp_path / "chats")
    assert mean_loss(model, store, shape_of(config), 4) == pytest.approx(-sum(weighted) / (3.5 + 6 + 2), rel=1e-5)
    assert log_likelihoods(model, store, shape_of(config), 2) == pytest.approx(weighted, rel=1e-4)


@pytest.mark.parametrize("config", [CAUSAL, ENCODER_DECODER], ids=["decoder", "encoder-decoder"])
def test_they_are_those_of_whole_logits_and_of_training(config):
    model, batch = of_many_ids(config)
    found = row_losses(asked(model), batch)
    whole = -(target_log_probs(model, batch) * batch["decoder_loss_weights"]).sum(axis=1)
    assert found.shape == (ROWS,) and found.dtype == np.float32
    np.testing.assert_allclose(found, whole, rtol=2e-6)
    graph, params = nnx.split(model, nnx.Param)
    trained = jax.jit(lambda params, batch: losses_of(nnx.merge(graph, params), batch).total)(params, batch)
    assert found.sum() == pytest.approx(float(trained), rel=2e-6)


def test_no_array_of_whole_logits_is_made():
    model, batch = of_many_ids(CAUSAL)
    inference = asked(model)
    program = losses._losses(inference.graph, inference.mesh, by_row=True)
    placed = dict(zip(batch, inference.placed(*batch.values()), strict=True))
    compiled = program.lower(inference.params, placed).compile()
    logits = batch["decoder_target_tokens"].size * VOCAB
    sizes = [math.prod(map(int, dims.split(","))) for dims in re.findall(r"f32\[([\d,]+)\]", compiled.as_text())]
    assert logits / 3 < max(sizes) < logits / 2  # those of a chunk
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * logits


def on_meshes():
    """The same on eight devices, each of which goes through its own rows; run in a process that has them."""
    model, batch = of_many_ids(CAUSAL)
    whole = -(target_log_probs(model, batch) * batch["decoder_loss_weights"]).sum(axis=1)
    for shape in ({"data": 2, "fsdp": 2, "tensor": 2}, {"data": 8, "fsdp": 1}):
        np.testing.assert_allclose(row_losses(asked(model, make_mesh(shape)), batch), whole, rtol=3e-6)
    print("equal on", jax.device_count())


def test_a_mesh_gives_the_same():
    flags = "--xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.getcwd()}
    code = "from tests.evaluation.test_losses import on_meshes; on_meshes()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "equal on 8" in done.stdout, done.stderr[-3000:]


def test_the_loss_of_each_example_is_that_of_the_example_alone(run, tmp_path, monkeypatch):
    """They are packed and taken in lots; one bears loss on half of its tokens, one on none."""
    folder, model, forward, _ = run
    config = load_run(folder)
    random = np.random.default_rng(0)
    monkeypatch.setattr(losses, "_LOT", 7)
    examples = [
        Written(f"e:{i}", [70] * n, [*random.integers(80, 200, m), 1])
        for i, (n, m) in enumerate(random.integers(1, 14, (17, 2)))
    ]
    examples[3].weights = np.array([0.5, 0] * 10, np.float32)[: len(examples[3].targets)]
    examples[4].weights = np.zeros(len(examples[4].targets), np.float32)
    write_store(tmp_path / "store", examples)
    wanted = []
    for one in examples:
        weights = np.ones(len(one.targets)) if one.weights is None else one.weights
        total = -np.dot(weights, token_log_probabilities(forward, config, one.inputs, one.targets))
        wanted.append(total / weights.sum() if weights.sum() else 0.0)
    told = []
    found = losses.example_losses(model, Store(tmp_path / "store"), shape_of(config), 4, told.append)
    assert found == pytest.approx(wanted, rel=1e-4)
    assert told == [7, 14, 17]
