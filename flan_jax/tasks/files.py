"""Reads files row by row; a row that is broken comes out as a `BadRow` in its place."""

import csv
import dataclasses
import functools
import glob
import gzip
import io
import json
import os
import pathlib
import zlib
from collections.abc import Hashable, Iterator, Mapping
from typing import IO, Any, Protocol

import tensorflow as tf

from flan_jax.errors import UserError
from flan_jax.tasks.tally import BadRow

Pattern = str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]
Units = Iterator[tuple[int, Any]]

TEXT_UNITS = ("paragraph", "line", "file")
CHEAP_BYTES = 64 * 2**20
_SUFFIXES = (".gz", ".jsonl", ".json", ".csv", ".tsv", ".txt")


class Reader(Hashable, Protocol):
    """Turns one file into numbered rows, in two steps: rows are counted and passed over without parsing them."""

    def units(self, path: str) -> Units:
        """Yields (number, unit), numbers rising from 0; a unit is what `parse` makes a row of."""
        ...

    def parse(self, unit: Any) -> "dict[str, Any] | BadRow":
        """The row of a unit, or what is wrong with it."""
        ...

    def place(self, path: str, number: int) -> str:
        """The place of a row in words."""
        ...


@dataclasses.dataclass(frozen=True)
class JsonLines:
    """One JSON object a line; blank lines are passed over but numbered."""

    def units(self, path: str) -> Units:
        """Yields (line number from 0, line)."""
        with open_bytes(path) as file:
            for number, line in enumerate(file):
                if not line.isspace():
                    yield number, line

    def parse(self, unit: bytes) -> "dict[str, Any] | BadRow":
        """The object of a line."""
        try:
            row = json.loads(unit)
        except ValueError as error:  # UnicodeDecodeError is one too
            return BadRow(f"not JSON ({error})")
        return row if isinstance(row, dict) else BadRow(f"a JSON {type(row).__name__}, not an object")

    def place(self, path: str, number: int) -> str:
        """The file and its line, counted from 1."""
        return f"{path}:{number + 1}"


@dataclasses.dataclass(frozen=True)
class JsonArray:
    """One JSON array a file, or the array under a key of its object."""

    at: str = ""

    def units(self, path: str) -> Units:
        """Yields (number of the item, item)."""
        with open_bytes(path) as file:
            try:
                content = json.loads(file.read().decode("utf-8-sig"))
            except ValueError as error:
                raise UserError(f"{path} is not a JSON file: {error}; use jsonl(...) for one object a line.") from None
        if self.at:
            if not isinstance(content, dict) or self.at not in content:
                raise UserError(f"{path} has no key {self.at!r} (json_array's at=).")
            content = content[self.at]
        if isinstance(content, dict):
            content = list(content.values())
        if not isinstance(content, list):
            raise UserError(
                f"{path} holds a {type(content).__name__}, not a JSON array; name its key with json_array(at=...)."
            )
        yield from enumerate(content)

    def parse(self, unit: Any) -> "dict[str, Any] | BadRow":
        """The item, where it is an object."""
        return unit if isinstance(unit, dict) else BadRow(f"a {type(unit).__name__}, not a JSON object")

    def place(self, path: str, number: int) -> str:
        """The file and the item's number, counted from 1."""
        return f"{path}, item {number + 1}"


@dataclasses.dataclass(frozen=True)
class Csv:
    """Delimited columns."""

    delimiter: str = ","
    columns: tuple[str, ...] = ()
    quoted: bool = True

    def units(self, path: str) -> Units:
        """Yields (number of the row, (columns, cells)), the heading not counted."""
        quoting: Any = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        with open_bytes(path) as file:
            lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
            rows = csv.reader(lines, delimiter=self.delimiter, quoting=quoting)
            columns = list(self.columns) or next(rows, [])
            for number, cells in enumerate(cells for cells in rows if cells):
                yield number, (columns, cells)

    def parse(self, unit: tuple[list[str], list[str]]) -> "dict[str, Any] | BadRow":
        """The cells by column."""
        columns, cells = unit
        if len(cells) != len(columns):
            return BadRow(f"{len(cells)} columns where {len(columns)} are wanted ({', '.join(columns)})")
        if any(not _is_unicode(cell) for cell in cells):
            return BadRow("not UTF-8")
        return dict(zip(columns, cells, strict=True))

    def place(self, path: str, number: int) -> str:
        """The file and the row's number, counted from 1."""
        return f"{path}, row {number + 1}"


