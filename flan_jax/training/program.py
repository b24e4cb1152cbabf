"""The step of a run as one object: the same one is trained with and compiled ahead for a pod.

The peak learning rate and the seed are arguments of the compiled step, so runs that differ in nothing else share it.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.config.run_config import RunConfig
from flan_jax.config.training_settings import DistillationConfig
from flan_jax.data.rows import row_shape
from flan_jax.data.teaching import FEATURES as TEACHER_FEATURES
from flan_jax.models import lora as adapters
from flan_jax.models.config import ModelConfig
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel.mesh import batch_sharding
from flan_jax.parallel.rules import LOGICAL_RULES
from flan_jax.training import objective as objectives
from flan_jax.training import state as states
from flan_jax.training.loss import LossConfig
from flan_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from flan_jax.training.parameter_groups import labels, moving
from flan_jax.training.step import jit_step, train_step


@dataclasses.dataclass(frozen=True)
class Step:
    """A jitted step with the numbers that one run has of its own.

    Attributes:
      jitted: `(state, batch, scalars, *frozen) -> (state, metrics)`.
      scalars: {"learning_rate": the peak, "seed": of dropout}.
    """

    jitted: Any
    scalars: Mapping[str, np.generic]

    def __call__(self, state: Any, batch: Any, *frozen: Any) -> Any:
        """One step; the given state's buffers are used up."""
        return self.jitted(state, batch, self.scalars, *frozen)

    def lower(self, state: Any, batch: Any, *frozen: Any) -> Any:
        """The step as JAX's compiler takes it; see `jax.jit(...).lower`."""
        return self.jitted.lower(state, batch, self.scalars, *frozen)


@dataclasses.dataclass(frozen=True)
class Program:
    """What the loop calls.

    Attributes:
      graph: the model's graph, from `nnx.split`.
      tx: the optimiser.
      abstract: shapes and shardings of the state.
      step: `(state, batch, *frozen) -> (state, metrics)`.
      frozen: shapes and shardings of what is given to each step beside the state: the base of adapters, or nothing.
    """

    graph: Any
    tx: optax.GradientTransformation
    abstract: states.TrainState
    step: Step
    frozen: tuple[Any, ...] = ()


class _Settings:
    """What shapes a compiled step, as a key: equal where all of it is equal, functions of the user's by identity."""

    def __init__(self, **values: Any):
        self.values = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Settings) and self.values == other.values

    def __hash__(self) -> int:  # of the text, as settings hold dicts
        return hash(repr(self.values))


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
    """Builds the step of a run without allocating anything; one that was built before is used again.

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
    # A user's own schedule or optimiser may do with the rate what cannot be traced: there it is part of the program.
    own = callable(optimizer.schedule) or optimizer.factory is not None
    optimizer.check()
    program = _shared_program(
        _Settings(
            mesh=mesh,
            model=model,
            optimizer=optimizer if own else dataclasses.replace(optimizer, learning_rate=0.0),
            loss=loss,
            steps=steps,
            num_tasks=num_tasks,
            microbatches=microbatches,
            lora=lora or LoraConfig(),
            distillation=distillation or DistillationConfig(),
            traced_rate=not own,
        ),
        tuple(LOGICAL_RULES.items()),
    )
    # Of a seed JAX takes the lower 32 bits, as it does of a number in the program.
    scalars = {"learning_rate": np.float32(optimizer.learning_rate), "seed": np.int64(seed).astype(np.int32)}
    return dataclasses.replace(program, step=Step(program.step.jitted, scalars))


@functools.lru_cache(maxsize=8)  # as many as a run of stages goes through, which the next run of a sweep repeats
def _shared_program(settings: _Settings, rules: tuple[Any, ...]) -> Program:
    """The program of settings, kept under the rules by which it is laid out too."""
    return _built(**settings.values)


def _built(
    mesh: Mesh,
    model: ModelConfig,
    optimizer: OptimizerConfig,
    loss: LossConfig,
    steps: int,
    num_tasks: int,
    microbatches: int,
    lora: LoraConfig,
    distillation: DistillationConfig,
    traced_rate: bool,
) -> Program:
    """The program for any seed and, where the rate is traced, any learning rate; its step has no scalars yet."""
    graph, params, frozen = adapters.parts(model, lora)
    frozen = tuple(states.placed(part, mesh) for part in frozen)
    tx = make_optimizer(optimizer, steps, params)
    abstract = states.abstract_state(params, tx, mesh, averaged=optimizer.ema is not None)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)

    objective = objectives.likelihood(graph, loss)
    if distillation:
        objective = objectives.distillation(graph, loss, distillation)

    moves = moving(optimizer, params)

    def step(state: Any, batch: Any, scalars: Mapping[str, jax.Array], *frozen: Any) -> Any:
        rate: Any = scalars["learning_rate"] if traced_rate else optimizer.learning_rate
        rated = dataclasses.replace(optimizer, learning_rate=rate)
        run = train_step(
            objective,
            make_optimizer(rated, steps, params),
            mesh=mesh,
            state_shardings=shardings,
            schedule=learning_rate_schedule(rated, steps),
            num_tasks=num_tasks,
            microbatches=microbatches,
            seed=scalars["seed"],
            dropout=model.dropout_rate > 0 or lora.dropout > 0 or model.embedding_noise > 0,
            moving=moves,
            ema=optimizer.ema,
        )
        return run(state, batch, *frozen)

    more = (NamedSharding(mesh, PartitionSpec()), *jax.tree.map(lambda leaf: leaf.sharding, frozen))
    jitted = jit_step(step, mesh=mesh, state_shardings=shardings, more_shardings=more)
    return Program(graph, tx, abstract, Step(jitted, {}), frozen)


def check_patterns(config: RunConfig) -> None:
    """Refuses patterns of `Optimizer.groups` that match no parameter, before any data are prepared.

    Not where the run's own tokens are among what is trained: how many rows they have is not known by then.

    Raises:
      UserError: see `parameter_groups.labels`.
    """
    if config.optimizer.groups and not (config.lora and config.special_tokens):
        model = dataclasses.replace(config.model, vocab_size=config.model.vocab_size or 128)
        labels(config.optimizer, adapters.parts(model, config.lora)[1])


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
