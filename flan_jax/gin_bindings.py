"""Checks the names in gin statements, finds the user's functions, and binds everything in gin."""

import dataclasses
import functools
import importlib
import importlib.machinery
import inspect
from collections.abc import Sequence
from typing import Any

import gin

from flan_jax.command_line import MACROS, T5X_NAMES
from flan_jax.errors import UserError, nearest
from flan_jax.gin_files import UNDER_FILES, Binding, Import, Reference, Statements, references


@functools.cache
def register() -> dict[str, type]:
    """Makes the sections of `RunConfig` known to gin, once a process, and returns them by gin name."""
    from flan_jax import config

    hints: dict[str, Any] = {item.name: item.type for item in dataclasses.fields(config.RunConfig)}
    sections = {name: hints[path] if path else config.RunConfig for name, path in config.SECTIONS.items()}
    for name, section in sections.items():
        gin.external_configurable(section, name=name, module="flan_jax")
    return sections


def _import(module: str, place: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise UserError(
                f"{place}: no module {error.name!r} beside you, beside the gin file or installed"
            ) from error
        raise UserError(f"{place}: importing {module} failed: {error}") from error
    except Exception as error:
        raise UserError(f"{place}: importing {module} failed with {type(error).__name__}: {error}") from error


def _attribute(root: Any, path: str) -> Any:
    return functools.reduce(lambda value, name: getattr(value, name, None), path.split("."), root)


def _in_registry(selector: str) -> Any:
    try:
        return gin.get_configurable(selector)
    except (ValueError, KeyError):
        return None


def resolve_function(selector: str, place: str, imports: Sequence[Import], used: set[str]) -> Any:
    """Finds the user's function or class that a gin name means, and makes it known to gin, decorated or not.

    Args:
      selector: as written after the "@" or before the parameter.
      place: where it was written, for errors.
      imports: the import lines of all files.
      used: the modules whose import was needed here are added to it.

    Returns:
      What gin calls for it.

    Raises:
      UserError: it is nowhere.
    """
    if (found := _in_registry(selector)) is not None:
        return found
    short, offered = [], []
    for line in reversed(imports):
        if selector.startswith((f"{line.bound}.", f"{line.module}.")):
            module = _import(line.module, line.place)
            used.add(line.module)
            prefix = line.module if selector.startswith(f"{line.module}.") else line.bound
            found = _attribute(module, selector.removeprefix(f"{prefix}."))
            offered += [f"{prefix}.{name}" for name in vars(module) if not name.startswith("_")]
            break
        short.append(line)
    else:
        if "." in selector:
            module_name, _, path = selector.rpartition(".")
            if importlib.machinery.PathFinder.find_spec(selector.partition(".")[0]) is None:
                raise UserError(f"{place}: nothing imports {selector!r}; write `import {module_name}` in the gin file")
            module = _import(module_name, place)
            found = _attribute(module, path)
            offered += [f"{module_name}.{name}" for name in vars(module) if not name.startswith("_")]
        for line in short if found is None else ():
            module = _import(line.module, line.place)
            used.add(line.module)
            if (found := _in_registry(selector)) is not None:
                return found
            if (found := _attribute(module, selector)) is not None:
                break
            offered += [name for name in vars(module) if not name.startswith("_")]
    if (registered := _in_registry(selector)) is not None:
        return registered
    if not callable(found):
        raise UserError(f"{place}: there is no function or class {selector!r}{nearest(selector, offered)}")
    module_name, _, name = selector.rpartition(".")
    return gin.external_configurable(found, name=name, module=module_name or found.__module__)


def _check_macro(binding: Binding, read: set[str]) -> str | None:
    name = binding.selector
    if binding.scope:
        return f"{binding.place}: {binding.name!r} has a scope, which nothing reads; write {name} = ..."
    if name in MACROS or name in read:
        return None
    if name in T5X_NAMES:
        return f"{binding.place}: {name} is T5X's name; here it is {T5X_NAMES[name]}"
    close = nearest(name, [*MACROS, *read]) or nearest(name.upper(), [*MACROS, *read])
    return f"{binding.place}: nothing reads the macro {name!r}{close}"


def _check_section(binding: Binding, section: type) -> str | None:
    name = f"{section_name(binding)}.{binding.parameter}"
    known = [item.name for item in dataclasses.fields(section)]
    if section_name(binding) == "Run":
        known = [word for word in known if word not in ("operative", "bindings") and not _is_section(section, word)]
    if binding.scope:
        return f"{binding.place}: {binding.name!r} has a scope, which nothing reads; write {name} = ..."
    if binding.parameter not in known:
        hint = T5X_NAMES.get(binding.parameter.upper())
        close = nearest(binding.parameter, known) or (f"; here it is {hint}" if hint else "")
        return f"{binding.place}: {section_name(binding)} has no setting {binding.parameter!r}{close}"
    macro = next((word for word, row in MACROS.items() if row.target == name), None)
    if macro and binding.value != Reference(macro, macro=True):
        return f"{binding.place}: {name} is set through its macro: write {macro} = {binding.value!r}"
    return None


def _is_section(section: type, name: str) -> bool:
    return any(item.name == name and dataclasses.is_dataclass(item.type) for item in dataclasses.fields(section))


def section_name(binding: Binding) -> str:
    """The gin name of a section, without the package's name before it."""
    return binding.selector.removeprefix("flan_jax.")


def check_names(statements: Statements, used: set[str]) -> list[str]:
    """Checks every name that was read, and finds the user's functions.

    Args:
      statements: what was read.
      used: gets the modules that were imported for a reference.

    Returns:
      The faults, each with its place.
    """
    sections, final = register(), statements.final()
    every = [(binding, reference) for binding in statements.bindings for reference in references(binding.value)]
    read = {reference.name for _, reference in every if reference.macro}
    faults = list(statements.faults)
    for binding in statements.bindings:
        if not binding.parameter:
            faults += filter(None, [_check_macro(binding, read)])
        elif section_name(binding) in sections:
            faults += filter(None, [_check_section(binding, sections[section_name(binding)])])
        else:
            faults += _check_function(binding, statements.imports, used, sections)
    for binding, reference in every:
        if reference.macro and "." not in reference.name and reference.name not in final:
            faults.append(f"{binding.place}: %{reference.name} is read, but nothing sets {reference.name}")
        elif not reference.macro:
            try:
                resolve_function(reference.name.rpartition("/")[2], binding.place, statements.imports, used)
            except UserError as fault:
                faults.append(str(fault))
    return list(dict.fromkeys(faults))


def _check_function(
    binding: Binding, imports: Sequence[Import], used: set[str], sections: dict[str, type]
) -> list[str]:
    try:
        function = resolve_function(binding.selector, binding.place, imports, used)
    except UserError as fault:
        if "." in binding.selector and not nearest(binding.selector, sections):
            return [str(fault)]
        close = nearest(binding.selector, sections) or f"; the sections are {', '.join(sections)}"
        return [f"{binding.place}: there is no {binding.selector!r} to set {binding.parameter!r} of{close}"]
    parameters = inspect.signature(function).parameters
    takes_any = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
    if takes_any or binding.parameter in parameters:
        return []
    close = nearest(binding.parameter, parameters)
    return [f"{binding.place}: {binding.selector} has no parameter {binding.parameter!r}{close}"]


def _to_gin(value: Any) -> Any:
    if isinstance(value, Reference):
        if value.macro:
            return gin.config.ParserDelegate().macro(value.name)
        return gin.config.ConfigurableReference(value.name, value.evaluate)
    if isinstance(value, dict):
        return {_to_gin(key): _to_gin(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_to_gin(item) for item in value)
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
    function = getattr(value, "__wrapped__", None) or (value.__mro__[1] if inspect.isclass(value) else value)
    return functools.partial(function, **_plain(arguments)) if arguments else function


def bind(statements: Statements) -> tuple[dict[str, dict[str, Any]], str]:
    """Binds checked statements in gin.

    Args:
      statements: without faults.

    Returns:
      For each section the values that were bound, and the gin text of everything bound.

    Raises:
      UserError: a function of the user's, called by `@name()`, failed.
    """
    sections = register()
    gin.clear_config()
    final = statements.final()
    for binding in final.values():
        if not binding.parameter:
            gin.bind_parameter((binding.selector, "gin.macro", "value"), _to_gin(binding.value))
        elif not (
            section_name(binding) in sections and binding.value in [Reference(name, macro=True) for name in MACROS]
        ):
            gin.bind_parameter((binding.scope, binding.selector, binding.parameter), _to_gin(binding.value))
    text = "\n".join([*dict.fromkeys(line.line for line in statements.imports), "", gin.config_str(120)]).lstrip("\n")
    for name in MACROS:
        if name in final:
            section, _, parameter = MACROS[name].target.partition(".")
            gin.bind_parameter(("", f"flan_jax.{section}", parameter), _to_gin(Reference(name, macro=True)))
    try:
        return {name: _plain(gin.get_bindings(f"flan_jax.{name}")) for name in sections}, text
    except Exception as error:
        raise UserError(f"a value that gin calls for failed with {type(error).__name__}: {error}") from error


def as_text(statements: Statements) -> tuple[str, ...]:
    """The import lines and bindings that were given beside our macros, as gin text.

    What `--data` and `--module` say as well is left out.
    """
    lines = list(dict.fromkeys(line.line for line in statements.imports))
    for binding in statements.final().values():
        ours = not binding.parameter and binding.selector in MACROS
        if binding.rank != UNDER_FILES and not ours and section_name(binding) != "Run":
            lines.append(f"{binding.name} = {binding.value!r}")
    return tuple(lines)
