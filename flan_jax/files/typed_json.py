"""JSON objects that other programs wrote, read by what each of their values must be, with all faults at once.

A value of another type is told and left out, so that what comes after reads values of the right type alone. A null is
what its file's writer takes for the default, and passes everywhere.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

_SHOWN = 60


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a value must be.

    Attributes:
      words: what to call it in an error.
      fits: whether a value, which is not null, is one.
    """

    words: str
    fits: Callable[[Any], bool]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _number(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value) or _whole(value)


def _token(value: Any) -> bool:
    return _whole(value) and -1 <= value < 2**31  # -1 is how older files say that there is none


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


WORD = Kind("a word in quotes", lambda value: isinstance(value, str))
WORDS = Kind("a list of words in quotes", _words)
NUMBER = Kind("a number", _number)
POSITIVE = Kind("a number above 0", lambda value: _number(value) and value > 0)
WHOLE = Kind("a whole number", _whole)
COUNT = Kind("a whole number above 0", lambda value: _whole(value) and value > 0)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TOKEN = Kind("the id of a token", _token)
TOKENS = Kind(
    "the id of a token or a list of such ids",
    lambda value: _token(value) or (isinstance(value, list) and all(map(_token, value))),
)
OBJECT = Kind("an object", lambda value: isinstance(value, dict))


def typed(values: Mapping[str, Any], kinds: Mapping[str, Kind], within: str = "") -> tuple[dict[str, Any], list[str]]:
    """Checks an object's values.

    Args:
      values: the object.
      kinds: what each key's value must be; other keys pass.
      within: put before a key in an error, "rope_scaling." for one.

    Returns:
      The object without the values of another type, and a phrase on each of those.

    >>> typed({"heads": "four", "width": 8, "depth": None}, {"heads": COUNT, "width": COUNT, "depth": COUNT})
    ({'width': 8, 'depth': None}, ["heads is 'four', wanted a whole number above 0"])
    """
    wrong = {name: kind for name, kind in kinds.items() if values.get(name) is not None and not kind.fits(values[name])}
    faults = [f"{within}{name} is {shown(values[name])}, wanted {kind.words}" for name, kind in wrong.items()]
    return {name: value for name, value in values.items() if name not in wrong}, faults


def shown(value: Any) -> str:
    """A value as an error names it, cut where it is long."""
    words = repr(value)
    return words if len(words) <= _SHOWN else f"{words[: _SHOWN - 2]}…"
