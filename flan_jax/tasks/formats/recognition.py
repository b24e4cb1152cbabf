"""The format of a file, as its columns tell it; neither seqio nor TensorFlow is needed to say that it has none."""

import itertools
import json
import os
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from flan_jax.errors import UserError, counted, nearest
from flan_jax.files import filesystem
from flan_jax.tasks import sources
from flan_jax.tasks.sources import FileSource, Row, readers
from flan_jax.tasks.sources.file_source import units
from flan_jax.tasks.tally import BadRow

_TEXT_SUFFIXES = (".txt", ".txt.gz")
# Of C4, the Pile, Dolma, FineWeb, Wikipedia.
_WHERE_FROM = ("id", "url", "title", "timestamp", "date", "added", "created", "source", "dump", "file_path")
_MEASURED = ("meta", "metadata", "language", "language_score", "token_count", "score", "int_score")

Columns = tuple[str, ...] | None
"""The columns that hold what a form needs, empty where it knows them; None where rows are not of that form."""


def _messages(columns: Collection[str], first: Row) -> Columns:
    return next(((name,) for name in ("messages", "conversations") if isinstance(first.get(name), list)), None)


def _pairs(columns: Collection[str], first: Row) -> Columns:
    known = (("prompt", "completion"), ("prompt", "response"), ("inputs", "targets"))
    return next((pair for pair in known if set(pair) <= set(columns)), None)


def _plain_text(columns: Collection[str], first: Row) -> Columns:
    """Texts alone, or beside columns that only tell where each is from: a column of labels makes it another task."""
    others = {name.lower() for name in columns} - {"text", *_WHERE_FROM, *_MEASURED}
    return ("text",) if "text" in columns and not others else None


def _with(*names: str) -> Callable[[Collection[str], Row], Columns]:
    """Rows that have all these columns."""
    return lambda columns, first: () if set(names) <= set(columns) else None


#: The modules of `flan_jax.tasks.formats` and what tells their rows by the columns and the first row; the first counts.
FORMS: dict[str, Callable[[Collection[str], Row], Columns]] = {
    "messages": _messages,
    "alpaca": _with("instruction", "output"),
    "pairs": _pairs,
    "plain_text": _plain_text,
}
_LOOKED_AT = 20
_HELD_OUT = 50
_SHOWN, _SHOWN_COLUMNS = 40, 12
_HEADLESS = " (the file's first line must name its columns; a task in Python can do so: csv(FILE, columns=...))"


def check(path: str, fields: Mapping[str, str], validation_rows: int | None) -> None:
    """Refuses a file that `files.task_from_file` would refuse.

    Raises:
      UserError: its columns are of no known format, or not those that are named, or it is no file of rows, …
    """
    form_of(source_of(path, validation_rows, None), path, fields)


def form_of(
    source: FileSource, path: str | os.PathLike[str], fields: Mapping[str, str] | None
) -> tuple[str, tuple[str, ...]]:
    """The format of a file's rows, one of `FORMS`, and the columns that hold it.

    Args:
      source: the file.
      path: what to call it.
      fields: {"inputs": COLUMN, "targets": COLUMN}, where they are named.

    Raises:
      UserError: the columns are not recognised, or there are none of these names.
    """
    columns, first = _columns(source)
    if fields:
        return "pairs", _checked(fields, columns, path)
    for form, read in FORMS.items():
        if (found := read(columns, first)) is not None:
            return form, found
    raise UserError(
        f"{path} has the columns {_listed(columns)}, which are of no format known here (prompt/completion, "
        "instruction/input/output, messages, conversations, text); name two of them: "
        "--fields inputs=COLUMN,targets=COLUMN"
        f"{_HEADLESS if isinstance(source.reader, readers.Csv) else ''}."
    )


def _checked(fields: Mapping[str, str], columns: list[str], path: Any) -> tuple[str, ...]:
    if set(fields) != {"inputs", "targets"}:
        raise UserError(
            f"fields names {', '.join(fields)}; inputs and targets are wanted: --fields inputs=COLUMN,targets=COLUMN."
        )
    for feature, column in fields.items():
        if column not in columns:
            raise UserError(
                f"{path} has no column {column!r} for {feature}, it has {_listed(columns)}{nearest(column, columns)}."
            )
    return fields["inputs"], fields["targets"]


