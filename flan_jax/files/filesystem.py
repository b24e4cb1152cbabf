"""Files to read, local or at any address that fsspec knows (gs://, s3://, memory://, a protocol of the user's)."""

import glob
import gzip
import hashlib
import os
from typing import IO, Any

from flan_jax.errors import UserError

SAMPLE_BLOCK = 4096
SAMPLE_BLOCKS = 16  # 64 KiB of a file; 1,836 files of 300 kB take 0.2 s

# What addresses call a change of their file, the best first.
_CHANGES = ("etag", "ETag", "md5Hash", "generation", "mtime", "LastModified", "last_modified", "updated", "created")
_SAMPLES: dict[tuple[str | int, ...], str] = {}


def is_remote(path: str) -> bool:
    """Whether the path is an address such as gs://bucket/file."""
    return "://" in path


def absolute(path: str) -> str:
    """The path from the root; an address is what it is.

    >>> absolute("gs://bucket/file"), absolute("/a/../b")
    ('gs://bucket/file', '/b')
    """
    return path if is_remote(path) else os.path.abspath(path)


def times(about: os.stat_result) -> list[int]:
    """Size and times of a file, in bytes and nanoseconds; the last one tells of changes that hide in the others."""
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def watched(path: str) -> list[Any] | None:
    """What tells whether a file has changed since it was last asked for, or None where there is none."""
    try:
        return list(state(path)) if is_remote(path) else times(os.stat(path))
    except (OSError, UserError):
        return None


def open_bytes(path: str) -> IO[bytes]:
    """Opens a local or remote file for reading, unpacking `.gz`.

    Raises:
      UserError: the file cannot be opened.
    """
    file = open_raw(path)
    return gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file  # type: ignore[return-value]


def open_raw(path: str) -> IO[bytes]:
    """Opens a local or remote file for reading as it is.

    Raises:
      UserError: the file cannot be opened.
    """
    try:
        if is_remote(path):
            system, inner = at(path)
            return system.open(inner, "rb")
        return open(path, "rb")
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from None


def matching(pattern: str) -> list[str]:
    """The files that a path or pattern names, sorted; a directory matches nothing.

    Raises:
      UserError: an address of a kind that is not known here.
    """
    if is_remote(pattern):
        system, inner = at(pattern)
        if system.isfile(inner):
            return [pattern]
        found = (system.unstrip_protocol(path) for path, about in _globbed(system, inner) if about["type"] == "file")
        return sorted(found)
    pattern = os.path.expanduser(pattern)
    if os.path.isfile(pattern):  # its name may hold brackets
        return [pattern]
    return sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))


def local_copy(path: str) -> str:
    """A path on this machine with the file's content: its own, or a copy that lasts as long as the process.

    Raises:
      UserError: the file cannot be fetched.
    """
    if not is_remote(path):
        return path
    import fsspec

    at(path)
    try:
        return fsspec.open_local(f"simplecache::{path}")  # type: ignore[return-value]
    except OSError as error:
        raise UserError(f"Cannot fetch {path}: {error.strerror or error}.") from None


def size(path: str) -> int:
    """A file's size in bytes.

    Raises:
      UserError: there is no such file.
    """
    return int(_info(path)["size"] or 0) if is_remote(path) else _stat(path).st_size


def state(path: str) -> tuple[int, str, str]:
    """What tells that a file changed: its size, its time of change and a digest of a sample of its content.

    The sample of a local file is its first and last block and some between that only its size chooses, all of it where
    it is small; so a change in place that keeps size and time is mostly seen, and reading a folder's state stays cheap.
    An address's entity tag or time stands for both where its store tells one.

    Raises:
      UserError: there is no such file.
    """
    if is_remote(path):
        about = _info(path)
        changed = next((f"{key}={about[key]}" for key in _CHANGES if about.get(key)), "")
        return int(about.get("size") or 0), changed, "" if changed else digest(path, int(about.get("size") or 0))
    stat = _stat(path)
    # The time of the inode's own change moves at every write, also where the time of change is set back.
    key = (os.path.abspath(path), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if key not in _SAMPLES:
        _SAMPLES[key] = digest(path, stat.st_size)
    return stat.st_size, str(stat.st_mtime_ns), _SAMPLES[key]


def digest(path: str, length: int, whole: int = SAMPLE_BLOCK * SAMPLE_BLOCKS) -> str:
    """A digest of a file's content, see `state`.

    Args:
      path: the file.
      length: its bytes.
      whole: of a file with more bytes a sample is read.

    Raises:
      UserError: the file cannot be opened.
    """
    digest = hashlib.blake2b(digest_size=16)
    with open_raw(path) as file:
        if length <= whole:
            digest.update(file.read())
            return digest.hexdigest()
        blocks = length // SAMPLE_BLOCK
        chosen = {int.from_bytes(_keyed(length, k)) % blocks for k in range(SAMPLE_BLOCKS - 2)}
        for start in [0, *sorted(block * SAMPLE_BLOCK for block in chosen), length - SAMPLE_BLOCK]:
            file.seek(start)
            digest.update(file.read(SAMPLE_BLOCK))
    return digest.hexdigest()


def _keyed(length: int, number: int) -> bytes:
    return hashlib.blake2b(f"{length}:{number}".encode(), digest_size=8).digest()


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from None


def _info(path: str) -> dict[str, Any]:
    system, inner = at(path)
    try:
        return system.info(inner)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from None


def _globbed(system: Any, pattern: str) -> list[tuple[str, dict[str, Any]]]:
    try:
        return list(system.glob(pattern, detail=True).items())
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise UserError(
            f"The pattern {pattern!r} cannot be used: {error}; write for example folder/**/*.jsonl."
        ) from None


def at(path: str, otherwise: str = "copy the files here") -> tuple[Any, str]:
    """The fsspec file system of an address and the address within it.

    Args:
      path: the address.
      otherwise: what to do where nothing that reads such addresses can be installed.

    Raises:
      UserError: fsspec does not know such addresses.
    """
    import fsspec  # reads its settings when it is imported

    try:
        return fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"{path}: {error}; install what fsspec reads such addresses with (gcsfs for gs://, s3fs for s3://), or "
            f"{otherwise}."
        ) from None
