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
from itertools import pairwise
from typing import Any

import ml_dtypes
import numpy as np

from flan_jax.files import atomic
from flan_jax.files.typed_json import Kind, shown, typed

DTYPES: dict[str, Any] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_SIZES = {"F64": 8, "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_SIZES |= {"F8_E4M3": 1, "F8_E5M2": 1} | {code: dtype.itemsize for code, dtype in DTYPES.items()}
_LONGEST_HEADER = 100_000_000


def _lengths(value: Any) -> bool:
    """Whether a value of a header is a list of whole numbers that are not negative."""
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 2**63 for one in value)


_DTYPE = Kind(f"one of {', '.join(_SIZES)}", lambda value: isinstance(value, str) and value in _SIZES)
_SIZES_OF_AXES = Kind("a list of whole numbers of 0 or more", _lengths)
_PLACE = Kind(
    "where its bytes begin and end", lambda value: _lengths(value) and len(value) == 2 and value[0] <= value[1]
)
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
            header = json.loads(file.read(length).decode(), object_pairs_hook=_object)
            if not isinstance(header, dict):
                raise ValueError(f"it is of type {type(header).__name__}, wanted an object")
            header.pop("__metadata__", None)
            found = {name: _entry(path, 8 + length, name, about) for name, about in header.items()}
        except (ValueError, RecursionError) as error:
            raise Damaged(f"its header cannot be read ({error})") from None
    _check_seamless(found, 8 + length, whole)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, which has each of its keys once."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in made if names.count(name) > 1)
        raise ValueError(f"{twice!r} is in it twice")
    return made


def _entry(path: pathlib.Path, data: int, name: str, about: Any) -> Entry:
    if not isinstance(about, dict):
        raise ValueError(f"{name} is {shown(about)}, wanted an object")
    about, faults = typed(about, {"dtype": _DTYPE, "shape": _SIZES_OF_AXES, "data_offsets": _PLACE}, f"{name}.")
    faults += [f"{name} has no {key}" for key in ("dtype", "shape", "data_offsets") if not faults and key not in about]
    if faults:
        raise ValueError("; ".join(faults))
    start, end = about["data_offsets"]
    entry = Entry(path, about["dtype"], tuple(about["shape"]), data + start)
    if entry.size != end - start:
        raise ValueError(f"{name}: {entry.code} {list(entry.shape)} does not take {end - start} bytes")
    return entry


def _check_seamless(found: Mapping[str, Entry], data: int, whole: int) -> None:
    """Refuses tensors that overlap, leave bytes between them, or end elsewhere than the file does."""
    places = sorted((entry.start, entry.start + entry.size, name) for name, entry in found.items())
    ends = [(data, data, "its header"), *places]
    for (_, end, before), (start, _, name) in pairwise(ends):
        if start != end:
            how = "overlaps with" if start < end else f"begins {start - end} bytes behind the end of"
            raise Damaged(f"{name} {how} {before}")
    if whole != ends[-1][1]:
        raise Damaged(f"it has {whole} bytes, its header tells of {ends[-1][1]}")


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
