"""The mesh of devices and the split of a batch over it."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding

from flan_jax.errors import UserError, nearest
from flan_jax.parallel.axes import mesh_axes, spec, ways
from flan_jax.parallel.rules import DEFAULT_SHAPE, LOGICAL_RULES, MESH_AXES


def make_mesh(shape: Mapping[str, int] = DEFAULT_SHAPE, devices: Sequence[Any] | None = None) -> Mesh:
    """Lays the devices out as a mesh of "data" by "fsdp" by "tensor".

    Args:
      shape: the size of each mesh axis; axes that are left out have size 1, and one size may be -1: all the rest.
      devices: the devices of all hosts; `jax.devices()` by default.

    Returns:
      A mesh whose axes the compiler may use freely (GSPMD, axis type Auto).

    Raises:
      UserError: on an unknown axis, on sizes that are not 1 or more, or when the sizes do not multiply to the devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    for name in shape:
        if name not in MESH_AXES:
            raise UserError(
                f"The mesh has no axis {name!r}; its axes are {', '.join(MESH_AXES)}{nearest(name, MESH_AXES)}"
            )
    sizes = [shape.get(name, 1) for name in MESH_AXES]
    shown = " x ".join(f"{name} {size}" for name, size in zip(MESH_AXES, sizes, strict=True))
    if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
        raise UserError(
            f"The mesh {shown} needs sizes of 1 or more, at most one of them -1 (all the rest); change MESH."
        )
    known = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and len(devices) % known == 0:
        sizes[sizes.index(-1)] = len(devices) // known
    if -1 in sizes or math.prod(sizes) != len(devices):
        relation = "does not divide" if -1 in sizes else "is not"
        raise UserError(
            f"The mesh {shown} asks for {known} devices, which {relation} the {len(devices)} at hand; "
            "change the sizes in MESH (-1 takes what is left) or the number of devices."
        )
    return jax.make_mesh(sizes, MESH_AXES, axis_types=(AxisType.Auto,) * len(sizes), devices=devices)


def check_batch(batch_size: int, microbatches: int, mesh: Mesh, setting: str = "BATCH_SIZE") -> None:
    """Refuses a global batch that the mesh and the accumulation cannot split evenly.

    Args:
      batch_size: rows of a step, over all hosts.
      microbatches: parts that a step's gradient is accumulated over.
      mesh: the mesh of the run.
      setting: what says the batch, for the error.

    Raises:
      UserError: names the batch, its parts and the nearest sizes that would do.
    """
    devices, axes = row_ways(mesh), " x ".join(mesh_axes(LOGICAL_RULES["batch"]))
    parts = devices * microbatches
    if batch_size < 1 or microbatches < 1 or batch_size % parts:
        below = batch_size // max(parts, 1) * parts
        advice = f"{below} or {below + parts}" if below > 0 else f"{parts}"
        raise UserError(
            f"A batch of {batch_size} rows cannot be split into {microbatches} microbatches over {devices} devices "
            f"({axes}): set {setting} to a multiple of {parts}, such as {advice}, or change MESH or "
            "MICROBATCHES."
        )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch's arrays [B, L]."""
    return NamedSharding(mesh, spec("batch", "length"))


def row_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays [B, ...] of which only the rows are split."""
    return NamedSharding(mesh, spec("batch"))


def row_ways(mesh: Mesh) -> int:
    """Into how many parts the rows of a batch are cut."""
    return ways(LOGICAL_RULES["batch"], mesh)


def local_rows(batch_size: int, mesh: Mesh) -> range:
    """Which rows of the global batch this host's devices hold; the host loads these and no others.

    Args:
      batch_size: B, rows of the global batch.
      mesh: the mesh; hosts that only differ along an axis that rows are not split over hold the same rows.
    """
    here = row_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    spans = [rows[0].indices(batch_size) for rows in here if rows is not None]
    return range(min(start for start, _, _ in spans), max(stop for _, stop, _ in spans))


def compiler_options(mesh: Mesh, level: int) -> dict[str, int] | None:
    """Options of `jax.jit` with which XLA compiles a program for CPU sooner; None elsewhere: its own.

    By default it optimises code for CPUs at level 3. On two cores, at level 2 a step compiles in 0.8 of the time and
    takes as long, and at level 1 the drawing of parameters compiles in half; the numbers are the same.

    Args:
      mesh: what the program runs on.
      level: XLA's `xla_backend_optimization_level`, which XLA_FLAGS may set instead.
    """
    flag = "xla_backend_optimization_level"
    if mesh.devices.flat[0].platform != "cpu" or flag in os.environ.get("XLA_FLAGS", ""):
        return None
    return {flag: level}


def current_platform() -> str:
    """What the program being traced will run on, "cpu", "gpu" or "tpu": the current mesh's devices, or JAX's default.

    A mesh may be of a machine that is not here (`flan_jax.parallel.ahead`).

    >>> current_platform() in ("cpu", "gpu", "tpu")
    True
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    platform = jax.default_backend() if device is None else device.platform
    return "gpu" if platform in ("cuda", "rocm") else platform
