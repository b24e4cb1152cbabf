"""Parts of stores at addresses, of which no more is fetched than is read.

A part stands in the cache as one file, with holes where nothing was fetched yet, and is mapped like any other part:

    part-00000.SHA256.cached    the part's bytes, each at its place         then one byte for the head, one for each
                                                                            block of BLOCK bytes: 1 where it is here

The head is all before the first ragged values: lengths of examples and checksums, fetched when the part is opened.
Blocks are fetched when rows are filled, or ahead of that, in the order of the plan. Data is written before its mark, so
a process that is killed leaves fewer marks and nothing wrong; what a machine that lost its power leaves is found by the
checksum of an example, and fetched once more. Processes of one host may share the cache: they write the same bytes.
"""

import concurrent.futures
import contextlib
import functools
import json
import os
import pathlib
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from flan_jax.data.rows import Places
from flan_jax.data.stores import mirror, parts
from flan_jax.data.stores.parts import REPAIR, Part
from flan_jax.errors import UserError

BLOCK = 1 << 20
AHEAD = 16  # steps whose blocks are fetched before they are read
_BLOCKS_AT_ONCE = 4  # of neighbours, in one request
_HEADER = 1 << 13  # more than a header has
_FIXED = 50  # an example has 48 bytes in the columns of one value an example, and 8 an option
MANIFEST = "manifest.json"


def part(path: str | os.PathLike) -> Part:
    """A part by its path on this machine, which may stand for an address.

    Raises:
      UserError: it is missing or damaged.
    """
    address = mirror.address_of(path)
    return Part(path) if address is None or os.path.exists(path) else RemotePart(pathlib.Path(path), address)


def verify(path: pathlib.Path) -> dict[str, Any]:
    """`parts.verify` of a local part. One at an address was put there at once, and is looked at by its head alone.

    Raises:
      UserError: it is missing or damaged.
    """
    address = mirror.address_of(path)
    if address is None:
        return parts.verify(path)
    facts = _facts_at(address)
    try:
        if path.exists() and parts.verify(path)["sha256"] != facts["sha256"]:
            path.unlink()
    except UserError:
        path.unlink()
    return facts


def gather(folder: pathlib.Path) -> None:
    """Fetches all of a store at an address, however much of it is kept; nothing for a local one."""
    if mirror.address_of(folder) is None:
        return
    for kept in [*folder.glob("part-*.bin"), *folder.glob("part-*.cached")]:
        kept.unlink()
    mirror.refresh([folder / MANIFEST])
    mirror.together(mirror.download, [folder / name for name in mirror.names(folder) if name.endswith(".bin")])


def fetch_first(paths: Sequence[pathlib.Path], examples: int) -> None:
    """Fetches the first examples of many parts at once, as far as they are at addresses; they are then read from here.

    What goes wrong is left to whoever reads them.
    """
    wanted = [path for path in paths if mirror.address_of(path) is not None and not path.exists()]

    def open_(path: pathlib.Path) -> RemotePart | None:
        with contextlib.suppress(UserError):
            found = part(path)
            return found if isinstance(found, RemotePart) else None
        return None

    opened = [found for found in mirror.together(open_, wanted) if found is not None]
    coming = [future for found in opened for future in found.fetch_first(examples)]
    concurrent.futures.wait(coming)


def _facts_at(address: str) -> dict[str, Any]:
    """What a part at an address says of itself.

    Raises:
      UserError: there is no whole part.
    """
    try:
        size = mirror.size(address)
        raw = np.frombuffer(mirror.fetch(address, 0, min(size, _HEADER)), np.uint8)
    except FileNotFoundError:
        raise _missing(address) from None
    facts = parts.facts(address, raw)
    if facts["bytes"] != size:
        raise UserError(f"{address} has {size} bytes, its header says {facts['bytes']}; {REPAIR}")
    return facts


def _facts(path: pathlib.Path, address: str) -> dict[str, Any]:
    """What the manifest that is kept says of a part, or the part itself where its store is not finished."""
    try:
        listed = json.loads((path.parent / MANIFEST).read_bytes())["parts"]
        return listed[int(path.stem.rpartition("-")[2])]
    except (OSError, ValueError, KeyError, IndexError):
        return _facts_at(address)


def _missing(address: str) -> UserError:
    return UserError(f"{address} is missing; run the same command again: what is missing is prepared")


class _Cached:
    """The file of a part, with holes.

    Args:
      path: its file.
      size: bytes of the part.
    """

    def __init__(self, path: pathlib.Path, size: int):
        self.path, self.size = path, size
        total = size + 1 + -(-size // BLOCK)
        with mirror.told():
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_size not in (0, total):
                    path.unlink()
            with self._open(os.O_CREAT) as descriptor:
                os.ftruncate(descriptor, total)

    @contextlib.contextmanager
    def _open(self, how: int = 0) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR | how, 0o666)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def has_head(self) -> bool:
        """Whether the head is here."""
        with self._open() as descriptor:
            return os.pread(descriptor, 1, self.size) == b"\1"

    def write(self, start: int, data: bytes, marks: Iterable[int]) -> None:
        """Puts bytes in their place and marks what they complete: 0 for the head, k + 1 for block k."""
        with mirror.told(), self._open() as descriptor:
            view = memoryview(data)
            while view:
                done = os.pwrite(descriptor, view, start)
                start, view = start + done, view[done:]
            for mark in marks:
                os.pwrite(descriptor, b"\1", self.size + mark)


