"""What a teacher thinks of a store's examples, in files beside the store: its likeliest tokens of each trained token.

    TASK/draw-0/                   the examples
    TASK/teacher-KEY/draw-0/       manifest.json: of which store, how many tokens, how wide
                                   lot-00000.bin: of the store's first LOT examples; lot-00001.bin: of the next; …

    a lot    [n] end of each example's entries, their CRC-32, whether the teacher read it      16 bytes an example
             entries: K token ids, K log-probabilities in float16, likeliest first             one a trained token

An entry stands for each target token whose stored loss weight is above 0, in order. Where a teacher could say nothing,
as of a text's first token without a begin token, all its log-probabilities are -inf. A lot is written whole or not at
all, so an interrupted teacher goes on at the next one.
"""

import functools
import json
import pathlib
import shutil
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from flan_jax.data.stores.parts import mapped, token_dtype
from flan_jax.data.stores.store import Store
from flan_jax.errors import UserError
from flan_jax.files import atomic

LOT = 1024  # examples
FORMAT = 1
_MANIFEST = "manifest.json"
_INDEX = np.dtype([("end", "<i8"), ("crc", "<u4"), ("read", "<u4")])
_MEND = "type `flan-jax prepare --teacher RUN` with the run's settings again"


def entry_dtype(top_k: int, vocab_size: int) -> np.dtype:
    """What is kept of a token.

    >>> entry_dtype(16, 32_128).itemsize, entry_dtype(16, 152_000).itemsize
    (64, 96)
    """
    return np.dtype([("ids", np.dtype(token_dtype(vocab_size)), (top_k,)), ("logprobs", "<f2", (top_k,))])


class TeacherLots:
    """One teacher's lots of one store.

    Args:
      folder: theirs.
      store: the store that they are of.
      top_k: K.
      vocab_size: bounds the token ids.
    """

    def __init__(self, folder: pathlib.Path, store: Store, top_k: int, vocab_size: int):
        self.folder, self.count = folder, store.count
        self.top_k, self.vocab_size = top_k, vocab_size
        self.dtype = entry_dtype(top_k, vocab_size)
        self._about = {"format": FORMAT, "store": store.digest, "top_k": top_k, "entry": self.dtype.itemsize}
        self._opened: dict[int, tuple[np.ndarray, np.ndarray] | None] = {}

    @functools.cached_property
    def sound(self) -> bool:
        """Whether the folder is of this very store."""
        try:
            return json.loads((self.folder / _MANIFEST).read_bytes()) == self._about
        except (OSError, ValueError):
            return False

    def begin(self) -> None:
        """Makes the folder ready to be written to; lots of another store than this are removed."""
        if not self.sound:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic.write_json(self.folder / _MANIFEST, self._about)
            self._opened.clear()
            del self.sound
        atomic.remove_partial(self.folder)

    def read(self) -> np.ndarray:
        """Which examples of the store the teacher has read, bool [N]."""
        found = np.zeros(self.count, np.bool_)
        for number in range(-(-self.count // LOT)) if self.sound else ():
            if (opened := self._open(number)) is not None:
                found[number * LOT : number * LOT + len(opened[0])] = opened[0]["read"] > 0
        return found

    def entries(self, index: int) -> np.ndarray:
        """What the teacher thinks of an example: [trained tokens] of `entry_dtype`.

        Raises:
          UserError: it has not read the example, or the file is damaged.
        """
        number, at = divmod(index, LOT)
        opened = self._open(number) if self.sound else None
        if opened is None or not opened[0]["read"][at]:
            raise UserError(f"the teacher has not read example {index} of {self.folder.parent.parent}; {_MEND}")
        about, entries = opened
        found = entries[about["end"][at - 1] if at else 0 : about["end"][at]]
        if zlib.crc32(found.tobytes()) != about["crc"][at]:
            raise UserError(
                f"example {at} of {self._path(number)} does not match its checksum: the file is damaged; delete it, "
                f"and {_MEND}"
            )
        return found

    def write(self, number: int, found: Mapping[int, np.ndarray]) -> None:
        """Writes a lot.

        Args:
          number: which.
          found: entries of each example that was read, by its number in the store.
        """
        size = min(LOT, self.count - number * LOT)
        pieces = [found.get(number * LOT + at) for at in range(size)]
        about = np.zeros(size, _INDEX)
        about["end"] = np.cumsum([0 if piece is None else len(piece) for piece in pieces])
        about["crc"] = [0 if piece is None else zlib.crc32(piece.tobytes()) for piece in pieces]
        about["read"] = [piece is not None for piece in pieces]
        atomic.write_bytes(self._path(number), [about.tobytes(), *(p.tobytes() for p in pieces if p is not None)])
        self._opened.pop(number, None)

    def _path(self, number: int) -> pathlib.Path:
        return self.folder / f"lot-{number:05}.bin"

    def _open(self, number: int) -> tuple[np.ndarray, np.ndarray] | None:
        """A lot's index and entries, mapped; None where there is no whole one."""
        if number not in self._opened:
            self._opened[number] = self._mapped(number)
        return self._opened[number]

    def _mapped(self, number: int) -> tuple[np.ndarray, np.ndarray] | None:
        path = self._path(number)
        if not path.exists():
            return None
        raw, head = mapped(path), min(LOT, self.count - number * LOT) * _INDEX.itemsize
        about = raw[:head].view(_INDEX) if len(raw) >= head else np.zeros(0, _INDEX)
        wanted = head + (int(about["end"][-1]) * self.dtype.itemsize if len(about) else 0)
        if len(raw) != wanted:
            raise UserError(f"{path} has {len(raw):,} bytes, wanted {wanted:,}: it is damaged; delete it, and {_MEND}")
        return about, raw[head:].view(self.dtype)


def as_entries(ids: np.ndarray, logprobs: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Likeliest tokens and their log-probabilities as they are kept.

    Args:
      ids: int [N, K].
      logprobs: float [N, K], falling.
      dtype: from `entry_dtype`.
    """
    made: Any = np.zeros(len(ids), dtype)
    made["ids"] = ids
    made["logprobs"] = logprobs
    return made
