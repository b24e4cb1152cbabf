"""Reads a stream in parts, one after another, without going back to its beginning for each."""

import atexit
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

_KEPT = 2  # streams left open where their last part ended
_KEPT_STREAMS: dict[tuple[Any, ...], tuple[int, Iterator[Any], Any]] = {}


def part(
    owner: Any,
    state: tuple[Any, ...],
    open_at: Callable[[int], Iterator[Any]],
    start: int,
    stop: int | None,
) -> Iterator[Any]:
    """Yields items `start` to `stop` of a stream.

    A stream that ends at a `stop` stays open for the part that follows, or for a later one; so who reads a file part by
    part reads it once. A process forked meanwhile opens its own, since the two would share a file's position.

    Args:
      owner: what the stream is of, told by identity.
      state: what else names the stream: its split, the state of its files.
      open_at: opens the stream at an item's number.
      start: the first item's number.
      stop: the number before which to stop, None for the end.
    """
    key = (os.getpid(), id(owner), *state)
    position, stream = _taken(key, start) or (start, open_at(start))
    last = None if stop is None else max(start, stop)
    number = start
    for item in itertools.islice(stream, start - position, None if last is None else last - position):
        yield item
        number += 1
    if number == last:
        _keep(key, number, stream, owner)


@atexit.register  # while what closes them still stands
def _let_go() -> None:
    for key in [key for key in _KEPT_STREAMS if key[0] == os.getpid()]:
        _KEPT_STREAMS.pop(key, None)


def _taken(key: tuple[Any, ...], start: int) -> tuple[int, Iterator[Any]] | None:
    kept = _KEPT_STREAMS.pop(key, None)
    if kept is not None and kept[0] > start:
        _KEPT_STREAMS[key] = kept
        return None
    return kept and kept[:2]


def _keep(key: tuple[Any, ...], position: int, stream: Iterator[Any], owner: Any) -> None:
    # What the process before a fork had open stays untouched: closing some of it would wait for threads that are not
    # here.
    own = [known for known in list(_KEPT_STREAMS) if known[0] == key[0] and known != key]
    for known in own[: max(len(own) + 1 - _KEPT, 0)]:
        _KEPT_STREAMS.pop(known, None)
    _KEPT_STREAMS[key] = (position, stream, owner)  # the owner too, so that no other gets its id
