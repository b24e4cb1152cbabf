"""The configuration as a run's folder keeps it: JSON that is read back, and the gin file that means the same."""

import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan_jax.annotations import check_types, conform
from flan_jax.config.macros import MACROS, path_of, setting
from flan_jax.config.named_functions import from_plain, to_plain
from flan_jax.config.run_config import RunConfig, value_of
from flan_jax.errors import UserError, nearest, together
from flan_jax.files import filesystem
from flan_jax.files.text_files import read_text

CONFIG_FILE = "config.json"
STAGES_FILE = "stages.json"  # in the folder that holds the runs of stages
USER_MIXTURE = "user_data"


def to_json(config: RunConfig) -> str:
    """Writes the resolved configuration as JSON, functions by their qualified names.

    Args:
      config: any configuration.

    Returns:
      Text that `from_json` reads back. `operative` is not in it: it is a file of its own.
    """
    return json.dumps(to_plain(dataclasses.replace(config, operative="")), indent=2) + "\n"


def from_json(text: str, name: str = CONFIG_FILE) -> RunConfig:
    """Reads a configuration back that `to_json` wrote.

    Args:
      text: the JSON.
      name: what to call it in an error.

    Returns:
      The configuration. Settings that the text lacks keep their defaults.

    Raises:
      UserError: not a configuration of ours, or one with settings that are not known here.
    """
    try:
        saved = json.loads(text)
    except (ValueError, RecursionError):
        saved = None
    if not isinstance(saved, dict) or not {"mixture", "feature_lengths", "model"} <= set(saved):
        raise UserError(f"{name} does not hold the configuration of a flan-jax run")

    def build(base: Any, values: Any, prefix: str) -> Any:
        if not isinstance(values, Mapping):
            raise UserError(f"{name} is damaged: {prefix.rstrip('.')} is {values!r}, wanted its settings")
        known = {item.name for item in dataclasses.fields(base)}
        for key in values:
            if key not in known:
                raise UserError(
                    f"{name} has a setting {prefix + key!r} that this version does not know{nearest(key, known)}"
                )
        nested = {key for key in values if dataclasses.is_dataclass(getattr(base, key))}
        changes = {key: from_plain(value) for key, value in values.items() if key not in nested}
        return conform(base, changes | {key: build(getattr(base, key), values[key], f"{key}.") for key in nested})

    try:
        config = typing.cast(RunConfig, build(RunConfig(), saved, ""))
    except UserError as fault:
        raise UserError(str(fault) if name in str(fault) else f"{name} is damaged: {fault}") from None
    if faults := check_types(config):
        raise UserError(together([f"{setting(path)}: {fault}" for path, fault in faults], f"{name} is damaged"))
    return config


def load_run(run_dir: str | Path) -> RunConfig:
    """Reads the configuration of a run from its folder.

    Args:
      run_dir: the folder, or one within it (of a checkpoint, say).

    Returns:
      The configuration, its `run_dir` being where the folder is now.

    Raises:
      UserError: no run is there.
    """
    folder = Path(run_dir)
    for place in (folder, *list(folder.parents)[:2]) if folder.is_dir() else ():
        if (place / CONFIG_FILE).is_file():
            text = read_text(place / CONFIG_FILE, "the configuration of a run")
            return dataclasses.replace(from_json(text, str(place / CONFIG_FILE)), run_dir=str(place))
    if (folder / STAGES_FILE).is_file():
        stages = ", ".join(sorted(str(place.parent) for place in folder.glob(f"*/{CONFIG_FILE}")))
        raise UserError(f"{str(folder)!r} holds a run of stages, each in a folder of its own; name one: {stages}")
    what = f"no {CONFIG_FILE} is in it" if folder.is_dir() else "there is no such folder"
    raise UserError(f"no run in {str(run_dir)!r}: {what}; name the folder of a run with --run_dir")


def write_equivalent(config: RunConfig, folder: str | Path, vocabulary: str = "starter") -> tuple[Path, Path]:
    """Writes the gin file and the task module that mean the same as `--data FILE`.

    Args:
      config: a configuration with `data_files`.
      folder: where `user_data.gin` and `user_data_task.py` go; made where it is missing.
      vocabulary: the vocabulary of the tasks.

    Returns:
      The two files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    how = f", fields={config.data_fields!r}" if config.data_fields else ""
    how += f", vocabulary={vocabulary!r}, validation_rows={config.data_held_out}"
    files = [filesystem.absolute(name) for name in config.data_files]
    lines = ['"""The task that `flan-jax train --data` trained on."""', ""]
    if len(files) == 1:
        lines += ["from flan_jax.tasks import task_from_file", ""]
        lines += [f"task_from_file({files[0]!r}, {USER_MIXTURE!r}{how}).register()"]
    else:
        lines += ["from flan_jax.tasks import register_files", "", "FILES = ["]
        lines += [f"    {name!r}," for name in files]
        lines += ["]", f"register_files(FILES, {USER_MIXTURE!r}{how})"]
    module = folder / f"{USER_MIXTURE}_task.py"
    module.write_text("\n".join(lines) + "\n", encoding="utf-8")

    defaults = RunConfig()
    statements = ["# What `flan-jax train --data` ran, as a gin file:", "#   flan-jax train --gin_file=THIS_FILE", ""]
    for name, row in MACROS.items():
        value = value_of(config, path_of(row.target))
        if value != value_of(defaults, path_of(row.target)):
            statements.append(f"{name} = {value!r}")
    modules = (*config.modules, module.stem)
    scored, plain = dataclasses.asdict(config.evaluation), dataclasses.asdict(defaults.evaluation)
    beneath = [f"Evaluation.{key} = {value!r}" for key, value in scored.items() if value != plain[key]]
    statements += ["", f"Run.modules = {modules!r}", *beneath, *config.bindings]
    gin_file = folder / f"{USER_MIXTURE}.gin"
    gin_file.write_text("\n".join(statements) + "\n", encoding="utf-8")
    return gin_file, module
