"""How a command line becomes a `RunConfig`.

Every setting goes one way: gin text and flags are read as statements (`binding.read`, `plain_flags`, `starting_point`),
their names are checked and the user's functions found (`gin_names`), what they would call is set apart (`gin_calls`),
what is left is bound (`binding.bind`), the values make a `RunConfig`, and that is checked (`checks`).
"""

import argparse
import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from flan_jax.annotations import conform
from flan_jax.config import binding, gin_calls, gin_names, plain_flags, run_stages, starting_point
from flan_jax.config.checks import faults_of, refuse
from flan_jax.config.gin_files import find_gin_file
from flan_jax.config.gin_statements import UNDER_FILES, Binding, Statements
from flan_jax.config.macros import SECTIONS
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError, together

NEEDS: dict[str, tuple[str, ...]] = {
    "train": ("mixture", "length", "vocabulary"),
    "plan": ("mixture", "length", "vocabulary"),
    "prepare": ("mixture", "vocabulary"),
    "inspect": ("mixture",),
    "vocab": ("mixture",),
}
"""What a command cannot do without, as `checks.check` takes it."""


def resolve(command: str, options: argparse.Namespace, macros: Mapping[str, Any], bindings: Sequence[str]) -> RunConfig:
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
    statements = _read(options, macros, bindings)
    if run_stages.names_of(statements):
        raise UserError(
            f"{statements.final()['STAGES'].place}: STAGES is of `train`, `plan` and `prepare`; `flan-jax {command}` "
            "looks at one run: name a stage's folder with --run_dir, such as RUN_DIR/1-NAME"
        )
    return _resolved(command, options, statements)


def resolve_runs(
    options: argparse.Namespace, macros: Mapping[str, Any], bindings: Sequence[str], command: str = "train"
) -> list[RunConfig]:
    """The runs that a command line means: one, or one a stage of STAGES; see `resolve` and `run_stages`.

    Args:
      options: the command's options.
      macros: what plain flags set.
      bindings: what `--gin.` flags set, as gin text.
      command: "train", "plan" or "prepare", whose needs are checked.

    Raises:
      UserError: any fault of the settings; those of all stages are told together, each with its stage.
    """
    statements = _read(options, macros, bindings)
    names = run_stages.names_of(statements)
    if not names:
        return [_resolved(command, options, statements)]
    if options.data:
        raise UserError("--data trains on the file itself, in one run; leave STAGES out, or register it as a task")
    run_dir = run_stages.value_in(statements, "RUN_DIR") or starting_point.default_run_dir(options) or "runs/stages"
    stages = run_stages.split(statements, names)
    run_stages.scored_alike(stages)
    run_stages.in_folders(stages, names, str(run_dir).rstrip("/"))
    configs: list[RunConfig] = []
    found: dict[str, list[str]] = {}
    for number, (name, stage) in enumerate(zip(names, stages, strict=True)):
        starts = run_stages.start_of(stage, stages[number - 1], configs[-1]) if configs else []
        try:
            run_stages.replaying(stage, configs)
            configs.append(_resolved(command, options, stage, starts))
        except UserError as fault:
            found[name] = fault.each()
    if len(configs) == len(names):
        refuse(run_stages.faults_between(names, configs))
    refuse(run_stages.together_by_stage(found, names))
    return configs


def _read(options: argparse.Namespace, macros: Mapping[str, Any], bindings: Sequence[str]) -> Statements:
    """The statements of a command line."""
    statements = binding.read(options.gin_file, bindings)
    plain_flags.extend_path([os.getcwd(), *statements.folders])
    plain_flags.with_flags(statements, options, macros)
    return statements


def _resolved(
    command: str, options: argparse.Namespace, statements: Statements, starts: Sequence[Binding] = ()
) -> RunConfig:
    """The configuration of one run; `starts` says what it starts from where that is not what says its model."""
    plain_flags.one_length(statements)
    base = starting_point.base_run(statements, command, options)
    start, model, place = starting_point.starting_model(statements, base)
    if model is not None:
        _read_model(model, place, statements)
    statements.bindings += starts
    named = gin_names.check_names(statements, binding.registered)
    if named.faults:
        raise UserError(together(named.faults))
    needs = () if command == "inspect" and options.task and not options.dropped else NEEDS.get(command, ())
    config = _bound(command, statements, named.functions, start, needs)
    refuse(plain_flags.module_faults(config))
    folders = [*statements.folders, *config.module_folders]
    tasks = [line.module for line in statements.imports if line.module not in named.used]  # for what they register
    config = plain_flags.with_modules(config, options, folders, tasks)
    if command == "train" and config.sweep:
        varied = ", ".join(map(str, config.sweep))
        refuse([f"SWEEP varies {varied}: `flan-jax sweep` trains these runs; for one run alone add --sweep {{}}"])
    refuse(plain_flags.missing_modules(config.modules) + faults_of(config, needs, statements.places()))
    return config


def resolve_each(
    command: str, options: argparse.Namespace, macros: Mapping[str, Any], bindings: Sequence[str], files: Sequence[str]
) -> dict[str, RunConfig]:
    """The run that each of several gin files means with the same flags, by the file's name; see `resolve`."""
    return {
        name: resolve(command, argparse.Namespace(**{**vars(options), "gin_file": [name]}), macros, bindings)
        for name in files
    }


def _read_model(name: str, place: str, statements: Statements) -> None:
    """Reads a model's gin file beneath what was read so far."""
    under = Statements()
    try:
        binding.read_file(find_gin_file(name, kind="model"), UNDER_FILES, under)
    except UserError as fault:
        raise UserError(f"{place}{fault}") from fault
    statements.bindings[:0], statements.imports[:0] = under.bindings, under.imports
    statements.faults += under.faults


def _bound(
    command: str,
    statements: Statements,
    functions: Mapping[str, gin_names.Function],
    start: RunConfig,
    needs: Collection[str],
) -> RunConfig:
    """Binds, and calls what the command needs called; nothing is called before all else was found to be sound."""
    waiting = gin_calls.waiting(statements, functions)
    unused = gin_calls.not_shown(command, waiting)
    config = _with_values(start, *binding.bind(gin_calls.without(statements, waiting), functions))
    if waiting - unused:
        refuse(faults_of(config, needs, statements.places(), unknown=waiting))
        config = _with_values(start, *binding.bind(gin_calls.without(statements, unused), functions))
    return dataclasses.replace(config, bindings=statements.as_text())


def _with_values(start: RunConfig, values: Mapping[str, dict[str, Any]], text: str) -> RunConfig:
    """The configuration with what gin binds; `text` is all of it."""
    sections = {path: conform(getattr(start, path), values[name]) for name, path in SECTIONS.items() if path}
    run = values["Run"]
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if run.get(one) is not None and run.get(other) is None:
            run[other] = None
    return dataclasses.replace(conform(start, run | sections), operative=text)
