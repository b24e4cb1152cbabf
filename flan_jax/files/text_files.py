"""Text files as people have them: UTF-8, with a byte-order mark or without; anything else is told by its name."""

import codecs
from pathlib import Path

from flan_jax.errors import UserError

_WIDE = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def read_text(path: Path, what: str) -> str:
    """Reads a text file that the user named.

    Args:
      path: the file.
      what: what it should be, as in "a JSONL file".

    Raises:
      UserError: it is not there, a folder, no text, or text in another encoding than UTF-8.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; wanted {what}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; wanted {what}") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise UserError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return decoded(raw, str(path), what)


def decoded(raw: bytes, name: str, what: str) -> str:
    """The text of a file's bytes, without a byte-order mark.

    Args:
      raw: the bytes.
      name: the file's, for errors.
      what: what it should be.

    Raises:
      UserError: as for `read_text`.

    >>> decoded(b"\\xef\\xbb\\xbfSTEPS = 3", "a.gin", "a gin file")
    'STEPS = 3'
    """
    wide = next((kind for mark, kind in _WIDE.items() if raw.startswith(mark)), None)
    if wide is None and b"\0" in raw[:2] and raw[:4].count(0) == 2:  # ASCII in two bytes a letter, without a mark
        wide = "UTF-16"
    if wide:
        raise UserError(f"{name} is text in {wide}, wanted UTF-8; save it again in that encoding")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        seen = f"byte {error.object[error.start]:#04x} in line {line}"
        kind = "is no text" if b"\0" in raw else "is not UTF-8"
        raise UserError(f"{name} {kind} ({seen}); wanted {what}, saved as UTF-8") from None
    if "\0" in text:
        raise UserError(f"{name} is no text: line {text[: text.index(chr(0))].count(chr(10)) + 1} holds null bytes")
    return text
