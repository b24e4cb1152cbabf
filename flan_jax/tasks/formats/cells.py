"""What a cell of a published row says: its text, or that it is empty in one of the ways that people write this."""

from typing import Any

from flan_jax.errors import nearest
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import text_of

END_MARK = "<|endoftext|>"
_NO_INPUT = {"", "noinput", "no input", "none", "n/a", "<noinput>"}


def text_in(row: Row, column: str) -> str:
    """The text of a column.

    Raises:
      BadRow: there is no such column, or it holds no text.
    """
    if column not in row:
        known = [str(name) for name in row]
        raise BadRow(f"there is no column {column!r}, the row has {', '.join(known)}{nearest(column, known)}")
    text = text_of(row[column])
    if text is None:
        raise BadRow(f"the column {column!r} is {row[column]!r}; text is wanted")
    return text


def input_in(row: Row, column: str) -> str:
    """The text of a column that may be left empty, without outer blanks.

    >>> input_in({"input": "Noinput"}, "input"), input_in({}, "input"), input_in({"input": " 1 "}, "input")
    ('', '', '1')
    """
    given = "" if is_nothing(row.get(column)) else text_in(row, column).strip()
    return "" if given.lower() in _NO_INPUT else given


def is_nothing(value: Any) -> bool:
    """Whether a cell is empty: null, or NaN, as which pandas writes it."""
    return value is None or value != value
