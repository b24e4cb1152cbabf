"""The layout of every run, as tables: the mesh's axes, and over which of them each logical axis is split.

Nothing else in the package knows the mesh's axes, so a new layout is a change of these tables.
"""

from collections.abc import Mapping

Rule = str | tuple[str, ...] | None

MESH_AXES = ("data", "fsdp", "tensor")
DEFAULT_SHAPE: Mapping[str, int] = {"data": 1, "fsdp": -1}

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
