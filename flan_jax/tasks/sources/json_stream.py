"""The items of a JSON array, one after another, and what stands beside it, without holding the file."""

import codecs
import json
import re
from collections.abc import Collection, Iterator
from typing import IO, Any

from flan_jax.errors import UserError

LARGEST_ITEM = 64 * 2**20  # characters; what is broken is looked at so far for its end
_CHUNK = 2**18
_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\n\r]*")


def items(file: IO[bytes], path: str, at: str = "") -> Iterator[Any]:
    """Yields the items of an array, or the values of an object.

    An array is read as it comes, and so is an object of rows, at the top or under `at`. An object at the top that holds
    plain values is read whole; where others follow it, each is an item, as in JSON lines that are called .json (C4's
    files are). What comes before `at` is parsed and let go.

    Args:
      file: holds one JSON value in UTF-8, or objects one after another.
      path: its name, for messages.
      at: the key of the array (or object), where the file is an object.

    Raises:
      UserError: the file is no JSON, has no such key, or holds something else there.
    """
    text = _Text(file)
    try:
        if not at and text.peek() in ("[", "{"):
            yield from _all(text)
        elif not at:
            _refuse(text.value(), path)
        elif text.peek() == "{" and text.find(at):
            if text.peek() in ("[", "{"):
                yield from text.values()
            else:
                _refuse(text.value(), path)
        else:
            raise UserError(f"{path} has no key {at!r} (json_array's at=).")
    except ValueError as error:
        raise UserError(f"{path} is not a JSON file: {error}; use jsonl(...) for one object a line.") from None
    except RecursionError:
        raise UserError(f"{path} holds JSON that is nested too deep to be read; take that out of it.") from None


def head(file: IO[bytes], path: str, apart_from: str, only: Collection[str] = ()) -> dict[str, Any]:
    """What an object holds beside the array under one key, whose items are passed over one after another.

    Args:
      file: holds one JSON object in UTF-8.
      path: its name, for messages.
      apart_from: the key of the array.
      only: the keys that are wanted, and no more of the file is read than they take; empty for all.

    Raises:
      UserError: the file is no JSON object.

    >>> import io
    >>> head(io.BytesIO(b'{"a": 1, "rows": [2, 3], "b": 4}'), "f.json", "rows")
    {'a': 1, 'b': 4}
    """
    text, found = _Text(file), {}
    try:
        for key in text.named():
            if key == apart_from and text.peek() == "[":
                for _ in text.values():
                    pass
            else:
                found[key] = text.value()
            if only and set(only) <= found.keys():
                break
    except ValueError as error:
        raise UserError(f"{path} is not a JSON file that holds one object: {error}.") from None
    except RecursionError:
        raise UserError(f"{path} holds JSON that is nested too deep to be read; take that out of it.") from None
    return found


def has_array(file: IO[bytes], key: str) -> bool:
    """Whether a file begins with a JSON object that has an array under a key; read up to that key alone."""
    text = _Text(file)
    try:
        return text.peek() == "{" and text.find(key) and text.peek() == "["
    except (ValueError, RecursionError):
        return False


def _all(text: "_Text") -> Iterator[Any]:
    """The values at the top: of an array, of an object of rows, of an object; or objects that follow one another."""
    if text.peek() == "[":
        yield from text.values()
        _check_end(text)
        return
    held: dict[str, Any] = {}
    names = text.named()
    for name in names:
        value = text.value()
        if not held and isinstance(value, dict | list):
            yield value
            yield from (text.value() for _ in names)
            _check_end(text)
            return
        held[name] = value
    if not text.peek():
        yield from held.values()
        return
    yield held
    while text.peek():
        one = text.value()
        if not isinstance(one, dict):
            raise ValueError(f"a {type(one).__name__} follows an object")
        yield one


def _check_end(text: "_Text") -> None:
    if text.peek():
        raise ValueError("more follows the value that it begins with")


def _refuse(content: Any, path: str) -> None:
    raise UserError(f"{path} holds a {type(content).__name__}, not a JSON array; name its key with json_array(at=...).")


class _Text:
    """JSON text of which only what is being looked at is held."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._held, self._at, self._passed, self._ended = "", 0, 0, False

    def peek(self) -> str:
        """The next character that is not blank, or nothing at the end."""
        while True:
            self._at = _BLANK.match(self._held, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._held) or self._ended:
                return self._held[self._at : self._at + 1]
            self._more(_CHUNK)

    def value(self, most: float | None = None) -> Any:
        """The next value, if it has at most so many characters; None for `LARGEST_ITEM`.

        Raises:
          ValueError: there is none.
        """
        self.peek()
        wanted = _CHUNK
        while True:
            try:
                value, end = _DECODER.raw_decode(self._held, self._at)
                if end + len("e+") < len(self._held) or self._ended:  # else a number may go on
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                if self._ended or len(self._held) - self._at > (most or LARGEST_ITEM):
                    raise ValueError(f"{error.msg} at character {self._passed + error.pos}") from None
            self._more(wanted)
            wanted *= 2

    def values(self) -> Iterator[Any]:
        """The values of the array or object that comes next, to its end."""
        opened = self._take("[{")
        closed = {"[": "]", "{": "}"}[opened]
        if self.peek() == closed:
            self._take(closed)
            return
        while True:
            if opened == "{":
                self._key()
            yield self.value()
            if self._take("," + closed) == closed:
                return

    def find(self, key: str) -> bool:
        """Goes on to the value of a key of the object that comes next; says whether there is one."""
        for found in self.named():
            if found == key:
                return True
            self.value()
        return False

    def named(self) -> Iterator[str]:
        """The keys of the object that comes next; whoever asks takes the value of each before the next one."""
        self._take("{")
        if self.peek() == "}":
            self._take("}")
            return
        while True:
            yield self._key()
            if self._take(",}") == "}":
                return

    def _key(self) -> str:
        key = self.value()
        self._take(":")
        return key

    def _take(self, among: str) -> str:
        found = self.peek()
        if not found or found not in among:
            seen = repr(found) if found else "its end"
            raise ValueError(f"{' or '.join(among)} is wanted at character {self._passed + self._at}, not {seen}")
        self._at += 1
        return found

    def _more(self, wanted: int) -> None:
        read = self._file.read(wanted)
        self._ended = not read
        self._passed += self._at
        self._held = self._held[self._at :] + self._decoder.decode(read, final=self._ended)
        self._at = 0
