"""The training step: a pure function, jitted once."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.parallel.mesh import batch_sharding, compiler_options, local_rows, row_ways
from flan_jax.training import averaging
from flan_jax.training.objective import Objective
from flan_jax.training.optimizer import Schedule
from flan_jax.training.parameter_groups import Cut

Batch = Mapping[str, Any]
"""`[B, L]` arrays by seqio's names; read here are decoder_target_tokens, decoder_loss_weights and decoder_task_ids."""


def place_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts the rows of this process on its devices, as its part of the global batch.

    Args:
      batch: NumPy arrays `[rows of this process, L]`.
      mesh: the mesh.

    Returns:
      Global arrays `[B, L]`.
    """
    sharding, parts = batch_sharding(mesh), row_ways(mesh)
    here = len(local_rows(parts, mesh))
    # Left to JAX, the whole shape is guessed: wrongly, where processes hold parts of a length that all of them load.
    return {
        name: jax.make_array_from_process_local_data(sharding, value, (len(value) * parts // here, *value.shape[1:]))
        for name, value in batch.items()
    }


def train_step(
    objective: Objective,
    tx: optax.GradientTransformationExtraArgs,
    *,
    mesh: Mesh,
    state_shardings: Any,
    schedule: Schedule,
    num_tasks: int,
    microbatches: int = 1,
    seed: Any = 0,
    dropout: bool = True,
    moving: Any = None,
    ema: float | None = None,
) -> Callable[..., Any]:
    """Builds the step `(state, batch, *frozen) -> (state, metrics)`, a pure function, see `jit_step`.

    The batch is cut into `microbatches`, one after the other; losses, weights and gradients are summed over all of
    them and divided once, so that their number changes nothing but memory and rounding. A batch without any weight
    gives a gradient of 0. A batch whose loss or gradient is not finite is skipped: parameters and statistics stay as
    they are, bit for bit, and only the step, and the step that the learning rate is taken of, go on.

    Args:
      objective: what is minimised, `flan_jax.training.objective.likelihood` of a model for one.
      tx: the optimiser, from `make_optimizer`; it gets the gradient of the mean loss, and clips that.
      mesh: the mesh.
      state_shardings: from `state.state_sharding`.
      schedule: the learning rate of a step, for the metrics.
      num_tasks: T; `decoder_task_ids` are in [0, T).
      microbatches: M; each must divide into the mesh's parts of a batch (`parallel.mesh.check_batch`).
      seed: of the dropout masks, drawn anew for each (seed, step, microbatch); a number, or an int32 that is traced.
      dropout: whether the objective gets a key.
      moving: from `parameter_groups.moving`: for the others in the state no gradient is computed; None: all move.
      ema: the decay of the mean of the parameters in `state["averages"]`; None where the state has none.

    Returns:
      The function. Its metrics are float32 scalars on the device: loss_sum (weighted, with the z-loss),
      z_loss_sum, weight_sum, grad_norm (before clipping), learning_rate, skipped (1 for a batch that was skipped, else
      0), and task_loss_sum and task_weight_sum `[T]`; and trainable_tokens, an int32: target tokens whose weight is
      above 0. With a teacher also distillation_sum, the weighted divergence from it, and distillation_weight_sum.
    """
    sums = _sums_of(objective, num_tasks)
    cut = Cut(moving)
    accumulate = _accumulator(sums, microbatches, mesh, cut.moving(state_shardings["params"]), cut)

    def step(state: dict[str, Any], batch: Batch, *frozen: Any) -> tuple[dict[str, Any], dict[str, jax.Array]]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            key = jax.random.fold_in(jax.random.key(seed), state["step"]) if dropout else None
            grads, totals = accumulate(state["params"], batch, key, frozen)
            weight = totals["weight_sum"]
            # A factor is fused into all that reads a gradient; a division would write it out first.
            inverse = 1.0 / jnp.where(weight > 0, weight, 1.0)
            grads = jax.tree.map(lambda g: g * inverse, grads)
            grad_norm = optax.global_norm(grads)
            finite = jnp.isfinite(totals["loss_sum"]) & jnp.isfinite(grad_norm)
            # Where all move, `cut` gives back what it is given; the zeros of what is held are read by nothing.
            every = cut.whole(grads, jax.tree.map(jnp.zeros_like, state["params"]) if moving is not None else None)
            updates, opt = tx.update(every, state["opt"], state["params"], finite=finite)
            before = cut.moving(state["params"])
            moved = optax.apply_updates(before, cut.moving(updates))
            # Fused into what writes the parameters anyway: the choice costs neither time nor memory.
            moved = jax.tree.map(lambda new, old: jnp.where(finite, new, old), moved, before)
            params = cut.whole(moved, state["params"])
            metrics = totals | {
                "grad_norm": grad_norm,
                "learning_rate": jnp.asarray(schedule(state["step"]), jnp.float32),
                "skipped": 1.0 - finite.astype(jnp.float32),
            }
            after = {"params": params, "opt": opt, "step": state["step"] + 1}
            if ema is not None:
                after["averages"] = averaging.moved(state["averages"], params, state["step"], ema, finite)
            return after, metrics

    return step


def jit_step(
    step: Callable[..., Any], *, mesh: Mesh, state_shardings: Any, more_shardings: tuple[Any, ...] = ()
) -> Callable[..., Any]:
    """Jits a step `(state, batch, *more) -> (state, metrics)`; the given state's buffers are used up.

    Args:
      step: the pure function.
      mesh: the mesh.
      state_shardings: from `state.state_sharding`.
      more_shardings: of what is given to each step behind the batch.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.jit(
        step,
        in_shardings=(state_shardings, batch_sharding(mesh), *more_shardings),
        out_shardings=(state_shardings, everywhere),
        donate_argnums=0,
        compiler_options=compiler_options(mesh, 2),
    )


