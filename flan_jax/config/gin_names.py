"""Checks the names in gin statements, and finds the user's functions that they mean.

gin itself accepts a mistyped macro silently and tells faults one at a time.
"""

import dataclasses
import importlib
import importlib.machinery
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flan_jax.config.gin_statements import Binding, Import, Reference, Statements, references
from flan_jax.config.macros import MACROS, SECTIONS, T5X_NAMES
from flan_jax.config.run_config import section_types
from flan_jax.errors import UserError, nearest


class Function(NamedTuple):
    """A function or class of the user's: its full name, and what was found."""

    name: str
    found: Any


@dataclasses.dataclass(frozen=True)
class Named:
    """What the names in gin statements mean.

    Attributes:
      functions: the functions and classes of the user's, by their names as written.
      used: the modules that were imported to find them.
      faults: what means nothing, each with its place.
    """

    functions: Mapping[str, Function]
    used: Collection[str]
    faults: Sequence[str]


FunctionOf = Callable[[str, str], Any]  # (name as written, place) -> the plain function


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


def _macro_fault(binding: Binding, read: set[str]) -> str | None:
    name = binding.selector
    if binding.scope:
        return f"{binding.place}: {binding.name!r} has a scope, which nothing reads; write {name} = ..."
    if name in MACROS or name in read:
        return None
    if name in T5X_NAMES:
        return f"{binding.place}: {name} is T5X's name; here it is {T5X_NAMES[name]}"
    close = nearest(name, [*MACROS, *read]) or nearest(name.upper(), [*MACROS, *read])
    return f"{binding.place}: nothing reads the macro {name!r}{close}"


def _section_fault(binding: Binding, section: type) -> str | None:
    name = f"{binding.section}.{binding.parameter}"
    known = [item.name for item in dataclasses.fields(section)]
    if binding.section == "Run":
        known = [word for word in known if word not in ("operative", "bindings") and not _is_section(section, word)]
    if binding.scope:
        return f"{binding.place}: {binding.name!r} has a scope, which nothing reads; write {name} = ..."
    if binding.parameter not in known:
        hint = T5X_NAMES.get(binding.parameter.upper())
        close = nearest(binding.parameter, known) or (f"; here it is {hint}" if hint else "")
        return f"{binding.place}: {binding.section} has no setting {binding.parameter!r}{close}"
    macro = next((word for word, row in MACROS.items() if row.target == name), None)
    if macro and binding.value != Reference(macro, macro=True):
        return f"{binding.place}: {name} is set through its macro: write {macro} = {binding.value!r}"
    return None


def _is_section(section: type, name: str) -> bool:
    return any(item.name == name and dataclasses.is_dataclass(item.type) for item in dataclasses.fields(section))


def check_names(statements: Statements, registered: Callable[[str], Any]) -> Named:
    """Checks every name that was read, and finds the user's functions.

    Args:
      statements: what was read.
      registered: gives the plain function that a module of the user's has made known to gin by a name, or None.
    """
    functions: dict[str, Function] = {}
    used: set[str] = set()

    def function_of(selector: str, place: str) -> Any:
        found, name, offered = look_up(selector, place, statements.imports, used)
        if found is None:
            found, name = _known(selector, functions.values(), registered)
        if not callable(found):
            raise UserError(f"{place}: there is no function or class {selector!r}{nearest(selector, offered)}")
        functions[selector] = Function(name, found)
        return inspect.unwrap(found)

    sections, final = section_types(), statements.final()
    every = [(binding, reference) for binding in statements.bindings for reference in references(binding.value)]
    read = {reference.name for _, reference in every if reference.macro}
    faults = list(statements.faults)
    for binding in statements.bindings:
        if not binding.parameter:
            faults += filter(None, [_macro_fault(binding, read)])
        elif binding.section in sections:
            faults += filter(None, [_section_fault(binding, sections[binding.section])])
        else:
            faults += filter(None, [_function_fault(binding, function_of)])
    for binding, reference in every:
        if reference.macro:
            faults += filter(None, [_reading_fault(binding, reference, final)])
            continue
        try:
            function_of(reference.name.rpartition("/")[2], binding.place)
        except UserError as fault:
            faults.append(str(fault))
    return Named(functions, used, list(dict.fromkeys(faults)))


def _known(selector: str, found: Iterable[Function], registered: Callable[[str], Any]) -> tuple[Any, str]:
    """Looks up a short name of a function that was found by its full one, and one given by
    `@gin.configurable("another_name")`."""
    full = {function.name: function.found for function in found if function.name.endswith(f".{selector}")}
    if len(full) == 1:
        ((name, function),) = full.items()
        return function, name
    return registered(selector), selector


def _reading_fault(binding: Binding, macro: Reference, final: Mapping[str, Binding]) -> str | None:
    if "." not in macro.name and macro.name not in final:
        return f"{binding.place}: %{macro.name} is read, but nothing sets {macro.name}"
    if not binding.parameter and _reads_itself(binding.selector, final):
        return f"{binding.place}: {binding.selector} is set by way of itself: it reads {macro!r}"
    return None


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


def _function_fault(binding: Binding, function_of: FunctionOf) -> str | None:
    try:
        function = function_of(binding.selector, binding.place)
    except UserError as fault:
        if "." in binding.selector and not nearest(binding.selector, SECTIONS):
            return str(fault)
        close = nearest(binding.selector, SECTIONS) or f"; the sections are {', '.join(SECTIONS)}"
        return f"{binding.place}: there is no {binding.selector!r} to set {binding.parameter!r} of{close}"
    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError):  # some builtins do not say what they take
        return None
    takes_any = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
    if takes_any or binding.parameter in parameters:
        return None
    close = nearest(binding.parameter, parameters)
    return f"{binding.place}: {binding.selector} has no parameter {binding.parameter!r}{close}"
