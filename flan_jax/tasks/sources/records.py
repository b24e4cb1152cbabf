"""Readers of binary files: Parquet, TFRecord, ArrayRecord."""

import collections
import contextlib
import dataclasses
import functools
import itertools
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import google_crc32c
import tensorflow as tf

from flan_jax.errors import UserError, nearest
from flan_jax.files import filesystem
from flan_jax.tasks.sources.readers import NOT_UTF8, Units
from flan_jax.tasks.sources.source import plain
from flan_jax.tasks.tally import BadRow

_BATCH = 1024
_NO_DEFAULT = "no default"
Spec = tuple[str, str, bool, Any]  # name, kind, whether it is one value, default


@dataclasses.dataclass(frozen=True)
class Parquet:
    """Rows of a Parquet file; a unit is (batch, its place in the batch)."""

    columns: tuple[str, ...] = ()

    def units(self, path: str, start: int = 0) -> Units:
        """Yields (number of the row, unit) from row `start` on; row groups before it are not read."""
        with _parquet(path) as file:
            known = file.schema_arrow.names
            if twice := [name for name, count in collections.Counter(known).items() if count > 1]:
                raise UserError(f"{path} has the column {twice[0]!r} more than once; give each a name of its own.")
            for column in self.columns:
                if column not in known:
                    raise UserError(
                        f"{path} has no column {column!r}, it has {', '.join(known)}{nearest(column, known)} "
                        f"(parquet's columns=)."
                    )
            first = 0
            for group in range(file.num_row_groups):
                last = first + file.metadata.row_group(group).num_rows
                if last > start:
                    yield from _rows_of_group(file, path, group, list(self.columns) or None, first, start)
                first = last

    def count(self, path: str) -> int:
        """What the file's footer says."""
        with _parquet(path) as file:
            return file.metadata.num_rows

    def parse(self, unit: "tuple[_Batch, int]") -> "dict[str, Any] | BadRow":
        """The row as plain values, or what is wrong with it."""
        batch, place = unit
        try:
            return batch.rows[place]
        except UnicodeDecodeError:
            return batch.row(place)

    def place(self, path: str, number: int) -> str:
        """The file and the row's number, counted from 1."""
        return f"{path}, row {number + 1}"


class _Batch:
    """Some rows of a file, turned into Python values when the first of them is asked for."""

    def __init__(self, columns: Any):
        self._columns = columns

    @functools.cached_property
    def rows(self) -> list[dict[str, Any]]:
        return plain(self._columns.to_pylist())

    def row(self, place: int) -> "dict[str, Any] | BadRow":
        """A row by itself, where some row of the batch holds what is no text."""
        try:
            return plain(self._columns.slice(place, 1).to_pylist()[0])
        except UnicodeDecodeError:
            return BadRow(NOT_UTF8)


def _parquet(path: str) -> Any:
    import pyarrow
    import pyarrow.parquet

    file = filesystem.open_raw(path)
    try:
        return pyarrow.parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        file.close()
        raise UserError(f"{path} is no Parquet file that can be read ({_first_line(error)}); write it anew.") from None


def _rows_of_group(
    file: Any, path: str, group: int, columns: list[str] | None, number: int, start: int
) -> Iterator[tuple[int, tuple[_Batch, int]]]:
    import pyarrow

    try:
        for batch in file.iter_batches(_BATCH, row_groups=[group], columns=columns):
            rows = _Batch(batch)
            yield from ((number + place, (rows, place)) for place in range(max(start - number, 0), batch.num_rows))
            number += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read to its end ({_first_line(error)}); write it anew.") from None


@dataclasses.dataclass(frozen=True)
class Message:
    """Turns a record's bytes into a row: those of a `tf.train.Example`, or whatever `decode` knows.

    Attributes:
      specs: what to take of an example, as `specs_of` gives it; None for all.
      decode: a function of the bytes, in place of that.
    """

    specs: tuple[Spec, ...] | None = None
    decode: Callable[[bytes], Mapping[str, Any]] | None = None

    def __call__(self, record: bytes) -> "dict[str, Any] | BadRow":
        """The row, or what is wrong with the record."""
        if self.decode is not None:
            try:
                row = self.decode(record)
            except (ValueError, BadRow) as error:
                return BadRow(f"decode says: {error}")
            return plain(row) if isinstance(row, Mapping) else BadRow(f"decode gave a {type(row).__name__}, not a dict")
        try:
            found = tf.train.Example.FromString(record).features.feature
        except Exception as error:  # protobuf's own class of error has another place in each of its versions
            return BadRow(f"no tf.train.Example ({_first_line(error)})")
        given = {name: _values(found[name]) for name in found}
        if self.specs is None:
            return {name: values[0] if len(values) == 1 else values for name, (_, values) in sorted(given.items())}
        return self._specified(given)

    def _specified(self, given: Mapping[str, tuple[str, list[Any]]]) -> "dict[str, Any] | BadRow":
        row = {}
        for name, kind, is_one, default in self.specs or ():
            known, values = given.get(name, ("", []))
            if values and known != kind:
                return BadRow(f"the feature {name!r} holds {known} values where {kind} is wanted")
            if is_one and len(values) != 1 and (values or default == _NO_DEFAULT):
                others = "" if values else f", the record has {', '.join(sorted(given))}{nearest(name, given)}"
                return BadRow(f"the feature {name!r} has {len(values)} values where one is wanted{others}")
            row[name] = (values or [default])[0] if is_one else values
        return row


