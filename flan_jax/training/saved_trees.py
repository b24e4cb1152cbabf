"""Trees of arrays as checkpoints hold them: nested dictionaries by the names along a leaf's path, no Python class."""

import itertools
from typing import Any

import jax
import numpy as np

from flan_jax.training.parameter_names import path_names


def _named(tree: Any) -> dict[tuple[str, ...], Any]:
    return {path_names(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def nested(tree: Any, change: Any = lambda leaf: leaf) -> dict[str, Any]:
    """Any tree as nested dictionaries by the names along its paths: what is saved knows no Python class."""
    nested: dict[str, Any] = {}
    for names, leaf in _named(tree).items():
        inner = nested
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
        inner[names[-1]] = change(leaf)
    return nested


def placed(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape and sharding that a leaf is read into; the first device's where it names none."""
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def in_shape_of(tree: Any, nested: Any) -> Any:
    """The values of nested dictionaries in the shape of `tree`; the inverse of `_nested`."""
    values = _named(nested)
    return jax.tree_util.tree_map_with_path(lambda path, _: values[path_names(path)], tree)


def differences(saved: Any, wanted: Any, item: str) -> list[str]:
    """How the leaves of a saved item and those of a run differ, a phrase each."""
    there = {names: (tuple(leaf.shape), np.dtype(leaf.dtype).name) for names, leaf in _named(_tree(saved)).items()}
    here = {names: (tuple(leaf.shape), np.dtype(leaf.dtype).name) for names, leaf in _named(wanted).items()}
    changed, saved_alone, run_alone = [], [], []
    for names in sorted(there.keys() | here.keys()):
        name = "/".join((item, *names))
        if names not in here:
            saved_alone.append(f"{name} {_shown(there[names])} is in the checkpoint alone")
        elif names not in there:
            run_alone.append(f"{name} {_shown(here[names])} is in this run alone")
        elif there[names] != here[names]:
            changed.append(f"{name} is {_shown(there[names])} in the checkpoint and {_shown(here[names])} in this run")
    # Of each kind some, as only the first ones are shown.
    alone = [phrase for pair in itertools.zip_longest(saved_alone, run_alone) for phrase in pair if phrase]
    return changed + alone


def _tree(metadata: Any) -> Any:
    return getattr(metadata, "tree", metadata)


def _shown(shape_and_type: tuple[tuple[int, ...], str]) -> str:
    return f"{shape_and_type[1]}{list(shape_and_type[0])}"
