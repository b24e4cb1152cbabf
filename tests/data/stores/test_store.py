import errno
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from flan_jax.data.stores import parts
from flan_jax.data.stores import store as stores
from flan_jax.data.stores.parts import PartWriter
from flan_jax.data.stores.store import Lock, Store, read_manifest, repair, whole
from flan_jax.errors import UserError
from flan_jax.files import atomic
from tests.data.written import EXAMPLES, Written, write_store


@pytest.mark.parametrize("vocab_size", [65_536, 300_000])
@pytest.mark.parametrize("rows", [3, 2, 1])
def test_what_is_written_reads_back(tmp_path, vocab_size, rows):
    """In one part, or spread over several."""
    write_store(tmp_path / "s", EXAMPLES, vocab_size=vocab_size, rows=rows)
    store = Store(tmp_path / "s")
    assert store.count == 3
    for i, example in enumerate(EXAMPLES):
        got = store[i]
        assert got.inputs.tolist() == example.inputs and got.targets.tolist() == example.targets
        assert (got.id, got.template) == (example.id, example.template)
    assert store[1].weights.tolist() == [0, 0.5, 1]
    assert store[0].weights is None or store[0].weights.tolist() == [1, 1]
    assert [o.tolist() for o in store.options(2)] == [[8, 1], [65535, 2, 1]] and store.answer(2) == 1
    assert store.options(0) == [] and store.answer(0) == -1
    assert store.lengths("inputs").tolist() == [3, 0, 1]
    assert store.mean_tokens() == (11 / 3, 6 / 3)


def test_weights_take_no_room_where_all_are_one(tmp_path):
    write_store(tmp_path / "s", EXAMPLES[:1])
    store = Store(tmp_path / "s")
    assert "weights.values" not in store.part(0).columns and store[0].weights is None


def test_no_descriptor_is_held(tmp_path):
    for number in range(20):
        write_store(tmp_path / f"s{number}", EXAMPLES)
    before = len(os.listdir("/proc/self/fd"))
    kept = [Store(tmp_path / f"s{number}") for number in range(20)]
    assert all(store[0].targets.tolist() == [8, 1] for store in kept)
    assert len(os.listdir("/proc/self/fd")) == before


def _flip(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("column", ["inputs", "targets", "weights", "options", "id", "answer", "template"])
def test_a_flipped_bit_is_found_when_the_example_is_read(tmp_path, column):
    write_store(tmp_path / "s", EXAMPLES)
    path = tmp_path / "s" / "part-00000.bin"
    part = parts.Part(path)
    values = part.columns.get(f"{column}.values", part.columns.get(column))
    _flip(path, values.ctypes.data - part._bytes.ctypes.data + values.nbytes - 1)
    stores.open_part.cache_clear()
    with pytest.raises(UserError, match=r"example 2 of .*part-00000.bin does not match its checksum.*--repair"):
        Store(tmp_path / "s")[2]
    assert Store(tmp_path / "s")[0].id == "a:1"


def test_every_flipped_bit_is_found(tmp_path):
    """Wherever a byte changes, the part is refused, or its examples, or a check of the whole finds it."""
    write_store(tmp_path / "s", EXAMPLES)
    path = tmp_path / "s" / "part-00000.bin"
    sound = path.read_bytes()
    for at in range(len(sound)):
        _flip(path, at)
        with pytest.raises(UserError):
            parts.verify(path)
        path.write_bytes(sound)
    assert parts.verify(path)["count"] == 3


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "manifest.json").unlink(), "has no manifest.json; run `flan-jax prepare --repair`"),
        (lambda f: (f / "manifest.json").write_text("{"), r"manifest.json cannot be read \(JSONDecodeError"),
        (lambda f: (f / "manifest.json").write_text("[" * 100_000), r"manifest.json cannot be read \(RecursionError"),
        (
            lambda f: (f / "manifest.json").write_text('{"digest": 1, "format": 1}'),
            "has format 1, this version reads 2",
        ),
        (lambda f: _flip(f / "manifest.json", 14), "manifest.json (does not match its digest|cannot be read)"),
        (lambda f: (f / "part-00000.bin").write_bytes(b""), "part-00000.bin has 0 bytes, its manifest says"),
        (lambda f: (f / "part-00001.bin").unlink(), "part-00001.bin is missing; run"),
    ],
)
def test_a_damaged_store_is_named_and_mended_as_far_as_it_can_be(tmp_path, damage, said):
    folder = tmp_path / "s"
    write_store(folder, EXAMPLES, rows=2)
    assert whole(folder) and repair(folder) == []
    damage(folder)
    assert not whole(folder)
    with pytest.raises(UserError, match=said):
        read_manifest(folder)
    assert repair(folder)
    assert not (folder / "manifest.json").exists()
    for left in folder.iterdir():
        assert parts.verify(left)


def test_repair_removes_only_the_damaged_part(tmp_path):
    folder = tmp_path / "s"
    write_store(folder, EXAMPLES, rows=1)
    _flip(folder / "part-00001.bin", -70)
    assert whole(folder)  # sizes are right: opening does not read every byte
    (said,) = repair(folder)
    assert "part-00001.bin does not match its digest" in said
    assert sorted(path.name for path in folder.iterdir()) == ["part-00000.bin", "part-00002.bin"]


@pytest.mark.parametrize("keep", [0, 10, 100, -1])
def test_a_part_that_was_cut_is_refused(tmp_path, keep):
    write_store(tmp_path / "s", EXAMPLES)
    path = tmp_path / "s" / "part-00000.bin"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="part-00000.bin .*(cut|damaged)"):
        parts.verify(path)


def test_wrong_number_of_weights_is_refused():
    with pytest.raises(ValueError, match="2 loss weights for 1 target tokens"):
        PartWriter(100).add(Written("x", [], [1], np.ones(2, np.float32)))


def test_an_empty_store_reads_as_empty(tmp_path):
    write_store(tmp_path / "s", [])
    assert Store(tmp_path / "s").lengths("targets").tolist() == []


def _hold(folder, entered, seconds):
    lock = Lock(folder)
    assert lock.take()
    entered.set()
    time.sleep(seconds)


def test_the_lock_goes_with_a_killed_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    entered = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "s", entered, 60))
    holder.start()
    assert entered.wait(30)
    assert not Lock(tmp_path / "s").take(wait=False)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert Lock(tmp_path / "s").take()


@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_full_disk_leaves_nothing_under_the_name(tmp_path, monkeypatch, place):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, place, full)
    writer = PartWriter(100)
    writer.add(EXAMPLES[0])
    with pytest.raises(OSError, match="No space left"):
        writer.write(tmp_path / "part-00000.bin", {})
    assert list(tmp_path.iterdir()) == []
