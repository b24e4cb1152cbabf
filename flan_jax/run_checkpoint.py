"""The model that a run's checkpoint holds: its parameters, and the base that its adapters stand beside."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jax.sharding import Mesh

from flan_jax.config.run_config import RunConfig
from flan_jax.models import lora
from flan_jax.training import start


class CheckpointModel(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      graph: of the model, from `flan_jax.models.lora.parts`.
      params: its parameters, placed on the mesh; a tuple of adapters and base where the run trained adapters.
      step: the checkpoint's.
    """

    graph: Any
    params: Any
    step: int


def read_checkpoint(
    config: RunConfig, described: Mapping[str, Any], mesh: Mesh, step: int | None = None
) -> CheckpointModel:
    """Reads what a run's checkpoint holds, with the mean of the parameters for them if `Evaluation.averaged` says so.

    Args:
      config: the run, read back from its folder.
      described: its vocabulary.
      mesh: where the parameters go.
      step: which checkpoint; None takes the latest.

    Raises:
      UserError: there is no such checkpoint, or not the base that its adapters were trained beside.
    """
    graph, shapes, _ = lora.parts(config.model, config.lora)
    trained, found = start.trained_params(config.run_dir, shapes, mesh, step, config.evaluation.averaged)
    frozen = start.frozen_base(config, described, mesh)
    return CheckpointModel(graph, (trained, *frozen) if frozen else trained, found)
