"""Tasks from files as people have them: the format is told by what the rows hold.

`recognition.FORMS` says which module knows a form; its `declared(source, name, columns, **shared)` makes the task.
"""

import importlib
import os
from collections.abc import Mapping
from typing import Any

from flan_jax.tasks.formats import recognition
from flan_jax.tasks.vocabularies import VocabularyLike


def task_from_file(
    path: str | os.PathLike[str],
    name: str,
    *,
    fields: Mapping[str, str] | None = None,
    vocabulary: VocabularyLike | None = None,
    validation_rows: int | None = 0,
    cap: int | None = None,
    on_bad_row: str | None = None,
) -> Any:
    """Declares a task for a file of examples; call `register()` on it to use it.

    Recognised by their columns: prompt and completion (or response), inputs and targets; instruction, input and output
    (Alpaca); messages (OpenAI) or conversations (ShareGPT); text alone, of which the beginning is shown and the rest is
    asked for (see `plain_text`). JSONL, JSON arrays, CSV, TSV and text by its paragraphs (.txt), plain or gzipped, and
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
    source = recognition.source_of(os.fspath(path), validation_rows, on_bad_row)
    form, columns = recognition.form_of(source, path, fields)
    module = importlib.import_module(f"flan_jax.tasks.formats.{form}")
    return module.declared(source, name, columns, vocabulary=vocabulary, cap=cap)
