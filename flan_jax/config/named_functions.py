"""Functions written to JSON by their qualified names, and found again."""

import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flan_jax.errors import UserError, users_line

_PACKAGE = __file__.rpartition("/config/")[0]


def name_of(function: Callable[..., Any]) -> str:
    """A function's module and qualified name, as `module:name`.

    A partial has the name of what it calls.

    >>> name_of(name_of), name_of(functools.partial(name_of))
    ('flan_jax.config.named_functions:name_of', 'flan_jax.config.named_functions:name_of')
    """
    plain = inspect.unwrap(function)
    while isinstance(plain, functools.partial):
        plain = inspect.unwrap(plain.func)
    name = getattr(plain, "__qualname__", type(plain).__qualname__)
    return f"{getattr(plain, '__module__', None) or type(plain).__module__}:{name}"


def shown(function: Callable[..., Any]) -> str:
    """A function's name as people write it: `module.name`."""
    return name_of(function).replace(":", ".")


def signature_fault(setting: str, function: Callable[..., Any], form: str, *args: Any, **kwargs: Any) -> str | None:
    """Says what is wrong with a function of the user's that cannot take what it will be called with.

    Args:
      setting: what it was given as.
      function: theirs.
      form: how it is called and what it gives back.
      *args: what it will be called with; only their number counts.
      **kwargs: and by name.

    Returns:
      A sentence, or None where it can be called so, or does not say how.

    >>> signature_fault("Loss.function", lambda logits: logits, "(logits, targets) -> losses", 1, 2)
    'Loss.function is flan_jax.config.named_functions.<lambda>(logits), which cannot be called as (logits, targets) -> losses: too many positional arguments'
    """  # noqa: E501
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return f"{setting} is {shown(function)}{signature}, which cannot be called as {form}: {error}"
    return None


def call(setting: str, function: Callable[..., Any], form: str, *args: Any, **kwargs: Any) -> Any:
    """Calls a function of the user's.

    Args:
      setting: what it was given as.
      function: theirs.
      form: how it is called and what it gives back, for errors.
      *args: for it.
      **kwargs: for it.

    Raises:
      UserError: it failed; names it, and the line of its own code.
    """
    try:
        return function(*args, **kwargs)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{setting} is {shown(function)}, which failed with {failure(error)}{users_line(error, _PACKAGE)}; "
            f"it is called as {form}"
        ) from error


def failure(error: BaseException) -> str:
    """An exception's kind and the first line of what it says."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


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

    Raises:
      UserError: what should name a function does not.

    >>> from_plain({"function": "math:sqrt", "arguments": {}})(4.0)
    2.0
    """
    if isinstance(value, Mapping):
        if set(value) != {"function", "arguments"}:
            return {key: from_plain(item) for key, item in value.items()}
        module, _, name = str(value["function"]).partition(":")
        if not isinstance(value["arguments"], Mapping) or not (module and name):
            raise UserError(f"{value} names no function, wanted MODULE:NAME and its arguments")
        try:
            function: Any = functools.reduce(getattr, name.split("."), importlib.import_module(module))
        except Exception:  # whatever the module's own code raises
            return MissingFunction(value["function"])
        return functools.partial(function, **from_plain(value["arguments"])) if value["arguments"] else function
    return [from_plain(item) for item in value] if isinstance(value, list) else value
