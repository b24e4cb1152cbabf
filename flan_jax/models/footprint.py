"""What a model takes, without making it."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax.models.build import abstract_model
from flan_jax.models.config import ModelConfig


def footprint(config: ModelConfig, optimizer: str) -> dict[str, Any]:
    """Counts parameters and the bytes that travel from step to step.

    Args:
      config: the model.
      optimizer: "adamw" keeps two more floats a parameter; "adafactor" next to nothing.

    Returns:
      {"parameters", "state_bytes"}: over all devices together.
    """
    leaves = jax.tree.leaves(nnx.state(abstract_model(config), nnx.Param))
    parameters = sum(math.prod(leaf.shape) for leaf in leaves)
    each = jnp.dtype(config.param_dtype).itemsize + (8 if optimizer == "adamw" else 0)
    return {"parameters": parameters, "state_bytes": parameters * each}
