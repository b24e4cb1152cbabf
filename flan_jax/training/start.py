"""Where a run's parameters come from: another run's, or nothing; and what its adapters stand beside."""

import functools
import pathlib
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh

from flan_jax.config import RunConfig, load_run
from flan_jax.data import vocabulary
from flan_jax.errors import UserError
from flan_jax.models import hugging_face
from flan_jax.models import lora as adapters
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face import t5x
from flan_jax.models.model import abstract_model, build
from flan_jax.training import frozen
from flan_jax.training import state as states
from flan_jax.training.checkpoints import Checkpoints
from flan_jax.training.program import Program


def fresh_state(
    config: RunConfig,
    described: Mapping[str, Any],
    program: Program,
    mesh: Mesh,
) -> states.TrainState:
    """The state of step 0: parameters of the run that INIT_FROM names, or random ones; or adapters that change nothing.

    Args:
      config: the run.
      described: the vocabulary of its tasks.
      program: its step; the optimiser's statistics are new in either case.
      mesh: the mesh.
    """
    seed = config.seed
    if config.lora:
        shapes = program.abstract["params"]
        return states.create_state(lambda: adapters.draw(shapes, seed), program.tx, mesh)
    if config.init_from:
        return states.create_state(parameters_of(config.init_from, described, config.model, mesh), program.tx, mesh)
    return states.create_state(lambda: nnx.split(build(config.model, nnx.Rngs(seed)), nnx.Param)[1], program.tx, mesh)


def frozen_base(config: RunConfig, described: Mapping[str, Any], mesh: Mesh) -> tuple[Any, ...]:
    """What a run's adapters stand beside, on its devices and in `Lora.base_dtype`.

    Args:
      config: the run.
      described: the vocabulary of its tasks.
      mesh: the mesh.

    Returns:
      A tuple of one tree of parameters; an empty one for a run without adapters.

    Raises:
      UserError: the base is not there, or not the one that the run began with.
    """
    if not config.lora:
        return ()
    place = frozen.place_of_base(config)
    params = parameters_of(place, described, config.model, mesh)
    frozen.known_base(config, place, params)
    return (adapters.stored(params, config.model, config.lora, mesh),)


def parameters_of(folder: str, described: Mapping[str, Any], model: ModelConfig, mesh: Mesh) -> Any:
    """The parameters that INIT_FROM names: a Hugging Face folder's, a T5X checkpoint's, or those of a run's latest
    checkpoint with adapters folded in.

    Args:
      folder: of any of the three.
      described: the vocabulary that they must be of.
      model: what they must fit.
      mesh: where they go.

    Raises:
      UserError: there are none, or they are of another model or vocabulary.
    """
    if hugging_face.is_folder(folder):
        vocabulary.check_folder(described, folder)
        return hugging_face.load_params(folder, model, mesh)
    if t5x.is_checkpoint(folder):
        return t5x.load_params(folder, model, mesh)
    run = load_run(folder)
    vocabulary.check_same(described, vocabulary.kept(pathlib.Path(run.run_dir)), run.run_dir)
    return merged_params(run, described, mesh, model=model)


def merged_params(
    config: RunConfig,
    described: Mapping[str, Any],
    mesh: Mesh,
    step: int | None = None,
    model: ModelConfig | None = None,
) -> Any:
    """The parameters of a run as a plain model has them, with its adapters, if any, folded in.

    Args:
      config: the run, read back from its folder.
      described: its vocabulary.
      mesh: where they go.
      step: which checkpoint; the latest by default.
      model: what they must fit, in whose `param_dtype` they come; the run's own by default.

    Raises:
      UserError: no checkpoint, or no base.
    """
    model = model or config.model
    _, params, beside = adapters.parts(model, config.lora)
    with closing(Checkpoints(pathlib.Path(config.run_dir) / "checkpoints", read_only=True)) as checkpoints:
        found = checkpoints.latest() if step is None else step
        if found is None:
            raise UserError(f"{config.run_dir} holds no checkpoint; train it first with `flan-jax train`")
        params = checkpoints.restore_params(found, states.placed(params, mesh))
    if not beside:
        return params
    (base,) = frozen_base(config, described, mesh)
    plain = states.placed(nnx.split(abstract_model(model), nnx.Param)[1], mesh)
    fold = functools.partial(adapters.folded, scale=config.lora.scale, dtype=model.param_dtype)
    places = jax.tree.map(lambda leaf: leaf.sharding, plain)
    return jax.jit(fold, out_shardings=places)(params, base)
