"""`flan-jax import`: a Hugging Face folder as a run's folder, to train from, ask, score and export."""

import dataclasses
import pathlib
from contextlib import closing

import jax
import numpy as np

from flan_jax import setup
from flan_jax.config.kept import CONFIG_FILE, to_json
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from flan_jax.files import atomic
from flan_jax.models import hugging_face
from flan_jax.models.hugging_face import originals
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel import mesh as meshes
from flan_jax.parallel import multihost
from flan_jax.run_folder import versions
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.text import sentencepiece_folder
from flan_jax.training import start
from flan_jax.training.checkpoints import Checkpoints


def import_command(config: RunConfig) -> int:
    """Writes a run's folder with a checkpoint of step 0.

    Args:
      config: its `init_from` is the Hugging Face folder, its `lora.init_from` an adapter that is folded in where there
        is one, its `run_dir` the folder to write, its `model` the folder's with what `Model.` settings changed.

    Raises:
      UserError: the folder cannot be loaded or has no tokenizer, or a run stands in `run_dir` already.
    """
    multihost.initialize()
    run_dir, source = pathlib.Path(config.run_dir), str(config.init_from)
    if config.extension:
        raise UserError(
            f"{config.extension.settings}: a model is imported as it is; give them to `flan-jax train --init_from "
            f"{source}`, which trains what is new"
        )
    if not hugging_face.is_folder(source):
        raise UserError(f"{source} is no Hugging Face folder: it has neither config.json nor weights")
    if (run_dir / CONFIG_FILE).exists():
        raise UserError(f"{run_dir} holds a run already; name another folder with --output")
    folder = hugging_face.read_folder(source)
    mesh = meshes.make_mesh(config.mesh)
    with setup.worker_of(config) as worker:
        described = worker.call("describe", vocabulary=str(folder.path.absolute()))
    params = start.with_adapter(hugging_face.load_params(folder, config.model, mesh), config, mesh)
    state = {"params": params, "opt": {}, "step": np.zeros((), np.int32)}
    if jax.process_index() == 0:
        run_dir.mkdir(parents=True, exist_ok=True)
        originals.keep_of(folder, run_dir)
        vocabulary.keep(described, run_dir)
        atomic.write_json(run_dir / "versions.json", versions())
    with closing(Checkpoints(run_dir / "checkpoints")) as checkpoints:
        checkpoints.save(0, state, {"step": 0, "imported": str(folder.path.absolute())})
    if jax.process_index() == 0:
        # Last: a folder with a configuration is a run.
        folded = LoraConfig(init_from=config.lora.init_from)  # the run is of the whole model
        kept = dataclasses.replace(config, init_from=str(folder.path.absolute()), lora=folded)
        atomic.write_text(run_dir / CONFIG_FILE, to_json(kept))
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        print(f"{folder.path}: {folder.raw['model_type']}, {count:,} parameters, in {run_dir}")
        if unused := sentencepiece_folder.unused_template(folder.path):
            print(unused)
        print(f'ask it:  flan-jax generate --run_dir {run_dir} --prompt "…"')
        print(f"tune it: flan-jax train --init_from {run_dir} --data FILE")
    return 0
