"""`flan-jax`: reads the command line and gin files into one `RunConfig`, and hands it to the subcommand.

Later settings win: the model's gin file, the gin files in the order given, `--gin.NAME=value`, plain flags. Only what a
subcommand needs is imported: `--help` and a mistyped flag are answered without JAX.
"""

import argparse
import dataclasses
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flan_jax import command_line
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.config import RunConfig
    from flan_jax.gin_files import Statements

DEFAULT_MODEL = "t5_starter"
DATA_DEFAULTS: dict[str, Any] = {
    "FEATURE_LENGTHS": {"inputs": 256, "targets": 128},
    "BATCH_SIZE": 16,
    "EPOCHS": 3.0,
    "LEARNING_RATE": 1e-3,
}
ENTRY_POINTS: dict[str, str] = {
    "train": "flan_jax.train:train",
    "eval": "flan_jax.evaluation.run:evaluate_run",
    "generate": "flan_jax.evaluation.generate:generate",
    "prepare": "flan_jax.commands.prepare:prepare_command",
    "plan": "flan_jax.commands.plan:plan_command",
    "inspect": "flan_jax.commands.inspect:inspect_command",
    "tasks": "flan_jax.commands.listing:tasks_command",
    "vocab": "flan_jax.commands.prepare:vocab_command",
}
NEEDS: dict[str, tuple[str, ...]] = {
    "train": ("mixture", "length"),
    "plan": ("mixture", "length"),
    "prepare": ("mixture",),
    "inspect": ("mixture",),
    "vocab": ("mixture",),
}
OF_A_RUN = ("eval", "generate")  # commands that start from a run's folder


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


def _with_flags(statements: "Statements", options: argparse.Namespace, macros: Mapping[str, Any]) -> None:
    """Adds what plain flags set, and beneath the files what `--data` does not ask for."""
    from flan_jax.config import USER_MIXTURE
    from flan_jax.gin_files import PLAIN_FLAGS, UNDER_FILES, Binding

    given = dict(macros)
    if options.data:
        if "MIXTURE" in given:
            raise UserError(f"--data trains on the file itself; leave --mixture {given['MIXTURE']} out, or --data")
        for name in options.data:
            if not Path(name).is_file():
                raise UserError(f"--data {name}: there is no such file")
        given["MIXTURE"] = USER_MIXTURE
        beneath = [Binding(name, "", value, "", "--data", UNDER_FILES) for name, value in DATA_DEFAULTS.items()]
        statements.bindings[:0] = beneath
    elif options.fields:
        raise UserError("--fields names the columns of --data FILE, which is not given")
    for name, value in given.items():
        statements.bindings.append(Binding(name, "", value, "", f"--{name.lower()}", PLAIN_FLAGS))


def _one_length(statements: "Statements") -> None:
    """Of STEPS and EPOCHS keeps what was set last: files, then `--gin.`, then plain flags."""
    final = statements.final()
    set_here = [final[name] for name in ("STEPS", "EPOCHS") if name in final and final[name].value is not None]
    if len(set_here) == 2 and set_here[0].rank != set_here[1].rank:
        loser = min(set_here, key=lambda binding: binding.rank)
        statements.bindings[:] = [binding for binding in statements.bindings if binding.name != loser.name]


