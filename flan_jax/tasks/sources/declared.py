"""Declares sources of files, by format."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flan_jax.errors import UserError, nearest
from flan_jax.tasks.sources import readers
from flan_jax.tasks.sources.file_source import FileSource, Pattern, parse_slice
from flan_jax.tasks.sources.readers import TEXT_UNITS


def jsonl(
    pattern: Pattern,
    *,
    splits: Mapping[str, str] | None = None,
    validation_rows: int = 0,
    on_bad_row: str | None = None,
) -> FileSource:
    """One JSON object a line.

    Args:
      pattern: a path or pattern, or a mapping of splits to them.
      splits: slices of the rows by split, for example {"train": "[200:]", "validation": "[:200]"}; only for a single
        pattern.
      validation_rows: the first so many rows become the validation split, the others train; short for `splits`.
      on_bad_row: "error" or "skip" for lines that are no JSON object; None leaves it to who reads.
    """
    return _file_source(readers.JsonLines(), pattern, splits, validation_rows, on_bad_row)


def csv(
    pattern: Pattern,
    *,
    delimiter: str = ",",
    columns: Iterable[str] = (),
    quoted: bool = True,
    splits: Mapping[str, str] | None = None,
    validation_rows: int = 0,
    on_bad_row: str | None = None,
) -> FileSource:
    r"""Rows of delimited columns.

    Args:
      pattern: as in `jsonl`.
      delimiter: one character; "\t" for TSV.
      columns: the names of the columns; empty when the first row names them.
      quoted: False where a double quote is a character like any other.
      splits: as in `jsonl`.
      validation_rows: as in `jsonl`.
      on_bad_row: as in `jsonl`, for rows with too few or too many columns.
    """
    return _file_source(readers.Csv(delimiter, tuple(columns), quoted), pattern, splits, validation_rows, on_bad_row)


def json_array(
    pattern: Pattern,
    *,
    at: str = "",
    splits: Mapping[str, str] | None = None,
    validation_rows: int = 0,
    on_bad_row: str | None = None,
) -> FileSource:
    """Files that are one JSON array of objects, or one object whose values are the rows, read item by item.

    Args:
      pattern: as in `jsonl`.
      at: the key that holds the array (or an object whose values are the rows), where these are not the file's all.
      splits: as in `jsonl`.
      validation_rows: as in `jsonl`.
      on_bad_row: as in `jsonl`, for items that are no object.
    """
    return _file_source(readers.JsonArray(at), pattern, splits, validation_rows, on_bad_row)


def text(
    pattern: Pattern,
    *,
    unit: str = "paragraph",
    splits: Mapping[str, str] | None = None,
    validation_rows: int = 0,
) -> FileSource:
    """Plain text as rows {"text": ...}.

    Args:
      pattern: as in `jsonl`.
      unit: "paragraph" (parted by blank lines), "line" or "file".
      splits: as in `jsonl`.
      validation_rows: as in `jsonl`.
    """
    if unit not in TEXT_UNITS:
        raise UserError(f"text(unit={unit!r}): unit is one of {', '.join(TEXT_UNITS)}{nearest(unit, TEXT_UNITS)}.")
    return _file_source(readers.PlainText(unit), pattern, splits, validation_rows, None)


def parquet(
    pattern: Pattern,
    *,
    columns: Iterable[str] = (),
    splits: Mapping[str, str] | None = None,
    validation_rows: int = 0,
) -> FileSource:
    """Rows of Parquet files; a row group at a time is read, and of that a batch at a time is turned into rows.

    Args:
      pattern: as in `jsonl`.
      columns: those to read; empty for all.
      splits: as in `jsonl`.
      validation_rows: as in `jsonl`.
    """
    from flan_jax.tasks.sources import records  # imports TensorFlow

    return _file_source(records.Parquet(tuple(columns)), pattern, splits, validation_rows, None)


def tfrecord(
    pattern: Pattern,
    *,
    features: Mapping[str, Any] | None = None,
    decode: Callable[[bytes], Mapping[str, Any]] | None = None,
    splits: Mapping[str, str] | None = None,
    validation_rows: int = 0,
    on_bad_row: str | None = None,
) -> FileSource:
    """Records of TFRecord files: `tf.train.Example` messages, or what `decode` makes of their bytes.

    Args:
      pattern: as in `jsonl`; files that end in `.gz` are unpacked.
      features: what to take of an example, as for `tf.io.parse_single_example`: a `tf.io.FixedLenFeature` without a
        shape gives a value, one with a shape and a `tf.io.VarLenFeature` give lists. None takes all, a value where
        there is one and a list otherwise; name a feature that may hold one value or several.
      decode: turns a record's bytes into a dict, where they are no `tf.train.Example`.
      splits: as in `jsonl`.
      validation_rows: as in `jsonl`.
      on_bad_row: as in `jsonl`, for records that are no example or lack a feature.
    """
    from flan_jax.tasks.sources import records  # imports TensorFlow

    message = records.Message(records.specs_of(features), decode)
    return _file_source(records.TfRecord(message), pattern, splits, validation_rows, on_bad_row)


def array_record(
    pattern: Pattern,
    *,
    features: Mapping[str, Any] | None = None,
    decode: Callable[[bytes], Mapping[str, Any]] | None = None,
    splits: Mapping[str, str] | None = None,
    validation_rows: int = 0,
    on_bad_row: str | None = None,
) -> FileSource:
    """Records of ArrayRecord files, which tell their count and are read at any place.

    Args:
      pattern: as in `jsonl`; an address is copied to this machine first.
      features: as in `tfrecord`.
      decode: as in `tfrecord`.
      splits: as in `jsonl`.
      validation_rows: as in `jsonl`.
      on_bad_row: as in `tfrecord`.
    """
    from flan_jax.tasks.sources import records  # imports TensorFlow

    message = records.Message(records.specs_of(features), decode)
    return _file_source(records.ArrayRecord(message), pattern, splits, validation_rows, on_bad_row)


def _file_source(reader, pattern, splits, validation_rows, on_bad_row) -> FileSource:
    if on_bad_row not in (None, "error", "skip"):
        raise UserError(f'on_bad_row={on_bad_row!r}: it is "error" or "skip".')
    if isinstance(pattern, Mapping):
        if splits or validation_rows:
            raise UserError("Give files by split or slices of rows by split (splits=, validation_rows=), not both.")
        return FileSource(tuple((split, str(one)) for split, one in pattern.items()), reader, (), on_bad_row)
    if validation_rows and splits:
        raise UserError("Give splits= or validation_rows=, not both.")
    if validation_rows:
        splits = {"train": f"[{validation_rows}:]", "validation": f"[:{validation_rows}]"}
    slices = dict(splits or {"train": "[:]"})
    for text_slice in slices.values():
        parse_slice(text_slice)
    return FileSource(tuple((split, str(pattern)) for split in slices), reader, tuple(slices.items()), on_bad_row)
