"""The token store: one task's prepared examples on disk, as memory-mapped columns.

A store is a folder with a `manifest.json` and one plain binary file a column:

    inputs.values    token ids of every example's inputs, end to end      inputs.offsets   [N + 1] where each starts
    targets.values   the same for targets (they end in EOS)               targets.offsets  [N + 1]
    weights.values   loss weight of each target token; absent where all are 1
    options.values   token ids of every answer option                     options.offsets  one an option, + 1
    options.first    [N + 1] each example's first option                  answer           [N] index of the right one
    id.values        UTF-8 ids of the examples                            id.offsets       [N + 1]
    template         [N] which wording was drawn (-1: none)               checksum         [N] CRC-32 of the tokens

It is written beside its final name and renamed when whole, so a folder under the final name is a whole store.
"""

import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from flan_jax.errors import UserError

FORMAT = 1
_DTYPES = {
    "inputs.offsets": "int64",
    "targets.offsets": "int64",
    "weights.values": "float32",
    "options.offsets": "int64",
    "options.first": "int64",
    "answer": "int32",
    "id.values": "uint8",
    "id.offsets": "int64",
    "template": "int32",
    "checksum": "uint32",
}


def token_dtype(vocab_size: int) -> str:
    """The narrowest type that holds every token id of a vocabulary.

    >>> token_dtype(32_128), token_dtype(256_000)
    ('uint16', 'uint32')
    """
    return "uint16" if vocab_size <= 2**16 else "uint32"


class _Column:
    """Appends arrays to one file and hashes what it writes."""

    def __init__(self, path: pathlib.Path, dtype: str):
        self.path, self.dtype = path, np.dtype(dtype)
        self._file = path.open("wb", buffering=1 << 20)
        self._hash = hashlib.sha256()
        self.length = 0

    def append(self, values) -> None:
        data = np.ascontiguousarray(values, dtype=self.dtype)
        raw = data.tobytes()
        self._file.write(raw)
        self._hash.update(raw)
        self.length += data.size

    def close(self) -> dict[str, Any]:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return {
            "dtype": self.dtype.name,
            "length": self.length,
            "bytes": self.length * self.dtype.itemsize,
            "sha256": self._hash.hexdigest(),
        }


class StoreWriter:
    """Streams examples into a store; memory use does not grow with their number.

    Args:
      folder: the store's final name. Nothing is there until `finish`.
      vocab_size: bounds the token ids.
    """

    def __init__(self, folder: str | os.PathLike, vocab_size: int):
        self.folder = pathlib.Path(folder)
        self._partial = self.folder.with_name(f"{self.folder.name}.partial-{os.getpid()}")
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        tokens = token_dtype(vocab_size)
        dtypes = {f"{name}.values": tokens for name in ("inputs", "targets", "options")} | _DTYPES
        self._columns = {name: _Column(self._partial / f"{name}.bin", dtype) for name, dtype in dtypes.items()}
        for name in ("inputs", "targets", "options", "id"):
            self._columns[f"{name}.offsets"].append([0])
        self._columns["options.first"].append([0])
        self._weighted = False
        self.count = 0

    def add(self, example) -> None:
        """Appends one `flan_jax.tasks.examples.Example` (or anything with its fields)."""
        columns = self._columns
        inputs, targets = np.asarray(example.inputs), np.asarray(example.targets)
        self._ragged("inputs", inputs)
        self._ragged("targets", targets)
        weights = np.ones(len(targets), np.float32) if example.weights is None else example.weights
        if len(weights) != len(targets):
            raise ValueError(f"example {example.id!r}: {len(weights)} loss weights for {len(targets)} target tokens")
        self._weighted = self._weighted or example.weights is not None
        columns["weights.values"].append(weights)
        for option in example.options or ():
            self._ragged("options", option)
        columns["options.first"].append([columns["options.offsets"].length - 1])
        columns["answer"].append([-1 if example.answer is None else example.answer])
        self._ragged("id", np.frombuffer(str(example.id).encode(), np.uint8))
        columns["template"].append([example.template])
        columns["checksum"].append([_checksum(inputs, targets)])
        self.count += 1

    def _ragged(self, name: str, values: np.ndarray) -> None:
        column = self._columns[f"{name}.values"]
        column.append(values)
        self._columns[f"{name}.offsets"].append([column.length])

    def finish(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the manifest, makes everything durable, and gives the store its name.

        Args:
          about: JSON-able facts to keep in the manifest (task, split, draw, tally, …).

        Returns:
          The manifest.
        """
        columns = {name: column.close() for name, column in self._columns.items()}
        if not self._weighted:
            (self._partial / "weights.values.bin").unlink()
            del columns["weights.values"]
        manifest = {**about, "format": FORMAT, "count": self.count, "columns": columns}
        write_json(self._partial / "manifest.json", manifest)
        _sync_folder(self._partial)
        remove(self.folder)
        os.replace(self._partial, self.folder)
        _sync_folder(self.folder.parent)
        return manifest

    def abandon(self) -> None:
        """Closes and removes what was written so far."""
        for column in self._columns.values():
            column._file.close()
        shutil.rmtree(self._partial, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Stored:
    """One example as it is stored; see the module's docstring for the columns."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    id: str
    template: int


class Store:
    """Reads a store. Columns are mapped on first use; nothing is read at construction but the manifest."""

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)
        self.manifest = read_manifest(self.folder)
        self.count: int = self.manifest["count"]
        self._maps: dict[str, np.ndarray] = {}

    def column(self, name: str) -> np.ndarray:
        """A whole column, mapped read-only."""
        if name not in self._maps:
            facts = self.manifest["columns"][name]
            path = self.folder / f"{name}.bin"
            if not facts["length"]:
                self._maps[name] = np.zeros(0, facts["dtype"])
            else:
                self._maps[name] = np.asarray(np.memmap(path, facts["dtype"], "r", shape=(facts["length"],)))
        return self._maps[name]

    def lengths(self, feature: str) -> np.ndarray:
        """Tokens of every example's `feature` ("inputs" or "targets"), int32 [N]."""
        return np.diff(self.column(f"{feature}.offsets")).astype(np.int32)

    def trainable(self) -> np.ndarray:
        """Target tokens with a loss weight above 0 of every example, int32 [N]."""
        if "weights.values" not in self.manifest["columns"]:
            return self.lengths("targets")
        counted = np.concatenate([[0], np.cumsum(self.column("weights.values") > 0)])
        return np.diff(counted[self.column("targets.offsets")]).astype(np.int32)

    def tokens(self, feature: str, index: int) -> np.ndarray:
        """Token ids of one example's `feature`."""
        return self._slice(feature, index)

    def __getitem__(self, index: int) -> Stored:
        inputs, targets = self._slice("inputs", index), self._slice("targets", index)
        if _checksum(inputs, targets) != self.column("checksum")[index]:
            raise UserError(
                f"example {index} of {self.folder} does not match its checksum: the store is damaged; delete that "
                f"folder and run again, and it is prepared anew"
            )
        weights = self._slice("weights", index) if "weights.values" in self.manifest["columns"] else None
        return Stored(inputs, targets, weights, self.id(index), int(self.column("template")[index]))

    def id(self, index: int) -> str:
        """The source's id of one example."""
        return self._slice("id", index).tobytes().decode()

    def options(self, index: int) -> list[np.ndarray]:
        """Token ids of each answer option of one example; empty where the task has none."""
        first = self.column("options.first")
        return [self._slice("options", i) for i in range(first[index], first[index + 1])]

    def answer(self, index: int) -> int:
        """Which option is right; -1 where the task has none."""
        return int(self.column("answer")[index])

    def _slice(self, name: str, index: int) -> np.ndarray:
        offsets = self.column("targets.offsets" if name == "weights" else f"{name}.offsets")
        return self.column(f"{name}.values")[offsets[index] : offsets[index + 1]]


