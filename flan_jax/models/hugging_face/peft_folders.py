"""Adapters as folders of PEFT's kind: adapter_config.json and adapter_model.safetensors, written and read.

PEFT keeps an adapter of each layer's projection by itself, `lora_A.weight` [rank, inputs] and `lora_B.weight`
[outputs, rank]; ours are stacked over layers, with heads apart. Both compute x A B scale with the same scale.
"""

import dataclasses
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from flan_jax import atomic
from flan_jax.errors import UserError
from flan_jax.models import lora as adapters
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face.exporting import check_empty
from flan_jax.models.hugging_face.names import Placement, placements
from flan_jax.models.hugging_face.safetensors_file import DTYPES, Damaged, Entry, opened, read_header, write
from flan_jax.models.hugging_face.tokenizer_files import read_json
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel.axes import sharding_of

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_SHOWN = 6
_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight")
# Settings of PEFT that change what an adapter computes, with the values under which it is plain LoRA.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "use_dora": (None, False),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "bias": (None, "none"),
    "lora_bias": (None, False),
    "fan_in_fan_out": (None, False),
    "layers_to_transform": (None, []),
    "layer_replication": (None, []),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, [], {}),
    "init_lora_weights": (None, True, False, "gaussian", "eva", "orthogonal"),  # others move the base's weights
}


@dataclasses.dataclass(frozen=True)
class AdapterFolder:
    """An adapter that can be put beside its base.

    Attributes:
      path: where it is.
      lora: its settings; the targets follow once the base is known (`load_adapter`).
      base: what its config names as its base, a folder or a hub's name.
      tensors: its tensors by the module of the base and the part, "A" or "B".
    """

    path: pathlib.Path
    lora: LoraConfig
    base: str | None
    tensors: Mapping[tuple[str, str], Entry]


def is_adapter(path: str | pathlib.Path) -> bool:
    """Whether a path is a folder of PEFT's kind."""
    return (pathlib.Path(path) / CONFIG).is_file()


def read_adapter(path: str | pathlib.Path) -> AdapterFolder:
    """Reads an adapter's config and the header of its weights.

    Raises:
      UserError: one sentence with all that is wrong: another method than LoRA or a kind of it that is not supported,
        weights that are absent, pickled or damaged, tensors that are no adapter's.
    """
    folder = pathlib.Path(path)
    raw = read_json(folder / CONFIG)
    if not raw:
        raise UserError(f"{folder} has no {CONFIG}; name a folder that PEFT's save_pretrained wrote")
    if raw.get("peft_type") != "LORA":
        raise UserError(f"{folder / CONFIG} has peft_type {raw.get('peft_type')!r}, of which only 'LORA' is supported")
    faults = [
        f"{name} is {raw[name]!r}, which is not supported"
        for name, plain in _PLAIN.items()
        if name in raw and raw[name] not in plain
    ]
    rank: Any = raw.get("r")
    alpha: Any = raw.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float) or not alpha > 0:
        faults.append(f"r is {rank!r} and lora_alpha {alpha!r}, wanted a rank of 1 or more and a number above 0")
    tensors = _tensors_of(folder, faults)
    if faults:
        raise UserError(f"the adapter in {folder} cannot be used: " + "; ".join(faults))
    lora = LoraConfig(
        rank=rank,
        alpha=float(alpha),
        dropout=float(raw.get("lora_dropout") or 0.0),
        rs_lora=bool(raw.get("use_rslora")),
    )
    return AdapterFolder(folder, lora, raw.get("base_model_name_or_path"), tensors)


