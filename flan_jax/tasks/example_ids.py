"""The ids of examples: a row's own, and "#" with a number after it for each of several things that are made of it."""

from collections.abc import Iterator, Sequence
from typing import Any


def numbered(row_id: str, found: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """What is made of a row, with ids: the row's own for one thing, and "#" with a number after it for several.

    >>> dict(numbered("a:1", "x")), dict(numbered("a:1", "xy"))
    ({'a:1': 'x'}, {'a:1#0': 'x', 'a:1#1': 'y'})
    """
    for number, one in enumerate(found):
        yield (row_id if len(found) == 1 else f"{row_id}#{number}"), one


def source_row(row_id: str) -> str:
    """The id of the source's row that an example's row is made of.

    >>> source_row("trees:12#3"), source_row("trees:12#3#0"), source_row("a#b:12")
    ('trees:12', 'trees:12', 'a#b:12')
    """
    head, mark, number = row_id.rpartition("#")
    return source_row(head) if mark and number.isdecimal() else row_id
