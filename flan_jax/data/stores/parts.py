"""A part of a token store: one file that tells what it holds, mapped into memory when it is read.

preamble   "flanpart", length and CRC-32 of the header           16 bytes
header     JSON: {"count", "tally", "tokens", "columns": {name: [dtype, start, length]}, "sha256" of the columns}
columns    each from a multiple of 64 bytes on; those of one value an example first, ragged values last:

  inputs.offsets   [N + 1] where each example's token ids start      inputs.values    ids of all, end to end
  targets.offsets  [N + 1]                                           targets.values   they end in end-of-sequence
  weights.values   the loss weight of each target token; absent where all are 1
  options.first    [N + 1] each example's first answer option        options.offsets, options.values
  answer           [N] index of the right option, -1 without         id.offsets, id.values    UTF-8
  template         [N] which one was drawn, -1 without           checksum  [N] CRC-32 of ids and weights
                                                                     about_checksum  [N] of options, id, …
"""

import ctypes
import functools
import hashlib
import json
import os
import pathlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.files import atomic

_MAGIC = b"flanpart"
_PREAMBLE = struct.Struct("<8sII")
_ALIGNED = 64
#: What to do about a damaged store; errors end in it.
REPAIR = "run `flan-jax prepare --repair` with the same settings"


def token_dtype(vocab_size: int) -> str:
    """The narrowest type that holds every token id of a vocabulary.

    >>> token_dtype(32_128), token_dtype(256_000)
    ('uint16', 'uint32')
    """
    return "uint16" if vocab_size <= 2**16 else "uint32"


