"""Task files: a JSON object that says what a task is, its instances in an array under one of its keys.

    {"Definition": ["Say the plural."], "Categories": ["Misc."], "Instances": [{"input": "plum", "output": ["plums"]}]}

A row is an instance with the file's head, all but the instances; the head is one object that all rows share. It may
stand on either side of them: it is read in one pass and they are in another, so neither pass holds more than an item.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from flan_jax.errors import UserError, nearest
from flan_jax.files.row_files import open_rows
from flan_jax.tasks.sources import json_stream
from flan_jax.tasks.sources.file_source import FileSource, keys
from flan_jax.tasks.sources.readers import Text, Units, json_row
from flan_jax.tasks.tally import BadRow

INSTANCES = "Instances"
TASK = "Task"


@dataclasses.dataclass(frozen=True)
class TaskFile(Text):
    """One object a file; a unit is (head, instance).

    Attributes:
      at: the key of the instances.
    """

    at: str = INSTANCES

    def _all(self, path: str) -> Units:
        head = checked_head(path, self.at)
        with open_rows(path) as file:
            for number, instance in enumerate(json_stream.items(file, path, self.at)):
                yield number, (head, instance)

    def parse(self, unit: tuple["dict[str, Any] | BadRow", Any]) -> "dict[str, Any] | BadRow":
        """The head's fields and the instance's."""
        head, instance = unit
        row = json_row(instance)
        if isinstance(head, BadRow) or isinstance(row, BadRow):
            return head if isinstance(head, BadRow) else row
        return {**head, **row}

    def place(self, path: str, number: int) -> str:
        """The file and the instance's number, counted from 1."""
        return f"{path}, instance {number + 1}"


def checked_head(path: str, at: str = INSTANCES) -> "dict[str, Any] | BadRow":
    """All that a task file says beside its instances, and under "Task" the file's stem; or what is wrong with it.

    Raises:
      UserError: it is no JSON object, or has no array of instances.
    """
    found = {**head_of(path, at), TASK: stem(path)}
    row = json_row(found)
    return BadRow(f"the file's head has {row}") if isinstance(row, BadRow) else row


def head_of(path: str, at: str = INSTANCES, only: Collection[str] = ()) -> dict[str, Any]:
    """What a task file says beside its instances.

    Args:
      path: the file.
      at: the key of its instances.
      only: the keys that are wanted; the file is read no further than they stand. Empty for all.

    Raises:
      UserError: it is no JSON object, or has no array of instances.
    """
    with open_rows(path) as file:
        found = json_stream.head(file, path, at, only)
    was_read_whole = not (only and set(only) <= found.keys())
    if at in found or (was_read_whole and not is_task_file(path, at)):
        known = [key for key in found if key != at]
        seen = f"{at!r} is no array" if at in found else f"it has no key {at!r}{nearest(at, known)}"
        raise UserError(f"{path} is no task file: {seen} (it has {', '.join(known) or 'none'}).")
    return found


def is_task_file(path: str, at: str = INSTANCES) -> bool:
    """Whether a file begins with an object that has an array of instances."""
    with open_rows(path) as file:
        return json_stream.has_array(file, at)


def stem(path: str) -> str:
    """What a task file is called: its name without `.json` (or `.json.gz`), whatever dots and dashes it has.

    >>> stem("tasks/task075_squad1.1_answer_generation.json")
    'task075_squad1.1_answer_generation'
    """
    return keys([path])[0]


def task_file(
    path: str,
    *,
    splits: Mapping[str, str] | None = None,
    drawn: Mapping[str, int] | None = None,
    validation_rows: int = 0,
    on_bad_row: str | None = None,
) -> FileSource:
    """The instances of a task file, each with the file's head.

    Args:
      path: the file, or a pattern of such files.
      splits: slices of the instances by split, as in `jsonl`.
      drawn: the most instances of a split, drawn once and for all.
      validation_rows: the first so many instances become the validation split, the others train; short for `splits`.
      on_bad_row: "error" or "skip" for instances that are no object; None leaves it to who reads.
    """
    if validation_rows:
        splits = {"train": f"[{validation_rows}:]", "validation": f"[:{validation_rows}]"}
    slices = dict(splits or {"train": "[:]"})
    patterns = tuple((split, path) for split in slices)
    return FileSource(patterns, TaskFile(), tuple(slices.items()), on_bad_row, tuple((drawn or {}).items()))
