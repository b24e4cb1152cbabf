"""Adapters from PEFT's folders onto a mesh, and back.

PEFT keeps an adapter of each layer's projection by itself, `lora_A.weight` [rank, inputs] and `lora_B.weight`
[outputs, rank]; ours are stacked over layers, with heads apart. Both compute x A B scale with the same scale.
"""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from flan_jax.files import atomic
from flan_jax.models import lora as adapters
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face.exporting import check_empty
from flan_jax.models.hugging_face.names import Placement
from flan_jax.models.hugging_face.peft_folders import CONFIG, WEIGHTS, AdapterFolder, kernels
from flan_jax.models.hugging_face.safetensors_file import opened, write
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel.axes import sharding_of

_PREFIX = "base_model.model."


def load_adapter(folder: AdapterFolder, config: ModelConfig, lora: LoraConfig, mesh: Mesh) -> Any:
    """Reads an adapter onto a mesh.

    Args:
      folder: from `read_adapter`.
      config: the base's model.
      lora: the adapter's settings, from `fitted`.
      mesh: where its parameters go.

    Returns:
      Its parameters as `flan_jax.models.lora.parts` shapes them.
    """
    _, shapes, _ = adapters.parts(config, lora)
    places = dict(nnx.to_flat_state(sharding_of(shapes, mesh)))
    by_path: dict[tuple[Any, ...], list[Placement]] = {}
    for place in _adapter_placements(config, lora):
        by_path.setdefault(place.path, []).append(place)

    def read(place: Placement) -> np.ndarray:
        module, part = place.tensor.removeprefix(_PREFIX).removesuffix(".weight").rsplit(".lora_", 1)
        with opened(folder.tensors[module, part]) as array:
            return place.to_ours(array).astype(np.float32)

    def fill(path: tuple[Any, ...], leaf: Any) -> Any:
        array = np.stack([read(place) for place in by_path[path]])
        return leaf.replace(jax.make_array_from_callback(array.shape, places[path].get_value(), array.__getitem__))

    return nnx.from_flat_state([(path, fill(path, leaf)) for path, leaf in nnx.to_flat_state(shapes)])


def save_adapter(
    path: str | pathlib.Path,
    adapter: Any,
    config: ModelConfig,
    lora: LoraConfig,
    base: str | None,
    scales: Mapping[tuple[str, ...], float] | None = None,
) -> list[pathlib.Path]:
    """Writes an adapter as `peft.PeftModel.from_pretrained` reads it; every process of a run calls it.

    Args:
      path: the folder; made where it is missing.
      adapter: its parameters, on any mesh.
      config: the base's model.
      lora: the adapter's settings.
      base: the name or folder of the base that is written down; PEFT's `AutoPeftModel` loads it from there.
      scales: as for `save_folder`: factors by which the exported base's kernels differ from ours.

    Returns:
      The files written.

    Raises:
      UserError: the folder is there already.
    """
    folder, scales = pathlib.Path(path), scales or {}
    check_empty(folder)
    leaves = {path: _whole(leaf.get_value()) for path, leaf in nnx.to_flat_state(adapter)}
    if jax.process_index() != 0:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    places = _adapter_placements(config, lora)

    def values() -> Any:
        for place in places:
            array = leaves[place.path]
            array = array if place.layer is None else array[place.layer]
            factor = scales.get((*place.path[:-1], "kernel"), 1.0) if place.path[-1] == "lora_b" else 1.0
            yield place.to_file(array * np.float32(factor))

    write(folder / WEIGHTS, {place.tensor: ("F32", place.file_shape) for place in places}, values())
    raw = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if config.architecture == "decoder" else "SEQ_2_SEQ_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.effective_alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.rs_lora,
        "target_modules": _target_modules(config, lora),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    atomic.write_json(folder / CONFIG, raw)
    return [folder / CONFIG, folder / WEIGHTS]


def _adapter_placements(config: ModelConfig, lora: LoraConfig) -> list[Placement]:
    """Both tensors of each adapted projection of each layer."""
    found, chosen = [], lora.modules(config)
    for place in kernels(config):
        if ".".join(place.path[:-1]) not in chosen:
            continue
        module, home, rank = _PREFIX + place.tensor.removesuffix(".weight"), place.path[:-1], lora.rank
        inputs, outputs = place.shape[: place.inputs], place.shape[place.inputs :]
        a, b = (rank, math.prod(inputs)), (math.prod(outputs), rank)
        found.append(
            Placement(f"{module}.lora_A.weight", (*home, "lora_a"), (*inputs, rank), place.layer, a, place.inputs)
        )
        found.append(Placement(f"{module}.lora_B.weight", (*home, "lora_b"), (rank, *outputs), place.layer, b, 1))
    return found


def _target_modules(config: ModelConfig, lora: LoraConfig) -> list[str]:
    """PEFT's words for our targets: the last parts of names where they say it, otherwise each module in full."""
    every = [place.tensor.removesuffix(".weight") for place in kernels(config)]
    chosen = [p.tensor.removeprefix(_PREFIX).rsplit(".lora_", 1)[0] for p in _adapter_placements(config, lora)]
    short = sorted({name.rpartition(".")[2] for name in chosen})
    meant = {name for name in every if name.rpartition(".")[2] in short}
    return short if meant == set(chosen) else list(dict.fromkeys(chosen))


def _whole(array: jax.Array) -> np.ndarray:
    if array.is_fully_addressable:
        return np.asarray(array, np.float32)
    return np.asarray(multihost_utils.process_allgather(array.astype(jnp.float32), tiled=True))