@dataclasses.dataclass(frozen=True)
class PlainText:
    """Paragraphs, lines or whole files of text."""

    unit: str = "paragraph"

    def units(self, path: str) -> Units:
        """Yields (number of the passage, passage); blank ones are passed over."""
        with open_bytes(path) as file:
            lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace")
            yield from enumerate(_passages(lines, self.unit))

    def parse(self, unit: str) -> dict[str, Any]:
        """The passage as {"text": ...}."""
        return {"text": unit}

    def place(self, path: str, number: int) -> str:
        """The file and the unit's number, counted from 1."""
        return f"{path}, {self.unit} {number + 1}"


def _passages(lines: Iterator[str] | io.TextIOWrapper, unit: str) -> Iterator[str]:
    gathered: list[str] = []
    for line in lines:
        if unit == "line" or (unit == "paragraph" and not line.strip()):
            if unit == "line":
                gathered = [line]
            if passage := "".join(gathered).strip():
                yield passage
            gathered = []
        else:
            gathered.append(line)
    if passage := "".join(gathered).strip():
        yield passage


def _is_unicode(cell: str) -> bool:
    return cell.isascii() or not any("\udc80" <= character <= "\udcff" for character in cell)


def units(reader: Reader, path: str) -> Units:
    """Reads a file's units to its end.

    Raises:
      UserError: the file breaks off or is damaged.
    """
    try:
        yield from reader.units(path)
    except (EOFError, OSError, zlib.error, csv.Error, tf.errors.OpError) as error:
        raise UserError(f"{path} cannot be read to its end ({error}); it is damaged or of another format.") from None


def open_bytes(path: str) -> IO[bytes]:
    """Opens a local or remote file for reading, unpacking `.gz`.

    Raises:
      UserError: the file cannot be opened.
    """
    try:
        file: IO[bytes] = tf.io.gfile.GFile(path, "rb") if is_remote(path) else open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from None
    return gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file  # type: ignore[return-value]


def is_remote(path: str) -> bool:
    """Whether the path is an address such as gs://bucket/file."""
    return "://" in path


def matching(pattern: str) -> list[str]:
    """The files that a path or pattern names, sorted; a directory matches nothing."""
    if is_remote(pattern):
        return sorted(tf.io.gfile.glob(pattern))
    pattern = os.path.expanduser(pattern)
    if os.path.isfile(pattern):  # its name may hold brackets
        return [pattern]
    return sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))


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
    return path if is_remote(path) else pathlib.PurePath(path).as_posix()


def _without_suffix(name: str) -> str:
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def stamp(path: str) -> tuple[int, int]:
    """A file's size and time of change, in bytes and nanoseconds."""
    if is_remote(path):
        stat = tf.io.gfile.stat(path)
        return stat.length, stat.mtime_nsec
    local = os.stat(path)
    return local.st_size, local.st_mtime_ns


def size_of(paths: list[str]) -> int:
    """The bytes of files together; more than `CHEAP_BYTES` where one is remote."""
    return CHEAP_BYTES + 1 if any(map(is_remote, paths)) else sum(stamp(path)[0] for path in paths)


@functools.lru_cache(maxsize=4096)
def count_rows(reader: Reader, path: str, changed: tuple[int, int]) -> int:
    """Counts a file's rows, once for each `stamp` of it."""
    return sum(1 for _ in units(reader, path))
