"""`flan-jax`: reads the command line and gin files into one `RunConfig`, and hands it to the subcommand.

The only module that imports gin. A gin file is taken in three passes: *read* every statement with its place, *check*
all names (`gin_names`), and only then *bind*. Later settings win: the model's gin file, the gin files in the order
given, `--gin.NAME=value`, plain flags. Only what a subcommand needs is imported: `--help` is answered without JAX.
"""

import argparse
import copy
import dataclasses
import functools
import importlib
import inspect
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gin
from gin import config_parser

from flan_jax import command_line, huge_pages, library_noise
from flan_jax.command_options import own_arguments
from flan_jax.errors import UserError, nearest, path_fault, together, told
from flan_jax.gin_files import (
    FILES,
    GIN_FLAGS,
    UNDER_FILES,
    Binding,
    Import,
    Reference,
    Statements,
    config_folder,
    find_gin_file,
    syntax_fault,
)
from flan_jax.macros import MACROS
from flan_jax.text_files import read_text as read_text_file

if TYPE_CHECKING:
    from flan_jax.config import RunConfig

ENTRY_POINTS: dict[str, str] = {
    "train": "flan_jax.train:train",
    "eval": "flan_jax.evaluation.run:evaluate_run",
    "generate": "flan_jax.evaluation.generate:generate",
    "import": "flan_jax.commands.import_model:import_command",
    "export": "flan_jax.commands.export_model:export_command",
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


class _Delegate(config_parser.ParserDelegate):
    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> Reference:
        return Reference(scoped_configurable_name, evaluate)

    def macro(self, macro_name: str) -> Reference:
        return Reference(macro_name, macro=True)


def read_text(text: str, place: str, rank: int, into: Statements, beside: Path | None = None, seen: tuple = ()) -> None:
    """Reads gin text, and what it includes, without binding anything.

    Args:
      text: gin statements.
      place: the file's name, or the flag.
      rank: given to the bindings.
      into: where statements and faults go.
      beside: the file's folder, looked in first for what it includes.
      seen: the files that are being read, against a circle of includes.
    """
    try:
        for statement in config_parser.ConfigParser(text, _Delegate()):
            where = f"{place}:{statement.location.line_num}" if beside else place
            if isinstance(statement, config_parser.BindingStatement):
                into.bindings.append(
                    Binding(statement.selector, statement.arg_name, statement.value, statement.scope, where, rank)
                )
            elif isinstance(statement, config_parser.ImportStatement):
                if not statement.module.startswith("__gin__"):
                    into.imports.append(Import(statement.bound_name(), statement.module, statement.format(), where))
            elif isinstance(statement, config_parser.IncludeStatement):
                try:
                    read_file(find_gin_file(statement.filename, beside), rank, into, seen)
                except UserError as fault:
                    into.faults.append(f"{where}: {fault}")
    except SyntaxError as error:
        into.faults.append(syntax_fault(error, text, place))
    except Exception as error:  # the tokenizer of gin raises its own kinds for text that ends too early
        said = [*str(error.args[0] if error.args else error).splitlines(), type(error).__name__][0]
        into.faults.append(f"{place}: cannot be read as gin ({said}); is a bracket or a quote left open?")


def read_file(path: Path, rank: int, into: Statements, seen: tuple[Path, ...] = ()) -> None:
    """Reads a gin file and its includes; see `read_text`."""
    if path.resolve() in seen:
        raise UserError(f"{path.name} includes itself")
    text = read_text_file(path, "a gin file")
    if not path.resolve().is_relative_to(config_folder().resolve()):
        into.folders.append(str(path.resolve().parent))
    read_text(text, path.name, rank, into, path.parent, (*seen, path.resolve()))


@functools.cache
def register() -> dict[str, type]:
    """Makes the sections of `RunConfig` known to gin, once a process, and returns them by gin name."""
    from flan_jax.gin_names import section_types

    sections = section_types()
    for name, section in sections.items():
        gin.external_configurable(section, name=name, module="flan_jax")
    return sections


def _in_registry(selector: str) -> Any:
    """What gin calls for a name, or None."""
    try:
        return gin.get_configurable(selector)
    except (ValueError, KeyError):
        return None


def _unwrapped(configurable: Any) -> Any:
    """The function or class that gin wrapped."""
    return configurable.__mro__[1] if inspect.isclass(configurable) else getattr(configurable, "__wrapped__", None)


def make_known(selector: str, place: str, imports: Sequence[Import], used: set[str]) -> tuple[str, Any]:
    """Finds the user's function or class that a gin name means, and makes it known to gin, decorated or not.

    Args:
      selector: as written after the "@" or before the parameter.
      place: where it was written, for errors.
      imports: the import lines of all files.
      used: the modules whose import was needed here are added to it.

    Returns:
      The full name under which gin knows it, and the plain function or class.

    Raises:
      UserError: it is nowhere.
    """
    from flan_jax.gin_names import look_up

    found, name, offered = look_up(selector, place, imports, used)
    if found is None and _in_registry(selector) is not None:  # a name given by @gin.configurable("another_name")
        return selector, _unwrapped(_in_registry(selector))
    if not callable(found):
        raise UserError(f"{place}: there is no function or class {selector!r}{nearest(selector, offered)}")
    known = _in_registry(name)
    if known is None or (known is not found and _unwrapped(known) is not found):
        module, _, short = name.rpartition(".")
        with gin.config.interactive_mode():  # the name may stand for an older function of a module that was loaded anew
            gin.external_configurable(found, name=short, module=module)
    return name, inspect.unwrap(found)


def _to_gin(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Reference):
        if value.macro:
            return gin.config.ParserDelegate().macro(value.name)
        scope, slash, selector = value.name.rpartition("/")
        return gin.config.ConfigurableReference(scope + slash + names[selector], value.evaluate)
    if isinstance(value, dict):
        return {_to_gin(key, names): _to_gin(item, names) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_to_gin(item, names) for item in value)
    return value


def _plain(value: Any) -> Any:
    """A function as plain Python, with what gin binds of it as a partial's arguments."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_plain(item) for item in value)
    if not callable(value):
        return value
    try:
        arguments = gin.get_bindings(value)
    except (ValueError, TypeError):
        return value
    function = _unwrapped(value) or value
    return functools.partial(function, **_plain(arguments)) if arguments else function


def _is_its_macro(binding: Binding) -> bool:
    """Whether a binding says of a macro's setting that it is the macro, as the gin file that a run writes does."""
    from flan_jax.gin_names import section_name

    value = binding.value
    known = isinstance(value, Reference) and value.macro and value.name in MACROS
    return known and MACROS[value.name].target == f"{section_name(binding)}.{binding.parameter}"


def bind(statements: Statements, names: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], str]:
    """Binds checked statements in gin.

    Args:
      statements: without faults.
      names: the full name of each function by its name as written.

    Returns:
      For each section the values that were bound, and the gin text of everything bound.

    Raises:
      UserError: a function of the user's, called by `@name()`, failed.
    """
    from flan_jax import gin_calls
    from flan_jax.named_functions import failure

    sections = register()
    gin.clear_config()
    final = statements.final()
    for binding in final.values():
        if not binding.parameter:
            gin.bind_parameter((binding.selector, "gin.macro", "value"), _to_gin(binding.value, names))
        elif not _is_its_macro(binding):
            selector = names.get(binding.selector, binding.selector)
            gin.bind_parameter((binding.scope, selector, binding.parameter), _to_gin(binding.value, names))
    text = "\n".join([*dict.fromkeys(line.line for line in statements.imports), "", gin.config_str(120)]).lstrip("\n")
    for name in MACROS:
        if name in final:
            section, _, parameter = MACROS[name].target.partition(".")
            gin.bind_parameter(("", f"flan_jax.{section}", parameter), _to_gin(Reference(name, macro=True), names))
    values: dict[str, dict[str, Any]] = {}
    for name in sections:
        values[name] = {}
        for parameter, value in gin.get_bindings(f"flan_jax.{name}", resolve_references=False).items():
            try:
                values[name][parameter] = _plain(copy.deepcopy(value))  # by which gin makes its calls
            except (Exception, SystemExit) as error:
                setting = f"{name}.{parameter}"
                written = next(one for one in final.values() if gin_calls.setting_of(one) == setting)
                raise UserError(
                    f"{written.place}: {written.name} = {written.value!r} failed with {failure(error)}"
                ) from error
    return values, text


