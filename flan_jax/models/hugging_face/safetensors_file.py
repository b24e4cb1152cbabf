"""The safetensors format: a header of names, types and places, then the bytes; read and written tensor by tensor.

The `safetensors` library writes a file out of all its tensors at once, and what it reads stays mapped; here one tensor
is in memory at a time, and the pages of one that was read are given back.
"""

import dataclasses
import json
import math
import mmap
import pathlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np

from flan_jax import atomic

DTYPES: dict[str, Any] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_SIZES = {"F64": 8, "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_SIZES |= {"F8_E4M3": 1, "F8_E5M2": 1} | {code: dtype.itemsize for code, dtype in DTYPES.items()}
_LONGEST_HEADER = 100_000_000
_PAGE = mmap.PAGESIZE


class Damaged(Exception):
    """A file that is no whole safetensors file; the message says what was seen."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A tensor in a file: its type as the header has it, its shape, and where its bytes begin."""

    file: pathlib.Path
    code: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """Its bytes."""
        return math.prod(self.shape) * _SIZES[self.code]


def read_header(path: pathlib.Path) -> dict[str, Entry]:
    """What a file holds.

    Raises:
      Damaged: it is cut short, or its header makes no sense.
      OSError: it cannot be read.
    """
    whole = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
        if len(first) < 8 or not 2 <= length <= _LONGEST_HEADER or 8 + length > whole:
            raise Damaged(f"it has {whole} bytes and no whole header")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            found = {name: _entry(path, 8 + length, about) for name, about in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(f"its header cannot be read ({error})") from None
    end = max((entry.start + entry.size for entry in found.values()), default=8 + length)
    if whole != end:
        raise Damaged(f"it has {whole} bytes, its header tells of {end}")
    return found


def _entry(path: pathlib.Path, data: int, about: Mapping[str, Any]) -> Entry:
    start, end = about["data_offsets"]
    entry = Entry(path, about["dtype"], tuple(about["shape"]), data + start)
    if entry.size != end - start:
        raise ValueError(f"{entry.code} {list(entry.shape)} does not take {end - start} bytes")
    return entry


@contextmanager
def opened(entry: Entry) -> Iterator[np.ndarray]:
    """A tensor as an array over the file's pages, which are given back at the end; slice and copy it before."""
    first = entry.start // _PAGE * _PAGE
    with entry.file.open("rb") as file:
        pages = mmap.mmap(file.fileno(), entry.start + entry.size - first, access=mmap.ACCESS_READ, offset=first)
    # No `close`: an array that was kept would point nowhere. The map goes with the last array over it.
    yield np.frombuffer(pages, DTYPES[entry.code], math.prod(entry.shape), entry.start - first).reshape(entry.shape)


def write(path: pathlib.Path, tensors: Mapping[str, tuple[str, Sequence[int]]], values: Iterable[np.ndarray]) -> None:
    """Writes a file, whole or not at all.

    Args:
      path: the file.
      tensors: type (a key of `DTYPES`) and shape of each tensor, in the order in which they are written.
      values: the tensors; asked for one by one, so that they need not be in memory together.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, (code, shape) in tensors.items():
        end = start + math.prod(shape) * _SIZES[code]
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    def chunks() -> Iterator[Any]:
        yield struct.pack("<Q", len(text)) + text
        for (name, (code, shape)), value in zip(tensors.items(), values, strict=True):
            array = np.ascontiguousarray(value, DTYPES[code])
            if array.shape != tuple(shape):
                raise ValueError(f"{name} has shape {array.shape}, was to have {tuple(shape)}")
            yield array.reshape(-1).view(np.uint8)

    atomic.write_bytes(path, chunks())