class PartWriter:
    """Gathers the examples of a part and writes them at once; a part is small enough to be held.

    Args:
      vocab_size: bounds the token ids.
    """

    def __init__(self, vocab_size: int):
        self._tokens = token_dtype(vocab_size)
        self._ragged: dict[str, list[np.ndarray]] = {name: [] for name in ("inputs", "targets", "weights", "id")}
        self._options: list[list[np.ndarray]] = []
        self._answer: list[int] = []
        self._template: list[int] = []
        self._weighted = False
        self.count = 0

    def add(self, example: Any) -> None:
        """Adds one `flan_jax.tasks.examples.Example` (or anything with its fields)."""
        targets = np.asarray(example.targets, self._tokens)
        weights = np.ones(len(targets), "<f4") if example.weights is None else np.asarray(example.weights, "<f4")
        if len(weights) != len(targets):
            raise ValueError(f"example {example.id!r}: {len(weights)} loss weights for {len(targets)} target tokens")
        self._weighted = self._weighted or example.weights is not None
        self._ragged["inputs"].append(np.asarray(example.inputs, self._tokens))
        self._ragged["targets"].append(targets)
        self._ragged["weights"].append(weights)
        self._ragged["id"].append(np.frombuffer(str(example.id).encode(), np.uint8))
        self._options.append([np.asarray(option, self._tokens) for option in example.options or ()])
        self._answer.append(-1 if example.answer is None else example.answer)
        self._template.append(example.template)
        self.count += 1

    def write(self, path: pathlib.Path, tally: Mapping[str, int], wrong: Sequence[str] = ()) -> dict[str, Any]:
        """Writes the part.

        Args:
          path: its file.
          tally: what reading its rows counted.
          wrong: sentences about examples whose loss mask is wrong.

        Returns:
          What a manifest keeps of it: "count", "bytes", "sha256", "tally", "tokens" and, where there is any, "wrong".
        """
        columns = self._columns()
        layout, start = {}, 0
        for name, values in columns.items():
            layout[name] = [values.dtype.name, start, len(values)]
            start += -(-values.nbytes // _ALIGNED) * _ALIGNED
        body = [piece for values in columns.values() for piece in (values.data, bytes(-values.nbytes % _ALIGNED))]
        digest = hashlib.sha256()
        for piece in body:
            digest.update(piece)
        trainable = columns["weights.values"] > 0 if self._weighted else columns["targets.values"]
        tokens = {name: len(columns[f"{name}.values"]) for name in ("inputs", "targets")}
        tokens["trainable"] = int(trainable.sum()) if self._weighted else len(trainable)
        facts: dict[str, Any] = {"count": self.count, "tally": dict(tally), "tokens": tokens}
        facts["sha256"] = digest.hexdigest()
        if wrong:
            facts["wrong"] = list(wrong)
        facts["offsets_crc"] = _offsets_crc(columns)
        header = json.dumps({**facts, "columns": layout}).encode()
        header += b" " * (-(_PREAMBLE.size + len(header)) % _ALIGNED)
        preamble = _PREAMBLE.pack(_MAGIC, len(header), zlib.crc32(header))
        atomic.write_bytes(path, [preamble, header, *body])
        return {**_kept(facts), "bytes": len(preamble) + len(header) + start}

    def _columns(self) -> dict[str, np.ndarray]:
        options = [option for each in self._options for option in each]
        fixed = {f"{name}.offsets": _offsets(self._ragged[name]) for name in ("inputs", "targets", "id")}
        fixed["options.offsets"] = _offsets(options)
        fixed["options.first"] = _offsets(self._options)
        fixed["answer"] = np.array(self._answer, "<i4")
        fixed["template"] = np.array(self._template, "<i4")
        fixed["checksum"] = np.array([self._checksum(i) for i in range(self.count)], "<u4")
        fixed["about_checksum"] = np.array([self._about_checksum(i) for i in range(self.count)], "<u4")
        ragged = {f"{name}.values": _joined(self._ragged[name], self._tokens) for name in ("inputs", "targets")}
        if self._weighted:
            ragged["weights.values"] = _joined(self._ragged["weights"], "<f4")
        ragged["options.values"] = _joined(options, self._tokens)
        ragged["id.values"] = _joined(self._ragged["id"], "u1")
        return fixed | ragged

    def _checksum(self, i: int) -> int:
        ragged = self._ragged
        return checksum(ragged["inputs"][i], ragged["targets"][i], ragged["weights"][i] if self._weighted else None)

    def _about_checksum(self, i: int) -> int:
        return about_checksum(self._ragged["id"][i], self._options[i], self._answer[i], self._template[i])


class Part:
    """A part's columns, mapped read-only at the first use; the file must not change then.

    Args:
      path: its file.

    Raises:
      UserError: the file is no whole part.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self._bytes = mapped(self.path)
        self.header = _header(self.path, self._bytes)
        self.count: int = self.header["count"]
        self._body = _body_start(self._bytes)
        for name, (dtype, start, length) in self.header["columns"].items():
            end = self._body + start + length * np.dtype(dtype).itemsize
            if end > len(self._bytes):
                raise UserError(f"{self.path} ends within its column {name}: it was cut; {REPAIR}")
        # A wrong length would change how rows are packed before any example's own checksum is looked at.
        if _offsets_crc(self.columns) != self.header["offsets_crc"]:
            raise UserError(f"{self.path} has damaged offsets: it was changed after it was written; {REPAIR}")

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self._bytes)

    def column(self, name: str) -> np.ndarray | None:
        """A column, None where the part has none of that name."""
        if name not in self.header["columns"]:
            return None
        dtype, start, length = self.header["columns"][name]
        start += self._body
        return self._bytes[start : start + length * np.dtype(dtype).itemsize].view(dtype)

    @functools.cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """All columns by name."""
        return {name: self.column(name) for name in self.header["columns"]}  # type: ignore[misc]

    @functools.cached_property
    def addresses(self) -> np.ndarray:
        """Where the columns that a row is filled from lie in memory, for `flan_jax.data.kernels`: int64 [9].

        inputs.offsets, inputs.values, targets.offsets, targets.values, weights.values (0: none), checksum, bytes a
        token, token ids in inputs.values and in targets.values.
        """
        columns = self.columns
        names = ("inputs.offsets", "inputs.values", "targets.offsets", "targets.values", "weights.values", "checksum")
        found = [columns[name].ctypes.data if name in columns else 0 for name in names]
        sizes = [len(columns["inputs.values"]), len(columns["targets.values"])]
        return np.array([*found, columns["targets.values"].itemsize, *sizes], np.int64)

    def ragged(self, name: str, index: int) -> np.ndarray:
        """One example's values of a ragged column ("inputs", "targets", "weights", "id"), or one option's."""
        offsets = self.columns["targets.offsets" if name == "weights" else f"{name}.offsets"]
        return self.columns[f"{name}.values"][offsets[index] : offsets[index + 1]]

    def options(self, index: int) -> list[np.ndarray]:
        """Token ids of each answer option of one example."""
        first = self.columns["options.first"]
        return [self.ragged("options", i) for i in range(first[index], first[index + 1])]

    def mend(self, index: int) -> bool:
        """Whether an example that does not match its checksum may now; see `flan_jax.data.stores.remote`."""
        return False


def verify(path: pathlib.Path) -> dict[str, Any]:
    """Reads a whole part and compares it with the digest it carries.

    Returns:
      What a manifest keeps of it; see `PartWriter.write`.

    Raises:
      UserError: it is missing or damaged.
    """
    part = Part(path)
    if hashlib.sha256(part._bytes[part._body :].data).hexdigest() != part.header["sha256"]:
        raise UserError(f"{path} does not match its digest: it was damaged after it was written; {REPAIR}")
    return {**_kept(part.header), "bytes": part.size}


def facts(name: str, raw: np.ndarray) -> dict[str, Any]:
    """What a part says of itself, "bytes" too, from its first bytes.

    Raises:
      UserError: they are no part's.
    """
    header = _header(name, raw)
    ends = [start + length * np.dtype(dtype).itemsize for dtype, start, length in header["columns"].values()]
    return {**_kept(header), "bytes": _body_start(raw) + -(-max(ends) // _ALIGNED) * _ALIGNED}


def head_end(name: str, raw: np.ndarray) -> int:
    """Where the columns of one value an example end in a part's file, by its first bytes.

    Raises:
      UserError: they are no part's.
    """
    columns = _header(name, raw)["columns"]
    return _body_start(raw) + min(start for column, (_, start, _) in columns.items() if column.endswith(".values"))


def checksum(inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> int:
    """CRC-32 of an example's token ids as 32-bit integers and of its loss weights, where the part keeps them."""
    # Over 32-bit ids, so that the figure does not depend on the width they are stored in.
    found = zlib.crc32(targets.astype("<u4").tobytes(), zlib.crc32(inputs.astype("<u4").tobytes()))
    return found if weights is None else zlib.crc32(weights.astype("<f4").tobytes(), found)


def about_checksum(example_id: np.ndarray, options: list[np.ndarray], answer: int, template: int) -> int:
    """CRC-32 of what else is kept of an example."""
    found = zlib.crc32(struct.pack("<ii", answer, template), zlib.crc32(example_id.tobytes()))
    for option in options:
        found = zlib.crc32(option.astype("<u4").tobytes(), found)
    return found


def _kept(header: Mapping[str, Any]) -> dict[str, Any]:
    return {name: header[name] for name in ("count", "tally", "tokens", "sha256", "wrong") if name in header}


def _offsets_crc(columns: Mapping[str, np.ndarray]) -> int:
    return zlib.crc32(columns["targets.offsets"].data, zlib.crc32(columns["inputs.offsets"].data))


def _offsets(values: list[Any]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum([len(one) for one in values])]).astype("<i8")