def read_statements(options: argparse.Namespace, bindings: Sequence[str]) -> Statements:
    """Reads the gin files and `--gin.` flags of a command line.

    Raises:
      UserError: a file is missing.
    """
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
    from flan_jax import run_settings
    from flan_jax.config import check

    statements = read_statements(options, bindings)
    run_settings.extend_path([os.getcwd(), *statements.folders])
    run_settings.with_flags(statements, options, macros)
    run_settings.one_length(statements)
    base = run_settings.base_run(statements, command, options)
    start, model, place = run_settings.starting_model(statements, base)
    if model is not None:
        _read_model(model, place, statements)
    needs = () if command == "inspect" and options.task else NEEDS.get(command, ())
    config, used = _bound(command, statements, start, needs)
    run_settings.check_module_names(config)
    folders = [*statements.folders, *config.module_folders]
    tasks = [line.module for line in statements.imports if line.module not in used]  # imported for what they register
    config = run_settings.with_modules(config, options, folders, tasks)
    check(config, needs, statements.places())
    return config


def _read_model(name: str, place: str, statements: Statements) -> None:
    """Reads a model's gin file beneath what was read so far."""
    under = Statements()
    try:
        read_file(find_gin_file(name, kind="model"), UNDER_FILES, under)
    except UserError as fault:
        raise UserError(f"{place}{fault}") from fault
    statements.bindings[:0], statements.imports[:0] = under.bindings, under.imports
    statements.faults += under.faults


