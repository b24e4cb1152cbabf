"""Logical axes: what a dimension means, and over which axes of the mesh it is split.

Modules name the dimensions of their parameters and activations ("embed", "mlp", ...); `LOGICAL_RULES` says where each
name goes. Nothing else in the package knows the mesh's axes, so a new layout is a change of this table.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
from flax import nnx
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

Rule = str | tuple[str, ...] | None

LOGICAL_RULES: dict[str, Rule] = {
    "batch": ("data", "fsdp"),
    "length": None,
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "vocab": "tensor",
    "layers": None,
}

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
        names = (rule,) if isinstance(rule, str) else tuple(rule or ())
        names = tuple(name for name in names if name not in taken)
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
        names = (entry,) if isinstance(entry, str) else tuple(entry or ())
        names = tuple(name for name in names if name in mesh.axis_names)
        while names and size % math.prod(mesh.shape[name] for name in names):
            names = names[:-1]
        entries.append(names if len(names) > 1 else names[0] if names else None)
    return PartitionSpec(*entries)


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
            over = math.prod(mesh.shape.get(axis, 1) for axis in ((want,) if isinstance(want, str) else want or ()))
            if over > 1 and want != have:
                sentences.append(f"{jax.tree_util.keystr(path)}: {name} {size} is not a multiple of {over} ({want})")
    return sentences
