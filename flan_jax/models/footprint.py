"""What a model takes, without making it."""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from typing import Any

from flan_jax.files import atomic
from flan_jax.models.config import ModelConfig
from flan_jax.models.lora_config import LoraConfig


def footprint(
    config: ModelConfig, optimizer: str, folder: str | os.PathLike | None = None, lora: LoraConfig | None = None
) -> dict[str, Any]:
    """Counts parameters and the bytes that travel from step to step.

    Args:
      config: the model.
      optimizer: "adamw" keeps two more floats a parameter; "adafactor" next to nothing.
      folder: a store folder, in whose "resolved" answers are kept, so that the next one for the same config and code
        needs no JAX.
      lora: the adapters that are trained beside it, if any.

    Returns:
      {"parameters", "trained", "state_bytes"}: over all devices together. With adapters, "parameters" are the base's,
      and the bytes are those of the adapters' state and of the base.
    """
    lora = lora or LoraConfig()
    if folder is None:
        return _counted(config, optimizer, lora)
    path = pathlib.Path(folder) / "resolved" / f"footprint-{_key(config, optimizer, lora)}.json"
    if (kept := atomic.read_sealed(path)) is not None:
        return kept
    found = _counted(config, optimizer, lora)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_sealed(path, found)
    return found


def _counted(config: ModelConfig, optimizer: str, lora: LoraConfig) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from flan_jax.models.lora import parts
    from flan_jax.models.model import abstract_model

    def size(tree: Any) -> int:
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))

    def held(leaf: Any) -> int:
        about = jnp.finfo if jnp.issubdtype(leaf.dtype, jnp.floating) else jnp.iinfo
        return math.prod(leaf.shape) * about(leaf.dtype).bits // 8

    _, trained, frozen = parts(config, lora)
    more = 8 if optimizer == "adamw" else 0
    moving = sum(held(leaf) for leaf in jax.tree.leaves(trained)) + more * size(trained)
    return {
        "parameters": size(nnx.state(abstract_model(config), nnx.Param)),
        "trained": size(trained),
        "state_bytes": moving + sum(held(leaf) for leaf in jax.tree.leaves(frozen)),
    }


def _key(config: ModelConfig, optimizer: str, lora: LoraConfig) -> str:
    """Changes with the config and with every line of this package that makes a model of it."""
    asked = [dataclasses.asdict(config), optimizer, dataclasses.asdict(lora)]
    whole = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    for source in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        whole.update(source.read_bytes())
    return whole.hexdigest()[:16]
