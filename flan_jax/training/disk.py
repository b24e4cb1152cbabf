"""A full disk, told in a sentence."""

import contextlib
import errno
import os
from collections.abc import Iterator

from flan_jax.errors import UserError

_CODES = (errno.ENOSPC, errno.EDQUOT)
_PHRASES = ("ENOSPC", "EDQUOT", "No space left on device", "Disk quota exceeded")


@contextlib.contextmanager
def full_disk_named(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Turns a write that failed for want of space into a `UserError` that names the folder.

    The code of the operating system is looked for along the chain of causes, and in their text, as the storage library
    under Orbax carries it only there.

    Args:
      folder: where the writing goes.

    Raises:
      UserError: the disk is full, or the user's quota of it. Any other error passes through.

    >>> with full_disk_named("runs/a"):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    flan_jax.errors.UserError: The disk that holds runs/a is full: free some space on it, or choose another run folder.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, UserError) and _full(error):
            raise UserError(
                f"The disk that holds {os.fspath(folder)} is full: free some space on it, or choose another run folder."
            ) from error
        raise


def _full(error: BaseException | None) -> bool:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _CODES:
            return True
        if any(phrase in str(error) for phrase in _PHRASES):
            return True
        error = error.__cause__ or error.__context__
    return False
