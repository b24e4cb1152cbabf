"""Token stores at addresses, on file systems that fsspec knows: what is fetched, when, and what goes wrong."""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from flan_jax.data.loader import Loader, Reader
from flan_jax.data.planning.plan import Plan, PlannedTask, shares_of
from flan_jax.data.rows import RowShape
from flan_jax.data.stores import mirror, parts, remote
from flan_jax.data.stores import store as stores
from flan_jax.data.stores.parts import PartWriter
from flan_jax.errors import UserError
from tests.data import counted_files
from tests.data.written import EXAMPLES, Written, write_store

SHAPE = RowShape("encoder_decoder", 128, 12)
BLOCK = 1024
TASKS = [3000, 800]
ROWS = 16


@pytest.fixture(autouse=True)
def bucket(tmp_path, monkeypatch):
    """The address of an empty place, a cache of its own, small blocks and no pauses."""
    monkeypatch.setenv(mirror.CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv("COUNTED_LOG", str(tmp_path / "requests"))
    monkeypatch.setattr(remote, "BLOCK", BLOCK)
    monkeypatch.setattr(mirror, "PAUSE", 0)
    stores.forget()
    yield f"counted://{tmp_path}/bucket"
    counted_files.faults.clear()
    stores.forget()
    mirror._absent.clear()


def local(address):
    """Where the place of an address really is."""
    return pathlib.Path(address.removeprefix("counted://"))


def write_tasks(folder, part_rows=stores.PART_ROWS):
    random = np.random.default_rng(0)
    for task, count in enumerate(TASKS):
        examples = []
        for i in range(count):
            inputs = random.integers(2, 900, random.integers(1, 120))
            weights = np.array([0.5, 1], np.float32) if task else None
            examples.append(Written(f"{task}:{i}", inputs, np.array([1000 + i, 1]), weights))
        write_store(folder / f"t{task}" / "draw-0", examples, vocab_size=5000, rows=part_rows)


def loader_of(place, **options):
    shares = shares_of(TASKS)
    tasks = [PlannedTask(f"t{t}", n, s, "") for t, (n, s) in enumerate(zip(TASKS, shares, strict=True))]
    folders = [f"{place}/t{t}" for t in range(len(TASKS))]
    return Loader(Plan(tasks, SHAPE.capacities, 7), Reader(folders, SHAPE), ROWS, **options)


def batches(loader, start, stop):
    return [batch for _, batch in loader.from_step(start, stop)]


def same(ours, theirs):
    assert len(ours) == len(theirs) > 0
    return all(a[name].tobytes() == b[name].tobytes() for a, b in zip(ours, theirs, strict=True) for name in a)


def fetched():
    """(name of the part's task, block) of each block that was asked for, in order; heads start at 0."""
    found = []
    for _, path, start, end, _ in counted_files.requests("get"):
        if path.endswith(".bin") and start:
            task = pathlib.Path(path).parent.parent.name
            found += [(task, block) for block in range(start // BLOCK, -(-end // BLOCK))]
    return found


def blocks_of(bucket, step):
    """What a step reads: (name of the task, block)."""
    reference, blocks = loader_of(local(bucket)), set()
    for task, index, draw, _ in (one for row in reference.contents(step) for one in row):
        part = reference.store(task, draw).part(0)
        for name in ("inputs", "targets", "weights") if task else ("inputs", "targets"):
            offsets = part.columns["inputs.offsets" if name == "inputs" else "targets.offsets"]
            values = part.columns[f"{name}.values"]
            start = values.ctypes.data - part._bytes.ctypes.data
            first, last = start + offsets[[index, index + 1]] * values.itemsize
            blocks |= {(f"t{task}", k) for k in range(first // BLOCK, -(-last // BLOCK)) if last > first}
    return blocks


def new_machine(monkeypatch, tmp_path, name):
    """From here on, what the cache holds is not known."""
    monkeypatch.setenv(mirror.CACHE, str(tmp_path / name))
    stores.forget()
    mirror._absent.clear()


@pytest.fixture
def written(bucket):
    """Stores of two tasks at an address, and the batches that a loader of the local ones gives."""
    write_tasks(local(bucket))
    return batches(loader_of(local(bucket)), 0, 12)


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("gs://bucket/a/b", "gs:/bucket/a/b"),
        ("counted:///a/b", "counted:/%/a/b"),
        ("s3://b/50%/../x", "s3:/b/50%25/%2E%2E/x"),
    ],
)
def test_a_folder_stands_for_an_address(tmp_path, address, kept):
    assert mirror.place(address) == mirror.place(address + "/") == tmp_path / "cache" / kept
    assert mirror.address_of(mirror.place(address)) == address
    assert mirror.address_of(mirror.place(address) / "draw-0" / "m.json") == address + "/draw-0/m.json"


def test_a_local_folder_stands_for_nothing(tmp_path, monkeypatch):
    for folder in ("runs/stores", tmp_path, tmp_path / "cached", mirror.cache()):
        assert mirror.address_of(mirror.place(folder)) is None
    monkeypatch.delenv(mirror.CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert mirror.place("gs://a/b") == tmp_path / "xdg" / "flan_jax" / "gs:" / "a" / "b"


@pytest.mark.parametrize("part_rows", [stores.PART_ROWS, 300], ids=["one part", "many parts"])
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_are_those_of_local_stores_bit_for_bit(bucket, part_rows, threads):
    write_tasks(local(bucket), part_rows)
    loader = loader_of(bucket, threads=threads)
    assert same(batches(loader, 0, 12), batches(loader_of(local(bucket)), 0, 12))
    assert same([loader.batch(30)], [loader_of(local(bucket)).batch(30)])
    assert loader.segments(loader.contents(2))[3][0].inputs.tolist()


def test_only_the_blocks_that_the_steps_read_are_fetched_in_the_order_of_the_plan(bucket, written, monkeypatch):
    pool = concurrent.futures.ThreadPoolExecutor(1)
    monkeypatch.setattr(remote, "_pool", lambda process: pool)
    monkeypatch.setattr(remote, "_BLOCKS_AT_ONCE", 1)
    wanted = [blocks_of(bucket, step) for step in range(2)]
    assert same(batches(loader_of(bucket), 0, 1), written[:1])
    assert set(fetched()) == wanted[0] and len(fetched()) == len(wanted[0])
    assert same(batches(loader_of(bucket), 0, 2), written[:2])
    assert set(fetched()[len(wanted[0]) :]) == wanted[1] - wanted[0] != set()
    # Of a new machine: what the first step reads is asked for before what only the second one does.
    heads = {path: end for _, path, start, end, _ in counted_files.requests("get") if start == 0}
    every = sum(path.stat().st_size for path in local(bucket).glob("*/*/part-*"))
    assert len(heads) == 2 and sum(heads.values()) + len(fetched()) * BLOCK < every / 2
    shutil.rmtree(mirror.cache())
    pathlib.Path(os.environ["COUNTED_LOG"]).unlink()
    stores.forget()
    batches(loader_of(bucket), 0, 2)
    asked = fetched()
    assert set(asked[: len(wanted[0])]) == wanted[0] and set(asked) == wanted[0] | wanted[1]


def test_blocks_are_fetched_ahead_of_the_step_that_reads_them(bucket, written, monkeypatch):
    monkeypatch.setattr(remote, "AHEAD", 6)
    steps = loader_of(bucket).from_step(0, 12)
    next(steps)
    wanted = set.union(*(blocks_of(bucket, step) for step in range(6)))
    deadline = time.monotonic() + 20
    while set(fetched()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert set(fetched()) == wanted
    for step in range(1, 12):
        assert same([next(steps)[1]], [written[step]])
    steps.close()


def test_a_loader_that_is_closed_takes_back_what_it_asked_for(bucket, written, monkeypatch):
    monkeypatch.setattr(remote, "_BLOCKS_AT_ONCE", 1)
    counted_files.faults.append(lambda operation, path: time.sleep(0.1 if path.endswith(".bin") else 0))
    loader = loader_of(bucket)
    steps = loader.from_step(0, 40)
    assert same([next(steps)[1]], written[:1])
    steps.close()
    at_once = len(fetched())
    waiting = [f for task in range(len(TASKS)) for f in stores.open_part(_part_of(bucket, task))._coming.values()]
    assert len(waiting) <= mirror.STREAMS  # those on their way
    concurrent.futures.wait(waiting)
    assert len(fetched()) <= at_once + mirror.STREAMS
    counted_files.faults.clear()
    # Another loader that waited for the same asks for it itself.
    other, first = loader_of(bucket), loader.from_step(1, 40)
    next(first)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(batches, other, 1, 12)
        first.close()
        assert same(reading.result(), written[1:])


def _part_of(bucket, task):
    return str(stores.part_path(mirror.place(f"{bucket}/t{task}/draw-0"), 0))


READ = """
import sys, hashlib
from tests.data import counted_files
from tests.data.stores import test_remote
from flan_jax.data.stores import remote
remote.BLOCK = test_remote.BLOCK
digest = hashlib.sha256()
for batch in test_remote.batches(test_remote.loader_of(sys.argv[1], threads=2), 0, 12):
    for name in sorted(batch):
        digest.update(batch[name].tobytes())
print(digest.hexdigest())
"""


def read_in_process(place, **environment):
    command = [sys.executable, "-c", READ, str(place)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=pathlib.Path(__file__).parents[3])


def test_processes_share_the_cache(bucket, written):
    assert same(batches(loader_of(bucket), 0, 12), written)
    before = len(counted_files.requests())
    found, wanted = read_in_process(bucket), read_in_process(local(bucket))
    assert found.stdout == wanted.stdout and len(found.stdout) == 65, found.stderr
    assert before and len(counted_files.requests()) == before


def test_a_kill_while_the_cache_fills_leaves_what_is_there(bucket, written, monkeypatch, tmp_path):
    for at in (3, 5, 60):
        log = tmp_path / f"killed at {at}"
        killed = read_in_process(bucket, COUNTED_KILL_AT=str(at), COUNTED_LOG=str(log))
        assert killed.returncode == -9 and len(log.read_text().splitlines()) >= at
    assert same(batches(loader_of(bucket), 0, 12), written)
    here = len(counted_files.requests())
    new_machine(monkeypatch, tmp_path, "other cache")
    assert same(batches(loader_of(bucket), 0, 12), written)
    assert 2 * here < len(counted_files.requests())


def fail(times, error, when=lambda operation, path: path.endswith(".bin")):
    """Has the next requests of a kind fail."""
    left, lock = [times], threading.Lock()

    def fault(operation, path):
        with lock:
            if left[0] and when(operation, path):
                left[0] -= 1
                raise error

    counted_files.faults.append(fault)
    return left


def test_a_cut_connection_is_told_and_tried_again(bucket, written, capfd, monkeypatch):
    monkeypatch.setattr(mirror, "_SILENCE", 0)
    left = fail(3, ConnectionResetError("reset by peer"))
    assert same(batches(loader_of(bucket), 0, 12), written)
    said = capfd.readouterr().err
    assert left == [0] and 1 <= said.count("; trying again") <= 3
    assert re.search(
        rf"{bucket}/t\d/draw-0/part-00000.bin could not be read \(ConnectionResetError: reset by peer\)", said
    )


def test_a_connection_that_stays_cut_ends_the_run_and_the_next_one_goes_on(bucket, written):
    loader = loader_of(bucket)
    batches(loader, 0, 1)
    fail(10**9, TimeoutError("timed out"))
    with pytest.raises(
        UserError, match=r"part-00000.bin could not be read \(TimeoutError.*5 times in a row; check the"
    ):
        batches(loader, 1, 12)
    counted_files.faults.clear()
    assert same(batches(loader, 0, 12), written)


def test_too_few_bytes_are_no_block(bucket, written, monkeypatch):
    cut = [3]
    whole = counted_files.CountedFileSystem.cat_file

    def short(self, path, start=None, end=None, **options):
        found = whole(self, path, start, end, **options)
        if path.endswith(".bin") and start and cut[0]:
            cut[0] -= 1
            return found[:-5]
        return found

    monkeypatch.setattr(counted_files.CountedFileSystem, "cat_file", short)
    assert same(batches(loader_of(bucket), 0, 12), written) and cut == [0]


def test_credentials_that_do_not_do_are_told_at_once(bucket, written):
    left = fail(10**9, PermissionError("403"))
    with pytest.raises(UserError, match=r"may not be read \(403\); check this machine's credentials, or set STORE_DIR"):
        loader_of(bucket).batch(0)
    assert left == [10**9 - 1] or left == [10**9 - 2]  # the two tasks' parts are opened at once


def damage(path, start):
    raw = bytearray(path.read_bytes())
    for at in range(start, len(raw) - 200, 50):
        raw[at] ^= 4
    path.write_bytes(raw)


@pytest.mark.parametrize("where", ["head", "blocks"])
def test_what_is_damaged_in_the_cache_is_fetched_again(bucket, written, where):
    assert same(batches(loader_of(bucket), 0, 12), written)
    (kept,) = mirror.place(f"{bucket}/t0/draw-0").glob("*.cached")
    head = parts.head_end("", np.fromfile(kept, np.uint8))
    damage(kept, head + 10 if where == "blocks" else 20)
    stores.forget()
    before = len(counted_files.requests())
    assert same(batches(loader_of(bucket), 0, 12), written)
    assert len(counted_files.requests()) > before
    stores.forget()
    assert stores.open_store(f"{bucket}/t0/draw-0")[17].id == "0:17"


def test_an_example_read_by_itself_is_mended_too(bucket):
    write_store(local(bucket) / "draw-0", EXAMPLES)
    store = stores.Store(f"{bucket}/draw-0")
    assert [len(store[i].targets) for i in range(3)] == [2, 3, 2] and [len(store.options(i)) for i in range(3)] == [
        0,
        0,
        2,
    ]
    (kept,) = store.folder.glob("*.cached")
    raw = bytearray(kept.read_bytes())
    for column in ("targets.values", "options.values", "id.values"):
        raw[store.part(0)._body + store.part(0).header["columns"][column][1]] ^= 1
    kept.write_bytes(raw)
    assert store[0].targets.tolist() == [8, 1]
    assert store.options(2)[0].tolist() == [8, 1] and store.id(0) == "a:1"


def test_what_is_damaged_at_its_address_is_named(bucket, written):
    damage(local(bucket) / "t0" / "draw-0" / "part-00000.bin", 200_000)
    with pytest.raises(
        UserError, match=f"example \\d+ of {bucket}/t0/draw-0/part-00000.bin does not match its checksum.*--repair"
    ):
        batches(loader_of(bucket), 0, 30)


def test_a_store_is_read_in_all_its_parts(bucket, tmp_path):
    """Columns that no row is filled from: ids, options, answers; more options than a guess allows for."""
    option = np.array([8, 1])
    many = [Written(f"{i}ü", [i], [8, 1], options=[option] * 40, answer=i % 40) for i in range(300)]
    write_store(local(bucket) / "draw-0", many)
    store, wanted = stores.Store(f"{bucket}/draw-0"), stores.Store(local(bucket) / "draw-0")
    for i in (299, 0, 150):
        assert store[i].targets.tolist() == wanted[i].targets.tolist() and store.id(i) == f"{i}ü"
        assert [o.tolist() for o in store.options(i)] == [[8, 1]] * 40 and store.answer(i) == i % 40
    assert store.lengths("inputs").tolist() == [1] * 300 and store.mean_tokens() == wanted.mean_tokens()


def put(address, examples, number_of_parts=1, finish=True):
    """Writes a store as `prepare` does."""
    folder, found = mirror.place(address), []
    folder.mkdir(parents=True, exist_ok=True)
    for number, some in enumerate(np.array_split(np.arange(len(examples)), number_of_parts)):
        path, writer = stores.part_path(folder, number), PartWriter(70_000)
        for i in some:
            writer.add(examples[i])
        found.append(writer.write(mirror.staged(path), {"read": writer.count}))
        mirror.publish(path)
    if finish:
        stores.write_manifest(folder, found, {"task": "t"})


def test_what_is_put_is_what_a_local_store_holds_and_the_manifest_comes_last(bucket, tmp_path):
    put(f"{bucket}/t/draw-0", EXAMPLES, 2)
    put(tmp_path / "t" / "draw-0", EXAMPLES, 2)
    names = sorted(path.name for path in (tmp_path / "t" / "draw-0").iterdir())
    assert names == ["manifest.json", "part-00000.bin", "part-00001.bin"]
    for name in names:
        ours, theirs = (local(bucket) / "t" / "draw-0" / name).read_bytes(), tmp_path / "t" / "draw-0" / name
        assert ours == theirs.read_bytes() == (mirror.place(f"{bucket}/t/draw-0") / name).read_bytes()
    assert counted_files.requests("put")[-1][1].endswith("manifest.json")
    # Whoever wrote it has all of it.
    before = len(counted_files.requests())
    assert stores.Store(f"{bucket}/t/draw-0")[2].id == "a:3" and len(counted_files.requests()) == before


def test_a_bucket_that_is_not_there_is_not_made(bucket, monkeypatch):
    monkeypatch.setattr(counted_files.CountedFileSystem, "protocol", ("counted", "s3"))
    with pytest.raises(UserError, match=r"part-00000.bin could not be written .*; make its bucket, or set STORE_DIR"):
        put(f"{bucket}/draw-0", EXAMPLES)
    assert not local(bucket).exists()


def test_a_store_in_memory():
    put("memory://stores/draw-0", EXAMPLES)
    folder = mirror.place("memory://stores/draw-0")
    for kept in folder.iterdir():
        kept.unlink()
    stores.forget()
    assert stores.whole("memory://stores/draw-0")
    assert stores.Store("memory://stores/draw-0")[2].targets.tolist() == [8, 1]
    stores.remove(folder)
    assert not stores.whole("memory://stores/draw-0")


def test_a_store_is_whole_by_its_manifest_and_goes_on_from_its_parts(bucket, monkeypatch, tmp_path):
    put(f"{bucket}/draw-0", EXAMPLES, 2, finish=False)
    new_machine(monkeypatch, tmp_path, "other cache")
    folder = mirror.place(f"{bucket}/draw-0")
    assert not stores.whole(f"{bucket}/draw-0")
    assert remote.verify(stores.part_path(folder, 1))["count"] == 1
    with pytest.raises(UserError, match=r"part-00002.bin is missing"):
        remote.verify(stores.part_path(folder, 2))
    whole = (local(bucket) / "draw-0" / "part-00001.bin").read_bytes()
    (local(bucket) / "draw-0" / "part-00001.bin").write_bytes(whole[:-64])
    with pytest.raises(UserError, match=f"has {len(whole) - 64} bytes, its header says {len(whole)}"):
        remote.verify(stores.part_path(folder, 1))


def test_what_another_machine_did_is_seen_when_it_is_looked_for(bucket, monkeypatch, tmp_path):
    address, first = f"{bucket}/draw-0", os.environ[mirror.CACHE]
    stores.refresh([mirror.place(address)])
    assert not stores.whole(address)
    new_machine(monkeypatch, tmp_path, "other cache")
    put(address, EXAMPLES)
    new_machine(monkeypatch, tmp_path, first)
    stores.refresh([mirror.place(address)])
    assert stores.whole(address) and stores.Store(address)[0].inputs.tolist() == [5, 6, 7]
    new_machine(monkeypatch, tmp_path, "other cache")
    put(address, EXAMPLES[1:])
    new_machine(monkeypatch, tmp_path, first)
    assert stores.Store(address).count == 3
    stores.refresh([mirror.place(address)])
    assert stores.Store(address)[0].targets.tolist() == [9, 9, 1]
    new_machine(monkeypatch, tmp_path, "other cache")
    stores.remove(mirror.place(address))
    assert list(local(address).iterdir()) == []
    new_machine(monkeypatch, tmp_path, first)
    stores.refresh([mirror.place(address)])
    assert not stores.whole(address)


def test_a_store_replaced_under_a_reader_gives_no_wrong_example(bucket, monkeypatch, tmp_path):
    put(f"{bucket}/draw-0", EXAMPLES)
    new_machine(monkeypatch, tmp_path, "reader")
    store = stores.Store(f"{bucket}/draw-0")
    shutil.rmtree(local(bucket))
    write_store(local(bucket) / "draw-0", EXAMPLES[1:])
    with pytest.raises(UserError, match=r"is not the part that its store's manifest was written for; run the same"):
        store.part(0)
    stores.forget()
    assert stores.Store(f"{bucket}/draw-0")[0].targets.tolist() == [9, 9, 1]


def test_a_part_that_is_gone_is_told_and_the_store_is_not_whole_any_more(bucket, written):
    gone = local(bucket) / "t0" / "draw-0" / "part-00000.bin"
    loader = loader_of(bucket)
    loader.batch(0)
    gone.unlink()
    with pytest.raises(UserError, match=f"{bucket}/t0/draw-0/part-00000.bin is missing; run the same command again"):
        batches(loader, 1, 12)
    assert not (mirror.place(f"{bucket}/t0/draw-0") / stores.MANIFEST).exists()


def test_repair_reads_what_is_at_the_address(bucket, written):
    folder, there = mirror.place(f"{bucket}/t1/draw-0"), local(bucket) / "t1" / "draw-0"
    assert stores.repair(folder) == [] and stores.whole(folder)
    damage(there / "part-00000.bin", 20_000)
    (said,) = stores.repair(folder)
    assert f"{bucket}/t1/draw-0/part-00000.bin does not match its digest" in said
    assert list(there.iterdir()) == [] and not stores.whole(folder)
    folder, there = mirror.place(f"{bucket}/t0/draw-0"), local(bucket) / "t0" / "draw-0"
    (there / "part-00000.bin").unlink()
    (said,) = stores.repair(folder)
    assert f"{bucket}/t0/draw-0/part-00000.bin is missing" in said and not stores.whole(folder)


def test_a_manifest_that_is_no_json_is_told(bucket, written):
    (local(bucket) / "t0" / "draw-0" / stores.MANIFEST).write_text("{")
    with pytest.raises(UserError, match=f"{bucket}/t0/draw-0/manifest.json cannot be read .JSONDecodeError"):
        loader_of(bucket).batch(0)


@pytest.mark.parametrize(("address", "package"), [("s3://b/draw-0", "s3fs"), ("gs://b/draw-0", "gcsfs")])
def test_a_protocol_whose_package_is_missing(monkeypatch, address, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"install what fsspec reads such addresses with .*{package} for"):
        stores.Store(address)


def test_a_protocol_that_nobody_knows():
    with pytest.raises(UserError, match=r"nosuch://b.*: .*or set STORE_DIR to a local folder"):
        stores.refresh([mirror.place("nosuch://b").parent / "b"])


def test_a_cache_that_cannot_be_written(bucket, written, monkeypatch, tmp_path):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv(mirror.CACHE, str(tmp_path / "taken"))
    with pytest.raises(
        UserError, match="cache of token stores in .*taken cannot be written: .* variable FLAN_JAX_CACHE"
    ):
        loader_of(bucket).batch(0)
    with pytest.raises(UserError, match="cannot be written: x; .* FLAN_JAX_CACHE"), stores.told(bucket):
        raise OSError("x")


def test_a_full_cache_is_told(bucket, written, monkeypatch, small_disk):
    monkeypatch.setenv(mirror.CACHE, str(small_disk / "cache"))
    (small_disk / "taken").write_bytes(bytes(4 * 1024 * 1024 - 150_000))
    with pytest.raises(UserError, match="No space left on device; free some space, or set the environment variable"):
        batches(loader_of(bucket), 0, 12)


def test_prepared_by_the_data_process_on_one_machine_and_used_on_another(bucket, user_folder, tmp_path, monkeypatch):
    """Two data processes, each with a cache of its own; the stores hold the same bytes as local ones."""
    from flan_jax.data.request import Request, WorkerSetup
    from flan_jax.data.resolve import resolve
    from flan_jax.data.worker import Worker

    modules, folders = ("counted_files", "user_tasks"), [str(pathlib.Path(__file__).parents[1]), str(user_folder)]
    monkeypatch.syspath_prepend(str(user_folder))
    facts = {
        "mixture": "ours",
        "split": "train",
        "lengths": {"inputs": 64, "targets": 16},
        "seed": 0,
        "max_draws": 1,
    }
    found = {}
    for machine in ("first", "second"):
        new_machine(monkeypatch, tmp_path, machine)
        monkeypatch.setenv("COUNTED_LOG", str(tmp_path / f"requests of the {machine}"))
        with Worker(WorkerSetup(modules, tuple(folders))) as worker:
            resolved = resolve(Request(store_dir=bucket, **facts), worker)
            resolve(Request(store_dir=bucket, **facts), Worker(worker.setup))  # by what is kept
            if machine == "first":
                wanted = resolve(Request(store_dir=str(tmp_path / "local"), **facts), worker)
        plan = resolved.plan(SHAPE.capacities | {"inputs": 64, "targets": 16}, True, 8192)
        shape = RowShape("encoder_decoder", 64, 16)
        found[machine] = batches(Loader(plan, Reader(resolved.folders(plan), shape), 4), 0, 5)
        puts = [pathlib.Path(request[1]).name for request in counted_files.requests("put")]
        assert puts.count("manifest.json") == (len(resolved.tasks) if machine == "first" else 0)
    assert all(task.folder.startswith(bucket) for task in resolved.tasks) and same(found["first"], found["second"])
    assert same(found["first"], batches(Loader(plan, Reader(wanted.folders(plan), shape), 4), 0, 5))
    theirs = sorted((tmp_path / "local").glob("*/*/draw-*/*"))
    ours = [local(bucket) / path.relative_to(tmp_path / "local") for path in theirs]
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs] and len(ours) >= 4
    assert sorted(path for path in local(bucket).rglob("*") if path.is_file()) == sorted(ours)
    assert json.loads((ours[0].parent / "manifest.json").read_text())["task"]
