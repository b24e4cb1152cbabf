"""Faults at the file layer, and a small mixture to meet them with; see `killing.py` and `test_kills.py`.

A fault point is passed before a file's bytes are written (half of them are written at the fault), before it is made
durable, before it is renamed, before its folder is made durable, and before a file is deleted.
"""

import errno
import hashlib
import io
import json
import os
import pathlib
import random
import shutil
import signal
import traceback
from collections.abc import Callable
from typing import Any

from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.resolve import resolve
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError

PART_ROWS = 7
BUDGET = 500  # trainable tokens of "tale" that are wanted: two or three of its six chunks
SETUP = WorkerSetup()


class Faults:
    """Passes of fault points; at the `at`-th one, the fault.

    Args:
      at: which; None never.
      full: raises ENOSPC; otherwise the process kills itself.
    """

    def __init__(self, at: int | None = None, full: bool = False):
        self.at, self.full, self.passed = at, full, []

    def due(self, kind: str, path: str) -> bool:
        self.passed.append(f"{kind} {os.path.basename(path)}".replace(str(os.getpid()), "PID"))
        return len(self.passed) - 1 == self.at

    def happen(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        replace, unlink, opened = os.replace, os.unlink, io.open
        faults = self

        class Torn(io.FileIO):
            def write(self, data):
                # The first, one in the middle and one of the last pieces of a part; all there is of a manifest.
                self.pieces = getattr(self, "pieces", -1) + 1
                if self.pieces in (0, 9, 20) and faults.due("write", self.name):
                    super().write(memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
                    faults.happen()
                return super().write(data)

        def open_torn(file, mode="r", *more, **others):
            partial = mode == "wb" and ".partial-" in str(file)
            return Torn(str(file), "wb") if partial else opened(file, mode, *more, **others)

        def fault_then(kind: str, call: Callable, path_of: Callable) -> Callable:
            def do(*arguments, **more):
                path = path_of(*arguments)
                if faults.due("folder sync" if os.path.isdir(path) and kind == "fsync" else kind, path):
                    faults.happen()
                return call(*arguments, **more)

            return do

        io.open = open_torn
        # A killed process loses nothing that it wrote, durable or not.
        os.fsync = fault_then(
            "fsync", lambda descriptor: None, lambda descriptor: os.readlink(f"/proc/self/fd/{descriptor}")
        )
        os.replace = fault_then("rename", replace, lambda _, target: str(target))
        if not self.full:
            os.unlink = fault_then("unlink", unlink, str)  # also what shutil.rmtree deletes by


class Here:
    """Answers what a data process is asked, in this process."""

    setup = WorkerSetup(("what is registered here",))

    def call(self, op: str, **arguments: Any) -> Any:
        from flan_jax.data.preparing.resolving import resolve_in_child

        assert op == "resolve"
        return json.loads(json.dumps(resolve_in_child(setup=SETUP, progress=lambda **_: None, **arguments)))


def register(folder: pathlib.Path) -> None:
    """Two tasks of ours, one of them in three parts, one of other code in three, a text, and a few larger ones."""
    import seqio
    import tensorflow as tf

    from flan_jax.tasks import CausalLanguageModel, InstructionTask, jsonl, mixture

    rows = [{"number": i, "parity": ("even", "odd")[i % 2]} for i in range(17)]
    (folder / "parity.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"word": f"word {i}", "length": str(i)} for i in range(5)]
    (folder / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    of_bytes = seqio.ByteVocabulary()
    InstructionTask(
        name="parity",
        source=jsonl(str(folder / "parity.jsonl")),
        templates=("Is {number} odd or even?", "{number}: odd or even?"),
        options=("odd", "even"),
        answer="parity",
        preprocess=_told,
        vocabulary=of_bytes,
    ).register()
    InstructionTask(
        name="words",
        source=jsonl(str(folder / "words.jsonl")),
        templates=("How long is {word}?",),
        answer="length",
        vocabulary=of_bytes,
    ).register()

    rows = [{"text": f"The river {i} meets the sea at {7 * i}."} for i in range(40)]
    (folder / "tale.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    CausalLanguageModel("tale", jsonl(str(folder / "tale.jsonl")), vocabulary=of_bytes).register()

    def say(i):
        word = tf.strings.join([os.environ.get("MOOD", ""), tf.strings.as_string(i)])
        return {"inputs": word, "targets": tf.strings.as_string(i)}

    seqio.TaskRegistry.add(
        "shout",
        source=seqio.FunctionDataSource(
            lambda split, shuffle_files, seed=None: tf.data.Dataset.range(16).map(say), splits=["train"]
        ),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={name: seqio.Feature(of_bytes, add_eos=name == "targets") for name in ("inputs", "targets")},
    )
    mixture("ours", ["parity", "words"])
    large = [f"large_{i}" for i in range(8)]
    for name in large:
        rows = [
            {"word": f"{name} {i}", "length": "".join(random.Random(i).choices("abc def", k=60))} for i in range(140)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        InstructionTask(
            name=name,
            source=jsonl(str(folder / f"{name}.jsonl")),
            templates=("How long is {word}?", "{word}: length?"),
            answer="length",
            vocabulary=of_bytes,
        ).register()
    mixture("large", large)
    mixture("large_backwards", [*large[:1:-1], "words"])
    seqio.MixtureRegistry.add("all", ["parity", "words", "shout"], default_rate=1.0)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """What no fingerprint sees: the environment."""
    return row | {"number": f"{os.environ.get('MOOD', '')}{row['number']}"}


def forked(what: Callable[[], Any]) -> tuple[int, Any]:
    """Runs something in a fork; gives the signal that ended it, and what it returned (None where it failed)."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.close(reader)
            answer = what()
            with os.fdopen(writer, "w") as pipe:
                pipe.write(json.dumps(answer))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status), json.loads(text) if text else None


class Scene:
    """The stores of one mixture in one place, prepared under faults."""

    def __init__(self, folder: pathlib.Path, mixture: str):
        self.place = folder / "stores"
        budget = BUDGET if mixture == "tale" else None
        self.request = Request(mixture, "train", {"inputs": 64, "targets": 16}, 0, str(self.place), budget=budget)

    def attempt(self, faults: Faults, mood: str = "") -> tuple[int, Any]:
        """Prepares in a fork; gives the signal that ended it, and the points passed or the fault that was told."""

        def work():
            os.environ["MOOD"] = mood
            faults.install()
            try:
                resolve(self.request, Here())
            except UserError as fault:
                return {"told": str(fault)}
            return {"passed": faults.passed}

        return forked(work)

    def files(self) -> dict[str, str]:
        """Every file but locks, and its content's digest."""
        found = (path for path in self.place.rglob("*") if path.is_file() and path.suffix != ".lock")
        return {str(path.relative_to(self.place)): hashlib.sha256(self.content(path)).hexdigest() for path in found}

    def content(self, path: pathlib.Path) -> bytes:
        """A file's bytes; of a resolved answer only what does not tell of the clock."""
        if path.parent.name != "resolved" or path.suffix != ".json":
            return path.read_bytes()
        return json.dumps(json.loads(path.read_text().splitlines()[1]) | {"watched": None}).encode()

    def clear(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)

    def wrong(self, *sound: dict[str, str]) -> list[str]:
        """Whole stores that hold anything but what one of the references holds, and parts of no reference."""
        now, faults = self.files(), []
        for path in self.place.glob("*/*/draw-*"):
            if path.is_dir() and ".removed-" not in path.name:
                inside = f"{path.relative_to(self.place)}/"
                has = {name: digest for name, digest in now.items() if name.startswith(inside)}
                expected = [{n: d for n, d in one.items() if n.startswith(inside)} for one in sound]
                finished = {name: digest for name, digest in has.items() if ".partial-" not in name}
                if stores.whole(path):
                    # Reading by the front door, and byte for byte.
                    store = stores.Store(path)
                    texts = [store[i].targets.tolist() for i in range(store.count)]
                    stores.forget()
                    faults += [] if texts and finished in expected else [f"{inside} is whole and wrong"]
                elif not any(finished.items() <= one.items() for one in expected):
                    faults.append(f"{inside} holds parts of another store")
        return faults
