"""From a configuration to the data it trains on: the parts that `train`, `plan`, `inspect` and `prepare` share."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.config import origins
from flan_jax.config.run_config import RunConfig
from flan_jax.data import lanes, registrations
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.rows import RowShape, row_shape
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError
from flan_jax.files import atomic, filesystem
from flan_jax.models.config import ModelConfig
from flan_jax.models.lora_config import LoraConfig
from flan_jax.progress import WorkerProgress
from flan_jax.text import extended_tokenizer
from flan_jax.text.extended_tokenizer import Extended, Extension
from flan_jax.text.tokenizer_folder import TOKENIZER, TokenizerFolder
from flan_jax.text.vocabulary_names import NAMES, STARTER


def shape_of(config: RunConfig) -> RowShape:
    """The shape of a run's rows, as its model reads them."""
    return row_shape(config.model.architecture, config.feature_lengths, config.model.begin_id)


def text_shape_of(config: RunConfig) -> RowShape:
    """The shape of the rows that a run's plain text is in: its own, or all others'."""
    lengths = config.pretraining.rows or config.feature_lengths
    return row_shape(config.model.architecture, lengths, config.model.begin_id)


def text_batch_of(config: RunConfig) -> int:
    """How many rows a step takes of plain text that has rows of its own."""
    if config.pretraining.batch_size is not None:
        return config.pretraining.batch_size
    return lanes.batch_beside(config.batch_size, shape_of(config), text_shape_of(config))


def worker_of(config: RunConfig, beam_options: Sequence[str] | None = None) -> Worker:
    """The data process of a run, not started yet; with flags of Apache Beam, it prepares by that.

    Raises:
      UserError: what the run adds to its tokenizer cannot be added.
    """
    extend_vocabulary(config)
    setup = WorkerSetup(
        modules=config.modules,
        folders=config.module_folders,
        data_files=config.data_files,
        data_fields=config.data_fields,
        data_held_out=config.data_held_out,
        vocabulary=vocabulary_of(config),
        vocabulary_is_learnt=learns_vocabulary(config),
        form=config.form,
        corpora=config.data.corpora,
        on_missing_corpus=config.data.on_missing_corpus,
        beam_options=None if beam_options is None else tuple(beam_options),
    )
    return Worker(setup, on_progress=WorkerProgress())


def refuse_unknown(config: RunConfig, worker: Worker | None = None) -> None:
    """Refuses mixtures that are not registered.

    Args:
      config: the run.
      worker: its data process, asked where there is need; without one, nothing is said of names that are not known.

    Raises:
      UserError: there is no such mixture or task.
    """
    names = {"MIXTURE": config.mixture, "EVAL_MIXTURE": config.eval_mixture or None}
    names |= {"PRETRAINING": config.pretraining.mixture, "REPLAY": config.replay.mixture}
    if worker is not None:
        registrations.refuse_unknown(worker, names, ask=True)
        return
    with worker_of(config) as idle:
        registrations.refuse_unknown(idle, names)


