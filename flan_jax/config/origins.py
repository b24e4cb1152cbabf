"""What INIT_FROM may name, told apart here alone: another run, a Hugging Face folder, or a checkpoint of T5X's.

Each says its model and its vocabulary; `training.start` reads its parameters. A folder of PEFT's becomes an adapter and
its base before that, see `starting_point`.
"""

import dataclasses
import os
import pathlib

from flan_jax.config.kept import CONFIG_FILE, load_run
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from flan_jax.models import hugging_face
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face import originals, peft_folders, t5x
from flan_jax.text import kept_vocabulary, sentencepiece_folder
from flan_jax.text.vocabulary_names import BYTES


@dataclasses.dataclass(frozen=True)
class HuggingFaceFolder:
    """A folder with config.json, safetensors and a tokenizer."""

    path: str

    def model(self) -> ModelConfig:
        """Its model."""
        return hugging_face.read_folder(self.path).model

    def vocabulary(self) -> str:
        """Its tokenizer, by a name that `tasks.vocabularies` knows."""
        return os.path.abspath(self.path)


@dataclasses.dataclass(frozen=True)
class T5XCheckpoint:
    """A checkpoint in T5X's published layout."""

    path: str

    def model(self) -> ModelConfig:
        """Refuses to say.

        Raises:
          UserError: the model is named by MODEL.
        """
        raise UserError(f"{self.path} is a T5X checkpoint, which does not say its model, name it with --model NAME")

    def vocabulary(self) -> str:
        """None that it says, so the empty name."""
        return ""


@dataclasses.dataclass(frozen=True)
class EarlierRun:
    """The folder of a run."""

    path: str

    def model(self) -> ModelConfig:
        """The run's model."""
        return load_run(self.path).model

    def vocabulary(self) -> str:
        """The vocabulary that it keeps, as `tasks.vocabularies` names it; empty where only its tasks know it."""
        kept = kept_vocabulary.kept(pathlib.Path(self.path), check=False) or {}
        folder = pathlib.Path(self.path) / originals.KEPT  # with what the model file alone does not say
        if kept.get("kind") == "sentencepiece" and sentencepiece_folder.model_file(folder) is not None:
            return os.path.abspath(folder)
        return BYTES if kept.get("kind") == BYTES else os.path.abspath(kept["path"]) if kept.get("path") else ""


def is_run(path: str) -> bool:
    """Whether a folder is that of a run; a Hugging Face folder, or one of PEFT's, is not."""
    other = hugging_face.is_folder(path) or peft_folders.is_adapter(path)
    return not other and (pathlib.Path(path) / CONFIG_FILE).is_file()


def run_of_adapters(path: str) -> RunConfig:
    """The run whose adapters Lora.init_from names.

    Raises:
      UserError: it trained none.
    """
    run = load_run(path)
    if not run.lora:
        raise UserError(f"Lora.init_from is {path}, a run that trained no adapters; name it by INIT_FROM instead")
    return run


Origin = HuggingFaceFolder | T5XCheckpoint | EarlierRun


def origin_of(path: str) -> Origin:
    """What a folder is; what is neither of the others counts as a run, which says so where it is none."""
    if hugging_face.is_folder(path):
        return HuggingFaceFolder(path)
    return T5XCheckpoint(path) if t5x.is_checkpoint(path) else EarlierRun(path)
