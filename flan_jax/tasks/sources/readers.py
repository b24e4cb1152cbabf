"""Readers of text files: JSON lines and arrays, delimited columns, plain text.

A row that is broken comes out as a `BadRow` in its place.
"""

import collections
import csv
import dataclasses
import io
import itertools
import json
import re
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Protocol

from flan_jax.errors import UserError
from flan_jax.files.row_files import open_rows
from flan_jax.tasks.sources.json_stream import items
from flan_jax.tasks.tally import BadRow

Units = Iterator[tuple[int, Any]]

TEXT_UNITS = ("paragraph", "line", "file")
_SURROGATE = re.compile("[\ud800-\udfff]")
NOT_UTF8 = "not UTF-8; save the file as UTF-8"
TOO_DEEP = "JSON that is nested too deep to be read"
_UNCLOSED = "unexpected end of data"  # what Python's reader says of a quote without an end, and only if it is strict


class Reader(Hashable, Protocol):
    """Turns one file into numbered rows, in two steps: rows are counted and passed over without parsing them."""

    def units(self, path: str, start: int = 0) -> Units:
        """Yields (number, unit), numbers rising from 0; a unit is what `parse` makes a row of.

        The first `start` of them are passed over.
        """
        ...

    def count(self, path: str) -> int | None:
        """How many units a file has, where it says so itself."""
        ...

    def parse(self, unit: Any) -> "dict[str, Any] | BadRow":
        """The row of a unit, or what is wrong with it."""
        ...

    def place(self, path: str, number: int) -> str:
        """The place of a row in words."""
        ...


class Text:
    """What the readers of text share: a file's units are found one after another."""

    def units(self, path: str, start: int = 0) -> Units:
        """Yields (number, unit) from the unit after `start` others on; see `Reader`."""
        return itertools.islice(self._all(path), start, None)

    def count(self, path: str) -> None:
        """Not known before the file is read."""
        return None

    def _all(self, path: str) -> Units:
        raise TypeError(f"{type(self).__name__} is no reader of its own.")


@dataclasses.dataclass(frozen=True)
class JsonLines(Text):
    """One JSON object a line; a unit is a line, blank lines are passed over but numbered."""

    def _all(self, path: str) -> Units:
        with open_rows(path) as file:
            for number, line in enumerate(file):
                if not line.isspace():
                    yield number, line

    def parse(self, unit: bytes) -> "dict[str, Any] | BadRow":
        """The object of a line."""
        try:
            row = json.loads(unit)
        except UnicodeDecodeError:
            return BadRow(NOT_UTF8)
        except ValueError as error:
            return BadRow(f"not JSON ({error}); one object a line is wanted")
        except RecursionError:
            return BadRow(TOO_DEEP)
        return json_row(row)

    def place(self, path: str, number: int) -> str:
        """The file and its line, counted from 1."""
        return f"{path}:{number + 1}"


@dataclasses.dataclass(frozen=True)
class JsonArray(Text):
    """One JSON array a file, or the array under a key of its object; a unit is an item."""

    at: str = ""

    def _all(self, path: str) -> Units:
        with open_rows(path) as file:
            yield from enumerate(items(file, path, self.at))

    def parse(self, unit: Any) -> "dict[str, Any] | BadRow":
        """The item, where it is an object."""
        return json_row(unit)

    def place(self, path: str, number: int) -> str:
        """The file and the item's number, counted from 1."""
        return f"{path}, item {number + 1}"


@dataclasses.dataclass(frozen=True)
class Csv(Text):
    """Delimited columns; a unit is (columns, cells), the heading not counted."""

    delimiter: str = ","
    columns: tuple[str, ...] = ()
    quoted: bool = True

    def _all(self, path: str) -> Units:
        quoting: Any = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        csv.field_size_limit(2**31 - 1)  # of this process; its own default refuses texts of 131,072 characters
        with open_rows(path) as file:
            lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
            read: list[str] = []  # the lines of the row at hand
            rows = csv.reader(_remembered(lines, read), delimiter=self.delimiter, quoting=quoting)
            columns = list(self.columns) or next(filter(None, rows), [])
            if twice := [name for name, count in collections.Counter(columns).items() if name and count > 1]:
                raise UserError(f"{path} names the column {twice[0]!r} more than once; give each a name of its own.")
            unreadable = any("\0" in name or not _is_unicode(name) for name in columns)  # UTF-16, say
            number, line = 0, rows.line_num
            read.clear()
            for cells in rows:
                first, line = line + 1, rows.line_num
                several = line > first
                fault = NOT_UTF8 if unreadable else ""
                if several and not fault and len(cells) != len(columns):
                    fault = _torn(cells, columns, first, line)
                elif several and not fault and self._is_unclosed(read):
                    fault = f"a quote in line {first} is never closed: the row goes to the file's end, line {line}"
                read.clear()
                if cells:
                    yield number, (columns, BadRow(fault) if fault else cells)
                    number += 1

    def _is_unclosed(self, lines: list[str]) -> bool:
        """Whether a row took in all that follows, as a quote in it has no end."""
        try:
            list(csv.reader(lines, delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            return str(error) == _UNCLOSED
        return False

    def parse(self, unit: tuple[list[str], list[str] | BadRow]) -> "dict[str, Any] | BadRow":
        """The cells by column."""
        columns, cells = unit
        if isinstance(cells, BadRow):
            return cells
        if len(cells) != len(columns):
            return BadRow(f"{len(cells)} columns where {len(columns)} are wanted ({', '.join(columns)})")
        if any(not _is_unicode(cell) for cell in cells):
            return BadRow(NOT_UTF8)
        return dict(zip(columns, cells, strict=True))

    def place(self, path: str, number: int) -> str:
        """The file and the row's number, counted from 1."""
        return f"{path}, row {number + 1}"


@dataclasses.dataclass(frozen=True)
class PlainText(Text):
    """Paragraphs, lines or whole files of text, without what is blank."""

    unit: str = "paragraph"

    def _all(self, path: str) -> Units:
        with open_rows(path) as file:
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


def _remembered(lines: Iterable[str], read: list[str]) -> Iterator[str]:
    for line in lines:
        read.append(line)
        yield line


def _torn(cells: list[str], columns: list[str], first: int, last: int) -> str:
    """What is wrong with a row of several lines that has too many or too few cells."""
    return (
        f"{len(cells)} columns where {len(columns)} are wanted, in a row that goes from line {first} to line {last}; "
        f"is a quote in line {first} left open?"
    )


def json_row(value: Any) -> "dict[str, Any] | BadRow":
    """A JSON value as a row, where it is one."""
    if not isinstance(value, dict):
        return BadRow(f"a JSON {type(value).__name__}, not an object")
    try:
        whole = _is_text(value)
    except RecursionError:
        return BadRow(TOO_DEEP)
    return value if whole else BadRow("a lone surrogate (\\ud800 to \\udfff), which is no character")


def _is_text(value: Any) -> bool:
    """Whether all strings in a JSON value are text."""
    if isinstance(value, str):
        return _is_unicode(value)
    if isinstance(value, dict):
        return all(_is_text(key) and _is_text(item) for key, item in value.items())
    return all(map(_is_text, value)) if isinstance(value, list) else True


def _is_unicode(text: str) -> bool:
    return text.isascii() or not _SURROGATE.search(text)