def _model_file(statements: "Statements", base: "RunConfig | None") -> "RunConfig | None":
    """Reads the model's gin file beneath all else; without MODEL the model is the run's that is started from.

    Args:
      statements: what was read so far; the file's go in front.
      base: the run that the command starts from, if any.

    Returns:
      A configuration whose `model` and `model_name` are the base to bind over, or None for the defaults.
    """
    from flan_jax.config import RunConfig, load_run
    from flan_jax.gin_files import UNDER_FILES, Reference, Statements, find_gin_file, read_file

    final = statements.final()
    model = final["MODEL"].value if "MODEL" in final else None
    init_from = final["INIT_FROM"].value if "INIT_FROM" in final else None
    start = base
    if model is None and base is None and isinstance(init_from, str):
        try:
            start = RunConfig(model=load_run(init_from).model)
        except UserError as fault:
            raise UserError(
                f"{final['INIT_FROM'].place}: {str(fault).partition(';')[0]}; INIT_FROM names the folder of a run"
            ) from fault
    if model is None and start is not None:
        return start
    if isinstance(model, Reference) or not isinstance(model, str | None):
        raise UserError(f"{final['MODEL'].place}: MODEL is {model!r}, wanted a model's name in quotes")
    place = final["MODEL"].place if model else ""
    under = Statements()
    try:
        read_file(find_gin_file(model or DEFAULT_MODEL, kind="model"), UNDER_FILES, under)
    except UserError as fault:
        raise UserError(f"{place}: MODEL: {fault}") from fault
    statements.bindings[:0], statements.imports[:0] = under.bindings, under.imports
    statements.faults += under.faults
    name = model or DEFAULT_MODEL
    return dataclasses.replace(start or RunConfig(), model=RunConfig().model, model_name=name)


def _base_run(statements: "Statements", command: str, options: argparse.Namespace) -> "RunConfig | None":
    """The run that a command looks at, read from its folder."""
    from flan_jax.config import CONFIG_FILE, load_run

    final = statements.final()
    value = final["RUN_DIR"].value if "RUN_DIR" in final else None
    run_dir = value if isinstance(value, str) else _stem(options)
    if command == "inspect":
        own = "MIXTURE" in final or options.task
        return load_run(run_dir) if run_dir and not own and (Path(run_dir) / CONFIG_FILE).is_file() else None
    if command not in OF_A_RUN:
        return None
    if not run_dir:
        raise UserError(f"which run? name its folder: flan-jax {command} --run_dir runs/NAME")
    return load_run(run_dir)


def _stem(options: argparse.Namespace, mixture: str = "") -> str:
    """The default of RUN_DIR: runs/ and the stem of the first gin file, data file, or the mixture's name."""
    word = next((Path(name).stem for name in [*options.gin_file, *options.data]), mixture)
    return f"runs/{re.sub(r'[^A-Za-z0-9_.-]', '_', word)}" if word else ""


def read_statements(options: argparse.Namespace, bindings: Sequence[str]) -> "Statements":
    """Reads the gin files and `--gin.` flags of a command line.

    Raises:
      UserError: a file is missing.
    """
    from flan_jax.gin_files import FILES, GIN_FLAGS, Statements, find_gin_file, read_file, read_text

    statements = Statements()
    for name in options.gin_file:
        read_file(find_gin_file(name), FILES, statements)
    for text in bindings:
        read_text(text, f"--gin.{text}", GIN_FLAGS, statements)
    return statements


def resolve(
    command: str, options: argparse.Namespace, macros: Mapping[str, Any], bindings: Sequence[str]
) -> "RunConfig":
    """Makes the configuration of a run out of a command line.

    Args:
      command: the subcommand.
      options: its options.
      macros: what plain flags set.
      bindings: what `--gin.` flags set, as gin text.

    Returns:
      The checked configuration.

    Raises:
      UserError: any fault of the settings; those found together are told together.
    """
    statements = read_statements(options, bindings)
    extend_path([os.getcwd(), *statements.folders])
    _with_flags(statements, options, macros)
    _one_length(statements)
    base = _base_run(statements, command, options)
    over = _model_file(statements, base)

    from flan_jax import gin_bindings
    from flan_jax.annotations import conform
    from flan_jax.config import SECTIONS, RunConfig, check

    used: set[str] = set()
    names: dict[str, str] = {}
    faults = gin_bindings.check_names(statements, used, names)
    if faults:
        raise UserError((f"{len(faults)} faults: " if len(faults) > 1 else "") + "; ".join(faults))
    values, text = gin_bindings.bind(statements, names)
    config = over or RunConfig()
    sections = {path: conform(getattr(config, path), values[name]) for name, path in SECTIONS.items() if path}
    run = values["Run"]
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if run.get(one) is not None and run.get(other) is None:
            run[other] = None
    config = conform(config, run | sections)
    config = dataclasses.replace(config, operative=text, bindings=gin_bindings.as_text(statements))
    config = _with_modules(
        config,
        options,
        [*statements.folders, *config.module_folders],
        [line.module for line in statements.imports if line.module not in used],
    )
    check(config, () if command == "inspect" and options.task else NEEDS.get(command, ()), statements.places())
    return config


