"""Tensors from files into arrays that lie on a mesh, one at a time.

A stack's parameter is made empty where it will lie; then each layer's tensor is read, slice by slice as the devices of
this process want it, and written into it in place. So beside the model itself the host holds one tensor.
"""

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.errors import UserError, together
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face.folder import Folder, read_folder
from flan_jax.models.hugging_face.matching import match
from flan_jax.models.hugging_face.names import Placement, placements
from flan_jax.models.hugging_face.safetensors_file import opened
from flan_jax.models.model import abstract_model
from flan_jax.parallel.axes import sharding_of
from flan_jax.parallel.mesh import make_mesh

_BLOCK = 128

Opener = Callable[[Placement], AbstractContextManager[np.ndarray]]


def load_params(folder: Folder | str, config: ModelConfig | None = None, mesh: Mesh | None = None) -> Any:
    """Reads a folder's weights.

    Args:
      folder: from `read_folder`, or its path.
      config: the folder's model with other settings of how it computes (`dtype`, `param_dtype`, `remat`, …); by
        default the folder's own.
      mesh: where the parameters are to lie; by default on the first device alone.

    Returns:
      An `nnx.State` as `nnx.split(model, nnx.Param)[1]` gives, each array in `config.param_dtype`.

    Raises:
      UserError: the folder is faulty (`read_folder`), or `config` has other tensors than it.
    """
    return nnx.from_flat_state(list(load_leaves(folder, config, mesh)))


def load_leaves(
    folder: Folder | str, config: ModelConfig | None = None, mesh: Mesh | None = None
) -> Iterator[tuple[Any, nnx.Param]]:
    """As `load_params`, parameter by parameter, for those who need not hold all of them in this form.

    Yields:
      The path of each parameter, and the parameter.
    """
    folder = folder if isinstance(folder, Folder) else read_folder(folder)
    config = config or folder.model
    places, faults = match(placements(config), folder.tensors, "the model's settings")
    if faults:
        raise UserError(together(faults, f"{folder.path} holds another model than MODEL and Model.… ask for"))

    @contextmanager
    def read(place: Placement) -> Iterator[np.ndarray]:
        with opened(folder.tensors[place.tensor]) as array:
            yield array

    yield from _placed_leaves(places, read, config, mesh)


def place_params(placements: Iterable[Placement], read: Opener, config: ModelConfig, mesh: Mesh | None = None) -> Any:
    """Brings tensors into a model's parameters.

    Args:
      placements: every tensor of the model; those of one parameter need not be neighbours.
      read: opens a tensor in the file's layout; its array is only used while it is open.
      config: the model.
      mesh: as for `load_params`.

    Returns:
      An `nnx.State` of parameters.
    """
    return nnx.from_flat_state(list(_placed_leaves(placements, read, config, mesh)))


def _placed_leaves(
    placements: Iterable[Placement], read: Opener, config: ModelConfig, mesh: Mesh | None
) -> Iterator[tuple[Any, nnx.Param]]:
    if mesh is None:
        mesh = make_mesh(devices=jax.devices()[:1])
    abstract = nnx.split(abstract_model(config), nnx.Param)[1]
    by_path: dict[tuple[Any, ...], list[Placement]] = {}
    for place in placements:
        by_path.setdefault(place.path, []).append(place)
    shardings = dict(nnx.to_flat_state(sharding_of(abstract, mesh)))

    for path, leaf in nnx.to_flat_state(abstract):
        shape, sharding = leaf.get_value(), shardings[path].get_value()
        yield path, leaf.replace(_filled(by_path[path], read, shape.shape, shape.dtype, sharding))


def _filled(places: list[Placement], read: Opener, shape: tuple[int, ...], dtype: Any, sharding: NamedSharding) -> Any:
    """One parameter out of the tensors of its layers."""
    if places[0].layer is None:
        return _cast(dtype, sharding)(_tensor(places[0], read, sharding))
    layer_sharding = NamedSharding(sharding.mesh, PartitionSpec(*tuple(sharding.spec)[1:]))
    stack = _empty(shape, jnp.dtype(dtype), sharding)()
    write = _writer(sharding)
    for place in places:
        assert place.shape == shape[1:], (place, shape)
        stack = write(stack, _tensor(place, read, layer_sharding), np.int32(place.layer or 0))
        stack.block_until_ready()  # or layers that were read would wait in memory
    return stack


def _tensor(place: Placement, read: Opener, sharding: NamedSharding) -> jax.Array:
    """A tensor as an array of our layout in the file's type; each process reads the slices of its own devices."""
    with read(place) as array:
        ours = place.to_ours(array)
        slices: dict[str, np.ndarray] = {}

        def cut(index: Any) -> np.ndarray:
            # Devices with the same slice share one copy; a copy, so that no array points into the file.
            key = str(index)
            if key not in slices:
                slices[key] = _copied(ours[index], place.inputs)
            return slices[key]

        placed = jax.make_array_from_callback(place.shape, sharding, cut)
        placed.block_until_ready()
        return placed


def _copied(view: np.ndarray, inputs: int) -> np.ndarray:
    """A copy in memory's order; one that turns rows into columns goes block by block, five times as fast as at once."""
    if not inputs:
        return np.array(view, order="C")
    out = np.empty(view.shape, view.dtype)
    step = max(1, _BLOCK // math.prod(view.shape[inputs + 1 :]))
    for start in range(0, view.shape[inputs], step):
        block = (slice(None),) * inputs + (slice(start, start + step),)
        out[block] = view[block]
    return out


@functools.lru_cache(maxsize=64)
def _empty(shape: tuple[int, ...], dtype: Any, sharding: NamedSharding) -> Any:
    return jax.jit(lambda: jnp.zeros(shape, dtype), out_shardings=sharding)


@functools.lru_cache(maxsize=64)
def _writer(sharding: NamedSharding) -> Any:
    def write(stack: jax.Array, layer: jax.Array, at: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_index_in_dim(stack, layer.astype(stack.dtype), at, 0)

    return jax.jit(write, donate_argnums=0, out_shardings=sharding)


@functools.lru_cache(maxsize=64)
def _cast(dtype: Any, sharding: NamedSharding) -> Any:
    return jax.jit(lambda array: array.astype(dtype), donate_argnums=0, out_shardings=sharding)
