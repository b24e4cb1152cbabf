"""What metrics compare predictions with, kept beside the tokens of a store, so that scoring renders nothing.

    references.jsonl.gz     a seal, then for each example, in the store's order, a line of JSON:
                            [["right answer", ...], {"id": ..., "inputs_pretokenized": ..., ...}]

The first to score a store makes the file, if the tokens that it renders are the store's. The seal is of the lines and
of the store's manifest: a file that is damaged, or of another store, is made anew. Nothing in it hangs on metrics and
postprocessors, which may change while a store stays.
"""

import contextlib
import gzip
import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from flan_jax.data.request import Request
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError
from flan_jax.files import atomic

NAME = "references.jsonl.gz"
_VERSION = 1  # raise it when the same example comes to have other references, or more is kept of it

References = list[tuple[Any, dict[str, Any]]]


def references(task: str, folder: str, request: Request) -> References:
    """What `flan_jax.tasks.examples.references` gives for a store's examples, in its order.

    Those of a task of other code can be any objects, and are made anew each time.

    Args:
      task: the seqio task.
      folder: the store's; may be an address. Where it is not whole any more, nothing is read or kept.
      request: what the store was prepared for.

    Raises:
      UserError: a bad row, a source that is gone, …, where they have to be made.
    """
    from flan_jax.tasks import examples

    if not examples.is_ours(task):
        return list(examples.references(task, request.split, request.lengths, **request.reading()))
    try:
        store = stores.Store(folder)
    except UserError:
        store = None
    if store is not None and (kept := _read(store)) is not None:
        return kept
    stores.forget()  # a part that this process has mapped may have been replaced since
    found, same = [], store is not None
    for index, example in enumerate(examples.examples(task, request.split, request.lengths, **request.reading())):
        found.append(examples.reference(example))
        same = same and _is_stored(store, index, example)
    if store is not None and same and len(found) == store.count:
        _keep(store, found)
    return found


def _is_stored(store: Any, index: int, example: Any) -> bool:
    """Whether an example is the store's: what no fingerprint sees may have changed since it was written."""
    try:
        kept, answer = store[index], store.answer(index)
    except UserError:  # it is damaged, or not there
        return False
    ours = (str(example.id), example.template, -1 if example.answer is None else example.answer)
    tokens = np.array_equal(kept.inputs, example.inputs) and np.array_equal(kept.targets, example.targets)
    return tokens and ours == (kept.id, kept.template, answer)


def _read(store: stores.Store) -> References | None:
    """What is kept beside a store; None where nothing is that can be believed."""
    try:
        seal, _, lines = gzip.decompress(mirror.read(store.folder / NAME)).partition(b"\n")
    except (OSError, EOFError, zlib.error, UserError):
        return None
    return [tuple(json.loads(line)) for line in lines.splitlines()] if seal == _seal(store, lines) else None


def _keep(store: stores.Store, found: Sequence[tuple[Any, dict[str, Any]]]) -> None:
    lines = "".join(f"{json.dumps(pair)}\n" for pair in found).encode()
    packed = gzip.compress(_seal(store, lines) + b"\n" + lines, compresslevel=1, mtime=0)
    path, lock = store.folder / NAME, stores.Lock(store.folder)
    made = mirror.staged(path)
    # Where nothing can be written, or another process is at it, scoring goes on all the same.
    with contextlib.suppress(OSError, UserError):
        if lock.take(wait=False):
            try:
                if stores.read_manifest(store.folder) == store.manifest:  # else it was replaced meanwhile
                    atomic.remove_partial(made.parent, made.name)
                    atomic.write_bytes(made, [packed])
                    mirror.publish(path)
            finally:
                lock.release()


def _seal(store: stores.Store, lines: bytes) -> bytes:
    of = json.dumps([_VERSION, store.manifest], sort_keys=True).encode()
    return hashlib.sha256(of + lines).hexdigest().encode()
