"""The format of a file, as its columns tell it; neither seqio nor TensorFlow is needed to say that it has none."""

import itertools
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from flan_jax.errors import UserError, counted, nearest
from flan_jax.files import filesystem
from flan_jax.files.row_files import SUFFIXES, open_rows
from flan_jax.tasks import sources
from flan_jax.tasks.formats import instruction_folders
from flan_jax.tasks.sources import FileSource, Row, json_stream, readers, task_files
from flan_jax.tasks.sources.file_source import units
from flan_jax.tasks.tally import BadRow

Columns = tuple[str, ...] | None
"""The columns that hold what a form needs, empty where it knows them; None where rows are not of that form."""


def _messages(columns: Collection[str], first: Row) -> Columns:
    return next(((name,) for name in ("messages", "conversations", "conversation") if _is_talk(first.get(name))), None)


def _is_talk(value: Any) -> bool:
    """Whether a value holds messages: a list, its JSON text, or a table's columns of it."""
    if isinstance(value, str):
        return value.lstrip()[:1] == "["
    return isinstance(value, list) or (isinstance(value, dict) and bool({"role", "from"} & set(value)))


def _oasst(columns: Collection[str], first: Row) -> Columns:
    """Trees, or messages that name their tree."""
    if isinstance(first.get("prompt"), dict) and {"replies", "message_id"} & set(first["prompt"]):
        return ()
    return ("message_tree_id",) if {"message_tree_id", "message_id", "parent_id", "text"} <= set(columns) else None


def _moss(columns: Collection[str], first: Row) -> Columns:
    turns = first.get("chat")
    return () if isinstance(turns, dict) and turns and all(str(name).startswith("turn_") for name in turns) else None


def _dialogues(columns: Collection[str], first: Row) -> Columns:
    """A list of turns by named speakers: its column, who speaks in a turn, what is said."""
    for column, value in first.items():
        turn = value[0] if isinstance(value, list) and value else None
        if isinstance(turn, dict):
            speaker = next((name for name in ("speaker", "agent") if name in turn), None)
            said = next((name for name in ("utterance", "text", "message") if name in turn), None)
            if speaker and said:
                return (column, speaker, said)
    return None


def _pairs(columns: Collection[str], first: Row) -> Columns:
    # P3's hub copy has ids of T5's vocabulary beside its texts, as "inputs" and "targets".
    texts = ("inputs_pretokenized", "targets_pretokenized")
    known = (("prompt", "completion"), ("prompt", "response"), texts, ("inputs", "targets"))
    return next((pair for pair in known if set(pair) <= set(columns)), None)


def _unnatural(columns: Collection[str], first: Row) -> Columns:
    """Instances that say their prompt whole; TFDS has lists by key, as is what `in` asks of either."""
    instances = first.get("instances")
    one = instances[0] if isinstance(instances, list) and instances else instances
    return () if isinstance(one, Mapping) and "instruction_with_input" in one else None


def _self_instruct(columns: Collection[str], first: Row) -> Columns:
    return () if "instruction" in columns and {"instances", "raw_instances"} & set(columns) else None


def _alpaca(columns: Collection[str], first: Row) -> Columns:
    """An instruction and an output under the names of Alpaca, Dolly or OpenOrca; those that make it a conversation."""
    is_known = "instruction" in columns and {"output", "response"} & set(columns)
    if not is_known and not {"question", "response"} <= set(columns):
        return None
    return tuple(name for name in ("system", "system_prompt", "history") if name in columns)


def _chain_of_thought(columns: Collection[str], first: Row) -> Columns:
    found = [next((name for name in names if name in columns), "") for names in _REASONED]
    return tuple(found) if all(found) else None


def _with(*names: str) -> Callable[[Collection[str], Row], Columns]:
    """Rows that have all these columns."""
    return lambda columns, first: () if set(names) <= set(columns) else None


#: The modules of `flan_jax.tasks.formats` and what tells their rows by the columns and the first row; the first counts.
FORMS: dict[str, Callable[[Collection[str], Row], Columns]] = {
    **{kind: _with("input", "output", *sorted(keys)) for kind, keys in instruction_folders.KINDS.items()},
    "messages": _messages,
    "oasst": _oasst,
    "moss": _moss,
    "dialogues": _dialogues,
    "unnatural_instructions": _unnatural,
    "self_instruct": _self_instruct,
    "alpaca": _alpaca,
    "chain_of_thought": _chain_of_thought,
    "pairs": _pairs,
}
_REASONED = (
    ("question", "input", "source", "inputs"),
    ("answer", "target", "targets"),
    ("rationale", "explanation", "chain_of_thought", "cot"),
)
_LOOKED_AT = 20
_HELD_OUT = 50
_SHOWN, _SHOWN_COLUMNS = 40, 12
_CANARY = "; it holds a canary, by which its authors ask that it be kept out of training"
_NAME = re.compile(r"(?=.{1,40}$)[\w./#()-]*[\w)](?: [\w./#()-]*[\w)]){0,2}")  # of a column; no sentence
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
        "instruction/input/output, question/answer/rationale, messages, conversations); name two of them: --fields "
        "inputs=COLUMN,targets=COLUMN"
        f"{_HEADLESS if isinstance(source.reader, readers.Csv) else ''}"
        f"{_within(first) if _at_most(source, 2) == 1 else ''}"
        f"{_CANARY if 'canary' in columns else ''}."
    )


