"""The token store: one task's prepared examples on disk, in one draw.

A store is a folder of parts (`parts.py`) and a manifest:

    part-00000.bin     the examples of the split's first PART_ROWS rows
    part-00001.bin     those of the next ones, …
    part-00000.files.json   which files the user's code read for a part, and their states; where it read any
    manifest.json      counts, digests of the parts, what the tokens were made from; written last

What metrics compare with may stand beside them, see `flan_jax.data.preparing.references`.

Which rows a part covers depends on nothing but their number, so any number of processes or machines write the same
bytes. A folder without a manifest is unfinished work, and goes on from the parts that are whole.
"""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data.stores import mirror, parts, remote
from flan_jax.data.stores.parts import REPAIR, Part
from flan_jax.data.stores.remote import MANIFEST
from flan_jax.errors import UserError
from flan_jax.files import atomic
from flan_jax.files.filesystem import is_remote

FORMAT = 2
PART_ROWS = 16_384
_REMOVED = ".removed-"
_SAID = 3  # sentences about wrong masks that are kept
_OPEN_PARTS = 16_384  # maps held; the kernel allows a process about 65,000


@dataclasses.dataclass(frozen=True)
class Stored:
    """One example as it is stored; see `flan_jax.data.stores.parts` for the columns."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    id: str
    template: int


class Store:
    """Reads a store. Nothing is read at construction but the manifest.

    Args:
      folder: the store's.

    Raises:
      UserError: the manifest is missing or damaged, or a part has another size than it says.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = mirror.place(folder)
        self.manifest = read_manifest(self.folder)
        self.count: int = self.manifest["count"]
        #: Where each part ends: int64 [parts].
        self.ends = np.cumsum([part["count"] for part in self.manifest["parts"]], dtype=np.int64)

    @property
    def digest(self) -> str:
        """Of its manifest, and so of every byte of its parts."""
        return _digest(self.manifest)

    def part(self, number: int) -> Part:
        """One of the parts, mapped."""
        return open_part(str(part_path(self.folder, number)))

    def lengths(self, feature: str) -> np.ndarray:
        """Tokens of every example's `feature` ("inputs" or "targets"), int32 [N]."""
        every = [np.diff(self.part(k).columns[f"{feature}.offsets"]) for k in range(len(self.ends))]
        return np.concatenate([np.zeros(0), *every]).astype(np.int32)

    def trainable(self) -> np.ndarray:
        """Target tokens of every example that bear loss, int32 [N]."""
        every = [np.zeros(0)]
        for number in range(len(self.ends)):
            columns = self.part(number).columns
            ends = columns["targets.offsets"]
            if "weights.values" in columns:
                ends = np.concatenate([[0], np.cumsum(columns["weights.values"] > 0)])[ends]
            every.append(np.diff(ends))
        return np.concatenate(every).astype(np.int32)

    def mean_tokens(self) -> tuple[float, float]:
        """Tokens an example has on average, and how many of them bear loss."""
        tokens = self.manifest["tokens"]
        return (tokens["inputs"] + tokens["targets"]) / max(1, self.count), tokens["trainable"] / max(1, self.count)

    def tokens(self, feature: str, index: int) -> np.ndarray:
        """Token ids of one example's `feature`.

        Raises:
          UserError: the example is damaged.
        """
        return getattr(self[index], feature)

    def __getitem__(self, index: int) -> Stored:
        part, at = self._place(index)
        inputs, targets = part.ragged("inputs", at), part.ragged("targets", at)
        weights = part.ragged("weights", at) if "weights.values" in part.columns else None
        if parts.checksum(inputs, targets, weights) != part.columns["checksum"][at]:
            if part.mend(at):
                return self[index]
            raise damaged(part, at)
        return Stored(inputs, targets, weights, self.id(index), int(part.columns["template"][at]))

    def id(self, index: int) -> str:
        """The source's id of one example."""
        part, at = self._about(index)
        return part.ragged("id", at).tobytes().decode()

    def options(self, index: int) -> list[np.ndarray]:
        """Token ids of each answer option of one example; empty where the task has none."""
        part, at = self._about(index)
        return part.options(at)

    def answer(self, index: int) -> int:
        """Which option is right; -1 where the task has none."""
        part, at = self._about(index)
        return int(part.columns["answer"][at])

    def _place(self, index: int) -> tuple[Part, int]:
        number = int(np.searchsorted(self.ends, index, side="right"))
        return self.part(number), index - (int(self.ends[number - 1]) if number else 0)

    def _about(self, index: int) -> tuple[Part, int]:
        part, at = self._place(index)
        columns = part.columns
        of = part.ragged("id", at), part.options(at), int(columns["answer"][at]), int(columns["template"][at])
        if parts.about_checksum(*of) != columns["about_checksum"][at]:
            if part.mend(at):
                return self._about(index)
            raise damaged(part, at)
        return part, at


