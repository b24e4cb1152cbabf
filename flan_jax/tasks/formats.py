"""Tasks from files as people have them: the format is told by the names of the columns."""

import dataclasses
import itertools
import json
import os
import zlib
from collections.abc import Mapping
from typing import Any

from flan_jax import filesystem
from flan_jax.errors import UserError, nearest
from flan_jax.tasks import sources
from flan_jax.tasks.chats import ChatTask
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.sources import FileSource, Row, readers
from flan_jax.tasks.sources.file_source import units
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import Template, text_of
from flan_jax.tasks.vocabularies import VocabularyLike, chat_template, ends_inputs

PAIRS = (("prompt", "completion"), ("prompt", "response"), ("inputs", "targets"))
CONVERSATIONS = ("messages", "conversations")
END_MARK = "<|endoftext|>"
_NO_INPUT = {"", "noinput", "no input", "none", "n/a", "<noinput>"}
_NO_OUTPUT = {"<nooutput>"}
_LOOKED_AT = 20
_HELD_OUT = 50
_SHOWN, _SHOWN_COLUMNS = 40, 12
_HEADLESS = " (the file's first line must name its columns; a task in Python can do so: csv(FILE, columns=...))"


@dataclasses.dataclass(frozen=True)
class Pair:
    """Takes a prompt and its completion from two columns.

    Attributes:
      inputs: the prompt's column.
      targets: the completion's column.
      strip_suffix: a mark taken off the completion's end.
    """

    inputs: str
    targets: str
    strip_suffix: str = END_MARK

    def __call__(self, row: Row) -> Row:
        """Fields "inputs" and "targets" of a row.

        >>> Pair("prompt", "completion")({"prompt": "2 + 2 =", "completion": " 4<|endoftext|>"})
        {'inputs': '2 + 2 =', 'targets': '4'}
        """
        return {
            "inputs": _text(row, self.inputs).strip(),
            "targets": _text(row, self.targets).strip().removesuffix(self.strip_suffix).strip(),
        }


@dataclasses.dataclass(frozen=True)
class Alpaca:
    """Takes an instruction, its input, where there is one, and its output."""

    def __call__(self, row: Row) -> Row:
        """Fields "instruction", "gap", "input" and "output" of a row.

        >>> Alpaca()({"instruction": "Greet.", "input": "Noinput", "output": "Hello"})
        {'instruction': 'Greet.', 'gap': '', 'input': '', 'output': 'Hello'}
        """
        given = (text_of(row.get("input")) or "").strip()
        given = "" if given.lower() in _NO_INPUT else given
        output = _text(row, "output").strip().removesuffix(END_MARK).strip()
        return {
            "instruction": _text(row, "instruction").strip(),
            "gap": "\n\n" if given else "",
            "input": given,
            "output": "" if output.lower() in _NO_OUTPUT else output,
        }


@dataclasses.dataclass(frozen=True)
class OneTurn:
    """Turns a row into a conversation of a question and its answer, for models with a chat template.

    Attributes:
      fields: what reads the row.
      question: the fields that make the question, one after the other.
      answer: the field of the answer.
    """

    fields: Pair | Alpaca
    question: tuple[str, ...]
    answer: str

    def __call__(self, row: Row) -> Row:
        """A field "messages" of a row.

        >>> OneTurn(Pair("q", "a"), ("inputs",), "targets")({"q": "2 + 2 =", "a": "4"})["messages"][1]
        {'role': 'assistant', 'content': '4'}
        """
        found = self.fields(row)
        question = "".join(found[name] for name in self.question)
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": found[self.answer]}]
        return {"messages": turns}


def _text(row: Row, column: str) -> str:
    if column not in row:
        known = [str(name) for name in row]
        raise BadRow(f"there is no column {column!r}, the row has {', '.join(known)}{nearest(column, known)}")
    text = text_of(row[column])
    if text is None:
        raise BadRow(f"the column {column!r} is {row[column]!r}; text is wanted")
    return text


