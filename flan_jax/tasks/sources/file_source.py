"""Rows of files of one format: which files, which of their rows, and where a row lies."""

import csv
import dataclasses
import functools
import hashlib
import heapq
import itertools
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.files import filesystem
from flan_jax.files.row_files import SUFFIXES
from flan_jax.tasks.sources.parts import part
from flan_jax.tasks.sources.readers import Reader
from flan_jax.tasks.sources.source import Row, Unavailable, check_split
from flan_jax.tasks.tally import BadRow, Tally, bad_row

Pattern = str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]

CHEAP_BYTES = 64 * 2**20
_FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ".tfrecord", ".array_record", ".arrayrecord")
_SUFFIXES = (*SUFFIXES, *_FORMATS)
_COUNTS: dict[tuple[Reader, str, tuple[int, str, str]], int] = {}


@dataclasses.dataclass(frozen=True)
class FileSource:
    """Rows of files; made by `jsonl`, `csv`, `json_array`, `text`, `parquet`, `tfrecord` and `array_record`.

    Attributes:
      patterns: (split, pattern) pairs; a pattern is a path, perhaps with `*`, `?` and `**`.
      reader: turns one file into numbered rows.
      slices: (split, slice) pairs such as ("validation", "[:200]") over the rows of all files; a split without one has
        all of them.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      drawn: (split, number) pairs: the most rows of a split, those whose number and file's name hash least. The same
        ones are drawn wherever the files lie, and whatever the run's seed is.
    """

    patterns: tuple[tuple[str, str], ...]
    reader: Reader
    slices: tuple[tuple[str, str], ...] = ()
    on_bad_row: str | None = None
    drawn: tuple[tuple[str, int], ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits it has."""
        return tuple(split for split, _ in self.patterns)

    def files(self, split: str) -> list[str]:
        """The files of a split, sorted.

        Raises:
          UserError: no file matches the split's pattern, or the split is not declared.
        """
        check_split(
            split, self.splits, 'name it in `splits`, for example splits={"train": "[200:]", "validation": "[:200]"}'
        )
        pattern = dict(self.patterns)[split]
        found = filesystem.matching(pattern)
        if not found:
            raise Unavailable(
                f"No file matches {pattern!r}, the {split} split's pattern; give a path or pattern that exists."
            )
        return found

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, row) in the order of the files, then of their rows; see `Source`."""
        policy = self.on_bad_row or on_bad_row
        for key, path, number, unit in self._units(split, start, stop):
            row = self.reader.parse(unit)
            if isinstance(row, BadRow):
                bad_row(functools.partial(self.reader.place, path, number), row, policy, tally)
            else:
                yield f"{key}:{number}", row

    def _units(self, split: str, start: int, stop: int | None) -> Iterator[tuple[str, str, int, Any]]:
        paths = self.files(split)
        first, last = self._bounds(split, paths)
        named = list(zip(keys(paths), paths, strict=True))
        if (chosen := self._chosen(split, paths)) is not None:
            return self._among(chosen[start:stop], named)
        stop = last if stop is None else first + stop if last is None else min(first + stop, last)
        start = first + start
        if stop is not None and start >= stop:
            return iter(())
        state = (split, *((path, filesystem.state(path)) for path in paths))
        return part(self, state, functools.partial(_from, self.reader, named), start, stop)

    def _chosen(self, split: str, paths: list[str]) -> Sequence[int] | None:
        """The numbers of the rows that were drawn for a split, in order; None where it has all."""
        most = dict(self.drawn).get(split)
        if most is None:
            return None
        first, last = self._bounds(split, paths)
        total = sum(count_rows(self.reader, path) for path in paths)
        names = " ".join(keys(paths))
        rows = range(total)[first:last]
        return sorted(heapq.nsmallest(most, rows, key=lambda row: _mark(names, row))) if len(rows) > most else rows

    def _among(self, rows: Sequence[int], named: list[tuple[str, str]]) -> Iterator[tuple[str, str, int, Any]]:
        """The units of these rows alone."""
        if not rows:
            return
        wanted = set(rows)
        for row, found in enumerate(_from(self.reader, named, rows[0]), rows[0]):
            if row in wanted:
                yield found
            if row == rows[-1]:
                return

    def _bounds(self, split: str, paths: list[str]) -> tuple[int, int | None]:
        """The split's slice, counted from the first file's first row."""
        first, last = parse_slice(dict(self.slices).get(split, "[:]"))
        if (first or 0) < 0 or (last is not None and last < 0):
            first, last, _ = slice(first, last).indices(sum(count_rows(self.reader, path) for path in paths))
        return first or 0, last

    def where(self, split: str, row_id: str) -> str:
        """The file and line of a row."""
        key, _, number = row_id.rpartition(":")
        paths = self.files(split)
        return self.reader.place(dict(zip(keys(paths), paths, strict=True)).get(key, key), int(number))

    def num_rows(self, split: str) -> int | None:
        """The rows of files that tell how many they have or are small and local; None for others."""
        paths = self.files(split)
        told = all(known_count(self.reader, path) is not None for path in paths)
        if not told and (any(map(filesystem.is_remote, paths)) or sum(map(filesystem.size, paths)) > CHEAP_BYTES):
            return None
        if (chosen := self._chosen(split, paths)) is not None:
            return len(chosen)
        start, stop = parse_slice(dict(self.slices).get(split, "[:]"))
        return len(range(*slice(start, stop).indices(sum(count_rows(self.reader, path) for path in paths))))


def _mark(names: str, row: int) -> bytes:
    return hashlib.blake2b(f"{names}\x1f{row}".encode(), digest_size=8).digest()


def _from(reader: Reader, named: list[tuple[str, str]], start: int) -> Iterator[tuple[str, str, int, Any]]:
    """Yields (key, path, number, unit) of files from the unit after `start` others on."""
    for key, path in named:
        count = known_count(reader, path) if start else None
        if count is not None and count <= start:
            start -= count
            continue
        read = units(reader, path, 0 if count is None else start)
        if count is None:
            start -= sum(1 for _ in itertools.islice(read, start))
        else:
            start = 0
        for number, unit in read:
            yield key, path, number, unit


def units(reader: Reader, path: str, start: int = 0) -> Iterator[tuple[int, Any]]:
    """Reads a file's units to its end, from the one after `start` others on.

    Raises:
      UserError: the file breaks off or is damaged.
    """
    try:
        yield from reader.units(path, start)
    except (EOFError, OSError, zlib.error, zipfile.BadZipFile, UnicodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read to its end ({error}); it is damaged or of another format.") from None


def known_count(reader: Reader, path: str) -> int | None:
    """How many units a file has, where it says so or was counted before."""
    key = (reader, path, filesystem.state(path))
    if key not in _COUNTS:
        count = reader.count(path)
        if count is None:
            return None
        _COUNTS[key] = count
    return _COUNTS[key]


def count_rows(reader: Reader, path: str) -> int:
    """How many units a file has, good and bad; counted once for each state of it."""
    count = known_count(reader, path)
    if count is None:
        state = filesystem.state(path)
        count = _COUNTS[reader, path, state] = sum(1 for _ in units(reader, path))
    return count


def keys(paths: list[str]) -> list[str]:
    """Short names of files that tell them apart: stems, or paths below their common folder where stems repeat.

    >>> keys(["data/a.v1.jsonl", "data/b.jsonl.gz"])
    ['a.v1', 'b']
    >>> keys(["data/CB/train.json", "data/COPA/train.json"])
    ['CB/train', 'COPA/train']
    """
    stems = [_without_suffix(path.rpartition("/")[2]) for path in map(_posix, paths)]
    if len(set(stems)) == len(stems):
        return stems
    common = os.path.commonpath([_posix(path).rpartition("/")[0] for path in paths])
    return [_without_suffix(_posix(path).removeprefix(common).lstrip("/")) for path in paths]


def _posix(path: str) -> str:
    return path if filesystem.is_remote(path) else pathlib.PurePath(path).as_posix()


def _without_suffix(name: str) -> str:
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


@functools.cache
def parse_slice(text_slice: str) -> tuple[int | None, int | None]:
    """First and last of a slice like "[:200]".

    Raises:
      UserError: it is no slice.
    """
    start, colon, stop = text_slice.strip().removeprefix("[").removesuffix("]").partition(":")
    try:
        if not colon:
            raise ValueError
        return (int(start) if start.strip() else None, int(stop) if stop.strip() else None)
    except ValueError:
        raise UserError(f"A split's slice of rows looks like '[200:]' or '[:-200]', not {text_slice!r}.") from None
