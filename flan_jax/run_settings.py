"""What a command line says of a run besides gin: plain flags, data files, modules, and the run that is started from."""

import argparse
import dataclasses
import importlib.machinery
import importlib.util
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax import filesystem
from flan_jax.annotations import fits
from flan_jax.config import CONFIG_FILE, USER_MIXTURE, RunConfig, load_run
from flan_jax.errors import UserError
from flan_jax.gin_files import PLAIN_FLAGS, UNDER_FILES, Binding, Reference, Statements
from flan_jax.models import hugging_face
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face import peft_folders, t5x

DEFAULT_MODEL = "t5_starter"
DATA_DEFAULTS: dict[str, Any] = {
    "FEATURE_LENGTHS": {"inputs": 256, "targets": 128},
    "BATCH_SIZE": 16,
    "EPOCHS": 3.0,
    "LEARNING_RATE": 1e-3,
}
DATA_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
OF_A_RUN = ("eval", "export", "generate")  # commands that start from a run's folder


def extend_path(folders: Sequence[str]) -> None:
    """Lets Python find modules in folders, after everything that is installed.

    Args:
      folders: absolute paths. At the end of `sys.path`, so that a caller's `tests/` or `mixtures/` shadows nobody's.
    """
    sys.path += [folder for folder in dict.fromkeys(folders) if folder not in sys.path]


def check_module(name: str) -> None:
    """Refuses a module of `--module` that is nowhere, without importing it or its packages.

    Args:
      name: a dotted name.

    Raises:
      UserError: there is no such file.
    """
    path: Sequence[str] | None = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:count]), path)
        if spec is None:
            if importlib.util.find_spec(parts[0]) is not None and count == 1:
                return  # an editable install or another finder; its own import will tell
            raise UserError(
                f"--module {name}: no module {'.'.join(parts[:count])!r} beside you, beside the gin file or installed"
            )
        path = list(spec.submodule_search_locations or [])


def with_flags(statements: Statements, options: argparse.Namespace, macros: Mapping[str, Any]) -> None:
    """Adds what plain flags set, and beneath the files what `--data` does not ask for."""
    given = dict(macros)
    if options.data:
        if "MIXTURE" in given:
            raise UserError(f"--data trains on the file itself; leave --mixture {given['MIXTURE']} out, or --data")
        data_files(options.data)
        _refuse_unheeded(statements)
        given["MIXTURE"] = USER_MIXTURE
        beneath = [Binding(name, "", value, "", "--data", UNDER_FILES) for name, value in DATA_DEFAULTS.items()]
        if options.held_out != 0:
            how = {"before": True, "measure": "loss"}
            beneath.append(Binding("EVAL_MIXTURE", "", USER_MIXTURE, "", "--held_out", UNDER_FILES))
            beneath += [Binding("Evaluation", key, value, "", "--held_out", UNDER_FILES) for key, value in how.items()]
        statements.bindings[:0] = beneath
    elif options.fields:
        raise UserError("--fields names the columns of --data FILE, which is not given")
    elif options.held_out is not None:
        raise UserError("--held_out keeps rows of --data FILE apart, which is not given")
    for name, value in given.items():
        statements.bindings.append(Binding(name, "", value, "", f"--{name.lower()}", PLAIN_FLAGS))
    if options.on_bad_row is not None:
        statements.bindings.append(Binding("Data", "on_bad_row", options.on_bad_row, "", "--on_bad_row", PLAIN_FLAGS))


def _refuse_unheeded(statements: Statements) -> None:
    """Refuses bindings of what `--data` and the flags beside it set, as nothing would come of them.

    Raises:
      UserError: names the flag.
    """
    final = statements.final()
    for name, flag in (("data_files", "--data"), ("data_fields", "--fields"), ("data_held_out", "--held_out")):
        if (binding := final.get(f"Run.{name}")) is not None:
            raise UserError(f"{binding.place}: beside --data, Run.{name} is what {flag} says; give that instead")


def data_files(names: Sequence[str]) -> list[str]:
    """The files that `--data` means: those named, and of a folder those of its files that hold rows, in their order.

    Raises:
      UserError: there is no such file, or a folder holds none.
    """
    found = []
    for name in names:
        path = Path(name)
        if filesystem.is_remote(name) or path.is_file():
            found.append(name)
        elif not path.is_dir():
            raise UserError(f"--data {name}: there is no such file")
        elif inside := sorted(str(file) for file in path.iterdir() if _holds_rows(file)):
            found += inside
        else:
            raise UserError(f"--data {name}: the folder has no file {', '.join(DATA_SUFFIXES)} (or .gz of one) in it")
    return found


def check_columns(config: RunConfig) -> None:
    """Refuses files of `--data` whose columns cannot be used, before a process that imports TensorFlow says so.

    Of an address, and of Parquet, whose rows come by the million, the data process tells.
    """
    from flan_jax.tasks import columns

    for name in config.data_files:
        if not filesystem.is_remote(name) and not name.lower().endswith(".parquet"):
            columns.check(name, config.data_fields, config.data_held_out)


