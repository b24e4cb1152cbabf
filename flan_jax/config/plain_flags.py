"""What a command line says of a run besides gin: plain flags, files of `--data`, and modules."""

import argparse
import dataclasses
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.annotations import fits
from flan_jax.config.gin_statements import PLAIN_FLAGS, UNDER_FILES, Binding, Statements
from flan_jax.config.kept import USER_MIXTURE
from flan_jax.config.run_config import RunConfig
from flan_jax.config.starting_point import default_run_dir
from flan_jax.errors import UserError
from flan_jax.files import filesystem
from flan_jax.files.row_files import SUFFIXES
from flan_jax.text.vocabulary_names import NAMES

DATA_DEFAULTS: dict[str, Any] = {
    "FEATURE_LENGTHS": {"inputs": 256, "targets": 128},
    "BATCH_SIZE": 16,
    "EPOCHS": 3.0,
    "LEARNING_RATE": 1e-3,
}
# A definition and its examples, as Tk-Instruct has them, do not fit in less.
TASK_FILE_DEFAULTS: dict[str, Any] = {"FEATURE_LENGTHS": {"inputs": 1024, "targets": 128}}
DATA_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_TEXT_SUFFIXES = (".txt",)


def with_flags(statements: Statements, options: argparse.Namespace, macros: Mapping[str, Any]) -> None:
    """Adds what plain flags set, and beneath the files what `--data` does not ask for."""
    given = dict(macros)
    if options.data:
        data_files(options.data)  # which are there
        _refuse_unheeded(statements)
        given["MIXTURE"] = USER_MIXTURE
        defaults = DATA_DEFAULTS | (TASK_FILE_DEFAULTS if _has_task_files(options.data) else {})
        beneath = [Binding(name, "", value, "", "--data", UNDER_FILES) for name, value in defaults.items()]
        if options.held_out != 0:
            how = {"before": True, "measure": "loss"}
            scored = f"{USER_MIXTURE}_test" if _has_test_tasks(options.data) else USER_MIXTURE
            beneath.append(Binding("EVAL_MIXTURE", "", scored, "", "--held_out", UNDER_FILES))
            beneath += [Binding("Evaluation", key, value, "", "--held_out", UNDER_FILES) for key, value in how.items()]
        statements.bindings[:0] = beneath
    for name, value in given.items():
        statements.bindings.append(Binding(name, "", value, "", f"--{name.lower()}", PLAIN_FLAGS))
    if options.on_bad_row is not None:
        statements.bindings.append(Binding("Data", "on_bad_row", options.on_bad_row, "", "--on_bad_row", PLAIN_FLAGS))


def one_length(statements: Statements) -> None:
    """Of STEPS and EPOCHS keeps what was set last: files, then `--gin.`, then plain flags."""
    final = statements.final()
    set_here = [final[name] for name in ("STEPS", "EPOCHS") if name in final and final[name].value is not None]
    if len(set_here) == 2 and set_here[0].rank != set_here[1].rank:
        loser = min(set_here, key=lambda binding: binding.rank)
        statements.bindings[:] = [binding for binding in statements.bindings if binding.name != loser.name]


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
    """The files that `--data` means: those named, and of a folder those of its files that hold rows, in their order; of
    one without such its files of text, which beside rows are licences and the like.

    A folder of task files, of which each is a task, stays one.

    Raises:
      UserError: there is no such file, or a folder holds none.
    """
    from flan_jax.tasks.formats import instruction_folders

    found = []
    for name in names:
        path = Path(name)
        if filesystem.is_remote(name) or path.is_file():
            found.append(name)
        elif not path.is_dir():
            raise UserError(f"--data {name}: there is no such file")
        elif instruction_folders.kind_of(name):
            found.append(name)
        elif inside := _files_in(path, DATA_SUFFIXES) or _files_in(path, _TEXT_SUFFIXES):
            found += inside
        else:
            wanted = ", ".join(DATA_SUFFIXES + _TEXT_SUFFIXES)
            raise UserError(f"--data {name}: the folder has no file {wanted} (or one packed) in it")
    return found


