"""Rows that belong together, where they stand one after another: the messages of a tree, the turns of a talk."""

import dataclasses
import itertools
from collections.abc import Iterator

from flan_jax.files import filesystem
from flan_jax.tasks.sources.file_source import parse_slice
from flan_jax.tasks.sources.parts import part
from flan_jax.tasks.sources.source import Row, Source, check_split
from flan_jax.tasks.tally import Tally

TOGETHER = "together"
_Group = tuple[
    str, list[Row], int
]  # the first row's id, the rows, how many bad ones were left out before and among them


@dataclasses.dataclass(frozen=True)
class Grouped:
    """Rows {"together": rows of another source that follow each other and have the same value in a column}.

    A group has the id and the place of its first row. A row without a value in that column stands alone.

    Attributes:
      inner: the other source.
      by: the column.
      slices: (split, slice) pairs such as ("validation", "[:200]"), counted in groups.
    """

    inner: Source
    by: str
    slices: tuple[tuple[str, str], ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits it has."""
        return self.inner.splits

    @property
    def file_splits(self) -> tuple[str, ...]:
        """The splits that are read from files that can be named."""
        return self.inner.file_splits if hasattr(self.inner, "file_splits") else self.inner.splits

    def files(self, split: str) -> list[str]:
        """See `Source`."""
        return self.inner.files(split)

    def where(self, split: str, row_id: str) -> str:
        """The place of a group's first row."""
        return self.inner.where(split, row_id)

    def num_rows(self, split: str) -> int | None:
        """Not known before all rows are read."""
        return None

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, group); see `Source`. What stands before `start` is read."""
        check_split(split, self.splits, "name another")
        first, last = parse_slice(dict(self.slices).get(split, "[:]"))
        if (first or 0) < 0 or (last or 0) < 0:
            first, last, _ = slice(first, last).indices(sum(1 for _ in self._groups(split, "skip", 0)))
        first = first or 0
        stop = last if stop is None else first + stop if last is None else min(first + stop, last)
        state = map(filesystem.state, self.files(split)) if split in self.file_splits else ()

        def open_at(number: int) -> Iterator[_Group]:
            return self._groups(split, on_bad_row, number)

        for row_id, rows, bad in part(self, (split, on_bad_row, *state), open_at, first + start, stop):
            if tally is not None:
                tally.read += bad
                tally.bad_rows += bad
            if rows:
                yield row_id, {TOGETHER: rows}

    def _groups(self, split: str, on_bad_row: str, start: int) -> Iterator[_Group]:
        return itertools.islice(self._all(split, on_bad_row), start, None)

    def _all(self, split: str, on_bad_row: str) -> Iterator[_Group]:
        left_out, bad = Tally(), 0  # of this stream: whoever takes a group counts what was left out of it
        row_id, rows, value = "", list[Row](), None
        for next_id, row in self.inner.rows(split, on_bad_row, left_out):
            if rows and (value is None or row.get(self.by) != value):
                yield row_id, rows, bad
                row_id, rows, bad = "", [], 0
            row_id, value = row_id or next_id, row.get(self.by)
            rows.append(row)
            bad, left_out.bad_rows = bad + left_out.bad_rows, 0
        if rows or left_out.bad_rows:
            yield row_id, rows, bad + left_out.bad_rows
