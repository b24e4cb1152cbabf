"""Where a run's state comes from: its own checkpoint, another run's parameters, or nothing."""

import pathlib
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from flax import nnx
from jax.sharding import Mesh

from flan_jax.config import RunConfig, load_run
from flan_jax.data import vocabulary
from flan_jax.errors import UserError
from flan_jax.models.model import build
from flan_jax.training import state as states
from flan_jax.training.checkpoints import Checkpoints
from flan_jax.training.program import Program


def fresh_state(
    config: RunConfig,
    described: Mapping[str, Any],
    program: Program,
    mesh: Mesh,
) -> states.TrainState:
    """The state of step 0: parameters of the run that INIT_FROM names, or random ones.

    Args:
      config: the run.
      described: the vocabulary of its tasks.
      program: its step; the optimiser's statistics are new in either case.
      mesh: the mesh.
    """
    if config.init_from:
        return states.create_state(
            _params_of(config.init_from, described, program.abstract["params"]), program.tx, mesh
        )
    seed = config.seed
    return states.create_state(lambda: nnx.split(build(config.model, nnx.Rngs(seed)), nnx.Param)[1], program.tx, mesh)


def _params_of(run_dir: str, described: Mapping[str, Any], abstract: Any) -> Any:
    """Parameters of another run's latest checkpoint.

    Raises:
      UserError: there is none, or it is of another model or vocabulary.
    """
    folder = pathlib.Path(load_run(run_dir).run_dir)
    vocabulary.check_same(described, vocabulary.kept(folder), str(folder))
    with closing(Checkpoints(folder / "checkpoints", read_only=True)) as checkpoints:
        step = checkpoints.latest()
        if step is None:
            raise UserError(f"INIT_FROM {run_dir} holds no checkpoint; train it first, or leave INIT_FROM out")
        return checkpoints.restore_params(step, abstract)
