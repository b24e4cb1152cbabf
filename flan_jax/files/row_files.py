"""Files of rows as people keep them: packed by gzip or zip, in UTF-8 or UTF-16, whatever their names say."""

import codecs
import gzip
import io
import zipfile
from typing import IO, Any

from flan_jax.errors import UserError, counted
from flan_jax.files.filesystem import open_raw

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
# UTF-32's mark begins with UTF-16's.
_WIDE = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_READ = 2**16
SUFFIXES = (".gz", ".zip")
"""What the names of packed files end in."""


def open_rows(path: str) -> IO[bytes]:
    """Opens a local or remote file of text for reading, unpacked, in UTF-8.

    What its first bytes are decides: gzip; a zip archive of one file; UTF-16 or UTF-32, which begin with a byte-order
    mark. Anything else is given as it is, a mark of UTF-8 too.

    Raises:
      UserError: the file cannot be opened, or is an archive of more than one file.
    """
    file = _peekable(open_raw(path))
    head = file.peek(4)[:4]
    if head.startswith(_GZIP):
        file = gzip.GzipFile(fileobj=file)
    elif head == _ZIP:
        file = _only_file(file, path)
    head = file.peek(4)[:4]
    wide = next((encoding for mark, encoding in _WIDE.items() if head.startswith(mark)), None)
    return file if wide is None else io.BufferedReader(_Recoded(file, wide), _READ)


def _peekable(file: Any) -> Any:
    return file if hasattr(file, "peek") else io.BufferedReader(file, _READ)


def _only_file(file: Any, path: str) -> Any:
    """The one file of an archive, what its packer left in it besides passed over."""
    archive = zipfile.ZipFile(file)
    names = [one for one in archive.namelist() if not one.endswith("/") and not one.startswith(("__MACOSX/", "."))]
    if len(names) != 1:
        raise UserError(f"{path} is an archive of {counted(len(names), 'file')}; unpack it, or pack one file alone.")
    return archive.open(names[0])


class _Recoded(io.RawIOBase):
    """The bytes of a text in UTF-8.

    Args:
      file: its bytes in another encoding.
      encoding: that one.
    """

    def __init__(self, file: Any, encoding: str):
        self._file, self._decoder = file, codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._held = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; see `io.RawIOBase`."""
        while not self._held:
            read = self._file.read(_READ)
            # A lone surrogate is told by who reads the row that holds it.
            self._held = self._decoder.decode(read, final=not read).encode("utf-8", "surrogatepass")
            if not read and not self._held:
                return 0
        given = self._held[: len(buffer)]
        self._held = self._held[len(given) :]
        buffer[: len(given)] = given
        return len(given)

    def close(self) -> None:
        """Closes the file that is read too."""
        self._file.close()
        super().close()
