"""What a cell of a published row says: its text, or that it is empty in one of the ways that people write this."""

import re
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import nearest
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import text_of

END_MARK = "<|endoftext|>"
_NO_INPUT = {"", "noinput", "noinputs", "noinputneeded", "noinputrequired", "none", "na"}
_NO_OUTPUT = {"<nooutput>", "nooutput"}
_MARKS = re.compile(r"[\W_]")
_LONGEST_MARK = 24


def text_in(row: Row, column: str) -> str:
    """The text of a column.

    Raises:
      BadRow: there is no such column, or it holds no text.
    """
    text = text_of(_cell(row, column))
    if text is None:
        raise BadRow(f"the column {column!r} is {row[column]!r}; text is wanted")
    return text


def _cell(row: Row, column: str) -> Any:
    if column not in row:
        known = [str(name) for name in row]
        raise BadRow(f"there is no column {column!r}, the row has {', '.join(known)}{nearest(column, known)}")
    return row[column]


def input_in(row: Row, column: str) -> str:
    """The text of a column that may be left empty, without outer blanks.

    >>> input_in({"input": "Noinput"}, "input"), input_in({}, "input"), input_in({"input": " 1 "}, "input")
    ('', '', '1')
    """
    given = "" if is_nothing(row.get(column)) else text_in(row, column).strip()
    bare = _MARKS.sub("", given.lower()) if len(given) <= _LONGEST_MARK else given
    return "" if bare in _NO_INPUT and (bare or not given) else given


def answers_in(row: Row, column: str) -> str | list[str]:
    """What a column says is to be answered: a text, or several that are all right; "" where it says nothing.

    >>> answers_in({"output": " Hello<|endoftext|>"}, "output"), answers_in({"output": ["", "a", "b"]}, "output")
    ('Hello', ['a', 'b'])

    Raises:
      BadRow: there is no such column, or it holds no text.
    """
    value = row.get(column)
    if not isinstance(value, list | tuple):
        return _answer(text_in(row, column))
    several = [answer for item in value if (answer := _answer(text_in({column: item}, column)))]
    return several if len(several) > 1 else "".join(several)


def _answer(text: str) -> str:
    answer = text.strip().removesuffix(END_MARK).strip()
    return "" if answer.lower() in _NO_OUTPUT else answer


def records_in(row: Row, column: str) -> list[Row]:
    """The objects that a column lists; TFDS has them the other way round, as lists by key.

    >>> records_in({"instances": {"input": ["a", "b"], "output": ["c", "d"]}}, "instances")
    [{'input': 'a', 'output': 'c'}, {'input': 'b', 'output': 'd'}]

    Raises:
      BadRow: there is no such column, or it holds anything else.
    """
    value = _cell(row, column)
    if isinstance(value, Mapping) and value and all(isinstance(items, list) for items in value.values()):
        return [dict(zip(value, items, strict=False)) for items in zip(*value.values(), strict=False)]
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        seen = repr(value)
        raise BadRow(f"the column {column!r} is {seen[:80]}{'…' * (len(seen) > 80)}; a list of objects is wanted")
    return [dict(item) for item in value]


def is_nothing(value: Any) -> bool:
    """Whether a cell is empty: null, or NaN, as which pandas writes it."""
    return value is None or value != value