def _holds_rows(path: Path) -> bool:
    if not path.name.lower().removesuffix(".gz").endswith(DATA_SUFFIXES):
        return False
    if path.is_symlink() and not path.exists():
        raise UserError(f"--data {path.parent}: {path.name} in it is a link to a file that is gone; mend or remove it")
    return path.is_file()


def one_length(statements: Statements) -> None:
    """Of STEPS and EPOCHS keeps what was set last: files, then `--gin.`, then plain flags."""
    final = statements.final()
    set_here = [final[name] for name in ("STEPS", "EPOCHS") if name in final and final[name].value is not None]
    if len(set_here) == 2 and set_here[0].rank != set_here[1].rank:
        loser = min(set_here, key=lambda binding: binding.rank)
        statements.bindings[:] = [binding for binding in statements.bindings if binding.name != loser.name]


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
        with_adapter(statements)
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


def with_adapter(statements: Statements) -> None:
    """Where a run starts from an adapter of PEFT's kind, adds its settings beneath all else, and names its base.

    INIT_FROM may be the adapter's folder, or its base with Lora.init_from for the adapter.

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
    lora = peft_folders.fitted(adapter, _model_of(base, place), base)
    beneath = [Binding("LORA", "", lora.rank, "", place, UNDER_FILES)]
    for name in ("alpha", "dropout", "rs_lora", "targets"):
        beneath.append(Binding("Lora", name, getattr(lora, name), "", place, UNDER_FILES))
    statements.bindings[:0] = beneath


def _model_of(init_from: str, place: str) -> ModelConfig:
    """The model of a folder that INIT_FROM names."""
    try:
        if hugging_face.is_folder(init_from):
            return hugging_face.read_folder(init_from).model
        if t5x.is_checkpoint(init_from):
            raise UserError(f"{init_from} is a T5X checkpoint, which does not say its model, name it with --model NAME")
        return load_run(init_from).model
    except UserError as fault:
        if hugging_face.is_folder(init_from) or t5x.is_checkpoint(init_from):
            raise UserError(f"{place}: {fault}") from fault
        told = f"{str(fault).partition(';')[0]}; INIT_FROM names the folder of a run or of a Hugging Face model"
        raise UserError(f"{place}: {told}") from fault


def base_run(statements: Statements, command: str, options: argparse.Namespace) -> RunConfig | None:
    """The run that a command looks at, read from its folder."""
    final = statements.final()
    value = final["RUN_DIR"].value if "RUN_DIR" in final else None
    run_dir = value if isinstance(value, str) else _stem(options)
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


def planned_with(run_dir: str) -> list[str]:
    """The folders of the stores that a run was planned with; none for a folder without a plan."""
    try:
        return [str(folder) for folder in json.loads((Path(run_dir) / "plan.json").read_text())["folders"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _with_its_stores(run: RunConfig) -> RunConfig:
    """The run with its STORE_DIR where it was, from whatever folder the command is typed."""
    kept = next((os.path.dirname(os.path.dirname(folder)) for folder in planned_with(run.run_dir)), "")
    if os.path.isabs(run.store_dir) or os.path.isdir(run.store_dir) or not os.path.isdir(kept):
        return run
    return dataclasses.replace(run, store_dir=kept)


def _stem(options: argparse.Namespace, mixture: str = "") -> str:
    """The default of RUN_DIR: runs/ and the stem of the first gin file, data file, or the mixture's name."""
    word = next((Path(name).stem for name in [*options.gin_file, *options.data]), mixture)
    return f"runs/{re.sub(r'[^A-Za-z0-9_.-]', '_', word)}" if word else ""


def check_module_names(config: RunConfig) -> None:
    """Refuses modules, and folders of such, that are no tuple of words.

    Raises:
      UserError: names the setting.
    """
    for name in ("modules", "module_folders"):
        if not fits(given := getattr(config, name), tuple[str, ...]):
            wanted = f": ({given!r},)" if isinstance(given, str) else " of words in quotes"
            raise UserError(f"Run.{name} is {given!r}, wanted a tuple{wanted}")


def with_modules(
    config: RunConfig, options: argparse.Namespace, folders: Sequence[str], imports: Sequence[str]
) -> RunConfig:
    """Adds the user's modules and where they are found, the data files and the run's folder."""
    extend_path(folders)
    modules = tuple(dict.fromkeys([*config.modules, *imports, *options.module]))
    for name in modules:
        check_module(name)
    changes: dict[str, Any] = {
        "modules": modules,
        "module_folders": tuple(dict.fromkeys([os.getcwd(), *folders])),
        "run_dir": _stem(options, str(config.mixture)) if config.run_dir in ("", None) else config.run_dir,
    }
    if options.data:
        changes["data_files"] = tuple(filesystem.absolute(name) for name in data_files(options.data))
        changes["data_fields"] = options.fields or {}
        changes["data_held_out"] = options.held_out
    return dataclasses.replace(config, **changes)
