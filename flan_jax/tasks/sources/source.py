"""What a task needs of its source, and what rows are made of."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from flan_jax.errors import UserError, nearest
from flan_jax.tasks.tally import Tally

Row = dict[str, Any]


class Unavailable(UserError):
    """A source whose rows cannot be had: files or a data set that are not there."""


@runtime_checkable
class Source(Protocol):
    """What a task needs of its source.

    Sources only name what they read. A row is a dict of named fields, and its id is made of its file and its number
    there, since ids inside data sets repeat.
    """

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits it has."""
        ...

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, row) in a fixed order.

        Args:
          split: one of `splits`.
          on_bad_row: "error" raises at a row that cannot be used, "skip" leaves it out.
          tally: counts the rows left out.
          start: the first row's number in the split, bad rows counted; those before it are passed over unparsed.
          stop: the number before which to stop; None for the split's end.
        """
        ...

    def files(self, split: str) -> list[str]:
        """The files that `split` is read from."""
        ...

    def where(self, split: str, row_id: str) -> str:
        """The place of a row, in words a user can follow."""
        ...

    def num_rows(self, split: str) -> int | None:
        """How many rows `split` has, or None where that is not known cheaply."""
        ...


def plain(value: Any) -> Any:
    """Turns NumPy values, bytes, dates and tuples into what JSON knows, so that a row reads the same by every way.

    >>> plain({"text": b"caf\\xc3\\xa9", "labels": ("a", "b")})
    {'text': 'café', 'labels': ['a', 'b']}
    """
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    for method in ("tolist", "to_list", "isoformat"):  # NumPy, ragged tensors, dates
        if hasattr(value, method):
            return plain(getattr(value, method)())
    return value


def check_split(split: str, known: tuple[str, ...], remedy: str) -> None:
    """Raises a `UserError` that ends in `remedy` where there is no such split."""
    if split not in known:
        raise UserError(f"There is no split {split!r} (there is {', '.join(known)}){nearest(split, known)}; {remedy}.")