def _listed(columns: list[str]) -> str:
    """Column names for a sentence; a row of data taken for a header has long ones."""
    short = [name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…" for name in columns[:_SHOWN_COLUMNS]]
    return ", ".join(short) + (f" and {len(columns) - _SHOWN_COLUMNS} more" if len(columns) > _SHOWN_COLUMNS else "")


def is_text(path: str) -> bool:
    """Whether a path or pattern is of files of text."""
    return path.lower().endswith(_TEXT_SUFFIXES)


def source_of(path: str, validation_rows: int | None, on_bad_row: str | None, unit: str = "paragraph") -> FileSource:
    """The source of a file, or of a pattern of files of one format; see `files.task_from_file`.

    Args:
      path: the file or pattern.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      unit: what is a row of a file of text: a "paragraph", a "line", or the "file".

    Raises:
      UserError: there is no such file, it is of no format known here, or no rows are left to train on.
    """
    whole = _source(path, 0, "skip", unit)
    if validation_rows is None:
        validation_rows = _a_tenth(whole)
        if not validation_rows and next(whole.rows(whole.splits[0], "skip"), None) is not None:
            raise UserError(
                f"{path} has one row, which cannot be trained on and held out at once; --held_out 0 trains on it."
            )
    elif validation_rows and (rows := _at_most(whole, validation_rows + 1)) <= validation_rows:
        raise UserError(
            f"{path} has {counted(rows, 'row')}; --held_out {validation_rows} leaves none to train on. Hold out fewer."
        )
    return _source(path, validation_rows, on_bad_row, unit)


def _a_tenth(source: FileSource) -> int:
    """A tenth of a source's rows, at least 1 of 2 and at most `_HELD_OUT`; no more of it is read than that takes."""
    rows = _at_most(source, 10 * _HELD_OUT)
    return min(max(rows // 10, 1), rows - 1) if rows else 0


def _at_most(source: FileSource, most: int) -> int:
    """How many rows that can be read a source has, counted up to `most`."""
    return sum(1 for _ in itertools.islice(source.rows(source.splits[0], "skip"), most))


def _source(path: str, validation_rows: int, on_bad_row: str | None, unit: str) -> FileSource:
    how: Any = {"validation_rows": validation_rows, "on_bad_row": on_bad_row}
    found = filesystem.matching(path)
    if not found:
        raise UserError(
            f"There is no file {path!r}; give a JSONL, JSON, CSV, TSV or Parquet file of examples, or text (.txt)."
        )
    kind = found[0].lower().removesuffix(".gz").rpartition(".")[2]
    if kind in ("csv", "tsv"):
        return sources.csv(path, delimiter="\t" if kind == "tsv" else ",", **how)
    if kind == "parquet":
        return sources.parquet(path, validation_rows=validation_rows)
    start = _start_of(found[0])
    if start in (b"\xff", b"\xfe"):
        raise UserError(f"{path} seems to be in UTF-16; save it as UTF-8.")
    if is_text(found[0]):
        return sources.text(path, unit=unit, validation_rows=validation_rows)
    if start == b"[":
        return sources.json_array(path, **how)
    if start == b"{" or not start:
        return sources.jsonl(path, **how)
    raise UserError(
        f"{path} starts with {start!r}, so it is neither JSONL nor a JSON array; or name it .csv, .tsv, .parquet "
        "or .txt."
    )


def _start_of(path: str) -> bytes:
    """The first byte of a file that is neither a mark of UTF-8 nor blank.

    Raises:
      UserError: it cannot be read or unpacked.
    """
    try:
        with filesystem.open_bytes(path) as file:
            return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); it is damaged, or not packed as its name says.") from None


def _columns(source: FileSource) -> tuple[list[str], Row]:
    """The columns of the first rows, and the first row."""
    rows = [row for _, row in itertools.islice(source.rows(source.splits[0], "skip"), _LOOKED_AT)]
    if not rows:
        place = source.files(source.splits[0])[0]
        about = _one_object(place)
        if not about and (fault := _first_fault(source)):
            raise UserError(f"{place} has no rows that can be read: {fault}.")
        raise UserError(
            f"{place} has no rows that can be read{about}; a JSON object a line, a JSON array, or CSV is wanted."
        )
    return list(dict.fromkeys(str(column) for row in rows for column in row)), rows[0]


def _first_fault(source: FileSource) -> str:
    """What to say of a file without a sound row: what is wrong with its first one."""
    for path in source.files(source.splits[0]):
        for number, unit in units(source.reader, path):
            row = source.reader.parse(unit)
            return f"{source.reader.place(path, number)}: {row}" if isinstance(row, BadRow) else ""
    return ""


def _one_object(place: str) -> str:
    """What to say of a file that is a single JSON object, which may well hold the rows."""
    with filesystem.open_bytes(place) as file:
        try:
            value = json.load(file)
        except (ValueError, RecursionError):
            return ""
    if not isinstance(value, dict):
        return ""
    lists = [key for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)]
    rows = max(lists, key=lambda key: len(value[key]), default=None)
    told = f"; a task in Python can name them: json_array(FILE, at={rows!r})" if rows else ""
    return f": it is one JSON object with the keys {_listed(list(value))}{told}"
