"""A step that trains adapters: what moves, what stays, and what travels."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, PartitionSpec

from flan_jax.models import lora as adapters
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel.axes import sharding_of
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training import frozen
from flan_jax.training.loss import LossConfig, losses_of
from flan_jax.training.optimizer import OptimizerConfig, make_optimizer
from flan_jax.training.parameter_names import decay_mask, layer_counts
from flan_jax.training.program import make_program
from flan_jax.training.state import create_state
from flan_jax.training.step import place_batch
from tests.models.batches import CAUSAL, examples, model_of, rows

MODEL = dataclasses.replace(CAUSAL, dtype="float32")
LORA = LoraConfig(rank=4, targets="query,out,mlp.*")
SGD = OptimizerConfig(learning_rate=0.5, clip_norm=None, factory=optax.sgd)
MESH = make_mesh({"data": 1}, jax.devices()[:1])


def batch():
    made = rows([examples([(5, 4), (3, 2)]), examples([(6, 5)])], MODEL, 12, 10)
    return made | {"decoder_task_ids": (made["decoder_segment_ids"] > 1).astype(np.int32)}


def base():
    return jax.tree.map(lambda leaf: leaf.copy(), nnx.split(model_of(MODEL), nnx.Param)[1])


class Run:
    """A program and its state, with an adapter that already does something."""

    def __init__(self, model=MODEL, optimizer=SGD, lora=LORA, microbatches=1):
        how = {"steps": 10, "num_tasks": 2, "microbatches": microbatches, "lora": lora}
        self.program = make_program(MESH, model, optimizer, LossConfig(), **how)
        shapes = self.program.abstract["params"]
        start = jax.jit(lambda: jax.tree.map(lambda a: a + 0.01, adapters.draw(shapes, 0)))()
        self.state = create_state(start, self.program.tx, MESH)
        self.base = base()

    def step(self):
        self.state, metrics = self.program.step(self.state, place_batch(batch(), MESH), self.base)
        return jax.tree.map(np.asarray, metrics)


@pytest.fixture(scope="module")
def once():
    """A run after one step, its adapter before it, and the step's metrics."""
    run = Run()
    before = jax.tree.map(lambda leaf: leaf.copy(), run.state["params"])
    return run, before, run.step()


def check_close(ours, theirs, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5), ours, theirs)


def test_a_step_moves_the_adapter_alone_by_the_gradient_through_the_folded_weights(once):
    run, before, metrics = once
    plain_graph, plain, _ = adapters.parts(MODEL, LoraConfig())

    def loss(adapter):
        params = adapters.folded(adapter, run.base, LORA.scale)
        return losses_of(nnx.merge(plain_graph, params), batch()).total / batch()["decoder_loss_weights"].sum()

    mean, grads = jax.jit(jax.value_and_grad(loss))(before)
    np.testing.assert_allclose(metrics["loss_sum"] / metrics["weight_sum"], mean, rtol=1e-5)
    check_close(run.state["params"], jax.tree.map(lambda p, g: p - 0.5 * g, before, grads))
    assert max(float(abs(g).max()) for g in jax.tree.leaves(grads)) > 1e-3
    check_close(run.base, base(), atol=0)  # neither moved nor donated
    names = {path[-1] for path, _ in nnx.to_flat_state(run.state["params"])}
    assert names == {"lora_a", "lora_b"}
    assert run.program.step.jitted._cache_size() == 1


def test_microbatches_and_remat_change_nothing(once):
    other = Run(dataclasses.replace(MODEL, remat="full"), microbatches=2)
    other.step()
    check_close(other.state["params"], once[0].state["params"])


def test_optimisers_see_the_adapter_and_nothing_else():
    _, shapes, _ = adapters.parts(MODEL, LORA)
    assert all(jax.tree.leaves(decay_mask(shapes)))
    assert set(jax.tree.leaves(layer_counts(shapes))) == {2}
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    of = lambda name: jax.eval_shape(make_optimizer(OptimizerConfig(name=name), 10, shapes).init, shapes)
    assert count(of("adamw")) == 2 * count(shapes) + 2
    assert count(of("adafactor")) < 1.1 * count(shapes) + 100


def test_adapters_are_split_over_a_mesh_like_their_kernels():
    mesh = AbstractMesh((2, 2), ("fsdp", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    _, shapes, (wide,) = adapters.parts(MODEL, LORA)
    placed = sharding_of(shapes, mesh)["decoder"]["layers"]
    spec = lambda *names: placed[names[0]][names[1]][names[2]].get_value().spec
    assert spec("self_attention", "query", "lora_a") == PartitionSpec(None, "fsdp", None)
    assert spec("self_attention", "query", "lora_b") == PartitionSpec(None, None, "tensor", None)
    assert spec("mlp", "down", "lora_a") == PartitionSpec(None, "tensor", None)
    assert spec("mlp", "down", "lora_b") == PartitionSpec(None, None, "fsdp")


def test_a_fingerprint_tells_any_bit():
    def fingerprint(params):
        read = frozen.Fingerprint()
        assert len(list(read.of(nnx.to_flat_state(params)))) == len(jax.tree.leaves(params))
        return str(read)

    found = fingerprint(base())
    assert fingerprint(base()) == found
    params = base()
    scale = params["decoder"]["norm"]["scale"]
    params["decoder"]["norm"]["scale"] = scale.replace(scale.get_value().at[3].add(1e-6))
    assert fingerprint(params) != found
    params = base()
    table = params["embedding"]["embedding"]
    values = table.get_value()  # two rows that changed places
    params["embedding"]["embedding"] = table.replace(values.at[1].set(values[2]).at[2].set(values[1]))
    assert fingerprint(params) != found
