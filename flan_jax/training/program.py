"""The step of a run as one object: the same one is trained with and compiled ahead for a pod."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from flan_jax.config.run_config import RunConfig
from flan_jax.data.rows import row_shape
from flan_jax.models import lora as adapters
from flan_jax.models.config import ModelConfig
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel.mesh import batch_sharding
from flan_jax.training import state as states
from flan_jax.training.loss import LossConfig
from flan_jax.training.objective import likelihood
from flan_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from flan_jax.training.parameter_groups import labels, moving
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
    """
    lora = lora or LoraConfig()
    graph, params, frozen = adapters.parts(model, lora)
    frozen = tuple(states.placed(part, mesh) for part in frozen)
    tx = make_optimizer(optimizer, steps, params)
    abstract = states.abstract_state(params, tx, mesh, averaged=optimizer.ema is not None)
    step = make_train_step(
        likelihood(graph, loss),
        tx,
        mesh=mesh,
        state_shardings=jax.tree.map(lambda leaf: leaf.sharding, abstract),
        schedule=learning_rate_schedule(optimizer, steps),
        num_tasks=num_tasks,
        microbatches=microbatches,
        seed=seed,
        dropout=model.dropout_rate > 0 or lora.dropout > 0,
        frozen_shardings=jax.tree.map(lambda leaf: leaf.sharding, frozen),
        moving=moving(optimizer, params),
        ema=optimizer.ema,
    )
    return Program(graph, tx, abstract, step, frozen)


def check_patterns(config: RunConfig) -> None:
    """Refuses patterns of `Optimizer.groups` that match no parameter, before any data are prepared.

    Not where the run's own tokens are among what is trained: how many rows they have is not known by then.

    Raises:
      UserError: see `parameter_groups.labels`.
    """
    if config.optimizer.groups and not (config.lora and config.special_tokens):
        model = dataclasses.replace(config.model, vocab_size=config.model.vocab_size or 128)
        labels(config.optimizer, adapters.parts(model, config.lora)[1])


def abstract_batch(model: ModelConfig, lengths: Mapping[str, int], batch_size: int, mesh: Mesh) -> dict[str, Any]:
    """Shapes and shardings of a step's batch, as `flan_jax.data.rows` lays it out."""
    features = row_shape(model.architecture, lengths, model.begin_id).features()
    sharding = batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct((batch_size, length), dtype, sharding=sharding)
        for name, (length, dtype) in features.items()
    }


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
    """
    config = ModelConfig(**model).resolved("tpu")
    how: dict[str, Any] = {
        "steps": 1000,
        "num_tasks": num_tasks,
        "microbatches": microbatches,
        "lora": LoraConfig(**(lora or {})),
    }
    settings = OptimizerConfig(**(optimizer or {})), LossConfig(**(loss or {}))
    program = make_program(mesh, config, settings[0], settings[1], **how)
    return program.step, (program.abstract, abstract_batch(config, lengths, batch_size, mesh), *program.frozen)