def model_for(config: RunConfig, vocabulary_size: int) -> ModelConfig:
    """The run's model with a row for each token: fills in a vocab_size of 0, and raises one for SPECIAL_TOKENS.

    It is rounded up then, so that meshes and matrix units divide it.

    Raises:
      UserError: the model's vocabulary is smaller than the data's.
    """
    model = config.model
    if model.vocab_size == 0 or (model.vocab_size < vocabulary_size and config.special_tokens):
        return dataclasses.replace(model, vocab_size=-(-vocabulary_size // 128) * 128)
    if model.vocab_size < vocabulary_size:
        raise UserError(
            f"Model.vocab_size is {model.vocab_size}, the tasks' vocabulary has {vocabulary_size}; raise it to "
            f"that, or leave it at 0"
        )
    return model


def vocabulary_of(config: RunConfig) -> str:
    """The run's vocabulary, which tasks that declare none are read with, by a name that `tasks.vocabularies` knows.

    That is VOCABULARY; or what INIT_FROM was trained with; or one that is learnt from the files of `--data`; or the
    starter's; with what the run adds to it. Empty where INIT_FROM's cannot be named.
    """
    if config.extension:
        # A task that is looked at by itself has no run's folder.
        extended = os.path.abspath(os.path.join(config.run_dir or config.store_dir, extended_tokenizer.FOLDER))
        return extended if _can_extend(config) else origins.EarlierRun(config.run_dir).vocabulary()
    return _own_vocabulary(config)


def extend_vocabulary(config: RunConfig) -> Extended | None:
    """Writes the run's tokenizer with SPECIAL_TOKENS and CHAT_TEMPLATE into its folder, where they are set.

    Returns:
      What it did; None where nothing is added, or what is was added before and cannot be again.

    Raises:
      UserError: it cannot be done.
    """
    if not (config.extension and _can_extend(config)):
        return None
    own = _own_vocabulary(config)
    if own in ("", *NAMES) or learns_vocabulary(config):
        named = f"the {own} vocabulary" if own else f"what INIT_FROM {config.init_from} does not say"
        named = "a vocabulary that is learnt from --data" if learns_vocabulary(config) else named
        raise UserError(
            f"{config.extension.settings}: what is added goes into a {TOKENIZER}, and the run is read with {named}; "
            "start from a model that has one with --init_from, name one with --vocabulary, or add nothing"
        )
    extended = extended_tokenizer.extend(own, config.extension)
    extended.write(pathlib.Path(vocabulary_of(config)))
    return extended


def lora_for(config: RunConfig) -> LoraConfig:
    """The run's adapters, beside which the rows of new SPECIAL_TOKENS are trained: nobody has ever trained those."""
    if not (config.lora and config.special_tokens):
        return config.lora
    new = extended_tokenizer.extend(_own_vocabulary(config), Extension(config.special_tokens)).new
    return dataclasses.replace(config.lora, rows=tuple(sorted({*config.lora.rows, *new.values()})))


def check_extended(config: RunConfig, described: Mapping[str, Any]) -> None:
    """Refuses tasks that are read with another vocabulary than the one that the run adds to."""
    if config.extension and described["fingerprint"] != TokenizerFolder(vocabulary_of(config)).fingerprint:
        named = described.get("path") or f"a {described['kind']} vocabulary"
        raise UserError(
            f"{config.extension.settings}: what is added goes into {vocabulary_of(config)}, and the tasks of "
            f"{config.mixture} insist on {named}; leave `vocabulary` out of their declarations, or add nothing"
        )


def _can_extend(config: RunConfig) -> bool:
    """Whether what is extended is there; or else the run keeps what came of it, and is read with that."""
    named = [config.chat_template, config.vocabulary if config.vocabulary not in NAMES else None]
    named += [config.init_from if not config.vocabulary else None]
    there = all(name is None or filesystem.is_remote(name) or os.path.exists(name) for name in named)
    return there or not origins.EarlierRun(config.run_dir).vocabulary()


def _own_vocabulary(config: RunConfig) -> str:
    """The vocabulary that the run starts from; see `vocabulary_of`."""
    if config.vocabulary in NAMES:
        return config.vocabulary
    kept = origins.EarlierRun(config.run_dir).vocabulary  # where what was named is gone since
    if config.vocabulary:
        is_there = filesystem.is_remote(config.vocabulary) or os.path.exists(config.vocabulary)
        return (not is_there and kept()) or filesystem.absolute(config.vocabulary)
    if config.init_from:
        return origins.origin_of(config.init_from).vocabulary() if os.path.exists(config.init_from) else kept()
    return os.path.abspath(os.path.join(config.run_dir, "data_vocabulary.model")) if config.data_files else STARTER


def learns_vocabulary(config: RunConfig) -> bool:
    """Whether the run's vocabulary is learnt from its `--data`, and so may not be there yet."""
    return bool(config.data_files) and not config.init_from and not config.vocabulary


def learn_vocabulary(config: RunConfig, worker: Worker) -> None:
    """Learns the vocabulary of `--data`, unless one was from the same; a few thousand pieces, fewer for small files.

    What it was learnt from lies beside it, so that one that another command left is not taken for other data.
    """
    if config.data_files and not vocabulary_of(config):
        raise UserError(
            f"INIT_FROM {config.init_from} does not say its vocabulary, which --data is read with; set VOCABULARY to "
            "what the model was trained with, --vocabulary spiece.model for one"
        )
    if not learns_vocabulary(config):
        return
    from flan_jax.tasks.formats import instruction_folders

    path = pathlib.Path(vocabulary_of(config))
    how: dict[str, Any] = {"split": config.data.split, "on_bad_row": config.data.on_bad_row}
    how |= {"size": 4096, "max_examples": 50_000, "shrink": True}
    files = [[name, *filesystem.state(name)] for name in instruction_folders.files_of(config.data_files)]
    learnt = {"files": files, "fields": dict(config.data_fields), "held_out": config.data_held_out, **how}
    beside = path.with_suffix(".json")
    if path.exists() and beside.exists() and beside.read_text(encoding="utf-8") == json.dumps(learnt):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside.unlink(missing_ok=True)
    worker.call("vocabulary", mixture=config.mixture, output=str(path), **how)
    atomic.write_text(beside, json.dumps(learnt))


def eval_request(config: RunConfig) -> Request:
    """What a run asks of its EVAL_MIXTURE."""
    how = config.evaluation
    request = request_of(config, config.eval_mixture or "", how.split, how.max_examples)
    return dataclasses.replace(request, each_template=how.each_template)


def train_request(config: RunConfig) -> Request:
    """What a run asks of its MIXTURE, the one that it augments."""
    request = request_of(config, config.mixture, config.data.split)
    return dataclasses.replace(request, augment=config.augment)


def request_of(config: RunConfig, mixture: str, split: str, limit: int | None = None) -> Request:
    """What a run asks of its data."""
    return Request(
        mixture=mixture,
        split=split,
        lengths=config.feature_lengths,
        seed=config.seed,
        store_dir=config.store_dir,
        on_long=config.data.on_long,
        on_bad_row=config.data.on_bad_row,
        on_wrong_mask=config.data.on_wrong_mask,
        max_draws=config.data.max_draws,
        limit=limit,
    )
