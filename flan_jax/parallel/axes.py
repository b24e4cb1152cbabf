"""Logical axes: what a dimension means, and over which axes of the mesh it is split.

Modules name the dimensions of their parameters and activations ("embed", "mlp", ...), and batches theirs;
`rules.LOGICAL_RULES` says where each name goes.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
from flax import nnx
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from flan_jax.parallel.rules import LOGICAL_RULES, Rule

_T = TypeVar("_T")


def spec(*axes: str | None, rules: Mapping[str, Rule] = LOGICAL_RULES) -> PartitionSpec:
    """Translates logical axes into a partition spec.

    A mesh axis is used once: where two dimensions ask for it the first one gets it. So an activation's "embed", which
    follows "batch", stays whole while a kernel's "embed" is split.

    Args:
      *axes: a logical name for each dimension; None keeps the dimension whole.
      rules: from logical names to mesh axes.

    Raises:
      KeyError: on a name that the rules lack.

    >>> tuple(spec("vocab", "embed"))
    ('tensor', 'fsdp')
    >>> tuple(spec("batch", "length", "embed"))
    (('data', 'fsdp'), None, None)
    """
    entries: list[Rule] = []
    taken: set[str] = set()
    for axis in axes:
        rule = rules[axis] if axis is not None else None
        names = tuple(name for name in mesh_axes(rule) if name not in taken)
        taken.update(names)
        entries.append(names if len(names) > 1 else names[0] if names else None)
    return PartitionSpec(*entries)


def fitted_spec(shape: tuple[int, ...], axes: tuple[str | None, ...], mesh: Mesh | AbstractMesh) -> PartitionSpec:
    """A partition spec for one array on one mesh: as `spec`, less the mesh axes that do not divide a dimension.

    Args:
      shape: the array's shape. Dimensions in front of those named by `axes` are the stacked layers.
      axes: logical names of the trailing dimensions.
      mesh: the mesh; rules for axes it lacks are passed over.
    """
    stacked = ("layers",) * (len(shape) - len(axes))
    entries: list[Rule] = []
    for size, entry in zip(shape, spec(*stacked, *axes), strict=True):
        names = tuple(name for name in mesh_axes(entry) if name in mesh.axis_names)
        while size % ways(names, mesh):
            names = names[:-1]
        entries.append(names if len(names) > 1 else names[0] if names else None)
    return PartitionSpec(*entries)


def mesh_axes(*entries: Rule) -> tuple[str, ...]:
    """The mesh axes that entries of a partition spec name.

    >>> mesh_axes(("data", "fsdp"), None, "tensor")
    ('data', 'fsdp', 'tensor')
    """
    return tuple(name for entry in entries for name in ((entry,) if isinstance(entry, str) else entry or ()))


def ways(entry: Rule, mesh: Mesh | AbstractMesh) -> int:
    """Into how many parts an entry of a partition spec cuts a dimension; 1 where the mesh has none of its axes."""
    return math.prod(mesh.shape.get(name, 1) for name in mesh_axes(entry))


def shard(x: jax.Array, *axes: str | None) -> jax.Array:
    """Constrains an activation to its logical axes; does nothing where no mesh is set (`jax.set_mesh`).

    Without such constraints the compiler has been seen to keep ten times the memory that a step needs.

    Args:
      x: an array with as many dimensions as there are axes.
      *axes: a logical name, or None, for each dimension.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, fitted_spec(x.shape, axes, mesh))


def sharding_of(params: _T, mesh: Mesh) -> _T:
    """The sharding of every parameter, from the `axes` that each `nnx.Param` carries.

    Args:
      params: an `nnx.State` (or any pytree) of `nnx.Param`s, real or abstract. Leaves with more dimensions than axes
        are stacked layers.
      mesh: the mesh to place them on.

    Returns:
      The same tree with a `NamedSharding` in each Param. A dimension that its mesh axes do not divide stays whole;
      `left_whole` lists those.
    """

    def one(param: Any) -> Any:
        return param.replace(NamedSharding(mesh, fitted_spec(param.get_value().shape, param.axes, mesh)))

    return jax.tree.map(one, params, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))


def left_whole(params: Any, mesh: Mesh) -> list[str]:
    """Says which dimensions the rules would split but the mesh does not divide, a sentence each.

    Args:
      params: as for `sharding_of`.
      mesh: as for `sharding_of`.
    """
    sentences = []
    leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    for path, param in leaves:
        shape = param.get_value().shape
        stacked = ("layers",) * (len(shape) - len(param.axes))
        names = (*stacked, *param.axes)
        wanted, got = spec(*names), fitted_spec(shape, param.axes, mesh)
        for size, name, want, have in zip(shape, names, wanted, got, strict=True):
            over = ways(want, mesh)
            if over > 1 and want != have:
                sentences.append(f"{jax.tree_util.keystr(path)}: {name} {size} is not a multiple of {over} ({want})")
    return sentences
