"""What a command starts from: the run whose folder it looks at, a model's gin file, or the model of INIT_FROM."""

import argparse
import dataclasses
import json
import os
import re
from pathlib import Path

from flan_jax.config.gin_statements import UNDER_FILES, Binding, Reference, Statements
from flan_jax.config.kept import CONFIG_FILE, load_run
from flan_jax.config.origins import EarlierRun, is_run, origin_of, run_of_adapters
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face import peft_folders
from flan_jax.models.lora_config import LoraConfig

DEFAULT_MODEL = "t5_starter"
OF_A_RUN = ("eval", "compare", "export", "generate", "average")  # commands that start from a run's folder


def base_run(statements: Statements, command: str, options: argparse.Namespace) -> RunConfig | None:
    """The run that a command looks at, read from its folder."""
    final = statements.final()
    value = final["RUN_DIR"].value if "RUN_DIR" in final else None
    run_dir = value if isinstance(value, str) else default_run_dir(options)
    if command == "inspect":
        named = isinstance(value, str) or (Path(run_dir) / CONFIG_FILE).is_file()
        found = load_run(run_dir) if run_dir and named and not ("MIXTURE" in final or options.task) else None
        return found and _with_its_stores(found)
    if command == "prepare" and isinstance(value, str) and not ("MIXTURE" in final or options.gin_file):
        return _with_its_stores(load_run(run_dir)) if (Path(run_dir) / CONFIG_FILE).is_file() else None
    if command not in OF_A_RUN:
        return None
    if not run_dir:
        raise UserError(f"which run? name its folder: flan-jax {command} --run_dir runs/NAME")
    return _with_its_stores(load_run(run_dir))


def _with_its_stores(run: RunConfig) -> RunConfig:
    """The run with its STORE_DIR where it was, from whatever folder the command is typed."""
    kept = next((os.path.dirname(os.path.dirname(folder)) for folder in planned_with(run.run_dir)), "")
    if os.path.isabs(run.store_dir) or os.path.isdir(run.store_dir) or not os.path.isdir(kept):
        return run
    return dataclasses.replace(run, store_dir=kept)


def planned_with(run_dir: str) -> list[str]:
    """The folders of the stores that a run was planned with; none for a folder without a plan."""
    try:
        return [str(folder) for folder in json.loads((Path(run_dir) / "plan.json").read_text())["folders"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def default_run_dir(options: argparse.Namespace, mixture: str = "") -> str:
    """What RUN_DIR is by default: runs/ and the stem of the first gin file, data file, or the mixture's name."""
    word = next((Path(name).stem for name in [*options.gin_file, *options.data]), mixture)
    return f"runs/{re.sub(r'[^A-Za-z0-9_.-]', '_', word)}" if word else ""


def starting_model(statements: Statements, base: RunConfig | None) -> tuple[RunConfig, str | None, str]:
    """Where the model's settings start from: the gin file of MODEL, or without one what is started from.

    Args:
      statements: what was read so far.
      base: the run that the command looks at, if any.

    Returns:
      The configuration to bind over, the name of the model whose gin file goes beneath all else or None, and the
      place that names it.

    Raises:
      UserError: MODEL is no word, or INIT_FROM is neither a run nor a model's folder.
    """
    final = statements.final()
    model = final["MODEL"].value if "MODEL" in final else None
    init_from = final["INIT_FROM"].value if "INIT_FROM" in final else None
    if base is None:
        _with_adapter(statements)
        init_from = statements.final()["INIT_FROM"].value if init_from is not None else None
    if model is None and base is not None:
        return base, None, ""
    if model is None and isinstance(init_from, str):
        return RunConfig(model=_model_of(init_from, final["INIT_FROM"].place)), None, ""
    if isinstance(model, Reference) or not isinstance(model, str | None):
        raise UserError(f"{final['MODEL'].place}: MODEL is {model!r}, wanted a model's name in quotes")
    name = model or DEFAULT_MODEL
    start = dataclasses.replace(base or RunConfig(), model=RunConfig().model, model_name=name)
    return start, name, f"{final['MODEL'].place}: MODEL: " if model else ""


def _with_adapter(statements: Statements) -> None:
    """Where a run starts from an adapter, adds its settings beneath all else, and names its base.

    INIT_FROM may be the adapter's folder, of PEFT's kind, or its base with Lora.init_from for the adapter: a folder of
    PEFT's or that of a run which trained it.

    Raises:
      UserError: it cannot be used, or its base is not here or not its base.
    """
    final = statements.final()
    start, named = final.get("INIT_FROM"), final.get("Lora.init_from")
    if named is None and start is not None and isinstance(start.value, str) and peft_folders.is_adapter(start.value):
        adapter = peft_folders.read_adapter(start.value)
        base = peft_folders.base_of(adapter)
        statements.bindings.append(dataclasses.replace(start, value=base))
        statements.bindings.append(Binding("Lora", "init_from", start.value, "", start.place, start.rank))
    elif named is not None and isinstance(named.value, str) and is_run(named.value):
        run = run_of_adapters(named.value)
        if start is None:
            statements.bindings.append(Binding("INIT_FROM", "", run.init_from, "", named.place, named.rank))
        _beneath(statements, run.lora)
        return
    elif named is not None and isinstance(named.value, str):
        adapter = peft_folders.read_adapter(named.value)
        if start is None:
            base = peft_folders.base_of(adapter)
            statements.bindings.append(Binding("INIT_FROM", "", base, "", named.place, named.rank))
        else:
            base = start.value
    else:
        return
    place = statements.final()["INIT_FROM"].place
    _beneath(statements, peft_folders.fitted(adapter, _model_of(base, place), base))


def _beneath(statements: Statements, lora: LoraConfig) -> None:
    """Adds the settings of an adapter beneath all else."""
    place = statements.final()["INIT_FROM"].place
    beneath = [Binding("LORA", "", lora.rank, "", place, UNDER_FILES)]
    for name in ("alpha", "dropout", "rs_lora", "targets"):
        beneath.append(Binding("Lora", name, getattr(lora, name), "", place, UNDER_FILES))
    statements.bindings[:0] = beneath


def _model_of(init_from: str, place: str) -> ModelConfig:
    """The model of a folder that INIT_FROM names."""
    origin = origin_of(init_from)
    try:
        return origin.model()
    except UserError as fault:
        if not isinstance(origin, EarlierRun):
            raise UserError(f"{place}: {fault}") from fault
        told = f"{str(fault).partition(';')[0]}; INIT_FROM names the folder of a run or of a Hugging Face model"
        raise UserError(f"{place}: {told}") from fault
