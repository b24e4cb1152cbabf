"""Folders of PEFT's kind, adapter_config.json and adapter_model.safetensors, looked at before anything is loaded.

`peft_params` reads their tensors into our adapters and writes them.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError, together
from flan_jax.files.typed_json import COUNT, FLAG, NUMBER, POSITIVE, WORD, Kind, typed
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face.names import Placement, placements
from flan_jax.models.hugging_face.safetensors_file import DTYPES, Damaged, Entry, read_header
from flan_jax.models.lora_config import LoraConfig
from flan_jax.text.tokenizer_fields import read_json

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_SHOWN = 6
_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight")
KINDS: dict[str, Kind] = {
    "peft_type": WORD,
    "r": COUNT,
    "lora_alpha": POSITIVE,
    "lora_dropout": Kind("a number of at least 0 and less than 1", lambda value: NUMBER.fits(value) and 0 <= value < 1),
    "use_rslora": FLAG,
    "base_model_name_or_path": WORD,
}
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
      lora: its settings; the targets follow once the base is known (`fitted`).
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
    said = raw
    raw, faults = typed(said, KINDS)
    if said.get("peft_type") != "LORA":
        raise UserError(f"{folder / CONFIG} has peft_type {said.get('peft_type')!r}, of which only 'LORA' is supported")
    faults += [
        f"{name} is {raw[name]!r}, which is not supported"
        for name, plain in _PLAIN.items()
        if name in raw and raw[name] not in plain
    ]
    for name in ("r", "lora_alpha"):
        if said.get(name) is None:
            faults.append(f"it has no {name}, wanted {KINDS[name].words}")
    tensors = _tensors_of(folder, faults)
    if faults:
        raise UserError(together(faults, f"the adapter in {folder} cannot be used"))
    lora = LoraConfig(
        rank=raw["r"],
        alpha=float(raw["lora_alpha"]),
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
    except OSError as error:
        faults.append(f"{WEIGHTS} cannot be read: {error.strerror}")
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


def base_of(folder: AdapterFolder) -> str:
    """The folder of an adapter's base, by what its config says.

    Raises:
      UserError: that is no folder here.
    """
    named = folder.base or ""
    for place in (named, folder.path / named):
        if named and os.path.isdir(place):
            return str(place)
    raise UserError(
        f"the adapter in {folder.path} names {named!r} as its base, which is no folder here; name that folder "
        f"with --init_from and the adapter with --gin.Lora.init_from=\"'{folder.path}'\", or give --base to `import`"
    )


def fitted(folder: AdapterFolder, config: ModelConfig, base: str = "the base") -> LoraConfig:
    """An adapter's settings with its targets in a model.

    Args:
      folder: from `read_adapter`.
      config: the base's model.
      base: what to call the base in an error.

    Raises:
      UserError: it is an adapter for another base: modules that this one has not, or of other shapes, listed.
    """
    there = {place.tensor.removesuffix(".weight"): place for place in kernels(config)}
    faults = _misfits(folder, there)
    modules: dict[str, list[bool]] = {}
    for module, place in there.items():
        modules.setdefault(".".join(place.path[:-1]), []).append((module, "A") in folder.tensors)
    partly = [name for name, layers in modules.items() if any(layers) and not all(layers)]
    if not faults and partly:
        faults.append(f"only some layers of {_listed(partly)} have an adapter, which is not supported")
    if faults:
        raise UserError(together(faults, f"the adapter in {folder.path} is for another model than {base}"))
    return dataclasses.replace(folder.lora, targets=tuple(name for name, layers in modules.items() if all(layers)))


def kernels(config: ModelConfig) -> list[Placement]:
    """The tensors of a model's projections."""
    return [place for place in placements(config) if place.path[-1] == "kernel"]


def _misfits(folder: AdapterFolder, there: Mapping[str, Placement]) -> list[str]:
    unknown = sorted({module for module, _ in folder.tensors if module not in there})
    faults = [f"it has no {_listed(unknown)}"] if unknown else []
    misshapen = []
    for (module, part), entry in folder.tensors.items():
        if module not in there:
            continue
        outputs, inputs = there[module].file_shape
        wanted = (folder.lora.rank, inputs) if part == "A" else (outputs, folder.lora.rank)
        if entry.shape != wanted:
            misshapen.append(f"{module}.lora_{part} is {list(entry.shape)}, wanted {list(wanted)}")
        if (module, "BA"["AB".index(part)]) not in folder.tensors:
            misshapen.append(f"{module} has lora_{part} alone")
    return faults + ([_listed(misshapen)] if misshapen else [])


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
