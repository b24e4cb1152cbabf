"""Where a run's parameters come from: another run's, or nothing; and what its adapters stand beside."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh

from flan_jax.config.kept import load_run
from flan_jax.config.origins import (
    EarlierRun,
    HuggingFaceFolder,
    Origin,
    T5XCheckpoint,
    is_run,
    origin_of,
    run_of_adapters,
)
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from flan_jax.models import hugging_face
from flan_jax.models import lora as adapters
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face import peft_folders, peft_params, t5x
from flan_jax.models.lora_config import LoraConfig
from flan_jax.models.model import abstract_model, build
from flan_jax.models.new_rows import Leaves, with_new_rows
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.text.extended_tokenizer import Extension, check_extends, extend
from flan_jax.text.tokenizer_files import largest_id
from flan_jax.training import frozen
from flan_jax.training import state as states
from flan_jax.training.checkpoints import Checkpoints
from flan_jax.training.program import Program


def fresh_state(
    config: RunConfig,
    described: Mapping[str, Any],
    program: Program,
    mesh: Mesh,
) -> states.TrainState:
    """The state of step 0: parameters of the run that INIT_FROM names, or random ones; or adapters that change nothing.

    Args:
      config: the run.
      described: the vocabulary of its tasks.
      program: its step; the optimiser's statistics are new in either case.
      mesh: the mesh.
    """
    seed = config.seed
    state_of = functools.partial(
        states.create_state, tx=program.tx, mesh=mesh, averaged=config.optimizer.ema is not None
    )
    if config.lora:
        shapes = program.abstract["params"]
        if config.lora.init_from:
            return state_of(_read_adapter(config, mesh)[1])
        return state_of(lambda: adapters.draw(shapes, seed))
    if config.init_from:
        return state_of(_started_from(config, described, mesh), donate=True)
    return state_of(lambda: nnx.split(build(config.model, nnx.Rngs(seed)), nnx.Param)[1])


def _started_from(config: RunConfig, described: Mapping[str, Any], mesh: Mesh) -> Any:
    """The parameters of INIT_FROM, with rows for the tokens that the run adds to its tokenizer."""
    start = str(config.init_from)
    own = _with_own_rows(config, start)
    params = with_adapter(parameters_of(start, described, own, mesh), own, mesh)
    return nnx.from_flat_state(list(_with_new_rows(nnx.to_flat_state(params), config, start, mesh)))


def _with_own_rows(config: RunConfig, folder: str) -> RunConfig:
    """The run with as many rows in its embedding as what it starts from has.

    A T5X checkpoint does not say it: as many as the model of MODEL, which is not to grow then.
    """
    origin = origin_of(folder)
    if not config.special_tokens or isinstance(origin, T5XCheckpoint):
        return config
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=origin.model().vocab_size))


def _with_new_rows(leaves: Leaves, config: RunConfig, folder: str, mesh: Mesh) -> Leaves:
    """The parameters of a folder, with rows for the tokens that the run adds to its tokenizer."""
    if not config.special_tokens:
        return leaves
    rows = _with_own_rows(config, folder).model.vocab_size
    extended = extend(_tokenizer_of(config, origin_of(folder)), Extension(config.special_tokens))
    return with_new_rows(leaves, config.model, min(extended.size, rows), [*extended.new.values()], mesh)


def _tokenizer_of(config: RunConfig, origin: Origin) -> str:
    """The tokenizer that parameters were trained with: their own, or for those without what VOCABULARY says."""
    own = origin.vocabulary()
    silent = not own or (os.path.isdir(own) and largest_id(pathlib.Path(own)) is None)
    return str(config.vocabulary or "") if silent else own


def frozen_base(config: RunConfig, described: Mapping[str, Any], mesh: Mesh) -> tuple[Any, ...]:
    """What a run's adapters stand beside, on its devices and in `Lora.base_dtype`.

    Args:
      config: the run.
      described: the vocabulary of its tasks.
      mesh: the mesh.

    Returns:
      A tuple of one tree of parameters; an empty one for a run without adapters.

    Raises:
      UserError: the base is not there, or not the one that the run began with.
    """
    if not config.lora:
        return ()
    place = frozen.place_of_base(config)
    read = frozen.Fingerprint()
    leaves = read.of(_leaves_of(place, described, _with_own_rows(config, place), mesh))
    base = adapters.stored(_with_new_rows(leaves, config, place, mesh), config.model, config.lora, mesh)
    frozen.known_base(config, place, str(read))
    return (base,)


def _leaves_of(
    folder: str, described: Mapping[str, Any], config: RunConfig, mesh: Mesh
) -> Iterable[tuple[Any, nnx.Param]]:
    """As `parameters_of`, with a Hugging Face folder's read one by one as they are asked for."""
    if not isinstance(origin_of(folder), HuggingFaceFolder):
        return nnx.to_flat_state(parameters_of(folder, described, config, mesh))
    _check_vocabulary(folder, described, config)
    return hugging_face.load_leaves(folder, config.model, mesh)


def with_adapter(params: Any, config: RunConfig, mesh: Mesh) -> Any:
    """Parameters of a base with the adapter of `Lora.init_from`, if any, folded in.

    Args:
      params: the base's.
      config: the run.
      mesh: where they lie.
    """
    if not config.lora.init_from:
        return params
    lora, adapter = _read_adapter(config, mesh)
    return _folded(adapter, params, lora, config.model, mesh)


def _read_adapter(config: RunConfig, mesh: Mesh) -> tuple[LoraConfig, Any]:
    """The adapter of `Lora.init_from` as its folder has it, of PEFT's kind or a run's.

    Raises:
      UserError: it is for another base, or the run's own settings would make another adapter of it.
    """
    place = str(config.lora.init_from)
    run = run_of_adapters(place) if is_run(place) else None
    if run is None:
        folder = peft_folders.read_adapter(place)
        lora = peft_folders.fitted(folder, config.model, str(config.init_from))
    else:
        lora = run.lora
    asked = {"LORA": "rank", "Lora.alpha": "effective_alpha", "Lora.rs_lora": "rs_lora", "Lora.rows": "rows"}
    changed = [
        f"{setting} is {getattr(config.lora, name)}, its own is {getattr(lora, name)}"
        for setting, name in asked.items()
        if getattr(config.lora, name) != getattr(lora, name)
    ]
    if set(config.lora.modules(config.model)) != set(lora.modules(config.model)):
        changed.append(f"Lora.targets is {config.lora.targets}, its own is {lora.targets}")
    if config.lora and changed:
        raise UserError(
            f"the adapter in {place} cannot go on as another one: {'; '.join(changed)}; leave those settings "
            "out, or give --lora 0 to fold it in and train the whole model"
        )
    if run is None:
        return lora, peft_params.load_adapter(folder, config.model, lora, mesh)
    frozen.check_same_base(config, run)
    return lora, trained_params(run.run_dir, adapters.parts(config.model, lora)[1], mesh)[0]


def _folded(adapter: Any, base: Any, lora: LoraConfig, model: ModelConfig, mesh: Mesh) -> Any:
    plain = states.placed(nnx.split(abstract_model(model), nnx.Param)[1], mesh)
    fold = functools.partial(adapters.folded, scale=lora.scale, dtype=model.param_dtype, rows=lora.rows)
    return jax.jit(fold, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, plain))(adapter, base)


def _check_vocabulary(folder: str, described: Mapping[str, Any], config: RunConfig) -> None:
    """Refuses parameters that were trained with another vocabulary than the tasks', but for what the run adds to it.

    Nothing is known of a T5X checkpoint's, nor of a Hugging Face folder's without a tokenizer.
    """
    origin = origin_of(folder)
    if config.extension:
        check_extends(described, _tokenizer_of(config, origin), config.extension, folder)
    elif isinstance(origin, HuggingFaceFolder):
        vocabulary.check_folder(described, folder)
    elif isinstance(origin, EarlierRun):
        where = load_run(folder).run_dir
        vocabulary.check_same(described, vocabulary.kept(pathlib.Path(where)), where)


def parameters_of(folder: str, described: Mapping[str, Any], config: RunConfig, mesh: Mesh) -> Any:
    """The parameters that INIT_FROM names: a Hugging Face folder's, a T5X checkpoint's, or those of a run's latest
    checkpoint with adapters folded in; their mean over its steps where `Run.carry` holds "averages".

    Args:
      folder: of any of the three.
      described: the vocabulary that they must be of.
      config: the run, whose model they must fit, and whose tokenizer has what it adds.
      mesh: where they go.

    Raises:
      UserError: there are none, or they are of another model or vocabulary.
    """
    _check_vocabulary(folder, described, config)
    origin, model, averaged = origin_of(folder), config.model, "averages" in config.carry
    if averaged and not (isinstance(origin, EarlierRun) and load_run(folder).optimizer.ema is not None):
        raise UserError(
            f"Run.carry holds 'averages', but {folder} is no run that kept any, as one with Optimizer.ema "
            "does; leave 'averages' out to start from its parameters"
        )
    if isinstance(origin, HuggingFaceFolder):
        return hugging_face.load_params(folder, model, mesh)
    if isinstance(origin, T5XCheckpoint):
        return t5x.load_params(folder, model, mesh)
    run = load_run(folder)
    theirs = vocabulary.kept(pathlib.Path(run.run_dir)) or described
    return merged_params(run, theirs, mesh, model=model, averaged=averaged)


def trained_params(
    run_dir: str, shapes: Any, mesh: Mesh, step: int | None = None, averaged: bool = False
) -> tuple[Any, int]:
    """What a run's checkpoint holds of parameters, and the step it is of.

    Args:
      run_dir: the run's folder.
      shapes: of what the run trains, from `flan_jax.models.lora.parts`.
      mesh: where they go.
      step: which checkpoint; the latest by default.
      averaged: whether their mean over the steps is read, where the checkpoint holds one.

    Raises:
      UserError: no such checkpoint.
    """
    with closing(Checkpoints(pathlib.Path(run_dir) / "checkpoints", read_only=True)) as checkpoints:
        found = checkpoints.latest() if step is None else step
        if found is None:
            raise UserError(f"{run_dir} holds no checkpoint yet; train it first with `flan-jax train`")
        return checkpoints.restore_params(found, states.placed(shapes, mesh), averaged), found


def merged_params(
    config: RunConfig,
    described: Mapping[str, Any],
    mesh: Mesh,
    step: int | None = None,
    model: ModelConfig | None = None,
    averaged: bool = False,
) -> Any:
    """The parameters of a run as a plain model has them, with its adapters, if any, folded in.

    Args:
      config: the run, read back from its folder.
      described: its vocabulary.
      mesh: where they go.
      step: which checkpoint; the latest by default.
      model: what they must fit, in whose `param_dtype` they come; the run's own by default.
      averaged: as for `trained_params`.

    Raises:
      UserError: no checkpoint, or no base.
    """
    model = model or config.model
    _, shapes, beside = adapters.parts(model, config.lora)
    params, _ = trained_params(config.run_dir, shapes, mesh, step, averaged)
    if not beside:
        return params
    (base,) = frozen_base(config, described, mesh)
    return _folded(params, base, config.lora, model, mesh)