def _joined(values: list[np.ndarray], dtype: str) -> np.ndarray:
    return np.concatenate(values).astype(dtype, copy=False) if values else np.zeros(0, dtype)


def _body_start(raw: np.ndarray) -> int:
    return _PREAMBLE.size + _PREAMBLE.unpack(raw[: _PREAMBLE.size].tobytes())[1]


def _header(path: str | os.PathLike, raw: np.ndarray) -> dict[str, Any]:
    if len(raw) >= _PREAMBLE.size:
        magic, length, crc = _PREAMBLE.unpack(raw[: _PREAMBLE.size].tobytes())
        text = raw[_PREAMBLE.size : _PREAMBLE.size + length].tobytes()
        if magic == _MAGIC and len(text) == length and zlib.crc32(text) == crc:
            return json.loads(text)
    raise UserError(f"{path} is no whole part of a token store: its header is cut or damaged; {REPAIR}")


class _Mapped:
    """A file in memory, read-only. Python's own mmap keeps a descriptor a file, and thousands of tasks outrun them."""

    def __init__(self, path: pathlib.Path):
        self._size, self._address = 0, None
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise UserError(f"{path} is missing; {REPAIR}") from None
        try:
            self._size = os.fstat(descriptor).st_size
            if self._size:
                self._address = _libc().mmap(None, self._size, 1, 1, descriptor, 0)  # PROT_READ, MAP_SHARED
        finally:
            os.close(descriptor)
        if self._address == ctypes.c_void_p(-1).value:
            self._address, code = None, ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))

    @property
    def __array_interface__(self) -> dict[str, Any]:
        if not self._address:
            return np.zeros(0, np.uint8).__array_interface__
        return {"data": (self._address, True), "shape": (self._size,), "typestr": "|u1", "version": 3}

    def __del__(self) -> None:
        if self._address:
            _libc().munmap(self._address, self._size)


def mapped(path: pathlib.Path) -> np.ndarray:
    """A file's bytes in memory, read-only, uint8 [bytes]; no descriptor stays open."""
    return np.asarray(_Mapped(path))


@functools.cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc
