"""Functions written to JSON by their qualified names, and found again."""

import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flan_jax.errors import UserError


def name_of(function: Callable[..., Any]) -> str:
    """A function's module and qualified name, as `module:name`.

    >>> name_of(name_of)
    'flan_jax.named_functions:name_of'
    """
    plain = inspect.unwrap(function)
    name = getattr(plain, "__qualname__", type(plain).__qualname__)
    return f"{getattr(plain, '__module__', None) or type(plain).__module__}:{name}"


def to_plain(value: Any) -> Any:
    """Turns a value into what JSON holds.

    Args:
      value: nested dataclasses, dicts, tuples, lists, plain values and functions.

    Returns:
      The same in dicts, lists and plain values; a function as {"function": name, "arguments": what a partial binds}.

    >>> to_plain({"rates": (1, 2.5), "read": functools.partial(name_of)})["rates"]
    [1, 2.5]
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, functools.partial):
        return {"function": name_of(value.func), "arguments": to_plain(value.keywords)}
    return {"function": name_of(value), "arguments": {}} if callable(value) else repr(value)


@dataclass(frozen=True)
class MissingFunction:
    """Stands for a function of a saved run that is not found here.

    Attributes:
      name: as `name_of` wrote it.
    """

    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raises `UserError`: only what calls the function needs it."""
        raise UserError(
            f"the run uses the function {self.name!r}, which is not found; start from the folder that holds its module"
        )


def from_plain(value: Any) -> Any:
    """Turns what `to_plain` made back, dataclasses and tuples aside; imports the functions that it names.

    Args:
      value: read from JSON.

    Returns:
      The value, with a `MissingFunction` for what cannot be imported.

    >>> from_plain({"function": "math:sqrt", "arguments": {}})(4.0)
    2.0
    """
    if isinstance(value, Mapping):
        if set(value) != {"function", "arguments"}:
            return {key: from_plain(item) for key, item in value.items()}
        module, _, name = value["function"].partition(":")
        try:
            function: Any = functools.reduce(getattr, name.split("."), importlib.import_module(module))
        except (ImportError, AttributeError):
            return MissingFunction(value["function"])
        return functools.partial(function, **from_plain(value["arguments"])) if value["arguments"] else function
    return [from_plain(item) for item in value] if isinstance(value, list) else value
