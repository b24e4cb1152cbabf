import dataclasses
import errno
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from flan_jax.data import store as stores
from flan_jax.data.store import Store, StoreWriter, exclusive, read_manifest, whole
from flan_jax.errors import UserError


@dataclasses.dataclass
class Written:
    id: str
    inputs: list
    targets: list
    weights: np.ndarray | None = None
    template: int = 0
    options: list | None = None
    answer: int | None = None


EXAMPLES = [
    Written("a:1", [5, 6, 7], [8, 1], template=3),
    Written("ü", [], [9, 9, 1], np.array([0, 0.5, 1], np.float32), template=-1),
    Written("a:3", [400], [8, 1], options=[np.array([8, 1]), np.array([65535, 2, 1])], answer=1),
]


def write(folder, examples=EXAMPLES, vocab_size=70_000):
    writer = StoreWriter(folder, vocab_size)
    for example in examples:
        writer.add(example)
    return writer.finish({"task": "t"})


@pytest.mark.parametrize("vocab_size", [65_536, 300_000])
def test_what_is_written_reads_back(tmp_path, vocab_size):
    write(tmp_path / "s", vocab_size=vocab_size)
    store = Store(tmp_path / "s")
    assert store.count == 3
    for i, example in enumerate(EXAMPLES):
        got = store[i]
        assert got.inputs.tolist() == example.inputs and got.targets.tolist() == example.targets
        assert (got.id, got.template) == (example.id, example.template)
    assert store[1].weights.tolist() == [0, 0.5, 1] and store[0].weights.tolist() == [1, 1]
    assert [o.tolist() for o in store.options(2)] == [[8, 1], [65535, 2, 1]] and store.answer(2) == 1
    assert store.options(0) == [] and store.answer(0) == -1
    assert store.lengths("inputs").tolist() == [3, 0, 1] and store.trainable().tolist() == [2, 2, 2]


def test_weights_take_no_room_where_all_are_one(tmp_path):
    write(tmp_path / "s", EXAMPLES[:1])
    assert not (tmp_path / "s" / "weights.values.bin").exists()
    assert Store(tmp_path / "s")[0].weights is None


def test_nothing_stands_under_the_name_before_it_is_whole(tmp_path):
    writer = StoreWriter(tmp_path / "s", 100)
    writer.add(EXAMPLES[0])
    assert not (tmp_path / "s").exists()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_is_found_when_the_example_is_read(tmp_path):
    write(tmp_path / "s")
    path = tmp_path / "s" / "targets.values.bin"
    raw = bytearray(path.read_bytes())
    raw[0] ^= 1
    path.write_bytes(raw)
    with pytest.raises(UserError, match="example 0 of .* does not match its checksum"):
        Store(tmp_path / "s")[0]
    assert Store(tmp_path / "s")[1].id == "ü"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "manifest.json").unlink(), "no manifest.json; run `flan-jax prepare`"),
        (lambda f: (f / "manifest.json").write_text("{"), "is not readable"),
        (lambda f: (f / "inputs.values.bin").write_bytes(b""), "has 0 bytes, its manifest says"),
        (lambda f: (f / "id.values.bin").unlink(), "is missing, its manifest says"),
    ],
)
def test_a_damaged_store_is_named_and_not_whole(tmp_path, damage, said):
    write(tmp_path / "s")
    assert whole(tmp_path / "s")
    damage(tmp_path / "s")
    assert not whole(tmp_path / "s")
    with pytest.raises(UserError, match=said):
        read_manifest(tmp_path / "s")


def test_wrong_number_of_weights_is_refused(tmp_path):
    writer = StoreWriter(tmp_path / "s", 100)
    with pytest.raises(ValueError, match="2 loss weights for 1 target tokens"):
        writer.add(Written("x", [], [1], np.ones(2, np.float32)))


def test_an_empty_store_reads_as_empty(tmp_path):
    write(tmp_path / "s", [])
    assert Store(tmp_path / "s").lengths("targets").tolist() == []


def _hold(folder, entered, seconds):
    with exclusive(folder):
        entered.set()
        time.sleep(seconds)


def test_the_lock_goes_with_a_killed_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    entered = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "s", entered, 60))
    holder.start()
    assert entered.wait(30)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    began = time.monotonic()
    with exclusive(tmp_path / "s"):
        assert time.monotonic() - began < 10


def test_a_full_disk_leaves_no_store(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stores.os, "fsync", full)
    writer = StoreWriter(tmp_path / "s", 100)
    writer.add(EXAMPLES[0])
    with pytest.raises(OSError, match="No space left"):
        writer.finish({})
    writer.abandon()
    assert not (tmp_path / "s").exists()
