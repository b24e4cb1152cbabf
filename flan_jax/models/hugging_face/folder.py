"""A Hugging Face folder looked at before anything is loaded: its model, its tensors, and all that is wrong with it."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from flan_jax.errors import UserError, together
from flan_jax.files.typed_json import TOKENS, Kind, shown, typed
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face.families import model_config
from flan_jax.models.hugging_face.matching import match
from flan_jax.models.hugging_face.names import placements
from flan_jax.models.hugging_face.safetensors_file import Damaged, Entry, opened, read_header
from flan_jax.text import tokenizer_files
from flan_jax.text.tokenizer_fields import read_json
from flan_jax.text.tokenizer_folder import CONFIG, GENERATION

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_ROWS = 4096
GENERATION_KINDS = {"eos_token_id": TOKENS}
_FILES = Kind(
    "an object with the file of each tensor",
    lambda value: isinstance(value, dict) and all(isinstance(name, str) for name in value.values()),
)


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder that can be loaded.

    Attributes:
      path: where it is.
      raw: its config.json.
      model: the model, `begin_id` by its tokenizer.
      tensors: every tensor of its files by name.
    """

    path: pathlib.Path
    raw: Mapping[str, Any]
    model: ModelConfig
    tensors: Mapping[str, Entry]


def is_folder(path: str | pathlib.Path) -> bool:
    """Whether a path is a model's folder of Hugging Face's kind rather than a run's or nothing."""
    folder = pathlib.Path(path)
    try:
        if {"model_type", "architectures"} & set(read_json(folder / CONFIG)):
            return True
    except UserError:  # damaged: what lies beside it tells whose it is
        pass
    return folder.is_dir() and any(any(folder.glob(pattern)) for pattern in ("*.safetensors*", "pytorch_model*.bin"))


def read_folder(path: str | pathlib.Path) -> Folder:
    """Reads config.json and the headers of the weights, without JAX and without any tensor.

    Args:
      path: the folder.

    Raises:
      UserError: one sentence with all that is wrong: no config.json, an architecture or option that is not supported,
        weights that are pickled, cut short or absent, tensors that are missing, unexpected or of another shape, a
        tokenizer with more ids than the embedding has rows.
    """
    folder = pathlib.Path(path)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name one with config.json and model.safetensors")
    raw = read_json(folder / CONFIG)
    if not raw:
        raise UserError(f"{folder} has no {CONFIG}; fetch it, or name a folder that holds config.json and the weights")
    config = model_config(raw, str(folder / CONFIG))
    faults = typed(read_json(folder / GENERATION), GENERATION_KINDS, f"{GENERATION}: ")[1]
    tensors, damage = read_tensors(folder)
    faults += damage
    if config.architecture == "decoder":
        bos = raw.get("bos_token_id")
        begin = tokenizer_files.begin_id(folder, next(iter(bos), None) if isinstance(bos, list) else bos)
        config = dataclasses.replace(config, begin_id=begin)
    if tensors:
        config = dataclasses.replace(config, tie_embeddings=_tied(raw, config, tensors))
    if not damage:
        faults += match(placements(config), tensors, CONFIG)[1]
    if config.begin_id >= config.vocab_size:
        faults.append(f"texts begin with the token {config.begin_id}, the embedding has {config.vocab_size} rows")
    largest = tokenizer_files.largest_id(folder)
    if largest is not None and largest[0] >= config.vocab_size:
        faults.append(
            f"{largest[1]} has ids up to {largest[0]}, the embedding has {config.vocab_size} rows; take the tokenizer "
            "that belongs to these weights, or save the model with resized embeddings"
        )
    if faults:
        raise UserError(together(faults, f"{folder} cannot be loaded"))
    return Folder(folder, raw, config, tensors)


def read_tensors(folder: pathlib.Path) -> tuple[dict[str, Entry], list[str]]:
    """The tensors of a folder's safetensors files by name, and what is wrong with the files."""
    index = read_json(folder / INDEX)
    faults: list[str] = []
    if index:
        faults = typed(index, {"weight_map": _FILES}, f"{INDEX}: ")[1]
        weight_map = index.get("weight_map")
        if faults or not weight_map:
            return {}, faults or [f"{INDEX} has no weight_map"]
        files = sorted(set(weight_map.values()))
    elif (folder / WEIGHTS).is_file():
        weight_map, files = {}, [WEIGHTS]
    else:
        return {}, [_no_weights(folder)]
    tensors: dict[str, Entry] = {}
    for name in files:
        try:
            found = read_header(folder / name)
            # Of a tensor in several files, the one that the index names.
            tensors |= {key: entry for key, entry in found.items() if weight_map.get(key, name) == name}
        except FileNotFoundError:
            faults.append(f"{INDEX} names {name}, which is not there")
        except Damaged as error:
            faults.append(f"{name} is damaged: {error}; fetch it anew")
        except OSError as error:
            faults.append(f"{name if len(name) < 100 else shown(name)} cannot be read: {error.strerror}")
        except ValueError as error:  # a name that no file can have
            faults.append(f"{INDEX} names {name!r}, which cannot be read: {error}")
    return tensors, faults


def _no_weights(folder: pathlib.Path) -> str:
    pickled = sorted(path.name for path in folder.glob("*.bin") if path.name.startswith(("pytorch_model", "model")))
    if not pickled:
        return f"it has neither {WEIGHTS} nor {INDEX}"
    loader = "AutoModelForSeq2SeqLM" if "t5" in str(read_json(folder / CONFIG).get("model_type")) else None
    return (
        f"{pickled[0]} is a pickle, which can run any code when it is read and is refused; convert it where you trust "
        f"it, with torch: from transformers import {loader or 'AutoModelForCausalLM'} as M; "
        "M.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)"
    )


def _tied(raw: Mapping[str, Any], config: ModelConfig, tensors: Mapping[str, Entry]) -> bool:
    """Whether the head is the embedding: it is where the files hold no other.

    transformers 5 writes `tie_word_embeddings: true` for every T5 and keeps a head apart all the same where the files
    have one with other values.
    """
    head = tensors.get("lm_head.weight")
    if head is None:
        return config.tie_embeddings or config.architecture == "encoder_decoder"
    if raw.get("tie_word_embeddings") is False or not config.tie_embeddings:
        return False
    names = ("shared.weight", "model.embed_tokens.weight", "encoder.embed_tokens.weight")
    table = next((tensors[name] for name in names if name in tensors), None)
    if table is None:
        return True
    if (table.shape, table.code) != (head.shape, head.code):
        return False
    with opened(table) as one, opened(head) as other:
        rows = range(0, table.shape[0], _ROWS)
        return all(np.array_equal(one[i : i + _ROWS], other[i : i + _ROWS]) for i in rows)