def _with_modules(
    config: "RunConfig", options: argparse.Namespace, folders: Sequence[str], imports: Sequence[str]
) -> "RunConfig":
    """Adds the user's modules and where they are found, the data files and the run's folder."""
    extend_path(folders)
    if isinstance(config.modules, str):
        raise UserError(f"Run.modules is {config.modules!r}, wanted a tuple: ({config.modules!r},)")
    modules = tuple(dict.fromkeys([*config.modules, *imports, *options.module]))
    for name in modules:
        check_module(name)
    changes: dict[str, Any] = {
        "modules": modules,
        "module_folders": tuple(dict.fromkeys([os.getcwd(), *folders])),
        "run_dir": config.run_dir or _stem(options, str(config.mixture)),
    }
    if options.data:
        changes["data_files"] = tuple(str(Path(name).resolve()) for name in options.data)
        changes["data_fields"] = options.fields or {}
    return dataclasses.replace(config, **changes)


def own_arguments(command: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a subcommand takes besides the configuration, by the names of its function's parameters.

    Raises:
      UserError: options that do not go together.
    """
    if command == "generate":
        if options.prompt is not None and options.prompts is not None:
            raise UserError("--prompt and --prompts are both given; keep one")
        if options.prompts is None and (options.score or options.output):
            raise UserError("--score and --output go with --prompts FILE")
    names = {
        "eval": ("split", "step"),
        "generate": ("prompt", "output", "score", "max_new_tokens", "temperature", "top_k", "top_p", "step"),
        "inspect": ("task", "step", "num", "split"),
        "plan": ("estimate",),
        "tasks": ("query",),
        "vocab": ("size", "output", "max_examples"),
    }
    own = {name: getattr(options, name) for name in names.get(command, ())}
    if command == "plan":
        own["as_json"] = options.json
    if command == "generate":
        own |= {"prompts_file": options.prompts, "interactive": options.prompt is None and options.prompts is None}
    return own


def _dispatch(command: str, options: argparse.Namespace, macros: dict[str, Any], bindings: Sequence[str]) -> int | None:
    own = own_arguments(command, options)
    mixture = macros.pop("MIXTURE", None) if command == "eval" else None  # there it says what to score
    config = resolve(command, options, macros, bindings)
    if command == "eval":
        own |= {"run_dir": config.run_dir, "mixture": mixture or config.eval_mixture or config.mixture}
    module, _, function = ENTRY_POINTS[command].partition(":")
    return getattr(importlib.import_module(module), function)(config, **own)


def main(argv: Sequence[str]) -> int:
    """Runs one command.

    Args:
      argv: the arguments, without the program's name.

    Returns:
      The exit code: 0, or 2 after a fault that the user can mend, told in one line on stderr.
    """
    try:
        return _dispatch(*command_line.parse(argv)) or 0
    except UserError as fault:
        print(f"flan-jax: {' '.join(str(fault).split())}", file=sys.stderr)
        return 2
    except SystemExit as leaving:  # argparse, after --help
        return leaving.code if isinstance(leaving.code, int) else 0
    except KeyboardInterrupt:
        print("flan-jax: interrupted", file=sys.stderr)
        return 130


def run() -> None:
    """The entry point of `flan-jax` and of `python -m flan_jax.main`."""
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)


if __name__ == "__main__":
    run()
