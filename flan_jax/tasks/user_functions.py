"""Functions of the user's that raise: told by their name, the error's words and the line, TensorFlow's own aside.

An error within a tf.data pipeline comes as TensorFlow tells it, the user's file and line somewhere in its text:

    {{function_node …}} Error in user-defined function …: ValueError: boom     →  ValueError: boom (their.py, line 12)
    Traceback (most recent call last): … File "their.py", line 12, in parse …
"""

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flan_jax.errors import UserError, users_line
from flan_jax.files import opened
from flan_jax.tasks.tally import BadRow

# What a user's function raises at a row that is not as it expects; other exceptions are faults of the function itself.
ROW_FAULTS = (KeyError, IndexError, ValueError, TypeError, AttributeError, ZeroDivisionError)
_WORDS = 300  # letters of an exception's message that are told
_PACKAGE = __file__.rpartition("/tasks/")[0]
_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_MARKS = re.compile(r"\{\{function_node .*?\}\} |\s*\[\[.*|Error in user-defined function .*?Iterator::\S+: ", re.S)


class BrokenFunction(Exception):
    """A user's function that fails whatever the row; its text says how, without the task's name."""


def preprocessed(function: Callable[[Any], Any], row: Any) -> Any:
    """What a task's preprocess function makes of a row.

    Raises:
      BadRow: the row is not as the function expects.
      BrokenFunction: it raised anything else.
    """
    opened.RUNNING.function = function
    try:
        return function(row)
    except (BadRow, UserError):
        raise
    except Exception as error:
        said = f"its preprocess function {name_of(function)!r} failed with {raised(error)}"
        raise (BadRow if isinstance(error, ROW_FAULTS) else BrokenFunction)(said) from error
    finally:
        opened.RUNNING.function = None


def made_rows(
    make: Callable[[], Iterable[Any]], where: Callable[[int], str], first: int = 0, within: Any = None
) -> Iterator[Any]:
    """The rows that code of the user's makes.

    Args:
      make: gives them, one after another.
      where: the place of a row by its number.
      first: the number of the first that `make` gives.
      within: the user's function, whose own place is told where an error names none.

    Raises:
      BrokenFunction: it raised anything; no row comes after that one.
    """
    number = first
    opened.RUNNING.function = within
    try:
        for row in make():
            opened.RUNNING.function = None  # whoever takes the row runs now
            yield row
            number += 1
            opened.RUNNING.function = within
        opened.RUNNING.function = None
    except Exception as error:
        opened.RUNNING.function = None
        if isinstance(error, UserError):
            raise
        raise BrokenFunction(f"its source failed at {where(number)} with {raised(error, within)}") from error


def of_task(name: str, rows: Iterable[Any]) -> Iterator[Any]:
    """The rows of a task's source; what the user's code in it raises is told with the task's name.

    Raises:
      UserError: the source failed.
    """
    try:
        yield from rows
    except BrokenFunction as fault:
        raise UserError(f"Task {name!r}: {fault}.") from fault.__cause__


def name_of(function: Any) -> str:
    """A function's name, a partial's being that of what it calls; the class of any other callable."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]


def raised(error: BaseException, within: Any = None) -> str:
    """An exception's kind and words, and where in the user's code it was raised.

    Args:
      error: what was raised.
      within: the function that it came out of, whose own place is told where the error names none.
    """
    kind, text = type(error).__name__, str(error)
    place = _place_in(text)
    if place:  # TensorFlow's: the kind and the words of the user's own error are the text's last line
        kind, text = "", [line for line in _MARKS.sub("", text).splitlines() if line.strip()][-1]
    elif type(error).__module__.startswith("tensorflow"):
        text = _MARKS.sub("", text)
    words = " ".join(text.split()).rstrip(".")
    words = words if len(words) <= _WORDS else f"{words[:_WORDS]}…"
    return f"{kind}{': ' if kind and words else ''}{words}{place or _line(error) or _place_of(within)}"


def _place_in(text: str) -> str:
    """The last place in the user's code that a text of TensorFlow's names."""
    if not text.startswith("in user code:") and "Traceback (most recent call last)" not in text:
        return ""
    installed = (sys.prefix, sys.base_prefix, _PACKAGE, "<")
    places = [found for found in _PLACE.findall(text) if not found[0].startswith(installed)]
    return f" ({places[-1][0]}, line {places[-1][1]})" if places else ""


def _line(error: BaseException) -> str:
    """The last place in the user's code that an error passed; not in what TensorFlow made of it."""
    place = users_line(error, _PACKAGE)
    return "" if "__autograph_generated_file" in place else place


def _place_of(function: Any) -> str:
    """Where a user's function begins."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
    installed = (sys.prefix, sys.base_prefix, _PACKAGE, "<")
    if code is None or code.co_filename.startswith(installed):
        return ""
    return f" ({code.co_filename}, line {code.co_firstlineno})"
