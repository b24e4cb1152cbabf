"""Checks the names in gin statements, finds the user's functions, and binds everything in gin."""

import dataclasses
import functools
import importlib
import importlib.machinery
import inspect
from collections.abc import Mapping, Sequence
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


def _walk(root: Any, path: str, place: str) -> tuple[Any, list[str]]:
    """Follows a dotted path from a module, into submodules too; also gives the names where it ended."""
    value = root
    for name in path.split("."):
        inner = getattr(value, name, None)
        if inner is None and hasattr(value, "__path__"):
            spec = importlib.machinery.PathFinder.find_spec(f"{value.__name__}.{name}", value.__path__)
            inner = _import(f"{value.__name__}.{name}", place) if spec else None
        if inner is None:
            return None, [word for word in dir(value) if not word.startswith("_")]
        value = inner
    return value, []


def _by_imports(selector: str, place: str, imports: Sequence[Import], used: set[str]) -> tuple[Any, str, list[str]]:
    """Looks a name up as Python would after the import lines; then as a full path; then in each imported module.

    Returns:
      What was found or None, its full name, and names that would have been found.
    """
    first, _, rest = selector.partition(".")
    for line in reversed(imports):
        if rest and first == line.bound:
            used.add(line.module)
            module = _import(line.module, line.place)
            top = line.line.startswith("import") and " as " not in line.line
            root, home = (_import(first, line.place), first) if top else (module, line.module)
            found, offered = _walk(root, rest, place)
            return found, f"{home}.{rest}", [f"{selector.rpartition('.')[0]}.{name}" for name in offered]
    if rest and first not in {section.partition(".")[0] for section in register()}:
        if importlib.machinery.PathFinder.find_spec(first) is None:
            raise UserError(
                f"{place}: nothing imports {selector!r}; write `import {selector.rpartition('.')[0]}` in the gin file"
            )
        found, offered = _walk(_import(first, place), rest, place)
        return found, selector, [f"{selector.rpartition('.')[0]}.{name}" for name in offered]
    offered = []
    for line in reversed(imports):
        module = _import(line.module, line.place)
        used.add(line.module)
        found, names = _walk(module, selector, place)
        if found is not None:
            return found, f"{line.module}.{selector}", []
        offered += names
    return None, selector, offered


def _in_registry(selector: str) -> Any:
    """What gin calls for a name, or None."""
    try:
        return gin.get_configurable(selector)
    except (ValueError, KeyError):
        return None


def _unwrapped(configurable: Any) -> Any:
    """The function or class that gin wrapped."""
    return configurable.__mro__[1] if inspect.isclass(configurable) else getattr(configurable, "__wrapped__", None)


def resolve_function(selector: str, place: str, imports: Sequence[Import], used: set[str]) -> str:
    """Finds the user's function or class that a gin name means, and makes it known to gin, decorated or not.

    Args:
      selector: as written after the "@" or before the parameter.
      place: where it was written, for errors.
      imports: the import lines of all files.
      used: the modules whose import was needed here are added to it.

    Returns:
      The full name under which gin knows it.

    Raises:
      UserError: it is nowhere.
    """
    found, name, offered = _by_imports(selector, place, imports, used)
    if found is None and _in_registry(selector) is not None:  # a name given by @gin.configurable("another_name")
        return selector
    if not callable(found):
        raise UserError(f"{place}: there is no function or class {selector!r}{nearest(selector, offered)}")
    known = _in_registry(name)
    if known is None or (known is not found and _unwrapped(known) is not found):
        module, _, short = name.rpartition(".")
        with gin.config.interactive_mode():  # the name may stand for an older function of a module that was loaded anew
            gin.external_configurable(found, name=short, module=module)
    return name


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


def check_names(statements: Statements, used: set[str], names: dict[str, str]) -> list[str]:
    """Checks every name that was read, and finds the user's functions.

    Args:
      statements: what was read.
      used: gets the modules that were imported for a reference.
      names: gets, for each function's name as written, the full name under which gin knows it.

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
            faults += _check_function(binding, statements.imports, used, names)
    for binding, reference in every:
        if reference.macro and "." not in reference.name and reference.name not in final:
            faults.append(f"{binding.place}: %{reference.name} is read, but nothing sets {reference.name}")
        elif not reference.macro:
            try:
                selector = reference.name.rpartition("/")[2]
                names[selector] = resolve_function(selector, binding.place, statements.imports, used)
            except UserError as fault:
                faults.append(str(fault))
    return list(dict.fromkeys(faults))


def _check_function(binding: Binding, imports: Sequence[Import], used: set[str], names: dict[str, str]) -> list[str]:
    sections = register()
    try:
        names[binding.selector] = resolve_function(binding.selector, binding.place, imports, used)
    except UserError as fault:
        if "." in binding.selector and not nearest(binding.selector, sections):
            return [str(fault)]
        close = nearest(binding.selector, sections) or f"; the sections are {', '.join(sections)}"
        return [f"{binding.place}: there is no {binding.selector!r} to set {binding.parameter!r} of{close}"]
    parameters = inspect.signature(inspect.unwrap(_in_registry(names[binding.selector]))).parameters
    takes_any = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
    if takes_any or binding.parameter in parameters:
        return []
    close = nearest(binding.parameter, parameters)
    return [f"{binding.place}: {binding.selector} has no parameter {binding.parameter!r}{close}"]


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


def bind(statements: Statements, names: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], str]:
    """Binds checked statements in gin.

    Args:
      statements: without faults.
      names: the functions' full names, from `check_names`.

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
            gin.bind_parameter((binding.selector, "gin.macro", "value"), _to_gin(binding.value, names))
        elif not (
            section_name(binding) in sections and binding.value in [Reference(name, macro=True) for name in MACROS]
        ):
            selector = names.get(binding.selector, binding.selector)
            gin.bind_parameter((binding.scope, selector, binding.parameter), _to_gin(binding.value, names))
    text = "\n".join([*dict.fromkeys(line.line for line in statements.imports), "", gin.config_str(120)]).lstrip("\n")
    for name in MACROS:
        if name in final:
            section, _, parameter = MACROS[name].target.partition(".")
            gin.bind_parameter(("", f"flan_jax.{section}", parameter), _to_gin(Reference(name, macro=True), names))
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
