"""Parameters on a mesh into a Hugging Face folder, one tensor in memory at a time."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils

from flan_jax.errors import UserError
from flan_jax.files import atomic
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face.folder import CONFIG, INDEX, WEIGHTS
from flan_jax.models.hugging_face.names import Placement, placements
from flan_jax.models.hugging_face.safetensors_file import CODES, DTYPES, write

SHARD_BYTES = 5_000_000_000
Layout = Mapping[str, str]


def save_folder(
    path: str | pathlib.Path,
    params: Any,
    config: ModelConfig,
    raw: Mapping[str, Any],
    *,
    dtype: str | None = "float32",
    layout: Layout | None = None,
    scales: Mapping[tuple[str, ...], float] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> list[pathlib.Path]:
    """Writes config.json and the weights; every process of a run calls it, the first one writes.

    Args:
      path: the folder; made where it is missing.
      params: as `load_params` gives them, on any mesh.
      config: the model.
      raw: its config.json, of the folder that it came from or from `expressing.config_json`.
      dtype: what the weights are written in, a key of `safetensors_file.CODES`; None: each tensor as in `layout`.
      layout: the type of each tensor in the folder that the model came from; its copies of tied tensors are written
        again, so that the same names come out.
      scales: factors of parameters by their path, where the family computes without a scale of ours.
      shard_bytes: the most bytes of one file.

    Returns:
      The files written.

    Raises:
      UserError: the folder holds a model already, or is no folder.
    """
    folder = pathlib.Path(path)
    layout = layout or {}
    places = _with_copies(placements(config), layout)
    codes = {place.tensor: CODES[dtype] if dtype else layout.get(place.tensor, "F32") for place in places}
    files = _sharded(places, codes, shard_bytes)
    first = jax.process_index() == 0
    if first:
        check_empty(folder)
        folder.mkdir(parents=True, exist_ok=True)
    leaves = dict(nnx.to_flat_state(params))
    for name, part in files.items():
        values = _tensors(part, leaves, scales or {})
        if first:
            write(folder / name, {place.tensor: (codes[place.tensor], place.file_shape) for place in part}, values)
        else:
            for _ in values:  # gathering takes every process
                pass
    if first:
        _write_index(folder, files, codes)
        atomic.write_text(folder / CONFIG, json.dumps(_with_dtype(raw, codes, layout), indent=2) + "\n")
    return [folder / name for name in files]


def check_empty(folder: pathlib.Path) -> None:
    """Refuses a folder with anything in it, which would mix two models.

    Raises:
      UserError: there is something.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} is there already and not an empty folder; name a new one")


def _with_copies(places: Sequence[Placement], layout: Layout) -> list[Placement]:
    """The tensors to write: ours, under the names, with the copies and in the order of the original folder."""
    order = {name: i for i, name in enumerate(layout)}
    named: list[Placement] = []
    for place in places:
        names = [name for name in (place.tensor, *place.aliases) if name in layout] or [place.tensor]
        named += [dataclasses.replace(place, tensor=name, aliases=()) for name in names]
    return sorted(named, key=lambda place: order.get(place.tensor, len(order)))


def _sharded(places: Sequence[Placement], codes: Layout, most: int) -> dict[str, list[Placement]]:
    """Cuts the tensors, in their order, into files of at most so many bytes."""
    parts: list[list[Placement]] = [[]]
    held = 0
    for place in places:
        size = int(np.prod(place.file_shape)) * DTYPES[codes[place.tensor]].itemsize
        if parts[-1] and held + size > most:
            parts.append([])
            held = 0
        parts[-1].append(place)
        held += size
    if len(parts) == 1:
        return {WEIGHTS: parts[0]}
    return {f"model-{i + 1:05}-of-{len(parts):05}.safetensors": part for i, part in enumerate(parts)}


def _write_index(folder: pathlib.Path, files: Mapping[str, Sequence[Placement]], codes: Layout) -> None:
    if list(files) == [WEIGHTS]:
        return
    sizes = [
        int(np.prod(place.file_shape)) * DTYPES[codes[place.tensor]].itemsize
        for part in files.values()
        for place in part
    ]
    weight_map = {place.tensor: name for name, part in files.items() for place in part}
    atomic.write_json(folder / INDEX, {"metadata": {"total_size": sum(sizes)}, "weight_map": weight_map})


def _with_dtype(raw: Mapping[str, Any], codes: Layout, layout: Layout) -> dict[str, Any]:
    """config.json naming the type that most tensors have now, under the name that the file uses."""
    if not any(codes[name] != layout.get(name, "") for name in codes):
        return dict(raw)
    names = {code: name for name, code in CODES.items()}
    written = list(codes.values())
    common = names[max(set(written), key=written.count)]
    key = "torch_dtype" if "torch_dtype" in raw else "dtype"
    return {**raw, key: common}


def _tensors(
    places: Sequence[Placement], leaves: Mapping[tuple[Any, ...], Any], scales: Mapping[tuple[str, ...], float]
) -> Iterator[np.ndarray]:
    """Gathers tensors one by one, in the file's layout."""
    for place in places:
        leaf = leaves[place.path].get_value()
        array = leaf if place.layer is None else _layer(leaf, np.int32(place.layer))
        if array.is_fully_addressable:
            here = np.asarray(array)
        else:
            here = np.asarray(multihost_utils.process_allgather(array, tiled=True))
        del array
        if place.path in scales:
            here = here * np.asarray(scales[place.path], here.dtype)
        yield place.to_file(here)


@jax.jit
def _layer(stack: jax.Array, at: jax.Array) -> jax.Array:
    return jax.lax.dynamic_index_in_dim(stack, at, 0, keepdims=False)