def make_train_step(
    objective: Objective,
    tx: optax.GradientTransformationExtraArgs,
    *,
    mesh: Mesh,
    state_shardings: Any,
    frozen_shardings: tuple[Any, ...] = (),
    **settings: Any,
) -> Callable[..., Any]:
    """The jitted step of an optimiser and a seed that are settled; see `train_step` and `jit_step`.

    Args:
      objective: what is minimised.
      tx: the optimiser.
      mesh: the mesh.
      state_shardings: from `state.state_sharding`.
      frozen_shardings: of the parameters that are not in the state and stay as they are, which are given to each step.
      **settings: as `train_step` takes them.
    """
    step = train_step(objective, tx, mesh=mesh, state_shardings=state_shardings, **settings)
    return jit_step(step, mesh=mesh, state_shardings=state_shardings, more_shardings=frozen_shardings)


def _sums_of(objective: Objective, num_tasks: int) -> Callable[..., dict[str, jax.Array]]:
    """The weighted sums of one (micro)batch, whole and by task, with the objective's arguments."""

    def sums(params: Any, frozen: tuple[Any, ...], batch: Batch, key: jax.Array | None) -> dict[str, jax.Array]:
        losses, tasks = objective(params, frozen, batch, key), batch["decoder_task_ids"]
        weights = losses.weights
        weights = batch["decoder_loss_weights"].astype(jnp.float32) if weights is None else weights
        totals = {
            "loss_sum": losses.total,
            "weight_sum": jnp.sum(weights),
            "trainable_tokens": jnp.sum(weights > 0, dtype=jnp.int32),
            "z_loss_sum": jnp.sum(losses.z * weights),
            "task_loss_sum": _by_task(losses.tokens * weights, tasks, num_tasks),
            "task_weight_sum": _by_task(weights, tasks, num_tasks),
        }
        if losses.divergence is not None:
            apart, taught = losses.divergence
            totals |= {"distillation_sum": jnp.sum(apart * taught), "distillation_weight_sum": jnp.sum(taught)}
        return totals

    return sums


def _accumulator(
    sums: Callable[..., dict[str, jax.Array]], microbatches: int, mesh: Mesh, shardings: Any, cut: Cut
) -> Callable[..., tuple[Any, dict[str, jax.Array]]]:
    """The float32 gradient of a batch's loss_sum by what `cut` moves, and all its sums, microbatch by microbatch.

    A function `(params, batch, key, frozen)`.
    """
    rows = batch_sharding(mesh).spec

    def accumulate(
        params: Any, batch: Batch, key: jax.Array | None, frozen: tuple[Any, ...]
    ) -> tuple[Any, dict[str, jax.Array]]:
        def one(index: Any, part: Batch) -> tuple[Any, dict[str, jax.Array]]:
            part_key = None if key is None else jax.random.fold_in(key, index)

            def loss(moved: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
                totals = sums(cut.whole(moved, params), frozen, part, part_key)
                return totals["loss_sum"], totals

            grads, totals = jax.grad(loss, has_aux=True)(cut.moving(params))
            return jax.tree.map(lambda g: g.astype(jnp.float32), grads), totals

        if microbatches == 1:
            return one(0, batch)
        parts = {name: _cut(value, microbatches, mesh, rows) for name, value in batch.items()}
        zeros = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
            jax.eval_shape(one, 0, {name: value[0] for name, value in parts.items()}),
        )

        def body(total: Any, indexed: tuple[jax.Array, Batch]) -> tuple[Any, None]:
            grads, totals = jax.tree.map(jnp.add, total, one(*indexed))
            return (jax.lax.with_sharding_constraint(grads, shardings), totals), None

        return jax.lax.scan(body, zeros, (jnp.arange(microbatches), parts))[0]

    return accumulate


def _by_task(values: jax.Array, tasks: jax.Array, num_tasks: int) -> jax.Array:
    """Sums `values [B, L]` by task id into `[T]`.

    By comparing, not by scattering: a scatter's order of addition is not fixed on GPUs, and the figures would differ
    from one run to its repetition.
    """
    values = jax.lax.stop_gradient(values)
    mine = tasks.reshape(-1, 1) == jnp.arange(num_tasks, dtype=tasks.dtype)
    return jnp.sum(jnp.where(mine, values.reshape(-1, 1), 0.0), axis=0)


def _cut(value: jax.Array, parts: int, mesh: Mesh, rows: PartitionSpec) -> jax.Array:
    """Cuts `[B, ...]` into `[M, B/M, ...]`, row r into part r mod M: so every device cuts its own rows only."""
    cut = value.reshape(-1, parts, *value.shape[1:]).swapaxes(0, 1)
    return jax.lax.with_sharding_constraint(cut, NamedSharding(mesh, PartitionSpec(None, *rows)))