def _bound(
    command: str, statements: Statements, start: "RunConfig", needs: Sequence[str]
) -> tuple["RunConfig", set[str]]:
    """Checks, binds, calls what the command needs called, and gives the configuration with the modules whose functions
    it refers to."""
    from flan_jax import gin_calls, gin_names
    from flan_jax.config import check

    register()
    used: set[str] = set()
    names: dict[str, str] = {}

    def function_of(selector: str, place: str) -> tuple[str, Any]:
        names[selector], function = make_known(selector, place, statements.imports, used)
        return names[selector], function

    faults = gin_names.check_names(statements, function_of)
    if faults:
        raise UserError(together(faults))
    waiting = gin_calls.waiting(statements, names)
    unused = gin_calls.not_shown(command, waiting)
    config = _with_values(start, *bind(gin_calls.without(statements, waiting), names))
    if waiting - unused:  # nothing is called before all else was found to be sound
        check(config, needs, statements.places(), unknown=waiting)
        config = _with_values(start, *bind(gin_calls.without(statements, unused), names))
    return dataclasses.replace(config, bindings=gin_names.as_text(statements)), used


def _with_values(start: "RunConfig", values: Mapping[str, dict[str, Any]], text: str) -> "RunConfig":
    """The configuration with what gin binds; `text` is all of it."""
    from flan_jax.annotations import conform
    from flan_jax.config import SECTIONS

    sections = {path: conform(getattr(start, path), values[name]) for name, path in SECTIONS.items() if path}
    run = values["Run"]
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if run.get(one) is not None and run.get(other) is None:
            run[other] = None
    return dataclasses.replace(conform(start, run | sections), operative=text)


def _dispatch(command: str, options: argparse.Namespace, macros: dict[str, Any], bindings: Sequence[str]) -> int | None:
    from flan_jax import run_settings

    own = own_arguments(command, options)
    mixture = macros.pop("MIXTURE", None) if command == "eval" else None  # there it says what to score
    config = resolve(command, options, macros, bindings)
    if command == "eval":
        own["mixture"] = mixture
    if options.data:
        run_settings.check_columns(config)
    if command in ("train", "plan", "prepare", "vocab"):
        from flan_jax import setup  # without JAX, which `train` imports: a wrong name is told in no time

        setup.refuse_unknown(config)
    module, _, function = ENTRY_POINTS[command].partition(":")
    return getattr(importlib.import_module(module), function)(config, **own)


def main(argv: Sequence[str]) -> int:
    """Runs one command.

    Args:
      argv: the arguments, without the program's name.

    Returns:
      The exit code: 0, or 2 after a fault that the user can mend, told on stderr, a line a fault.
    """
    try:
        return _dispatch(*command_line.parse(argv)) or 0
    except UserError as fault:
        print(f"flan-jax: {told(str(fault))}", file=sys.stderr)
        return 2
    except OSError as error:
        if (said := path_fault(error)) is None:
            raise
        print(f"flan-jax: {told(said)}", file=sys.stderr)
        return 2
    except SystemExit as leaving:  # argparse, after --help
        return leaving.code if isinstance(leaving.code, int) else 0
    except KeyboardInterrupt:
        print("flan-jax: interrupted", file=sys.stderr)
        return 130


def _open_streams() -> None:
    """Puts nothing in the place of standard streams that are closed, and lets the others take any text.

    What a run opens would otherwise get the number of a closed one, and with it what libraries print there.
    """
    for name, mode, errors in (("stdin", "r", "surrogateescape"), ("stdout", "w", "backslashreplace")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, errors=errors))  # noqa: SIM115 (lives as long as the process)
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors=errors)
    sys.stderr = sys.stderr or open(os.devnull, "w", errors="backslashreplace")  # noqa: SIM115


def run() -> None:
    """The entry point of `flan-jax` and of `python -m flan_jax.main`."""
    _open_streams()
    huge_pages.ask_for(sys.argv[1] if len(sys.argv) > 1 else "")
    library_noise.silence()
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)


if __name__ == "__main__":
    run()
