"""What a model takes, without making it."""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from typing import Any

from flan_jax import atomic
from flan_jax.models.config import ModelConfig


def footprint(config: ModelConfig, optimizer: str, folder: str | os.PathLike | None = None) -> dict[str, Any]:
    """Counts parameters and the bytes that travel from step to step.

    Args:
      config: the model.
      optimizer: "adamw" keeps two more floats a parameter; "adafactor" next to nothing.
      folder: a store folder, in whose "resolved" answers are kept, so that the next one for the same config and code
        needs no JAX.

    Returns:
      {"parameters", "state_bytes"}: over all devices together.
    """
    if folder is None:
        return _counted(config, optimizer)
    path = pathlib.Path(folder) / "resolved" / f"footprint-{_key(config, optimizer)}.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        found = _counted(config, optimizer)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_json(path, found)
    return found


def _counted(config: ModelConfig, optimizer: str) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from flan_jax.models.model import abstract_model

    leaves = jax.tree.leaves(nnx.state(abstract_model(config), nnx.Param))
    parameters = sum(math.prod(leaf.shape) for leaf in leaves)
    each = jnp.dtype(config.param_dtype).itemsize + (8 if optimizer == "adamw" else 0)
    return {"parameters": parameters, "state_bytes": parameters * each}


def _key(config: ModelConfig, optimizer: str) -> str:
    """Changes with the config and with every line of this package that makes a model of it."""
    whole = hashlib.sha256(json.dumps([dataclasses.asdict(config), optimizer], sort_keys=True).encode())
    for source in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        whole.update(source.read_bytes())
    return whole.hexdigest()[:16]
