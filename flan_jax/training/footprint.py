"""What a model and its training state take, without making them."""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from typing import Any

from flan_jax.config.named_functions import to_plain
from flan_jax.config.training_settings import OptimizerConfig
from flan_jax.files import atomic
from flan_jax.models.config import ModelConfig
from flan_jax.models.lora_config import LoraConfig

_COUNTED_BY = ("footprint.py", "optimizer.py", "parameter_groups.py", "parameter_names.py", "muon.py")


def footprint(
    config: ModelConfig,
    optimizer: OptimizerConfig,
    folder: str | os.PathLike | None = None,
    lora: LoraConfig | None = None,
) -> dict[str, Any]:
    """Counts parameters and the bytes that travel from step to step.

    Args:
      config: the model.
      optimizer: whose statistics are counted, and the mean of the parameters that it keeps. Those of a user's factory
        are not known, and are taken for those of `name`.
      folder: a store folder, in whose "resolved" answers are kept, so that the next one for the same config and code
        needs no JAX.
      lora: the adapters that are trained beside it, if any.

    Returns:
      {"parameters", "trained", "state_bytes"}: over all devices together. With adapters, "parameters" are the base's,
      and the bytes are those of the adapters' state and of the base. With `OptimizerConfig.groups` also "groups", a
      line for each.

    Raises:
      UserError: a pattern of `OptimizerConfig.groups` that matches no parameter.
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


def _counted(config: ModelConfig, optimizer: OptimizerConfig, lora: LoraConfig) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from flan_jax.models.lora import parts
    from flan_jax.models.model import abstract_model
    from flan_jax.training import parameter_groups
    from flan_jax.training.optimizer import make_optimizer

    def size(tree: Any) -> int:
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))

    def held(leaf: Any) -> int:
        about = jnp.finfo if jnp.issubdtype(leaf.dtype, jnp.floating) else jnp.iinfo
        return math.prod(leaf.shape) * about(leaf.dtype).bits // 8

    _, trained, frozen = parts(config, lora)
    plain = dataclasses.replace(optimizer, schedule="constant", warmup_steps=0, factory=None)
    statistics = jax.eval_shape(make_optimizer(plain, 1, trained).init, trained)
    moving = sum(held(leaf) for leaf in jax.tree.leaves(trained))
    moving += sum(held(leaf) for leaf in jax.tree.leaves(statistics) if leaf.ndim)  # but for the counters
    moving += 4 * size(trained) if optimizer.ema is not None else 0
    groups = {"groups": parameter_groups.described(optimizer, trained)} if optimizer.groups else {}
    return {
        "parameters": size(nnx.state(abstract_model(config), nnx.Param)),
        "trained": size(trained),
        "state_bytes": moving + sum(held(leaf) for leaf in jax.tree.leaves(frozen)),
        **groups,
    }


def _key(config: ModelConfig, optimizer: OptimizerConfig, lora: LoraConfig) -> str:
    """Changes with what is counted, and with every line of code that makes a model and its statistics of it."""
    held = optimizer.name, optimizer.b1 > 0, to_plain(optimizer.groups), optimizer.ema is not None
    asked = [dataclasses.asdict(config), held, dataclasses.asdict(lora)]
    whole = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    here = pathlib.Path(__file__).parent
    for source in [*sorted((here.parent / "models").glob("*.py")), *(here / name for name in _COUNTED_BY)]:
        whole.update(source.read_bytes())
    return whole.hexdigest()[:16]
