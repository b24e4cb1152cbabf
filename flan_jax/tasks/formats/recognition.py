"""The format of a file, as its columns tell it; neither seqio nor TensorFlow is needed to say that it has none."""

import itertools
import json
import os
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError, nearest
from flan_jax.files.row_files import open_rows
from flan_jax.tasks.formats import instruction_folders
from flan_jax.tasks.formats.forms import FORMS
from flan_jax.tasks.formats.forms import reasoned as reasoned_columns
from flan_jax.tasks.formats.openings import at_most, source_of
from flan_jax.tasks.sources import FileSource, Row, readers
from flan_jax.tasks.sources.file_source import units
from flan_jax.tasks.tally import BadRow

_LOOKED_AT = 20
_SHOWN, _SHOWN_COLUMNS = 40, 12
_CANARY = "; it holds a canary, by which its authors ask that it be kept out of training"
_HEADLESS = " (the file's first line must name its columns; a task in Python can do so: csv(FILE, columns=...))"


def check(path: str, fields: Mapping[str, str], validation_rows: int | None) -> None:
    """Refuses a file that `files.task_from_file` would refuse; of a folder of task files, one that has none.

    Raises:
      UserError: its columns are of no known format, or not those that are named, or it is no file of rows, …
    """
    if instruction_folders.is_folder(path):
        instruction_folders.layout(path)
        return
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
        "instruction/input/output, question/answer/rationale, messages, conversations, text); name two of them: "
        "--fields inputs=COLUMN,targets=COLUMN"
        f"{_HEADLESS if isinstance(source.reader, readers.Csv) else ''}"
        f"{_within(first) if at_most(source, 2) == 1 else ''}"
        f"{_CANARY if 'canary' in columns else ''}."
    )


def reasoned(source: FileSource, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The columns of question, answer and rationale.

    Raises:
      UserError: they have no names that are known here.
    """
    columns, first = _columns(source)
    if (found := reasoned_columns(columns, first)) is None:
        raise UserError(
            f"{path} has the columns {_listed(columns)}; a question, an answer and a rationale are wanted: name them, "
            "chain_of_thought(FILE, NAME, columns=(QUESTION, ANSWER, RATIONALE))."
        )
    return found


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
    with open_rows(place) as file:
        try:
            value = json.load(file)
        except (ValueError, RecursionError):
            return ""
    if not isinstance(value, dict):
        return ""
    return f": it is one JSON object with the keys {_listed(list(value))}{_within(value)}"


def _within(value: Mapping[str, Any]) -> str:
    """What to say of an object that holds the rows itself, in a list or by key."""
    held = {key: list(item.values()) if isinstance(item, dict) else item for key, item in value.items()}
    rows = {key: item for key, item in held.items() if isinstance(item, list) and item and isinstance(item[0], dict)}
    longest = max(rows, key=lambda key: len(rows[key]), default=None)
    return f"; a task in Python can name the rows in it: json_array(FILE, at={longest!r})" if longest else ""
