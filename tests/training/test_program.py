"""The very step of a run, compiled for a real TPU topology."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from flan_jax.data.rows import RowShape, Segment, assemble
from flan_jax.data.teaching import FEATURES
from flan_jax.models.config import ModelConfig
from flan_jax.parallel.ahead import CHILD_ENVIRONMENT, compile_in_child
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.loss import LossConfig
from flan_jax.training.objective import likelihood
from flan_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from flan_jax.training.program import abstract_batch, ahead, make_program
from flan_jax.training.state import create_state
from flan_jax.training.step import make_train_step, place_batch
from tests.models.batches import CAUSAL, examples, model_of, rows

LENGTHS = {"inputs": 128, "targets": 64}
SIZES = {"vocab_size": 2048, "embed_dim": 256, "mlp_dim": 512, "num_heads": 4, "head_dim": 64, "remat": "dots"}


@pytest.mark.parametrize("architecture", ["encoder_decoder", "decoder"])
def test_the_abstract_batch_is_the_loaders(architecture):
    row = [Segment(np.array([5, 6]), np.array([7, 1]))]
    batch = assemble([row] * 2, RowShape(architecture, LENGTHS["inputs"], LENGTHS["targets"]))
    abstract = abstract_batch(
        ModelConfig(architecture=architecture), LENGTHS, 2, make_mesh({"fsdp": 1}, jax.devices()[:1])
    )
    assert {name: (a.shape, a.dtype) for name, a in batch.items()} == {
        n: (a.shape, a.dtype) for n, a in abstract.items()
    }


MESH = make_mesh({"data": 1}, jax.devices()[:1])
SMALL = dataclasses.replace(CAUSAL, dtype="float32", dropout_rate=0.2)
RISING = OptimizerConfig(learning_rate=1e-3, schedule="linear", warmup_steps=2, weight_decay=0.1)


def program_of(optimizer=RISING, seed=0, steps=10, model=SMALL):
    return make_program(MESH, model, optimizer, LossConfig(), steps=steps, num_tasks=2, seed=seed)


def figures(step, tx):
    """All figures of the state and the metrics after each of three steps."""
    state, found = create_state(nnx.split(model_of(SMALL), nnx.Param)[1], tx, MESH), []
    for number in range(3):
        batch = rows([examples([(5, 4), (3, 2)], number), examples([(6, 5)], number)], SMALL, 12, 10)
        batch["decoder_task_ids"] = (batch["decoder_segment_ids"] > 1).astype(np.int32)
        state, metrics = step(state, place_batch(batch, MESH))
        found.append([np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((state, metrics))])
    return found


def test_runs_of_other_rates_and_seeds_share_a_compiled_step_and_each_has_its_own_figures_bit_for_bit():
    faster = dataclasses.replace(RISING, learning_rate=0.03)
    one, other = program_of(), program_of(faster, seed=2**32 + 7)
    shared = figures(other.step, other.tx)
    constant = make_train_step(  # the rate and the seed are numbers in this program
        likelihood(other.graph),
        make_optimizer(faster, 10, other.abstract["params"]),
        mesh=MESH,
        state_shardings=jax.tree.map(lambda leaf: leaf.sharding, other.abstract),
        schedule=learning_rate_schedule(faster, 10),
        num_tasks=2,
        seed=2**32 + 7,
    )
    assert shared == figures(constant, other.tx)
    assert shared != figures(program_of(faster, seed=3).step, other.tx)
    assert shared != figures(one.step, one.tx)
    assert one.step.jitted is other.step.jitted and one.step.jitted._cache_size() == 1


def test_what_shapes_a_step_or_may_read_its_rate_makes_another():
    own = lambda rate, steps: lambda step: rate * (0.5 if rate > 0.1 else 1.0)  # a number is asked for
    settings = [
        {"steps": 11},
        {"model": dataclasses.replace(SMALL, dropout_rate=0.3)},
        {"optimizer": dataclasses.replace(RISING, warmup_steps=3)},
        *({"optimizer": OptimizerConfig(learning_rate=rate, schedule=own)} for rate in (0.1, 0.2)),
        *({"optimizer": OptimizerConfig(learning_rate=rate, factory=optax.sgd)} for rate in (0.1, 0.2)),
    ]
    steps = [program_of(**one).step.jitted for one in ({}, *settings)]
    assert len(set(map(id, steps))) == len(steps)


def test_a_batch_with_a_teacher_holds_its_likeliest_tokens():
    mesh = make_mesh({"fsdp": 1}, jax.devices()[:1])
    abstract = abstract_batch(ModelConfig(architecture="decoder"), LENGTHS, 2, mesh, top_k=3)
    told = {name: (abstract[name].shape, abstract[name].dtype) for name in FEATURES}
    assert told == {name: ((2, 128 + 64, 3), dtype) for name, dtype in FEATURES.items()}


def test_noise_on_embeddings_is_drawn_in_the_step_and_nothing_is_without_it():
    mesh, small = make_mesh({"fsdp": 1}, jax.devices()[:1]), {"vocab_size": 64, "embed_dim": 16, "mlp_dim": 16}
    said = {}
    for noise in (0.0, 5.0):
        model = {**small, "num_heads": 2, "num_decoder_layers": 1, "architecture": "decoder", "embedding_noise": noise}
        step, arguments = ahead(mesh, model=model, lengths={"inputs": 8, "targets": 8}, batch_size=2)
        said[noise] = "threefry" in step.lower(*arguments).as_text()
    assert said == {0.0: False, 5.0: True}


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the extra tpu-aot")
@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize(
    ("architecture", "mesh_shape", "optimizer"),
    [
        ("encoder_decoder", {"fsdp": -1}, {"name": "adamw"}),
        ("encoder_decoder", {"data": 2, "fsdp": 4, "tensor": 2}, {"name": "adafactor"}),
        ("decoder", {"data": 2, "fsdp": 4, "tensor": 2}, {"name": "adamw"}),
    ],
)
def test_the_train_step_compiles_for_v5e(architecture, mesh_shape, optimizer, microbatches):
    arguments = {
        "model": {**SIZES, "architecture": architecture},
        "lengths": LENGTHS,
        "batch_size": 64,
        "microbatches": microbatches,
        "optimizer": optimizer,
        "num_tasks": 20,
    }
    report = compile_in_child(
        "flan_jax.training.program:ahead", arguments, topology="v5e:4x4", mesh_shape=mesh_shape, timeout=300
    )
    assert report.compiles, report.error
    assert report.chips == 16
    # Donation works when the outputs take the place of the whole state: all arguments but the batch, and but a learning
    # rate and a seed, which take a few hundred bytes each.
    batch_bytes = 64 / 16 * (128 + 64) * 8 * 4
    assert report.alias_bytes >= report.argument_bytes - 2 * batch_bytes - 2048
    assert report.temp_bytes < 64 * 2**20


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the extra tpu-aot")
def test_a_decoders_step_has_kernels_and_no_logits_and_sums_the_tables_gradient_once():
    """Splash attention, the loss in chunks and layers' inputs in the host's memory, as v5e's compiler has them."""
    sizes = {**SIZES, "architecture": "decoder", "vocab_size": 5120, "remat": "offload"}
    arguments = {"model": sizes, "lengths": {"inputs": 256, "targets": 256}, "batch_size": 32, "loss": {"chunk": 128}}
    request = {"mesh": {"fsdp": -1}, "arguments": arguments, "tokens": 32 * 512 // 16}
    script = os.path.join(os.path.dirname(__file__), "compiled_step.py")
    environment = {**os.environ, **CHILD_ENVIRONMENT}
    done = subprocess.run(
        [sys.executable, script, json.dumps(request)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kernels"] >= 3  # forward, forward anew, backward
    assert found["host"] > 0
    assert found["logits"] == [] and found["reduced_in_loops"] == []
    assert len(found["reduced"]) == 1
