"""Token stores at addresses (gs://, s3://, whatever fsspec knows), and the folders on this machine that stand for them.

    gs://bucket/stores/task/train-1/draw-0      is kept in      CACHE/gs:/bucket/stores/task/train-1/draw-0

CACHE is $FLAN_JAX_CACHE, else ~/.cache/flan_jax; deleting it costs time and nothing else. Files are made there, as in a
local store, and then put at their address, parts first and the manifest last: a store is whole there if its manifest
is. Putting an object is atomic, and whoever writes a store writes the same bytes, so machines need no common lock.
Everything here does for a local path what is usual for a local path.
"""

import concurrent.futures
import contextlib
import errno
import json
import os
import pathlib
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from flan_jax.errors import UserError
from flan_jax.files import atomic, filesystem
from flan_jax.files.filesystem import is_remote

CACHE = "FLAN_JAX_CACHE"
STREAMS = 32  # requests at once
ATTEMPTS = 5
PAUSE = 0.25  # seconds before the second attempt; doubled each time
_SILENCE = 1.0  # seconds after one line about failed requests
_STAGED = ".staged"
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss"}  # those that know no folders
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_T = TypeVar("_T")
_R = TypeVar("_R")

_said = 0.0
_absent: set[str] = set()  # manifests that were not at their address when `refresh` looked


def cache() -> str:
    """The folder that holds what is kept of addresses."""
    kept = os.environ.get(CACHE)
    if kept:
        return os.path.abspath(kept)
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "flan_jax")


def place(folder: str | os.PathLike) -> pathlib.Path:
    """The folder on this machine: itself, or the one that stands for an address."""
    folder = os.fspath(folder)
    if not is_remote(folder):
        return pathlib.Path(folder)
    protocol, _, rest = folder.partition("://")
    return pathlib.Path(cache(), f"{protocol}:", *(_quoted(name) for name in rest.rstrip("/").split("/")))


def address_of(path: str | os.PathLike) -> str | None:
    """The address that a path of this machine stands for; None where it is but itself."""
    text = os.fspath(path)
    if ":/" not in text or not text.startswith(root := cache() + os.sep):
        return None
    protocol, found, rest = text[len(root) :].partition(":/")
    names = ("" if name == "%" else urllib.parse.unquote(name) for name in rest.split("/"))
    return f"{protocol}://{'/'.join(names)}" if found else None


def shown(path: str | os.PathLike) -> str:
    """What to call a path to a person: the address it stands for, or itself."""
    return address_of(path) or os.fspath(path)


def _quoted(name: str) -> str:
    """A name of an address as one that a folder takes."""
    if name in (".", ".."):
        return name.replace(".", "%2E")
    return name.replace("%", "%25") or "%"


