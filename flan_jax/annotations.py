"""Checks values against the annotations of frozen dataclasses, which gin does not do."""

import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")

_WORDS = {int: "a whole number", float: "a number", str: "a string", bool: "True or False", type(None): "None"}


def _wanted(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_wanted(part) for part in arguments)
    if origin is Literal:
        return "one of " + ", ".join(repr(value) for value in arguments)
    if origin in (tuple, list, Sequence):
        return f"a tuple, each {_wanted(arguments[0])}"
    if origin in (dict, Mapping):
        return f"a dict, each key {_wanted(arguments[0])} and each value {_wanted(arguments[1])}"
    if hint is Callable or origin is Callable:
        return "a function (@module.name)"
    return _WORDS.get(hint) or str(getattr(hint, "__name__", hint))


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says.

    A bool is no number here, an int is a float, infinity and NaN are none, and a list is a tuple.

    Args:
      value: anything.
      hint: a type, a union, `Literal`, `Callable`, or a tuple, list or dict of these.

    >>> fits(1, float), fits(True, int), fits("fast", Literal["fast", "slow"]), fits([1, "2"], tuple[int, ...])
    (True, False, True, False)
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in arguments)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if hint is Callable or origin is Callable:
        return callable(value)
    if origin in (tuple, list, Sequence):
        if not isinstance(value, tuple | list):
            return False
        if origin is tuple and arguments[-1:] != (Ellipsis,):
            return len(value) == len(arguments) and all(map(fits, value, arguments))
        return all(fits(item, arguments[0]) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            fits(key, arguments[0]) and fits(item, arguments[1]) for key, item in value.items()
        )
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def misfit(values: Mapping[str, Any], wanted: Mapping[str, Any], may_lack: Sequence[str] = (), within: str = "") -> str:
    """The first of an object's values that is not there, or not what an annotation says; nothing where all are.

    >>> misfit({"size": "big"}, {"size": int, "name": str}), misfit({"size": 3}, {"size": int, "name": str}, ["name"])
    ("size is 'big'", '')
    """
    for name, hint in wanted.items():
        if name not in values and name not in may_lack:
            return f"it lacks {within}{name}"
        if name in values and not fits(values[name], hint):
            return f"{within}{name} is {str(values[name])[:60]!r}"
    return ""


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Goes through the fields of nested dataclasses.

    Args:
      config: a dataclass instance; its fields may be dataclasses again.
      prefix: put before the fields' names.

    Yields:
      Of each field that is no dataclass its dotted name, its value and its annotation.

    >>> @dataclasses.dataclass
    ... class Settings:
    ...     size: int = 3
    >>> list(walk(Settings()))
    [('size', 3, <class 'int'>)]
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(value, typing.cast(type, hint)):
            yield from walk(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value, hint


def check_types(config: Any) -> list[tuple[str, str]]:
    """Finds the fields of nested dataclasses whose values are not what their annotations say.

    Args:
      config: a dataclass instance; its fields may be dataclasses again.

    Returns:
      For each fault the field's dotted name, and what was wanted and seen.

    >>> @dataclasses.dataclass
    ... class Settings:
    ...     size: int = 3
    >>> check_types(Settings("big"))
    [('size', "wanted a whole number, got 'big'")]
    """
    return [
        (path, f"wanted {_wanted(hint)}, got {value!r}") for path, value, hint in walk(config) if not fits(value, hint)
    ]


def conform(config: T, values: Mapping[str, Any]) -> T:
    """Replaces fields of a dataclass, with lists made the tuples and ints the floats that the annotations want.

    Args:
      config: a frozen dataclass instance.
      values: the new values by field name. A value of another type is put in as it is, for `check_types` to find.

    Returns:
      The new instance.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Settings:
    ...     rate: float = 0.5
    ...     names: tuple[str, ...] = ()
    >>> conform(Settings(), {"rate": 1, "names": ["a"]})
    Settings(rate=1.0, names=('a',))
    """
    hints = typing.get_type_hints(type(config))

    def shaped(value: Any, hint: Any) -> Any:
        parts = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
        for part in parts:
            if isinstance(value, list) and typing.get_origin(part) is tuple and fits(value, part):
                return tuple(value)
            if part is float and type(value) is int and int not in parts:
                return float(value)
        return value

    changes = {name: shaped(value, hints[name]) for name, value in values.items()}
    return dataclasses.replace(typing.cast(Any, config), **changes)
