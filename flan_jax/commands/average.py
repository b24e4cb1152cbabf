"""`flan-jax average`: the mean of a run's checkpoints as a run's folder, to ask, score, export and start from."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from flan_jax.config.kept import CONFIG_FILE, to_json
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError, counted
from flan_jax.files import atomic
from flan_jax.models.hugging_face import originals
from flan_jax.models.lora import parts
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel import mesh as meshes
from flan_jax.parallel import multihost
from flan_jax.run_folder import read_plan, versions
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.training import start
from flan_jax.training.averaging import as_parameters, mean_of
from flan_jax.training.checkpoints import Checkpoints


def average_command(
    config: RunConfig, output: str, last: int | None = None, checkpoints: Sequence[int] | None = None
) -> int:
    """Writes a run's folder with one checkpoint: the mean of several of a run's, adapters folded in before.

    See Izmailov et al. 2018 (arXiv 1803.05407). The mean that a run keeps itself (`Optimizer.ema`) takes no part.

    Args:
      config: the run, read back from its folder.
      output: the folder to write.
      last: how many of the newest checkpoints; by default all that are there.
      checkpoints: the steps, in place of `last`.

    Raises:
      UserError: the run has not got these checkpoints, or a run stands in `output` already.
    """
    multihost.initialize()
    run_dir, target = pathlib.Path(config.run_dir), pathlib.Path(output)
    if (target / CONFIG_FILE).exists():
        raise UserError(f"{target} holds a run already; name another folder")
    described = vocabulary.kept(run_dir)
    if described is None:
        raise UserError(f"{run_dir} holds no vocabulary.json: no run was started there; name one that was")
    steps = _steps(run_dir, last, checkpoints)
    mesh = meshes.make_mesh(config.mesh)
    mean = mean_of(start.merged_params(config, described, mesh, step) for step in steps)
    _, shapes, _ = parts(config.model, LoraConfig())
    state = {"params": as_parameters(mean, shapes), "opt": {}, "step": np.array(steps[-1], np.int32)}
    if jax.process_index() == 0:
        target.mkdir(parents=True, exist_ok=True)
        originals.keep(run_dir, target)
        vocabulary.keep(described, target)
        with contextlib.suppress(FileNotFoundError):  # a run that was imported, and not trained since
            atomic.write_json(target / "plan.json", read_plan(run_dir))
        atomic.write_json(target / "versions.json", versions())
    with contextlib.closing(Checkpoints(target / "checkpoints")) as kept:
        kept.save(steps[-1], state, {"step": steps[-1], "mean_of": steps})
    if jax.process_index() == 0:
        # Last: a folder with a configuration is a run. It is of the whole model, and nothing of it is averaged yet.
        whole = dataclasses.replace(config, run_dir=output, lora=LoraConfig())
        optimizer = dataclasses.replace(config.optimizer, ema=None, groups={})
        atomic.write_text(target / CONFIG_FILE, to_json(dataclasses.replace(whole, optimizer=optimizer)))
        said = ", ".join(map(str, steps))
        print(f"the mean of {counted(len(steps), 'checkpoint')} of {run_dir}, of steps {said}, in {target}")
        print(f"score it: flan-jax eval --run_dir {target}")
    return 0


def _steps(run_dir: pathlib.Path, last: int | None, wanted: Sequence[int] | None) -> list[int]:
    """The steps whose mean is taken, in order."""
    with contextlib.closing(Checkpoints(run_dir / "checkpoints", read_only=True)) as checkpoints:
        there = checkpoints.steps()
    shown = ", ".join(map(str, there)) or "none"
    more = "Checkpoints.keep says how many of a run's stay"
    if wanted is not None:
        if missing := [str(step) for step in wanted if step not in there]:
            raise UserError(f"{run_dir} has no checkpoint of step {', '.join(missing)}; there are {shown}; {more}")
        return sorted(set(wanted))
    if not there or (last or 0) > len(there):
        asked = f"--last is {last}, but {run_dir} has" if last else f"{run_dir} has"
        raise UserError(f"{asked} {counted(len(there), 'checkpoint')} ({shown}); {more}")
    return there[-(last or len(there)) :]