def _has_task_files(names: Sequence[str]) -> bool:
    """Whether files of `--data` are task files, or folders of such."""
    from flan_jax.tasks.formats import instruction_folders
    from flan_jax.tasks.sources import task_files

    local = (name for name in data_files(names) if not filesystem.is_remote(name))
    return any(instruction_folders.is_folder(name) or task_files.is_task_file(name) for name in local)


def _has_test_tasks(names: Sequence[str]) -> bool:
    """Whether a folder of task files among what `--data` names keeps tasks from training, to be scored."""
    from flan_jax.tasks.formats import instruction_folders

    return any(instruction_folders.kind_of(name) and instruction_folders.layout(name).is_scored for name in names)


def _files_in(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    return sorted(str(file) for file in folder.iterdir() if _is_file(file, suffixes))


def _is_file(path: Path, suffixes: tuple[str, ...]) -> bool:
    name = path.name.lower()
    for packed in SUFFIXES:
        name = name.removesuffix(packed)
    if not name.endswith(suffixes):
        return False
    if path.is_symlink() and not path.exists():
        raise UserError(f"--data {path.parent}: {path.name} in it is a link to a file that is gone; mend or remove it")
    return path.is_file() and path.stat().st_size > 0


def check_columns(config: RunConfig) -> None:
    """Refuses files of `--data` whose columns cannot be used, before a process that imports TensorFlow says so.

    Of an address, and of Parquet, whose rows come by the million, the data process tells.
    """
    from flan_jax.tasks.formats import recognition

    for name in config.data_files:
        if not filesystem.is_remote(name) and not name.lower().endswith(".parquet"):
            recognition.check(name, config.data_fields, config.data_held_out)


def extend_path(folders: Sequence[str]) -> None:
    """Lets Python find modules in folders, after everything that is installed.

    Args:
      folders: absolute paths. At the end of `sys.path`, so that a caller's `tests/` or `mixtures/` shadows nobody's.
    """
    sys.path += [folder for folder in dict.fromkeys(folders) if folder not in sys.path]


def module_faults(config: RunConfig) -> list[str]:
    """The faults of modules, and of folders of such, that are no tuple of words."""
    faults = []
    for name in ("modules", "module_folders"):
        if not fits(given := getattr(config, name), tuple[str, ...]):
            wanted = f": ({given!r},)" if isinstance(given, str) else " of words in quotes"
            faults.append(f"Run.{name} is {given!r}, wanted a tuple{wanted}")
    return faults


def with_modules(
    config: RunConfig, options: argparse.Namespace, folders: Sequence[str], imports: Sequence[str]
) -> RunConfig:
    """Adds the user's modules and where they are found, the data files and the run's folder; paths from any folder."""
    extend_path(folders)
    modules = tuple(dict.fromkeys([*config.modules, *imports, *options.module]))
    changes: dict[str, Any] = {
        "modules": modules,
        "module_folders": tuple(dict.fromkeys([os.getcwd(), *folders])),
        "run_dir": default_run_dir(options, str(config.mixture)) if config.run_dir in ("", None) else config.run_dir,
    }
    if isinstance(config.vocabulary, str) and config.vocabulary not in NAMES:
        changes["vocabulary"] = filesystem.absolute(config.vocabulary)
    if isinstance(config.chat_template, str):
        changes["chat_template"] = os.path.abspath(config.chat_template)
    if options.data:
        changes["data_files"] = tuple(filesystem.absolute(name) for name in data_files(options.data))
        changes["data_fields"] = options.fields or {}
        changes["data_held_out"] = options.held_out
    return dataclasses.replace(config, **changes)


def missing_modules(names: Sequence[str]) -> list[str]:
    """The faults of modules that are nowhere; neither they nor their packages are imported.

    Args:
      names: dotted names.
    """
    return [
        f"--module {name}: no module {missing!r} beside you, beside the gin file or installed"
        for name in names
        if (missing := _missing_part(name))
    ]


def _missing_part(module: str) -> str:
    """The first part of a dotted name that has no file; empty where all have."""
    path: Sequence[str] | None = None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:count]), path)
        if spec is None:
            if importlib.util.find_spec(parts[0]) is not None and count == 1:
                return ""  # an editable install or another finder; its own import will tell
            return ".".join(parts[:count])
        path = list(spec.submodule_search_locations or [])
    return ""