class RemotePart(Part):
    """A part at an address; see the module's docstring.

    Args:
      path: its name in the folder that stands for its store.
      address: its address.

    Raises:
      UserError: it is missing or damaged, or cannot be had.
    """

    def __init__(self, path: pathlib.Path, address: str):
        facts = _facts(path, address)
        self.address, self._count, self._whole_path = address, int(facts["count"]), path
        self._file = _Cached(path.with_name(f"{path.stem}.{facts['sha256'][:16]}.cached"), int(facts["bytes"]))
        self._lock = threading.RLock()
        self._coming: dict[int, concurrent.futures.Future] = {}
        self._fetched_again: set[int] = set()
        fresh = not self._file.has_head()
        if fresh:
            self._fetch_head()
        try:
            super().__init__(self._file.path)
        except UserError:
            if fresh:
                raise
            self._fetch_head()
            super().__init__(self._file.path)
        if self.header["sha256"] != facts["sha256"]:
            mirror.forget(path.parent / MANIFEST)
            raise UserError(
                f"{address} is not the part that its store's manifest was written for; run the same command again: if "
                f"it was prepared anew meanwhile, that is all; else run `flan-jax prepare --repair`"
            )
        self.path = path
        self._marks = self._bytes[self._file.size + 1 :]
        self._bytes = self._bytes[: self._file.size]
        ends = [self._whole(name)[1] for name in self._of_rows()]
        self._row_blocks = slice(self._whole("inputs")[0] // BLOCK, -(-max(ends) // BLOCK))
        self._complete = False

    @property
    def complete(self) -> bool:
        """Whether all that rows are filled from is here."""
        if not self._complete:
            self._complete = bool(self._marks[self._row_blocks].all())
        return self._complete

    def missing(self, local: np.ndarray) -> list[int]:
        """The blocks with tokens and loss weights of some examples that are not here, in the order of the examples."""
        spans = [self._span(name, local) for name in self._of_rows()]
        return self._blocks(np.stack([span[0] for span in spans], 1), np.stack([span[1] for span in spans], 1))

    def fetch(self, blocks: Sequence[int]) -> list[concurrent.futures.Future]:
        """Has blocks fetched, unless they are here or on their way; `result()` of each says when, or why not."""
        with self._lock:
            wanted = [block for block in blocks if block not in self._coming and not self._marks[block]]
            for run in _runs(wanted):
                future = _pool(os.getpid()).submit(self._bring, run)
                self._coming |= dict.fromkeys(run, future)
                future.add_done_callback(functools.partial(self._landed, run))
            return list(dict.fromkeys(self._coming[block] for block in blocks if block in self._coming))

    def fetch_first(self, examples: int) -> list[concurrent.futures.Future]:
        """Has the first examples fetched, with their ids."""
        local = np.arange(min(examples, self.count))
        return self.fetch(list(dict.fromkeys([*self.missing(local), *self._blocks(*self._span("id", local))])))

    def mend(self, index: int) -> bool:
        """Fetches all that an example needs once more; False where that was done before."""
        local = np.array([index])
        first = self.columns["options.first"]
        spans = [self._span(name, local) for name in (*self._of_rows(), "id")]
        spans.append(self._span("options", np.arange(first[index], first[index + 1])))
        starts, ends = (np.concatenate(each) for each in zip(*spans, strict=True))
        found = self._blocks(starts, ends, here=True)
        if self._fetched_again.issuperset([-1, *found]):
            return False
        self._fetched_again.update([-1, *found])
        self._fetch_head()
        for block in found:
            self._bring([block])
        return True

    def ragged(self, name: str, index: int) -> np.ndarray:
        """See `Part.ragged`; fetches what is missing."""
        if name not in self._of_rows() or not self.complete:
            _wait(lambda: self.fetch(self._blocks(*self._span(name, np.array([index])))))
        return super().ragged(name, index)

    def _of_rows(self) -> tuple[str, ...]:
        """The ragged columns that rows are filled from."""
        weighted = "weights.values" in self.header["columns"]
        return ("inputs", "targets", "weights") if weighted else ("inputs", "targets")

    def _whole(self, name: str) -> tuple[int, int]:
        """Where the values of a ragged column start and end in the file."""
        dtype, start, length = self.header["columns"][f"{name}.values"]
        return self._body + start, self._body + start + length * np.dtype(dtype).itemsize

    def _span(self, name: str, local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the values of entries of a ragged column start and end in the file: int64 [N] each."""
        dtype, *_ = self.header["columns"][f"{name}.values"]
        offsets = self.columns["targets.offsets" if name == "weights" else f"{name}.offsets"]
        start, width = self._whole(name)[0], np.dtype(dtype).itemsize
        return start + offsets[local] * width, start + offsets[local + 1] * width

    def _blocks(self, starts: np.ndarray, ends: np.ndarray, here: bool = False) -> list[int]:
        """The blocks that hold spans of bytes, in their order, each once; but for `here`, those that are not here."""
        some = starts < ends
        first, last = starts[some] // BLOCK, (ends[some] - 1) // BLOCK
        if (last - first > 1).any():
            blocks = np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)])
        else:
            blocks = np.stack([first, last], 1).ravel()
        return list(dict.fromkeys((blocks if here else blocks[self._marks[blocks] == 0]).tolist()))

    def _bring(self, run: list[int]) -> None:
        start, stop = run[0] * BLOCK, min((run[-1] + 1) * BLOCK, self._file.size)
        self._file.write(start, self._get(start, stop), (block + 1 for block in run))

    def _landed(self, run: list[int], _: concurrent.futures.Future) -> None:
        with self._lock:
            for block in run:
                self._coming.pop(block, None)

    def _fetch_head(self) -> None:
        guess = min(self._file.size, _HEADER + _FIXED * self._count)
        data = self._get(0, guess)
        end = parts.head_end(self.address, np.frombuffer(data, np.uint8))
        if end > guess:
            data += self._get(guess, end)
        self._file.write(0, data, [0])

    def _get(self, start: int, stop: int) -> bytes:
        try:
            return mirror.fetch(self.address, start, stop)
        except FileNotFoundError:
            # Else the next run would take the store for whole by the manifest that is kept.
            mirror.forget(self._whole_path.parent / MANIFEST)
            raise _missing(self.address) from None


def _runs(blocks: list[int]) -> list[list[int]]:
    """Neighbours put together, as many as go in one request; in the order of the first of each.

    >>> _runs([7, 2, 3, 9, 8])
    [[7, 8, 9], [2, 3]]
    """
    runs: list[list[int]] = []
    for block in sorted(blocks):
        if runs and block == runs[-1][-1] + 1 and len(runs[-1]) < _BLOCKS_AT_ONCE:
            runs[-1].append(block)
        else:
            runs.append([block])
    place = {block: k for k, block in enumerate(blocks)}
    return sorted(runs, key=lambda run: min(place[block] for block in run))


@functools.cache
def _pool(process: int) -> concurrent.futures.ThreadPoolExecutor:
    """The threads that fetch, of one process; a fork has none of its parent's."""
    return concurrent.futures.ThreadPoolExecutor(mirror.STREAMS, thread_name_prefix="fetch")


def _wait(begin: Callable[[], Iterable[concurrent.futures.Future]]) -> None:
    """Waits for what a function begins to fetch; begins anew where another loader took back the same."""
    while True:
        try:
            for future in begin():
                future.result()
            return
        except concurrent.futures.CancelledError:
            continue


class Fetching:
    """What a reader of stores at addresses does beside reading."""

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()
        self._started: set[concurrent.futures.Future] = set()

    def open(self, function: Callable[[Any], Any], items: Iterable[Hashable]) -> None:
        """Calls a function that opens something, for what it was not called for yet, many at once."""
        new = [item for item in dict.fromkeys(items) if item not in self._seen]
        mirror.together(function, new)
        self._seen.update(new)

    def start(self, places: Places) -> list[concurrent.futures.Future]:
        """Has fetched what is missing of some examples, in their order; what is here costs no request."""
        open_ = [k for k, part in enumerate(places.owners) if isinstance(part, RemotePart) and not part.complete]
        if not open_:
            return []
        order = np.argsort(places.slot, kind="stable")
        ends = np.searchsorted(places.slot[order], np.arange(len(places.owners) + 1))
        # Parts in the order in which the examples first come to them.
        open_.sort(key=lambda k: order[ends[k]] if ends[k] < ends[k + 1] else -1)
        coming: list[concurrent.futures.Future] = []
        for k in open_:
            part = places.owners[k]
            assert isinstance(part, RemotePart)
            blocks = part.missing(places.local[order[ends[k] : ends[k + 1]]])
            coming += part.fetch(blocks)
        for future in coming:
            self._started.add(future)
            future.add_done_callback(self._started.discard)
        return coming

    def stop(self) -> None:
        """Takes back what was begun and is not on its way yet."""
        for future in list(self._started):
            future.cancel()

    def need(self, places: Places) -> None:
        """Waits until all of some examples is here.

        Raises:
          UserError: it cannot be had.
        """
        _wait(lambda: self.start(places))

    def mend(self, places: Places, number: int) -> bool:
        """Fetches an example that is damaged once more; False where that was done before, or it is no remote one."""
        part = places.owners[places.slot[number]]
        return isinstance(part, RemotePart) and part.mend(int(places.local[number]))