def _tensors_of(folder: pathlib.Path, faults: list[str]) -> dict[tuple[str, str], Entry]:
    """The tensors of an adapter by module and part; what is wrong with them is added to `faults`."""
    if not (folder / WEIGHTS).is_file():
        pickled = " (adapter_model.bin is a pickle, which can run any code when it is read)"
        there = pickled if (folder / "adapter_model.bin").is_file() else ""
        faults.append(f"it has no {WEIGHTS}{there}; save it anew with PEFT's save_pretrained")
        return {}
    try:
        entries = read_header(folder / WEIGHTS)
    except Damaged as error:
        faults.append(f"{WEIGHTS} is damaged: {error}; fetch it anew")
        return {}
    found: dict[tuple[str, str], Entry] = {}
    strange = []
    for name, entry in entries.items():
        named = _NAME.fullmatch(name)
        if named is None or len(entry.shape) != 2 or entry.code not in DTYPES:
            strange.append(f"{name} ({entry.code} {list(entry.shape)})")
        else:
            found[named["module"], named["part"]] = entry
    if strange:
        faults.append(f"{len(strange)} of its tensors are no adapter's of a projection: {_listed(strange)}")
    return found


def load_adapter(
    folder: AdapterFolder, config: ModelConfig, mesh: Mesh, base: str = "the base"
) -> tuple[LoraConfig, Any]:
    """Reads an adapter onto a mesh.

    Args:
      folder: from `read_adapter`.
      config: the base's model.
      mesh: where its parameters go.
      base: what to call the base in an error.

    Returns:
      The adapter's settings with its targets, and its parameters as `flan_jax.models.lora.parts` shapes them.

    Raises:
      UserError: it is an adapter for another base: modules that this one has not, or of other shapes, listed.
    """
    kernels = {place.tensor.removesuffix(".weight"): place for place in _kernels(config)}
    faults = _misfits(folder, kernels)
    modules: dict[str, list[bool]] = {}
    for module, place in kernels.items():
        there = (module, "A") in folder.tensors
        modules.setdefault(".".join(place.path[:-1]), []).append(there)
    partly = [name for name, layers in modules.items() if any(layers) and not all(layers)]
    if not faults and partly:
        faults.append(f"only some layers of {_listed(partly)} have an adapter, which is not supported")
    if faults:
        raise UserError(f"the adapter in {folder.path} is for another model than {base}: " + "; ".join(faults))
    lora = dataclasses.replace(folder.lora, targets=tuple(name for name, layers in modules.items() if all(layers)))
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

    return lora, nnx.from_flat_state([(path, fill(path, leaf)) for path, leaf in nnx.to_flat_state(shapes)])


def _misfits(folder: AdapterFolder, kernels: Mapping[str, Placement]) -> list[str]:
    unknown = sorted({module for module, _ in folder.tensors if module not in kernels})
    faults = [f"it has no {_listed(unknown)}"] if unknown else []
    misshapen = []
    for (module, part), entry in folder.tensors.items():
        if module not in kernels:
            continue
        outputs, inputs = kernels[module].file_shape
        wanted = (folder.lora.rank, inputs) if part == "A" else (outputs, folder.lora.rank)
        if entry.shape != wanted:
            misshapen.append(f"{module}.lora_{part} is {list(entry.shape)}, wanted {list(wanted)}")
        if (module, "BA"["AB".index(part)]) not in folder.tensors:
            misshapen.append(f"{module} has lora_{part} alone")
    return faults + ([_listed(misshapen)] if misshapen else [])


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


def _kernels(config: ModelConfig) -> list[Placement]:
    return [place for place in placements(config) if place.path[-1] == "kernel"]


def _adapter_placements(config: ModelConfig, lora: LoraConfig) -> list[Placement]:
    """Both tensors of each adapted projection of each layer."""
    found, chosen = [], lora.modules(config)
    for place in _kernels(config):
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
    every = [place.tensor.removesuffix(".weight") for place in _kernels(config)]
    chosen = [p.tensor.removeprefix(_PREFIX).rsplit(".lora_", 1)[0] for p in _adapter_placements(config, lora)]
    short = sorted({name.rpartition(".")[2] for name in chosen})
    meant = {name for name in every if name.rpartition(".")[2] in short}
    return short if meant == set(chosen) else list(dict.fromkeys(chosen))


def _whole(array: jax.Array) -> np.ndarray:
    if array.is_fully_addressable:
        return np.asarray(array, np.float32)
    return np.asarray(multihost_utils.process_allgather(array.astype(jnp.float32), tiled=True))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