def read(path: pathlib.Path) -> bytes:
    """A small file that never changes, fetched and kept where it is not here yet.

    Raises:
      FileNotFoundError: it is neither here nor at its address.
      UserError: the address cannot be reached.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        address = address_of(path)
        if address is None or address in _absent:
            raise
    content = fetch(address)
    with told():
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, [content])
    return content


def forget(path: pathlib.Path) -> None:
    """Deletes what is kept of an address, so that it is fetched when it is wanted again; nothing for a local path."""
    if address_of(path) is not None:
        path.unlink(missing_ok=True)


def refresh(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Looks anew at small files of addresses, such as manifests, many at once; paths of this machine are passed over.

    Returns:
      Those that are others now than they were, or gone, and are no longer kept.
    """
    found = {path: address for path in paths if (address := address_of(path)) is not None}

    def look(path: pathlib.Path) -> bool:
        _absent.discard(found[path])
        before = path.read_bytes() if path.exists() else None
        try:
            now = fetch(found[path])
        except FileNotFoundError:
            _absent.add(found[path])
            now = None
        if now == before:
            return False
        path.unlink(missing_ok=True)
        if now is not None:
            with told():
                path.parent.mkdir(parents=True, exist_ok=True)
                atomic.write_bytes(path, [now])
        return before is not None

    changed = together(look, list(found))
    return [path for path, other in zip(found, changed, strict=True) if other]


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a value as JSON; where the path stands for an address, there first."""
    address, text = address_of(path), json.dumps(value, indent=1).encode()
    if address is not None:
        _tried(address, "written", lambda: _put(address, lambda system, inner: system.pipe_file(inner, text)))
        _absent.discard(address)
    atomic.write_bytes(path, [text])


def staged(path: pathlib.Path) -> pathlib.Path:
    """Where to make a file that `publish` then puts under its name: what has its name here is at its address too."""
    return path if address_of(path) is None else path.with_name(path.name + _STAGED)


def publish(path: pathlib.Path) -> None:
    """Puts a file made as `staged` at its address and under its name; nothing for a path of this machine."""
    address = address_of(path)
    if address is not None:
        made = str(staged(path))
        _tried(address, "written", lambda: _put(address, lambda system, inner: system.put_file(made, inner)))
        os.replace(made, path)


def _put(address: str, put: Callable[[Any, str], None]) -> None:
    system, inner = _system(address)
    try:
        put(system, inner)
    except FileNotFoundError as error:
        kinds = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
        if kinds & _OBJECT_STORES:  # else a misspelt bucket would be made
            raise UserError(
                f"{address} could not be written ({error}); make its bucket, or set STORE_DIR elsewhere"
            ) from error
        system.makedirs(inner.rpartition("/")[0], exist_ok=True)
        put(system, inner)


def remove(path: pathlib.Path) -> None:
    """Deletes a file, at its address first; nothing where there is none."""
    address = address_of(path)
    if address is not None:

        def request() -> None:
            system, inner = _system(address)
            with contextlib.suppress(FileNotFoundError):
                system.rm_file(inner)

        _tried(address, "deleted", request)
    path.unlink(missing_ok=True)


def names(folder: pathlib.Path) -> list[str]:
    """The names of what is in a folder: at its address, if it stands for one."""
    address = address_of(folder)
    if address is None:
        return sorted(os.listdir(folder)) if folder.exists() else []

    def request() -> list[str]:
        system, inner = _system(address)
        system.invalidate_cache()
        try:
            return sorted(name.rstrip("/").rpartition("/")[2] for name in system.ls(inner, detail=False))
        except FileNotFoundError:
            return []

    return _tried(address, "listed", request)


def empty(folder: pathlib.Path, first: str) -> None:
    """Deletes the files at the address that a folder stands for, one of them before all others."""
    if address_of(folder) is not None:
        remove(folder / first)
        together(remove, [folder / name for name in names(folder) if name != first])


def size(address: str) -> int:
    """Bytes of what is at an address.

    Raises:
      FileNotFoundError: nothing is.
    """

    def request() -> int:
        system, inner = _system(address)
        system.invalidate_cache()
        return int(system.info(inner)["size"])

    return _tried(address, "read", request)


def fetch(address: str, start: int | None = None, stop: int | None = None) -> bytes:
    """Fetches an object, or bytes [start, stop) of it.

    Raises:
      FileNotFoundError: there is none.
      UserError: it cannot be had, also not after some attempts.
    """

    def request() -> bytes:
        system, inner = _system(address)
        found = system.cat_file(inner, start=start, end=stop)
        if stop is not None and len(found) != stop - (start or 0):
            raise OSError(f"{len(found)} bytes came where {stop - (start or 0)} were asked for")
        return found

    return _tried(address, "read", request)


def download(path: pathlib.Path) -> None:
    """Fetches all of a file that stands for an address."""
    address = address_of(path)
    assert address is not None
    made = str(staged(path))

    def request() -> None:
        system, inner = _system(address)
        system.get_file(inner, made)

    with told():
        path.parent.mkdir(parents=True, exist_ok=True)
    _tried(address, "read", request)
    os.replace(made, path)


def together(function: Callable[[_T], _R], items: list[_T]) -> list[_R]:
    """Maps a function that waits for requests over items, many at once."""
    if not items:
        return []
    with concurrent.futures.ThreadPoolExecutor(min(STREAMS, len(items)), thread_name_prefix="request") as pool:
        return list(pool.map(function, items))


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turns a failure to write into the cache into a sentence that names its setting."""
    try:
        yield
    except OSError as error:
        raise full(error) from error


def full(error: OSError) -> UserError:
    """What to say where the cache cannot be written."""
    return UserError(
        f"the cache of token stores in {cache()} cannot be written: {error.strerror or error}; free some space, or set "
        f"the environment variable {CACHE} to another folder"
    )


def _system(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the address within it; asked for anew in forks, as fsspec wants."""
    return filesystem.at(address, otherwise="set STORE_DIR to a local folder")


def _tried(address: str, done: str, request: Callable[[], _R]) -> _R:
    """Makes a request, again where it fails in a way that may pass."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return request()
        except (FileNotFoundError, UserError):
            raise
        except PermissionError as error:
            raise UserError(
                f"{address} may not be {done} ({error}); check this machine's credentials, or set STORE_DIR elsewhere"
            ) from error
        except Exception as error:  # each protocol has its own
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise full(error) from error
            said = f"{address} could not be {done} ({type(error).__name__}: {error})"
            if attempt == ATTEMPTS:
                raise UserError(
                    f"{said}, {ATTEMPTS} times in a row; check the network, then run the same command again: it "
                    f"goes on from what is done"
                ) from error
            _say(f"{said}; trying again")
            time.sleep(PAUSE * 2 ** (attempt - 1))
    raise AssertionError


def _say(sentence: str) -> None:
    """Tells of trouble, but not of the same cut connection for each of the requests that were on it."""
    global _said
    if time.monotonic() > _said + _SILENCE:
        _said = time.monotonic()
        print(sentence, file=sys.stderr)
