"""From a run's folder to a model to ask."""

import pathlib
from collections.abc import Sequence

from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from flan_jax.inference.generation import GenerationConfig
from flan_jax.inference.model import InferenceModel
from flan_jax.inference.text_generator import TextGenerator
from flan_jax.parallel.mesh import make_mesh
from flan_jax.run_checkpoint import read_checkpoint
from flan_jax.run_folder import RunFolder
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.text.codec import Ask, Codec


def load_model(config: RunConfig, step: int | None = None, ask: Ask | None = None) -> tuple[InferenceModel, Codec, int]:
    """Reads the model of a run's checkpoint, with the vocabulary that the run keeps.

    Args:
      config: the run, read back from its folder.
      step: which checkpoint; None takes the latest.
      ask: answers for vocabularies that only seqio can read (a data process's `call`).

    Returns:
      The model, its vocabulary, and the checkpoint's step.

    Raises:
      UserError: no such checkpoint, or no vocabulary in the folder.
    """
    folder = pathlib.Path(config.run_dir)
    described = vocabulary.kept(folder)
    if described is None:
        raise UserError(f"{folder} holds no vocabulary.json: no run was started there; set --run_dir to one that was")
    codec = Codec(described, ask, config.mixture)
    mesh = make_mesh(config.mesh)
    graph, params, found = read_checkpoint(config, described, mesh, step)
    return InferenceModel(graph, params, mesh, codec.eos_ids), codec, found


def load_text_generator(
    config: RunConfig,
    generation: GenerationConfig,
    stop: Sequence[str] = (),
    *,
    step: int | None = None,
    ask: Ask | None = None,
) -> TextGenerator:
    """Reads the model of a run's checkpoint, to be asked in text, as its run put prompts to it.

    Args:
      config: the run, read back from its folder.
      generation: how completions are made.
      stop: texts that end a completion.
      step: which checkpoint; None takes the latest.
      ask: answers for vocabularies that only seqio can read (a data process's `call`).

    Raises:
      UserError: no such checkpoint, or no vocabulary in the folder.
    """
    model, codec, _ = load_model(config, step, ask)
    prompt_form, ends = RunFolder(config.run_dir).prompt_form()
    return TextGenerator(
        model,
        codec,
        generation,
        stop,
        prompt_form=prompt_form,
        prompt_ends=ends,
        max_prompt_tokens=config.feature_lengths["inputs"],
    )