@functools.lru_cache(maxsize=_OPEN_PARTS)
def open_store(folder: str) -> Store:
    """A `Store`, opened once a process."""
    return Store(folder)


@functools.lru_cache(maxsize=_OPEN_PARTS)
def open_part(path: str) -> Part:
    """A `Part`, mapped once a process; unmapped when many others were used since."""
    return remote.part(path)


def part_path(folder: pathlib.Path, number: int) -> pathlib.Path:
    """The file of a store's part."""
    return folder / f"part-{number:05}.bin"


def files_path(folder: pathlib.Path, number: int) -> pathlib.Path:
    """The file that lists what files a part was made of, where there are any that no fingerprint covers."""
    return folder / f"part-{number:05}.files.json"


def damaged(part: Part, at: int) -> UserError:
    """The error of an example that does not match its checksum."""
    return UserError(
        f"example {at} of {mirror.shown(part.path)} does not match its checksum: the file is damaged; {REPAIR}"
    )


def write_manifest(folder: pathlib.Path, found: Iterable[Mapping[str, Any]], about: Mapping[str, Any]) -> dict:
    """Finishes a store.

    Args:
      folder: the store's, which holds the parts.
      found: what `PartWriter.write` or `parts.verify` said of each part, in order.
      about: JSON-able facts to keep (task, split, draw, …).

    Returns:
      The manifest.
    """
    found = list(found)
    manifest = {
        **about,
        "format": FORMAT,
        "count": sum(part["count"] for part in found),
        "tally": _summed([part["tally"] for part in found]),
        "tokens": _summed([part["tokens"] for part in found]),
        "parts": [{key: part[key] for key in ("count", "bytes", "sha256")} for part in found],
    }
    if wrong := [sentence for part in found for sentence in part.get("wrong", ())]:
        manifest["wrong"] = wrong[:_SAID]
    folder.mkdir(parents=True, exist_ok=True)
    mirror.write_json(folder / MANIFEST, {**manifest, "digest": _digest(manifest)})
    return manifest


def _summed(figures: Sequence[Mapping[str, int]]) -> dict[str, int]:
    # A part that an earlier version wrote may lack some.
    names = dict.fromkeys(name for one in figures for name in one)
    return {name: sum(one.get(name, 0) for one in figures) for name in names}


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Reads a store's manifest and checks it against the sizes of its parts.

    Raises:
      UserError: the manifest is missing or damaged, or a part is missing or has another size than it says.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(mirror.read(path))
        digest = manifest.pop("digest")
        written_by = manifest["format"]
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{mirror.shown(folder)} is no whole token store: it has no {MANIFEST}; {REPAIR}") from None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"{mirror.shown(path)} cannot be read ({type(error).__name__}: {error}); {REPAIR}") from None
    if written_by != FORMAT:
        raise UserError(
            f"{mirror.shown(path)} has format {written_by}, this version reads {FORMAT}; delete {mirror.shown(folder)}"
        )
    if digest != _digest(manifest):
        raise UserError(
            f"{mirror.shown(path)} does not match its digest: it was changed after it was written; {REPAIR}"
        )
    for number, facts in enumerate(manifest["parts"]):
        file = part_path(folder, number)
        try:
            size = os.stat(file).st_size
        except FileNotFoundError:
            if mirror.address_of(file) is not None:
                continue  # it is fetched when it is read
            raise UserError(f"{mirror.shown(file)} is missing; {REPAIR}") from None
        if size != facts["bytes"]:
            raise UserError(f"{mirror.shown(file)} has {size} bytes, its manifest says {facts['bytes']}; {REPAIR}")
    return manifest