@functools.lru_cache(maxsize=4096)
def open_store(folder: str) -> Store:
    """A `Store`, opened once a process."""
    return Store(folder)


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Reads and checks a store's manifest against the files beside it.

    Raises:
      UserError: the manifest is missing or unreadable, or a file has another size than it says.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{folder} is no token store: it has no manifest.json; run `flan-jax prepare`") from None
    except ValueError as error:
        raise UserError(f"{path} is not readable ({error}); delete {folder} and run again") from None
    if manifest.get("format") != FORMAT:
        raise UserError(f"{path} has format {manifest.get('format')}, this version reads {FORMAT}; delete {folder}")
    for name, facts in manifest["columns"].items():
        file = folder / f"{name}.bin"
        size = file.stat().st_size if file.exists() else -1
        if size != facts["bytes"]:
            seen = "is missing" if size < 0 else f"has {size} bytes"
            raise UserError(f"{file} {seen}, its manifest says {facts['bytes']}; delete {folder} and run again")
    return manifest


def whole(folder: pathlib.Path) -> bool:
    """Whether a readable store stands under this name."""
    try:
        read_manifest(folder)
    except UserError:
        return False
    return True


@contextmanager
def exclusive(folder: pathlib.Path) -> Iterator[None]:
    """Holds a store's name against other processes; the lock goes with the process that holds it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def told(place: str | os.PathLike) -> Iterator[None]:
    """Turns a failure of the file system (a full disk, a read-only folder) into a sentence that names the setting."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the token stores in {os.fspath(place)} cannot be written: {error.strerror or error}; free some space, or "
            f"set STORE_DIR elsewhere"
        ) from error


def remove(folder: pathlib.Path) -> None:
    """Deletes a store; it loses its name first, so that what is half gone is never taken for whole."""
    if not folder.exists():
        return
    doomed = folder.with_name(f"{folder.name}.partial-{os.getpid()}-gone")
    os.replace(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never a part."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    with partial.open("w") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _checksum(inputs: np.ndarray, targets: np.ndarray) -> int:
    # Over 32-bit ids, so that the figure does not depend on the width they are stored in.
    return zlib.crc32(targets.astype("<u4").tobytes(), zlib.crc32(inputs.astype("<u4").tobytes()))


def _sync_folder(folder: pathlib.Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