def reasoned(source: FileSource, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The columns of question, answer and rationale.

    Raises:
      UserError: they have no names that are known here.
    """
    columns, first = _columns(source)
    if (found := _chain_of_thought(columns, first)) is None:
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


def source_of(path: str, validation_rows: int | None, on_bad_row: str | None) -> FileSource:
    """The source of a file, or of a pattern of files of one format; see `files.task_from_file`.

    Raises:
      UserError: there is no such file, it is of no format known here, or no rows are left to train on.
    """
    whole = _source(path, 0, "skip")
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
    return _source(path, validation_rows, on_bad_row)


def _a_tenth(source: FileSource) -> int:
    """A tenth of a source's rows, at least 1 of 2 and at most `_HELD_OUT`; no more of it is read than that takes."""
    rows = _at_most(source, 10 * _HELD_OUT)
    return min(max(rows // 10, 1), rows - 1) if rows else 0


def _at_most(source: FileSource, most: int) -> int:
    """How many rows that can be read a source has, counted up to `most`."""
    return sum(1 for _ in itertools.islice(source.rows(source.splits[0], "skip"), most))


def _source(path: str, validation_rows: int, on_bad_row: str | None) -> FileSource:
    how: Any = {"validation_rows": validation_rows, "on_bad_row": on_bad_row}
    found = filesystem.matching(path)
    if not found:
        raise UserError(f"There is no file {path!r}; give a JSONL, JSON, CSV, TSV or Parquet file of examples.")
    name = found[0].lower()
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    kind = name.rpartition(".")[2]
    if kind == "tsv" and _is_headless(found[0]):
        return sources.csv(path, delimiter="\t", columns=("question", "answer", "rationale"), quoted=False, **how)
    if kind in ("csv", "tsv"):
        return sources.csv(path, delimiter="\t" if kind == "tsv" else ",", **how)
    if kind == "parquet":
        return sources.parquet(path, validation_rows=validation_rows)
    start = _start_of(found[0])
    if start == b"{" and task_files.is_task_file(found[0]):
        return sources.task_file(path, **how)
    if start == b"[" or (start == b"{" and _is_object_of_rows(found[0])):
        return sources.json_array(path, **how)
    if start == b"{" or not start:
        return sources.jsonl(path, **how)
    raise UserError(
        f"{path} starts with {start!r}, so it is neither JSONL nor a JSON array; or name it .csv, .tsv or .parquet."
    )


def _is_headless(path: str) -> bool:
    """Whether a TSV file begins with a question, an answer and a rationale, and not with the names of its columns."""
    cells = _start(path, 1 << 16).partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r").split("\t")
    return len(cells) == 3 and not any(_NAME.fullmatch(cell.strip()) for cell in (cells[0], cells[2]))


def _start_of(path: str) -> bytes:
    """The first byte of a file that is neither a mark of UTF-8 nor blank."""
    return _start(path, 4096).lstrip()[:1]


def _start(path: str, size: int) -> bytes:
    """The first bytes of a file, without a mark of UTF-8.

    Raises:
      UserError: it cannot be read or unpacked.
    """
    try:
        with open_rows(path) as file:
            return file.read(size).removeprefix(b"\xef\xbb\xbf")
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); it is damaged, or not packed as its name says.") from None


def _is_object_of_rows(path: str) -> bool:
    """Whether a file is one object whose values are rows, as Topical-Chat's dialogues by their names.

    The first two values tell: they are objects that have a key in common. What is in a single line is such a file only
    where no other line follows it.
    """
    with open_rows(path) as file:
        try:
            first = list(itertools.islice(json_stream.items(file, path), 2))
        except (UserError, OSError, EOFError, zlib.error):
            return False
    if not first or not all(isinstance(value, dict) for value in first) or not set.intersection(*map(set, first)):
        return False
    with open_rows(path) as file:
        line = file.readline(json_stream.LARGEST_ITEM)
        return not line.rstrip().endswith(b"}") or not any(other.strip() for other in itertools.islice(file, 3))


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