def task_from_file(
    path: str | os.PathLike[str],
    name: str,
    *,
    fields: Mapping[str, str] | None = None,
    vocabulary: VocabularyLike = "starter",
    validation_rows: int | None = 0,
    cap: int | None = None,
    on_bad_row: str | None = None,
) -> InstructionTask | ChatTask:
    """Declares a task for a file of examples; call `register()` on it to use it.

    Recognised by their columns: prompt and completion (or response), inputs and targets; instruction, input and output
    (Alpaca); messages (OpenAI) or conversations (ShareGPT). With the vocabulary of a model that has a chat template all
    of them become conversations in its form. JSONL, JSON arrays, CSV and TSV, plain or gzipped, and
    Parquet.

    Args:
      path: the file, or a pattern of files of one format.
      name: the task's name.
      fields: {"inputs": COLUMN, "targets": COLUMN} for any other columns.
      vocabulary: as in `InstructionTask`.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      cap: as in `InstructionTask`.
      on_bad_row: "error" or "skip"; None leaves it to who reads.

    Raises:
      UserError: there is no such file, it is empty, or its columns are not recognised.
    """
    whole = _source(os.fspath(path), 0, "skip")
    if validation_rows is None:
        validation_rows = _a_tenth(whole)
        if not validation_rows and next(whole.rows(whole.splits[0], "skip"), None) is not None:
            raise UserError(
                f"{path} has one row, which cannot be trained on and held out at once; --held_out 0 trains on it."
            )
    elif validation_rows and (rows := _at_most(whole, validation_rows + 1)) <= validation_rows:
        raise UserError(
            f"{path} has {rows} rows; --held_out {validation_rows} leaves none to train on. Hold out fewer."
        )
    source = _source(os.fspath(path), validation_rows, on_bad_row)
    columns, first = _columns(source)
    shared: Any = {"source": source, "vocabulary": vocabulary, "cap": cap}
    shared["add_eos_to_inputs"] = ends_inputs(vocabulary)
    if fields:
        return _pair(name, _checked(fields, columns, path), shared)
    for column in CONVERSATIONS:
        if isinstance(first.get(column), list):
            return ChatTask(name=name, messages=column, **shared)
    if {"instruction", "output"} <= set(columns):
        if chat_template(vocabulary) is not None:
            return ChatTask(name, preprocess=OneTurn(Alpaca(), ("instruction", "gap", "input"), "output"), **shared)
        template = Template("{instruction}{gap}{input}", "{output}")
        # Only the input may be cut; the instruction is never.
        return InstructionTask(
            name, templates=(template,), answer="output", preprocess=Alpaca(), trim_field="input", **shared
        )
    for pair in PAIRS:
        if set(pair) <= set(columns):
            return _pair(name, pair, shared)
    raise UserError(
        f"{path} has the columns {_listed(columns)}, which are of no format known here (prompt/completion, "
        "instruction/input/output, messages, conversations); name two of them: --fields inputs=COLUMN,targets=COLUMN"
        f"{_HEADLESS if isinstance(source.reader, readers.Csv) else ''}."
    )


def _a_tenth(source: FileSource) -> int:
    """A tenth of a source's rows, at least 1 of 2 and at most `_HELD_OUT`; no more of it is read than that takes."""
    rows = _at_most(source, 10 * _HELD_OUT)
    return min(max(rows // 10, 1), rows - 1) if rows else 0


def _at_most(source: FileSource, most: int) -> int:
    """How many rows that can be read a source has, counted up to `most`."""
    return sum(1 for _ in itertools.islice(source.rows(source.splits[0], "skip"), most))


def _pair(name: str, columns: tuple[str, str], shared: Mapping[str, Any]) -> InstructionTask | ChatTask:
    if chat_template(shared["vocabulary"]) is not None:
        return ChatTask(name, preprocess=OneTurn(Pair(*columns), ("inputs",), "targets"), **shared)
    # A prompt that comes as one text may have its instruction at either end.
    return InstructionTask(
        name,
        templates=(Template("{inputs}", "{targets}"),),
        answer="targets",
        preprocess=Pair(*columns),
        trim_from="middle",
        **shared,
    )


def _checked(fields: Mapping[str, str], columns: list[str], path: Any) -> tuple[str, str]:
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


def _source(path: str, validation_rows: int, on_bad_row: str | None) -> FileSource:
    how: Any = {"validation_rows": validation_rows, "on_bad_row": on_bad_row}
    found = filesystem.matching(path)
    if not found:
        raise UserError(f"There is no file {path!r}; give a JSONL, JSON, CSV, TSV or Parquet file of examples.")
    kind = found[0].lower().removesuffix(".gz").rpartition(".")[2]
    if kind in ("csv", "tsv"):
        return sources.csv(path, delimiter="\t" if kind == "tsv" else ",", **how)
    if kind == "parquet":
        return sources.parquet(path, validation_rows=validation_rows)
    start = _start_of(found[0])
    if start == b"[":
        return sources.json_array(path, **how)
    if start == b"{" or not start:
        return sources.jsonl(path, **how)
    if start in (b"\xff", b"\xfe"):
        raise UserError(f"{path} seems to be in UTF-16; save it as UTF-8.")
    raise UserError(
        f"{path} starts with {start!r}, so it is neither JSONL nor a JSON array; or name it .csv, .tsv or .parquet."
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
