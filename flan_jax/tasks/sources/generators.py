"""Rows that a Python function makes."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

from flan_jax.tasks.sources.parts import part
from flan_jax.tasks.sources.source import Row, check_split, plain
from flan_jax.tasks.tally import Tally, bad_row
from flan_jax.tasks.user_functions import made_rows


@dataclasses.dataclass(frozen=True)
class GeneratorSource:
    """Rows that a Python function makes; see `generator`."""

    function: Callable[[str], Iterable[Row]]
    split_names: tuple[str, ...]
    counts: tuple[tuple[str, int], ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits it has."""
        return self.split_names

    def files(self, split: str) -> list[str]:
        """None: the rows come from no file."""
        return []

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, row) in the function's order; see `Source`."""
        check_split(split, self.splits, "give generator(..., splits=(...)) the names of all its splits")

        def open_at(number: int) -> Iterator[Row]:
            where = lambda at: self.where(split, f"{split}:{at}")
            made = made_rows(lambda: self.function(split), where, within=self.function)
            return itertools.islice(made, number, None)

        for number, row in enumerate(part(self, (split,), open_at, start, stop), start):
            if isinstance(row, Mapping):
                yield f"{split}:{number}", plain(row)
            else:
                place = functools.partial(self.where, split, f"{split}:{number}")
                bad_row(place, f"a {type(row).__name__}, not a dict", on_bad_row, tally)

    def where(self, split: str, row_id: str) -> str:
        """The function's name and the row's number."""
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        return f"row {row_id.rpartition(':')[2]} of {name}({split!r})"

    def num_rows(self, split: str) -> int | None:
        """The declared number of rows."""
        return dict(self.counts).get(split)


def generator(
    function: Callable[[str], Iterable[Row]],
    splits: Iterable[str] = ("train", "validation"),
    num_rows: Mapping[str, int] | None = None,
) -> GeneratorSource:
    """Rows made by `function(split)`, which must yield the same dicts in the same order every time.

    Args:
      function: takes the split's name, yields dicts.
      splits: the names it takes.
      num_rows: how many rows each split has, where that is known.

    >>> source = generator(lambda split: iter([{"text": "one"}, {"text": "two"}]))
    >>> list(source.rows("train"))
    [('train:0', {'text': 'one'}), ('train:1', {'text': 'two'})]
    """
    return GeneratorSource(function, tuple(splits), tuple(sorted((num_rows or {}).items())))