def whole(folder: str | os.PathLike) -> bool:
    """Whether a store with all its parts stands under this name."""
    try:
        read_manifest(mirror.place(folder))
    except UserError:
        return False
    return True


def all_whole(folders: Sequence[str]) -> list[bool]:
    """`whole` of many, those at addresses looked at at once."""
    if any(map(is_remote, folders)):
        return mirror.together(whole, list(folders))
    return [whole(folder) for folder in folders]


def repair(folder: pathlib.Path) -> list[str]:
    """Reads a store to its last byte and removes what is damaged, so that preparing makes it anew.

    Returns:
      What was found, a sentence each; empty for a sound store.
    """
    remote.gather(folder)
    said, wanted = [], {}
    try:
        listed = read_manifest(folder)["parts"]
        wanted = {part_path(folder, number): facts["sha256"] for number, facts in enumerate(listed)}
    except UserError as fault:
        said.append(str(fault))
    said += [f"{mirror.shown(file)} is missing; {REPAIR}" for file in wanted if not file.exists()]
    for file in sorted(folder.glob("part-*.bin")):
        try:
            found = parts.verify(file)["sha256"]
            if found != wanted.get(file, found):
                raise UserError(
                    f"{mirror.shown(file)} is sound, but another than its manifest was written for; {REPAIR}"
                )
        except UserError as fault:
            if not any(mirror.shown(file) in other for other in said):
                said.append(str(fault).replace(str(file), mirror.shown(file)))
            mirror.remove(folder / MANIFEST)  # first: a store is never taken for whole without its parts
            mirror.remove(file)
    if said:
        mirror.remove(folder / MANIFEST)
        forget()
    return said


def forget() -> None:
    """Unmaps what this process keeps open: other files are about to stand under the same names."""
    open_store.cache_clear()
    open_part.cache_clear()


def refresh(folders: Iterable[pathlib.Path]) -> None:
    """Looks anew at which stores at addresses are whole, and forgets what is kept of those that are others now."""
    for manifest in mirror.refresh([folder / MANIFEST for folder in folders]):
        forget()
        for kept in [*manifest.parent.glob("part-*.bin"), *manifest.parent.glob("part-*.cached")]:
            kept.unlink()


class Lock:
    """Holds a store's name against other processes; it goes with the process that holds it.

    Args:
      folder: the store's.
    """

    def __init__(self, folder: pathlib.Path):
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._path = folder.with_name(f"{folder.name}.lock")
        self._file: Any = None

    def take(self, wait: bool = True, shared: bool = False) -> bool:
        """Takes the lock, or a share of it; without `wait`, says False where another process holds it."""
        file = self._path.open("w")
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Gives it back."""
        if self._file is not None:
            # Forks of this process hold the file open too: closing it here would not free the lock.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()
            self._file = None

    def __enter__(self) -> "Lock":
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@contextlib.contextmanager
def told(place: str | os.PathLike) -> Iterator[None]:
    """Turns a failure of the file system (a full disk, a read-only folder) into a sentence that names the setting."""
    try:
        yield
    except OSError as error:
        if is_remote(os.fspath(place)):
            raise mirror.full(error) from error
        raise UserError(
            f"the token stores in {os.fspath(place)} cannot be written: {error.strerror or error}; free some space, or "
            f"set STORE_DIR elsewhere"
        ) from error


def remove(folder: pathlib.Path) -> None:
    """Deletes a store at once: parts of it that stayed would be taken for the next one's. Wants its lock.

    Raises:
      OSError: it cannot be done; the store stands there as before.
    """
    forget()
    mirror.empty(folder, first=MANIFEST)
    _remove_left(folder)
    with contextlib.suppress(FileNotFoundError):
        os.replace(folder, folder.with_name(f"{folder.name}{_REMOVED}{os.getpid()}"))
    _remove_left(folder)


def reopen(folder: pathlib.Path) -> None:
    """Makes a store that is not whole ready to be gone on with. Wants its lock."""
    if (folder / MANIFEST).exists():
        mirror.remove(folder / MANIFEST)
    atomic.remove_partial(folder)
    _remove_left(folder)


def _remove_left(folder: pathlib.Path) -> None:
    for left in folder.parent.glob(f"{folder.name}{_REMOVED}*"):
        shutil.rmtree(left, ignore_errors=True)
