"""Checkpoints of T5X as they were published: a msgpack file `checkpoint` and a zarr array for each parameter.

    checkpoint_1000000/
      checkpoint                                              the tree, with the place of each array
      target.encoder.layers_0.attention.query.kernel/         zarr, [embed, heads * head_dim]
      state.param_states....                                  the optimiser's, not read

The folder holds no config and no vocabulary: the model is that of MODEL. Layers are told apart by name (`layers_0`,
`layers_1`, …); a checkpoint of scanned layers, which has them in one array, is refused.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from flan_jax.errors import UserError, together
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face.matching import match
from flan_jax.models.hugging_face.names import Placement, t5x_placements
from flan_jax.models.hugging_face.safetensors_file import CODES

if TYPE_CHECKING:
    from jax.sharding import Mesh

TREE = "checkpoint"
_PREFIX = "target."
_ARRAY = ".zarray"
_DTYPES = {"<f4": "float32", "<f2": "float16", "bfloat16": "bfloat16"}


@dataclasses.dataclass(frozen=True)
class Array:
    """One zarr array: its folder, shape and type."""

    folder: pathlib.Path
    shape: tuple[int, ...]
    code: str


def is_checkpoint(path: str | pathlib.Path) -> bool:
    """Whether a path is a checkpoint's folder of T5X's kind."""
    folder = pathlib.Path(path)
    return (folder / TREE).is_file() and any(folder.glob(f"{_PREFIX}*"))


def load_params(path: str | pathlib.Path, config: ModelConfig, mesh: "Mesh | None" = None) -> Any:
    """Reads a checkpoint's parameters, array by array.

    Args:
      path: the checkpoint's folder.
      config: the model; what T5X trained has `scale_attention` False.
      mesh: where the parameters are to lie; see `placing.load_params`.

    Returns:
      An `nnx.State`, as `placing.load_params`.

    Raises:
      UserError: the model is not one that T5X has, or the checkpoint has other parameters than it, all told at once.
    """
    from flan_jax.models.hugging_face.placing import place_params

    folder = pathlib.Path(path)
    _check_model(config, folder)
    arrays = read_arrays(folder)
    places, faults = match(t5x_placements(config), arrays, "MODEL")
    if any(".layers." in name or name.endswith(".layers") for name in arrays):
        faults = ["its layers are scanned (one array for all); save it with unscanned layers", *faults]
    if faults:
        raise UserError(together(faults, f"{folder} cannot be loaded as a T5X checkpoint"))

    @contextmanager
    def read(place: Placement) -> Iterator[np.ndarray]:
        yield _read(arrays[place.tensor].folder)

    return place_params(places, read, config, mesh)


def _check_model(config: ModelConfig, folder: pathlib.Path) -> None:
    needs = {
        "architecture": "encoder_decoder",
        "relative_bias": "shared",
        "norm_placement": "before",
        "qk_norm": "none",
        "attention_bias": False,
        "attention_out_bias": False,
        "num_kv_heads": (0, config.num_heads),
    }
    faults = []
    for name, wanted in needs.items():
        value, allowed = getattr(config, name), wanted if isinstance(wanted, tuple) else (wanted,)
        if value not in allowed:
            faults.append(f"Model.{name} is {value!r}, wanted {allowed[0]!r}")
    if faults:
        raise UserError(together(faults, f"{folder} is a T5X checkpoint, which MODEL does not fit"))


def read_arrays(folder: pathlib.Path) -> dict[str, Array]:
    """The parameters of a checkpoint by their name below `target.`; nothing is read of them yet.

    Raises:
      UserError: an array's description is damaged.
    """
    found = {}
    for place in sorted(folder.glob(f"{_PREFIX}*")):
        try:
            about = json.loads((place / _ARRAY).read_bytes())
            code = CODES.get(_DTYPES.get(about["dtype"], ""), about["dtype"])
            found[place.name.removeprefix(_PREFIX)] = Array(place, tuple(about["shape"]), code)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{place / _ARRAY} cannot be read ({error}); fetch the checkpoint anew") from None
    return found


def _read(place: pathlib.Path) -> np.ndarray:
    import tensorstore

    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(place.absolute())}}
    try:
        return tensorstore.open(spec, read=True).result().read().result()
    except ValueError as error:
        raise UserError(f"{place} cannot be read ({str(error).splitlines()[0][:200]}); fetch it anew") from None
