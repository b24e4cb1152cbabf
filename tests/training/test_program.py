"""The very step of a run, compiled for a real TPU topology."""

import importlib.util
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from flan_jax.data.rows import RowShape, Segment, assemble
from flan_jax.data.teaching import FEATURES
from flan_jax.models.config import ModelConfig
from flan_jax.parallel.ahead import CHILD_ENVIRONMENT, compile_in_child
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.program import abstract_batch, ahead

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
        said[noise] = "random_bits" in str(step.trace(*arguments).jaxpr)
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
    # Donation works when the outputs take the place of the whole state: all arguments but the batch.
    batch_bytes = 64 / 16 * (128 + 64) * 8 * 4
    assert report.alias_bytes >= report.argument_bytes - 2 * batch_bytes
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
