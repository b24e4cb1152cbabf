"""Draws the generated rows: the same on every machine, and no row of one split in the other."""

import random
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

NUM_ROWS = {"train": 4_000, "validation": 100}
HELD_OUT_ROWS = {"train": 4_000, "validation": 400}  # of tasks that are held out whole: what is claimed rests on them
_VALIDATION_SHARE = 8  # one text in eight can only ever be a validation row

Item = TypeVar("Item")
Row = dict[str, Any]


class Draws:
    """A stream of choices from an integer seed.

    Only `random.Random.random` is used: Python promises its sequence for an integer seed, and promises nothing about
    `sample` or `shuffle`.

    >>> Draws(7).pick("abc") == Draws(7).pick("abc")
    True
    """

    def __init__(self, seed: int):
        self._next = random.Random(seed).random

    def below(self, bound: int) -> int:
        """An integer in [0, bound)."""
        return int(self._next() * bound)

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[int(self._next() * len(items))]

    def distinct(self, items: Sequence[Item], count: int) -> list[Item]:
        """`count` items in random order, none of them twice."""
        chosen: list[int] = []
        while len(chosen) < count:
            index = int(self._next() * len(items))
            if index not in chosen:
                chosen.append(index)
        return [items[index] for index in chosen]


def rows(
    name: str, text_field: str, make: Callable[[Draws], Row], split: str, num_rows: Mapping[str, int] = NUM_ROWS
) -> Iterator[Row]:
    """Yields the rows of a split, each text once, lazily.

    The text itself decides by its checksum which split it may appear in, so train and validation share none.

    Args:
      name: what the rows are called; part of the seed.
      text_field: the field that holds the input text.
      make: makes a row from draws.
      split: "train" or "validation".
      num_rows: how many rows each split has; the rows of a smaller number are the first of a larger one.
    """
    wanted = num_rows[split]
    draws = Draws(zlib.crc32(f"{name}/{split}".encode()))
    seen: set[str] = set()
    while len(seen) < wanted:
        row = make(draws)
        text = row[text_field]
        held = zlib.crc32(text.encode()) % _VALIDATION_SHARE == 0
        if held == (split == "validation") and text not in seen:
            seen.add(text)
            yield row
