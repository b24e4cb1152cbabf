"""The step of a run as one object: the same one is trained with and compiled ahead for a pod."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from flan_jax.config.training_settings import DistillationConfig
from flan_jax.data.rows import row_shape
from flan_jax.data.teaching import FEATURES as TEACHER_FEATURES
from flan_jax.models import lora as adapters
from flan_jax.models.config import ModelConfig
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel.mesh import batch_sharding
from flan_jax.training import objective as objectives
from flan_jax.training import state as states
from flan_jax.training.loss import LossConfig
from flan_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from flan_jax.training.step import make_train_step


@dataclasses.dataclass(frozen=True)
class Program:
    """What the loop calls.

    Attributes:
      graph: the model's graph, from `nnx.split`.
      tx: the optimiser.
      abstract: shapes and shardings of the state.
      step: the jitted `(state, batch, *frozen) -> (state, metrics)`.
      frozen: shapes and shardings of what is given to each step beside the state: the base of adapters, or nothing.
    """

    graph: Any
    tx: optax.GradientTransformation
    abstract: states.TrainState
    step: Any
    frozen: tuple[Any, ...] = ()


def make_program(
    mesh: Mesh,
    model: ModelConfig,
    optimizer: OptimizerConfig,
    loss: LossConfig,
    *,
    steps: int,
    num_tasks: int,
    microbatches: int = 1,
    seed: int = 0,
    lora: LoraConfig | None = None,
    distillation: DistillationConfig | None = None,
) -> Program:
    """Builds the step of a run without allocating anything.

    Args:
      mesh: the mesh, of devices here or of a topology elsewhere.
      model: the model.
      optimizer: how parameters move.
      loss: what is minimised.
      steps: the run's steps, which the schedule depends on.
      num_tasks: tasks whose losses are told apart.
      microbatches: parts that a batch is computed in.
      seed: of dropout.
      lora: the adapters that are trained instead of the model, where its rank is not 0.
      distillation: the teacher that batches hold something of, where it has any weight.
    """
    lora = lora or LoraConfig()
    graph, params, frozen = adapters.parts(model, lora)
    frozen = tuple(states.placed(part, mesh) for part in frozen)
    tx = make_optimizer(optimizer, steps, params)
    abstract = states.abstract_state(params, tx, mesh)
    step = make_train_step(
        objectives.distillation(graph, loss, distillation) if distillation else objectives.likelihood(graph, loss),
        tx,
        mesh=mesh,
        state_shardings=jax.tree.map(lambda leaf: leaf.sharding, abstract),
        schedule=learning_rate_schedule(optimizer, steps),
        num_tasks=num_tasks,
        microbatches=microbatches,
        seed=seed,
        dropout=model.dropout_rate > 0 or lora.dropout > 0 or model.embedding_noise > 0,
        frozen_shardings=jax.tree.map(lambda leaf: leaf.sharding, frozen),
    )
    return Program(graph, tx, abstract, step, frozen)


def abstract_batch(
    model: ModelConfig, lengths: Mapping[str, int], batch_size: int, mesh: Mesh, top_k: int = 0
) -> dict[str, Any]:
    """Shapes and shardings of a step's batch, as `flan_jax.data.rows` lays it out.

    Args:
      model: the model.
      lengths: {"inputs", "targets"} of a row.
      batch_size: B.
      mesh: the mesh.
      top_k: how many of a teacher's likeliest tokens it holds of each position, as `flan_jax.data.teaching` adds them.
    """
    features = row_shape(model.architecture, lengths, model.begin_id).features()
    sharding = batch_sharding(mesh)
    shapes: dict[str, Any] = {name: ((batch_size, length), dtype) for name, (length, dtype) in features.items()}
    if top_k:
        of_tokens, _ = shapes["decoder_target_tokens"]
        shapes |= {name: ((*of_tokens, top_k), dtype) for name, dtype in TEACHER_FEATURES.items()}
    return {name: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding) for name, (shape, dtype) in shapes.items()}


def ahead(
    mesh: Mesh,
    *,
    model: Mapping[str, Any],
    lengths: Mapping[str, int],
    batch_size: int,
    microbatches: int = 1,
    optimizer: Mapping[str, Any] | None = None,
    loss: Mapping[str, Any] | None = None,
    num_tasks: int = 1,
    lora: Mapping[str, Any] | None = None,
    distillation: Mapping[str, Any] | None = None,
) -> tuple[Any, tuple[Any, ...]]:
    """The step as a program for `flan_jax.parallel.ahead.compile_in_child`; arguments are JSON.

    Args:
      mesh: over the topology's chips.
      model: fields of `ModelConfig`; "auto" is settled for a TPU.
      lengths: {"inputs", "targets"} of a row.
      batch_size: rows of the global batch.
      microbatches: parts that it is computed in.
      optimizer: fields of `OptimizerConfig`.
      loss: fields of `LossConfig`.
      num_tasks: tasks whose losses are told apart.
      lora: fields of `LoraConfig`.
      distillation: fields of `DistillationConfig`.
    """
    config = ModelConfig(**model).resolved("tpu")
    teacher = DistillationConfig(**(distillation or {}))
    how: dict[str, Any] = {
        "steps": 1000,
        "num_tasks": num_tasks,
        "microbatches": microbatches,
        "lora": LoraConfig(**(lora or {})),
        "distillation": teacher,
    }
    settings = OptimizerConfig(**(optimizer or {})), LossConfig(**(loss or {}))
    program = make_program(mesh, config, settings[0], settings[1], **how)
    batch = abstract_batch(config, lengths, batch_size, mesh, teacher.top_k if teacher else 0)
    return program.step, (program.abstract, batch, *program.frozen)
