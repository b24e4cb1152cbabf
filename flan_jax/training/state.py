"""What travels from step to step: a plain tree of parameters, optimiser statistics and the step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.parallel.axes import sharding_of
from flan_jax.parallel.mesh import compiler_options
from flan_jax.training import averaging
from flan_jax.training.parameter_names import path_names

TrainState = dict[str, Any]
"""`{"params": nnx.State, "opt": optax state, "step": int32 scalar, the number of steps done}`.

A run that averages its parameters has "averages" too: their mean in float32, in the tree of "params".
"""


def abstract_state(
    params: Any, tx: optax.GradientTransformation, mesh: Mesh | None = None, averaged: bool = False
) -> TrainState:
    """The shapes of a training state, with no memory taken.

    Args:
      params: parameters or their shapes.
      tx: the optimiser.
      mesh: where given, every shape carries its sharding, as `Checkpoints.restore` wants it.
      averaged: whether the state has a mean of the parameters.

    Returns:
      A state of `jax.ShapeDtypeStruct`.
    """
    shapes = jax.eval_shape(lambda p: _fresh(p, tx, averaged), params)
    if mesh is None:
        return shapes
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        state_sharding(shapes, mesh),
    )


def placed(params: Any, mesh: Mesh) -> Any:
    """The shapes of parameters with their shardings.

    Args:
      params: parameters or their shapes, an `nnx.State`.
      mesh: the mesh.
    """
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        params,
        sharding_of(params, mesh),
    )


def state_sharding(state: TrainState, mesh: Mesh) -> TrainState:
    """Where each leaf of a state lies on the mesh.

    Parameters and their mean follow their logical axes. An optimiser's leaf that has a parameter's name at the end of
    its path and that parameter's shape lies like it; any other (counters, factored statistics) lies on every device.

    Args:
      state: a state or its shapes.
      mesh: the mesh.

    Returns:
      The same tree with a `NamedSharding` at each leaf.
    """
    shardings = sharding_of(state["params"], mesh)
    everywhere = NamedSharding(mesh, PartitionSpec())
    placed = {
        path_names(path): (leaf.shape, sharding)
        for (path, leaf), sharding in zip(
            jax.tree_util.tree_flatten_with_path(state["params"])[0], jax.tree.leaves(shardings), strict=True
        )
    }

    def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        names = path_names(path)
        for start in range(len(names)):
            shape, sharding = placed.get(names[start:], (None, everywhere))
            if shape == leaf.shape:
                return sharding
        return everywhere

    opt = jax.tree_util.tree_map_with_path(place, state["opt"])
    averages = {"averages": shardings} if "averages" in state else {}
    return {"params": shardings, "opt": opt, "step": everywhere, **averages}


def create_state(
    params: Any | Callable[[], Any],
    tx: optax.GradientTransformation,
    mesh: Mesh,
    *,
    donate: bool = False,
    averaged: bool = False,
) -> TrainState:
    """Makes the state of step 0, every leaf on its devices from the start.

    Args:
      params: a function that initialises the parameters, such as
        `lambda: nnx.split(build(config, nnx.Rngs(0)), nnx.Param)[1]`, run under `jit` so that no device holds more
        than its share; or parameters that exist already (pretrained ones), which are copied to their devices.
      tx: the optimiser.
      mesh: the mesh.
      donate: whether parameters that exist, on their devices already, become the state's own instead of being copied;
        the caller's arrays are gone then, and a large model is never held twice.
      averaged: whether the state has a mean of the parameters.

    Returns:
      The state; equal on any mesh, as JAX's random bits do not depend on the sharding.
    """
    if callable(params):
        init: Callable[[], Any] = params
        fresh = lambda: _fresh(init(), tx, averaged)
        shardings = state_sharding(jax.eval_shape(fresh), mesh)
        return jax.jit(fresh, out_shardings=shardings, compiler_options=compiler_options(mesh, 1))()
    fresh_of = lambda p: _fresh(p, tx, averaged)
    shardings = state_sharding(jax.eval_shape(fresh_of, params), mesh)
    # jit's outputs are buffers of their own, so that donating the state later leaves the caller's arrays alive.
    return jax.jit(fresh_of, out_shardings=shardings, donate_argnums=0 if donate else ())(params)


def _fresh(params: Any, tx: optax.GradientTransformation, averaged: bool) -> TrainState:
    state = {"params": params, "opt": tx.init(params), "step": jnp.zeros((), jnp.int32)}
    return state | ({"averages": averaging.started(params)} if averaged else {})
