"""`flan-jax prepare --difficulty RUN`: the loss of a run's model on each training example, kept beside the stores.

`Curriculum.by = "loss"` puts examples in order by it. It goes on where it was interrupted, a task at a time, and does
nothing where all was measured by the same checkpoint.
"""

import dataclasses
import pathlib
from contextlib import closing

from flan_jax import setup
from flan_jax.config.kept import CONFIG_FILE, load_run
from flan_jax.config.run_config import RunConfig
from flan_jax.data.difficulty import MEASURED, losses_file, losses_folder, save
from flan_jax.data.resolve import resolve
from flan_jax.data.rows import row_shape
from flan_jax.data.stores import store as stores
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError
from flan_jax.evaluation.losses import example_losses
from flan_jax.files import atomic, filesystem
from flan_jax.inference.loading import load_model
from flan_jax.parallel import mesh as meshes
from flan_jax.progress import Progress
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.training.checkpoints import Checkpoints


def measure_difficulty(config: RunConfig, run_dir: str, worker: Worker) -> int:
    """Measures the loss of a run's latest checkpoint on every example that another run is to train on.

    Args:
      config: the run that is to train.
      run_dir: the run whose model measures.
      worker: prepares what is missing.

    Returns:
      How many examples were measured, by now or before.

    Raises:
      UserError: `run_dir` is no run, holds no checkpoint, or was trained with another vocabulary.
    """
    if not (pathlib.Path(run_dir) / CONFIG_FILE).is_file():
        raise UserError(
            f"--difficulty is {run_dir!r}, no run's folder (it holds no {CONFIG_FILE}); name one that trained"
        )
    run = dataclasses.replace(load_run(run_dir), run_dir=run_dir, mesh=config.mesh)
    setup.learn_vocabulary(config, worker)
    request = setup.train_request(config)
    resolved = resolve(request, worker, architecture=run.model.architecture)
    vocabulary.check_same(resolved.vocabulary, vocabulary.kept(pathlib.Path(run_dir)), run_dir)
    model, _, step = load_model(run, None, worker.call)
    meshes.check_batch(config.batch_size, config.microbatches, model.mesh)
    batch_size = config.batch_size // config.microbatches  # what the run is known to have room for
    with closing(Checkpoints(pathlib.Path(run_dir) / "checkpoints", read_only=True)) as checkpoints:
        measured = {"run": filesystem.absolute(run_dir), "step": step, "checkpoint": checkpoints.digest(step)}
    folder = losses_folder(resolved, run_dir)
    shape = row_shape(run.model.architecture, config.feature_lengths, run.model.begin_id)
    total = sum(task.count for task in resolved.tasks)
    with stores.told(request.store_dir), stores.Lock(folder):
        if atomic.read_sealed(folder / MEASURED) != measured:
            for earlier in folder.glob("*.npy"):  # of another checkpoint
                earlier.unlink()
            folder.mkdir(parents=True, exist_ok=True)
            atomic.write_sealed(folder / MEASURED, measured)
        done = 0
        with Progress("measuring difficulty", total, unit="example", every=max(1, total // 10)) as bar:
            for task in resolved.tasks:
                path = folder / losses_file(task)
                if not path.exists():
                    store = stores.open_store(task.store())
                    told = lambda here, before=done: bar.update(before + here)
                    save(path, example_losses(model, store, shape, batch_size, told))
                done += task.count
                bar.update(done, task=task.name)
    return total
