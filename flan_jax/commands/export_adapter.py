"""`flan-jax export --adapter`: the adapters of a run as a folder that PEFT loads beside their base."""

import os
import pathlib
from collections.abc import Mapping
from contextlib import closing

import jax
import numpy as np
from flax import nnx

from flan_jax.config.kept import load_run
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from flan_jax.models import hugging_face
from flan_jax.models import lora as adapters
from flan_jax.models.hugging_face import peft_folders, peft_params
from flan_jax.parallel import mesh as meshes
from flan_jax.training import frozen
from flan_jax.training import state as states
from flan_jax.training.checkpoints import Checkpoints


def export_adapter(
    config: RunConfig, target: pathlib.Path, step: int, scales: Mapping[tuple[str, ...], float] | None = None
) -> int:
    """Writes the adapter of a checkpoint, reads it back and compares.

    Args:
      config: the run, read back from its folder.
      target: the folder to make.
      step: which checkpoint.
      scales: factors of the base's kernels in its own exported folder.

    Raises:
      UserError: the run trained no adapter, or what was written is not what was trained.
    """
    if not config.lora:
        raise UserError(f"{config.run_dir} trained no adapter: leave --adapter out to export the whole model")
    if config.lora.rows:
        raise UserError(
            f"{config.run_dir} trained the rows of {len(config.lora.rows)} tokens beside its adapter, which its base "
            "has not: leave --adapter out to export the whole model, with both folded in"
        )
    mesh = meshes.make_mesh(config.mesh)
    _, shapes, _ = adapters.parts(config.model, config.lora)
    with closing(Checkpoints(pathlib.Path(config.run_dir) / "checkpoints", read_only=True)) as checkpoints:
        params = checkpoints.restore_params(step, states.placed(shapes, mesh), config.evaluation.averaged)
    base, is_folder = _base(frozen.place_of_base(config))
    peft_params.save_adapter(target, params, config.model, config.lora, base, scales)
    if jax.process_index() != 0:
        return 0
    folder = peft_folders.read_adapter(target)
    lora = peft_folders.fitted(folder, config.model, base)
    again = peft_params.load_adapter(folder, config.model, lora, meshes.make_mesh(devices=jax.local_devices()[:1]))
    same = (lora.scale, nnx.to_flat_state(again).paths) == (config.lora.scale, nnx.to_flat_state(params).paths)
    pairs = zip(jax.tree.leaves(again), jax.tree.leaves(params), strict=True)
    if not same or not (scales or all(np.array_equal(one, other) for one, other in pairs)):
        raise UserError(f"{target} was written, but is not the run's adapter when it is read back; do not use it")
    print(f"step {step} of {config.run_dir}: an adapter of rank {lora.rank} for {base}, in {target}")
    print("read back: the same tensors")
    if not is_folder:
        print(f"its base as a folder for PEFT: flan-jax export {base} FOLDER")
    return 0


def _base(place: str) -> tuple[str, bool]:
    """What PEFT is told of the base: the Hugging Face folder that it is, or was imported from; else the run it is."""
    if hugging_face.is_folder(place):
        return os.path.abspath(place), True
    run = load_run(place)
    came_from = run.init_from or ""
    imported = not run.mixture and not run.lora.init_from and hugging_face.is_folder(came_from)
    return (os.path.abspath(came_from), True) if imported else (os.path.abspath(place), False)
