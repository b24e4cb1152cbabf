"""Checks the names in gin statements, and finds the user's functions that they mean.

gin itself accepts a mistyped macro silently and tells faults one at a time.
"""

import dataclasses
import importlib
import importlib.machinery
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.config.gin_files import UNDER_FILES, Binding, Import, Reference, Statements, references
from flan_jax.config.macros import MACROS, SECTIONS, T5X_NAMES
from flan_jax.config.run_config import section_types
from flan_jax.errors import UserError, nearest

FunctionOf = Callable[[str, str], tuple[str, Any]]  # (name as written, place) -> (full name, function)


def section_name(binding: Binding) -> str:
    """The gin name of a section, without the package's name before it."""
    return binding.selector.removeprefix("flan_jax.")


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


def look_up(selector: str, place: str, imports: Sequence[Import], used: set[str]) -> tuple[Any, str, list[str]]:
    """Looks a name up as Python would after the import lines; then as a full path; then in each imported module.

    Args:
      selector: as written after the "@" or before the parameter.
      place: where it was written, for errors.
      imports: the import lines of all files.
      used: the modules whose import was needed here are added to it.

    Returns:
      What was found or None, its full name, and names that would have been found.

    Raises:
      UserError: a module is missing or its import fails.
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
    if rest and first not in SECTIONS:
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


def check_names(statements: Statements, function_of: FunctionOf) -> list[str]:
    """Checks every name that was read, and finds the user's functions.

    Args:
      statements: what was read.
      function_of: finds a function by its name as written; raises `UserError`.

    Returns:
      The faults, each with its place.
    """
    sections, final = section_types(), statements.final()
    every = [(binding, reference) for binding in statements.bindings for reference in references(binding.value)]
    read = {reference.name for _, reference in every if reference.macro}
    faults = list(statements.faults)
    for binding in statements.bindings:
        if not binding.parameter:
            faults += filter(None, [_check_macro(binding, read)])
        elif section_name(binding) in sections:
            faults += filter(None, [_check_section(binding, sections[section_name(binding)])])
        else:
            faults += _check_function(binding, function_of)
    for binding, reference in every:
        if reference.macro and "." not in reference.name and reference.name not in final:
            faults.append(f"{binding.place}: %{reference.name} is read, but nothing sets {reference.name}")
        elif reference.macro and not binding.parameter and _reads_itself(binding.selector, final):
            faults.append(f"{binding.place}: {binding.selector} is set by way of itself: it reads {reference!r}")
        elif not reference.macro:
            try:
                function_of(reference.name.rpartition("/")[2], binding.place)
            except UserError as fault:
                faults.append(str(fault))
    return list(dict.fromkeys(faults))


def _reads_itself(macro: str, final: Mapping[str, Binding]) -> bool:
    """Whether a macro's value leads back to it."""
    reached: set[str] = set()
    ahead = [macro]
    while ahead:
        value = final[name].value if (name := ahead.pop()) in final else None
        found = {reference.name for reference in references(value) if reference.macro} - reached
        reached |= found
        ahead += found
    return macro in reached


def _check_function(binding: Binding, function_of: FunctionOf) -> list[str]:
    try:
        _, function = function_of(binding.selector, binding.place)
    except UserError as fault:
        if "." in binding.selector and not nearest(binding.selector, SECTIONS):
            return [str(fault)]
        close = nearest(binding.selector, SECTIONS) or f"; the sections are {', '.join(SECTIONS)}"
        return [f"{binding.place}: there is no {binding.selector!r} to set {binding.parameter!r} of{close}"]
    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError):  # some builtins do not say what they take
        return []
    takes_any = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
    if takes_any or binding.parameter in parameters:
        return []
    close = nearest(binding.parameter, parameters)
    return [f"{binding.place}: {binding.selector} has no parameter {binding.parameter!r}{close}"]


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
