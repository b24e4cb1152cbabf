"""Tasks from files as people have them: the format is told by the names of the columns."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import nearest
from flan_jax.tasks import columns
from flan_jax.tasks.chats import ChatTask
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import Template, text_of
from flan_jax.tasks.vocabularies import VocabularyLike

END_MARK = "<|endoftext|>"
_NO_INPUT = {"", "noinput", "no input", "none", "n/a", "<noinput>"}
_NO_OUTPUT = {"<nooutput>"}


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
        given = "" if _is_nothing(row.get("input")) else _text(row, "input").strip()
        given = "" if given.lower() in _NO_INPUT else given
        output = _text(row, "output").strip().removesuffix(END_MARK).strip()
        return {
            "instruction": _text(row, "instruction").strip(),
            "gap": "\n\n" if given else "",
            "input": given,
            "output": "" if output.lower() in _NO_OUTPUT else output,
        }


def _is_nothing(value: Any) -> bool:
    """Whether a cell is empty: null, or NaN, as which pandas writes it."""
    return value is None or value != value


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
    vocabulary: VocabularyLike | None = None,
    validation_rows: int | None = 0,
    cap: int | None = None,
    on_bad_row: str | None = None,
) -> InstructionTask | ChatTask:
    """Declares a task for a file of examples; call `register()` on it to use it.

    Recognised by their columns: prompt and completion (or response), inputs and targets; instruction, input and output
    (Alpaca); messages (OpenAI) or conversations (ShareGPT). JSONL, JSON arrays, CSV and TSV, plain or gzipped, and
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
    source = columns.source_of(os.fspath(path), validation_rows, on_bad_row)
    form, named = columns.form_of(source, path, fields)
    shared: Any = {"source": source, "vocabulary": vocabulary, "cap": cap}
    if form == "chat":
        return ChatTask(name=name, messages=named[0], **shared)
    if form == "pair":
        template = Template("{inputs}", "{targets}")
        # A prompt that comes as one text may have its instruction at either end.
        how: Any = {"preprocess": Pair(*named), "trim_from": "middle", **shared}
        return InstructionTask(name, templates=(template,), answer="targets", **how)
    # Only the input may be cut; the instruction is never.
    template = Template("{instruction}{gap}{input}", "{output}")
    return InstructionTask(
        name, templates=(template,), answer="output", preprocess=Alpaca(), trim_field="input", **shared
    )
