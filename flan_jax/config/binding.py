"""The two ends of a gin statement's way: its text is *read*, and, once its names were checked, it is *bound*.

The only file that imports gin. Nothing is bound while files are read, so that a fault has its place and all faults are
told together. Later settings win: the model's gin file, the gin files in the order given, `--gin.NAME=value`, plain
flags.
"""

import copy
import functools
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gin
from gin import config_parser

from flan_jax.config.gin_files import config_folder, find_gin_file, syntax_fault
from flan_jax.config.gin_names import Function
from flan_jax.config.gin_statements import FILES, GIN_FLAGS, Binding, Import, Reference, Statements
from flan_jax.config.macros import MACROS, SECTIONS
from flan_jax.config.named_functions import failure
from flan_jax.config.run_config import section_types
from flan_jax.errors import UserError
from flan_jax.files.text_files import read_text as read_text_file


def read(files: Sequence[str], flags: Sequence[str]) -> Statements:
    """Reads the gin files and `--gin.` flags of a command line.

    Args:
      files: paths, or names of packaged files.
      flags: what `--gin.` flags set, as gin text.

    Raises:
      UserError: a file is missing.
    """
    statements = Statements()
    for name in files:
        read_file(find_gin_file(name), FILES, statements)
    for text in flags:
        read_text(text, f"--gin.{text}", GIN_FLAGS, statements)
    return statements


def read_file(path: Path, rank: int, into: Statements, seen: tuple[Path, ...] = ()) -> None:
    """Reads a gin file and its includes; see `read_text`."""
    if path.resolve() in seen:
        raise UserError(f"{path.name} includes itself")
    text = read_text_file(path, "a gin file")
    if not path.resolve().is_relative_to(config_folder().resolve()):
        into.folders.append(str(path.resolve().parent))
    read_text(text, path.name, rank, into, path.parent, (*seen, path.resolve()))


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


class _Delegate(config_parser.ParserDelegate):
    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> Reference:
        return Reference(scoped_configurable_name, evaluate)

    def macro(self, macro_name: str) -> Reference:
        return Reference(macro_name, macro=True)


def registered(selector: str) -> Any:
    """The plain function or class that gin knows by a name, or None."""
    _register_sections()
    known = _in_registry(selector)
    return known if known is None else _unwrapped(known) or known


def bind(statements: Statements, functions: Mapping[str, Function]) -> tuple[dict[str, dict[str, Any]], str]:
    """Binds checked statements in gin.

    Args:
      statements: without faults.
      functions: those of the user's, by their names as written.

    Returns:
      For each section the values that were bound, and the gin text of everything bound.

    Raises:
      UserError: a function of the user's, called by `@name()`, failed.
    """
    _register_sections()
    for function in functions.values():
        _register(function)
    names = {written: function.name for written, function in functions.items()}
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
    for name in SECTIONS:
        values[name] = {}
        for parameter, value in gin.get_bindings(f"flan_jax.{name}", resolve_references=False).items():
            try:
                values[name][parameter] = _plain(copy.deepcopy(value))  # by which gin makes its calls
            except (Exception, SystemExit) as error:
                setting = f"{name}.{parameter}"
                written = next(one for one in final.values() if one.setting == setting)
                raise UserError(
                    f"{written.place}: {written.name} = {written.value!r} failed with {failure(error)}"
                ) from error
    return values, text


def _is_its_macro(binding: Binding) -> bool:
    """Whether a binding says of a macro's setting that it is the macro, as the gin file that a run writes does."""
    value = binding.value
    known = isinstance(value, Reference) and value.macro and value.name in MACROS
    return known and MACROS[value.name].target == binding.setting


@functools.cache
def _register_sections() -> None:
    """Makes the sections of `RunConfig` known to gin, once a process."""
    for name, section in section_types().items():
        gin.external_configurable(section, name=name, module="flan_jax")


def _register(function: Function) -> None:
    """Makes a function or class of the user's known to gin, decorated or not."""
    known = _in_registry(function.name)
    if known is None or (known is not function.found and _unwrapped(known) is not function.found):
        module, _, short = function.name.rpartition(".")
        with gin.config.interactive_mode():  # the name may stand for an older function of a module that was loaded anew
            gin.external_configurable(function.found, name=short, module=module)


def _in_registry(selector: str) -> Any:
    """What gin calls for a name, or None."""
    try:
        return gin.get_configurable(selector)
    except (ValueError, KeyError):
        return None


def _unwrapped(configurable: Any) -> Any:
    """The function or class that gin wrapped."""
    return configurable.__mro__[1] if inspect.isclass(configurable) else getattr(configurable, "__wrapped__", None)


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
