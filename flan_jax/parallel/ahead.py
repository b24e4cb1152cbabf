"""Programs compiled for a machine that is not here.

A TPU's compiler runs on any machine, with the real topology: whether a step compiles, and the memory it needs on each
chip, are known before the pod is paid for. Needs the extra `tpu-aot` (libtpu).

    report = compile_in_child("my_pkg.programs:step", {"config": "xl"}, topology="v5e:4x4", mesh_shape={"fsdp": -1})

A *program* is a function (mesh, **arguments) -> (jitted function, its abstract arguments). Under a topology's mesh
nothing may run, only be lowered: build parameters with `abstract_model` and give each `jax.ShapeDtypeStruct` its
sharding.
"""

import dataclasses
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from flan_jax import child_process
from flan_jax.errors import UserError, nearest
from flan_jax.parallel.mesh import make_mesh
from flan_jax.parallel.rules import DEFAULT_SHAPE

# JAX itself stays on the CPU, no metadata server is asked, and one machine may load several compilers at a time.
CHILD_ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
_MARK = "flan_jax ahead report: "


@dataclasses.dataclass(frozen=True)
class AheadReport:
    """What the compiler said of one program. Sizes are bytes on each chip.

    Attributes:
      compiles: whether there is a program; what follows is 0 where there is not.
      error: why not, in the compiler's words (out of memory names its gigabytes).
      seconds: what lowering and compiling took.
      chips: devices in the mesh.
      argument_bytes: what is passed in: state and batch.
      output_bytes: what comes out.
      alias_bytes: the part of the output that takes the place of donated arguments.
      temp_bytes: what is needed in between.
      peak_bytes: the most held at a time, arguments included.
    """

    compiles: bool
    error: str = ""
    seconds: float = 0.0
    chips: int = 0
    argument_bytes: int = 0
    output_bytes: int = 0
    alias_bytes: int = 0
    temp_bytes: int = 0
    peak_bytes: int = 0


def topology_mesh(name: str, shape: Mapping[str, int] = DEFAULT_SHAPE, *, slices: int = 1) -> Mesh:
    """A mesh over the chips of a TPU topology that this machine does not have.

    Call it in a process with `CHILD_ENVIRONMENT` set, as `compile_in_child` does.

    Args:
      name: such as "v5e:4x4" or "v5p:8x8x8".
      shape: the mesh, as for `make_mesh`.
      slices: how many such topologies are joined over the data centre's network.

    Raises:
      UserError: without libtpu, on a topology that the compiler does not know, or a mesh that does not fit it.
    """
    from jax.experimental import topologies

    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            "Compiling for a TPU needs its compiler: install the extra with `pip install 'flan-jax[tpu-aot]'`."
        )
    try:
        more = {"num_slices": slices} if slices > 1 else {}
        topology = topologies.get_topology_desc(platform="tpu", topology_name=name, **more)
    except Exception as error:  # the compiler raises whatever it likes
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"The TPU topology {name!r} is not known ({reason}); wanted a name such as v5e:4x4.") from error
    return make_mesh(shape, topology.devices)


def compile_ahead(fn_jitted: Any, *abstract_args: Any) -> AheadReport:
    """Lowers and compiles a jitted function for the mesh its arguments' shardings name; runs nothing.

    Args:
      fn_jitted: the result of `jax.jit`.
      *abstract_args: pytrees of `jax.ShapeDtypeStruct` with shardings.

    Returns:
      A report; a program that is too large is reported, not raised.
    """
    begin = time.monotonic()
    lowered = fn_jitted.lower(*abstract_args)
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        return AheadReport(compiles=False, error=str(error).strip(), seconds=time.monotonic() - begin)
    seconds = time.monotonic() - begin
    memory = compiled.memory_analysis()
    leaves = jax.tree.leaves(compiled.input_shardings)
    return AheadReport(
        compiles=True,
        seconds=round(seconds, 3),
        chips=max((len(leaf.device_set) for leaf in leaves), default=1),
        argument_bytes=memory.argument_size_in_bytes,
        output_bytes=memory.output_size_in_bytes,
        alias_bytes=memory.alias_size_in_bytes,
        temp_bytes=memory.temp_size_in_bytes,
        peak_bytes=memory.peak_memory_in_bytes,
    )


def compile_in_child(
    program: str,
    arguments: Mapping[str, Any],
    *,
    topology: str,
    mesh_shape: Mapping[str, int] = DEFAULT_SHAPE,
    slices: int = 1,
    path: Sequence[str] = (),
    timeout: float = 1800.0,
) -> AheadReport:
    """Compiles a program for a TPU topology in a process of its own, so that this one never loads the TPU's compiler.

    Args:
      program: "package.module:function", importable by the child.
      arguments: keyword arguments of the program; they travel as JSON.
      topology: as for `topology_mesh`.
      mesh_shape: as for `topology_mesh`.
      slices: as for `topology_mesh`.
      path: folders to put in front of the child's import path.
      timeout: seconds after which the child is stopped.

    Raises:
      UserError: on what `topology_mesh` refuses, a program that is not there, or one that took too long.
      RuntimeError: when the program itself failed; carries the end of the child's error output.
    """
    request = {
        "program": program,
        "arguments": dict(arguments),
        "topology": topology,
        "mesh_shape": dict(mesh_shape),
        "slices": slices,
    }
    environment = {**os.environ, **CHILD_ENVIRONMENT}
    environment["PYTHONPATH"] = os.pathsep.join([*path, *filter(None, [environment.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            child_process.command("flan_jax.parallel.ahead"),
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env=environment,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"Compiling {program} for {topology} took longer than {timeout:.0f} s; raise the timeout."
        ) from error
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            answer = json.loads(line.removeprefix(_MARK))
            if "refused" in answer:
                raise UserError(answer["refused"])
            return AheadReport(**answer)
    raise RuntimeError(f"Compiling {program} for {topology} failed:\n{done.stderr[-4000:]}")


def _program(name: str) -> Callable[..., Any]:
    module_name, _, function = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(f"The program {name!r} is not there: {error}; wanted package.module:function.") from error
    if not hasattr(module, function):
        raise UserError(f"{module_name} has no program {function!r}{nearest(function, vars(module))}")
    return getattr(module, function)


def main() -> None:
    """The child: reads a request from standard input, and prints a report as its last line."""
    request = json.loads(sys.stdin.read())
    try:
        mesh = topology_mesh(request["topology"], request["mesh_shape"], slices=request["slices"])
        with jax.set_mesh(mesh):
            jitted, abstract_args = _program(request["program"])(mesh, **request["arguments"])
            answer = dataclasses.asdict(compile_ahead(jitted, *abstract_args))
    except UserError as error:
        answer = {"refused": str(error)}
    print(_MARK + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
