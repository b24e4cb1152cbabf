"""Files that are whole or not there: written beside their name, made durable, then renamed.

A process that is killed at any of the three leaves the old file, or none, and perhaps a file `NAME.partial-PID`.
"""

import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from flan_jax.errors import UserError

PARTIAL = ".partial-"


def write_bytes(path: pathlib.Path, chunks: Iterable[Any]) -> None:
    """Writes a file from pieces (bytes, or contiguous arrays).

    Raises:
      OSError: the disk is full, the folder cannot be written, …; nothing stands under the name then.
    """
    partial = path.with_name(f"{path.name}{PARTIAL}{os.getpid()}")
    try:
        with partial.open("wb", buffering=1 << 20) as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file in UTF-8."""
    write_bytes(path, [text.encode()])


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a value as JSON, what is not finite as null: there is no such number in JSON."""
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(value), indent=1, allow_nan=False)
    write_text(path, text)


def read_json(path: pathlib.Path, mend: str) -> Any:
    """Reads a JSON file.

    Args:
      path: the file.
      mend: how to call what the user can do where it is damaged.

    Raises:
      FileNotFoundError: there is none.
      UserError: it is damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path} is damaged ({error}); {mend}") from None


def finite(value: Any) -> Any:
    """The value with null for each number that JSON has not."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_sealed(path: pathlib.Path, value: Any) -> None:
    """Writes a value in two lines of JSON: a digest, and what it is of."""
    text = json.dumps(value)
    write_text(path, f"{json.dumps(_digest(text))}\n{text}")


def read_sealed(path: pathlib.Path) -> Any:
    """Reads what `write_sealed` wrote; None where there is none, or it is damaged."""
    try:
        digest, _, text = path.read_text(encoding="utf-8").partition("\n")
        return json.loads(text) if json.loads(digest) == _digest(text) else None
    except (OSError, ValueError, RecursionError):
        return None


def sync_folder(folder: pathlib.Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial(folder: pathlib.Path, name: str = "*") -> None:
    """Removes what killed writers of a file left, or of any; only for one who knows that nobody is writing it."""
    for left in folder.glob(f"{name}{PARTIAL}*"):
        left.unlink(missing_ok=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