def specs_of(features: Mapping[str, Any] | None) -> tuple[Spec, ...] | None:
    """What is wanted of an example, from `tf.io` feature specifications.

    Raises:
      UserError: one is neither a `FixedLenFeature` nor a `VarLenFeature`.
    """
    if features is None:
        return None
    specs: list[Spec] = []
    for name, feature in features.items():
        if not isinstance(feature, tf.io.FixedLenFeature | tf.io.VarLenFeature):
            raise UserError(
                f"The feature {name!r} is a {type(feature).__name__}; tf.io.FixedLenFeature or tf.io.VarLenFeature is "
                f"wanted."
            )
        kind = tf.as_dtype(feature.dtype)
        if kind not in _KINDS:
            raise UserError(f"The feature {name!r} is of {kind.name}; an example holds string, int64 or float32.")
        is_one = isinstance(feature, tf.io.FixedLenFeature) and not tuple(feature.shape or ())
        default = getattr(feature, "default_value", None)
        specs.append((name, _KINDS[kind], is_one, _NO_DEFAULT if default is None else plain(default)))
    return tuple(specs)


_KINDS = {tf.string: "text", tf.int64: "whole", tf.float32: "float"}
_LISTS = {"bytes_list": "text", "int64_list": "whole", "float_list": "float"}


def _values(feature: Any) -> tuple[str, list[Any]]:
    held = feature.WhichOneof("kind")
    return (_LISTS[held], plain(list(getattr(feature, held).value))) if held else ("", [])


@dataclasses.dataclass(frozen=True)
class TfRecord:
    """Records of a TFRecord file; a unit is a record's bytes, whose checksum is right."""

    message: Message = Message()

    def units(self, path: str, start: int = 0) -> Units:
        """Yields (number of the record, its bytes) from record `start` on."""
        with filesystem.open_bytes(path) as file:
            for number in itertools.count():
                head = file.read(12)
                if not head:
                    return
                length = int.from_bytes(head[:8], "little")
                if len(head) < 12 or _masked_checksum(head[:8]) != head[8:]:
                    raise UserError(
                        f"{path} breaks off or is no TFRecord file: record {number + 1} has no right length; write it "
                        f"anew (a compressed file must end in .gz)."
                    )
                record = file.read(length)
                foot = file.read(4)
                if len(foot) < 4 or (number >= start and _masked_checksum(record) != foot):
                    raise UserError(
                        f"{path} breaks off or is damaged in record {number + 1}: its checksum is another; write it "
                        f"anew."
                    )
                if number >= start:
                    yield number, record

    def count(self, path: str) -> None:
        """Not known before the file is read."""
        return None

    def parse(self, unit: bytes) -> "dict[str, Any] | BadRow":
        """The row of a record."""
        return self.message(unit)

    def place(self, path: str, number: int) -> str:
        """The file and the record's number, counted from 1."""
        return f"{path}, record {number + 1}"


def _masked_checksum(content: bytes) -> bytes:
    checksum = google_crc32c.value(content)
    return struct.pack("<I", (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


@dataclasses.dataclass(frozen=True)
class ArrayRecord:
    """Records of an ArrayRecord file; a unit is a record's bytes."""

    message: Message = Message()

    def units(self, path: str, start: int = 0) -> Units:
        """Yields (number of the record, its bytes) from record `start` on."""
        reader = _array_record(path)
        try:
            count = reader.num_records()
            for first in range(start, count, _BATCH):
                records = self._read(reader, path, first, min(first + _BATCH, count))
                yield from enumerate(records, first)
        finally:
            with contextlib.suppress(RuntimeError):  # it says again what reading said
                reader.close()

    def _read(self, reader: Any, path: str, first: int, last: int) -> list[bytes]:
        try:
            records = reader.read(first, last)
        except (RuntimeError, ValueError, IndexError, OSError) as error:
            raise UserError(f"{path} cannot be read to its end ({_first_line(error)}); write it anew.") from None
        if len(records) != last - first or not reader.ok():
            raise UserError(
                f"{path} gives {len(records)} of its records {first + 1} to {last}; it is damaged, write it anew."
            )
        return records

    def count(self, path: str) -> int:
        """What the file's footer says."""
        reader = _array_record(path)
        try:
            return reader.num_records()
        finally:
            reader.close()

    def parse(self, unit: bytes) -> "dict[str, Any] | BadRow":
        """The row of a record."""
        return self.message(unit)

    def place(self, path: str, number: int) -> str:
        """The file and the record's number, counted from 1."""
        return f"{path}, record {number + 1}"


def _array_record(path: str) -> Any:
    """Opens a file; one that was cut off opens as if it were empty, and says only then that it is not whole."""
    from array_record.python import array_record_module

    try:
        reader = array_record_module.ArrayRecordReader(filesystem.local_copy(path))
        whole = reader.ok()
    except RuntimeError:
        whole = False
    if not whole or not reader.num_records():
        seen = "holds no record" if whole else "has no footer that can be read: it was cut off, or is no ArrayRecord"
        raise UserError(f"{path} {seen}; write it anew, or take it out of the pattern.")
    return reader


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
