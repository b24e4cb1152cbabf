"""Tasks from files as people have them: the format is told by what the rows hold.

`forms.FORMS` says which module knows a form; its `declared(source, name, columns, **shared)` makes the task.
"""

import dataclasses
import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.tasks import rates
from flan_jax.tasks.formats import instruction_folders, openings, recognition
from flan_jax.tasks.formats.task_file_folders import Registered
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

    Recognised by their columns: task files of Natural Instructions and Super-Natural Instructions, and folders of them;
    prompt and completion (or response), inputs and targets; instruction, input and output (Alpaca and what descends
    from it); Unnatural Instructions and Self-Instruct by their instances; question, answer and rationale, also in TSV
    files without a header; messages (OpenAI) or conversations (ShareGPT); OpenAssistant's trees, MOSS's turns, and
    dialogues whose turns name a speaker; text alone, of which the beginning is shown and the rest is asked for (see
    `plain_text`). JSONL, JSON arrays and objects of rows, CSV, TSV, and text by its paragraphs (.txt), plain or packed,
    and Parquet.

    Args:
      path: the file, or a pattern of files of one format; or a folder of task files.
      name: the task's name.
      fields: {"inputs": COLUMN, "targets": COLUMN} for any other columns.
      vocabulary: as in `InstructionTask`.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      cap: as in `InstructionTask`.
      on_bad_row: "error" or "skip"; None leaves it to who reads.

    Raises:
      UserError: there is no such file, it is empty, or its columns are not recognised.
    """
    if kind := instruction_folders.kind_of(path):
        module = importlib.import_module(f"flan_jax.tasks.formats.{kind}")
        how = {"validation_rows": validation_rows, "on_bad_row": on_bad_row}
        return module.folder(os.fspath(path), name, vocabulary=vocabulary, cap=cap, **how)
    source = openings.source_of(os.fspath(path), validation_rows, on_bad_row)
    form, columns = recognition.form_of(source, path, fields)
    module = importlib.import_module(f"flan_jax.tasks.formats.{form}")
    return module.declared(source, name, columns, vocabulary=vocabulary, cap=cap)


def register_files(paths: Sequence[str], name: str, **how: Any) -> None:
    """Registers files of examples under one name: one as a task, or several as a mixture of NAME_0, NAME_1, ...

    Of a folder of task files those that train are members. Where one has tasks that are kept from training, there is
    NAME_test too: those, and of the other files all.

    Args:
      paths: files, or folders of task files.
      name: the task's or the mixture's name.
      how: as for `task_from_file`.
    """
    names = [f"{name}_{number}" for number in range(len(paths))] if len(paths) > 1 else [name]
    train: list[str] = []
    test: list[str] = []
    is_scored = False
    for path, one in zip(paths, names, strict=True):
        task = task_from_file(path, one, **how)
        if len(paths) > 1 and hasattr(task, "may_be_empty"):
            task = dataclasses.replace(task, may_be_empty=True)
        found = task.register()
        is_folder = isinstance(found, Registered)
        train += found.train if is_folder else [one]
        test += (found.test or found.train) if is_folder else [one]
        is_scored |= is_folder and bool(found.test)
    if len(paths) > 1:
        rates.mixture(name, train)
        if is_scored:
            rates.mixture(f"{name}_test", test)
