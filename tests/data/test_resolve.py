"""Resolving and preparing with real seqio in a real child process."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.resolve import resolve
from flan_jax.data.stores.store import Store
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError


class NoWorker(Worker):
    """Shows that an answer was used again: asking the data process anything fails."""

    def call(self, op, **arguments):
        raise AssertionError(f"the data process was asked for {op}")


@pytest.fixture
def request_for(tmp_path, user_folder):
    def make(mixture, **changes):
        base = Request(mixture, "train", {"inputs": 64, "targets": 16}, 0, str(tmp_path))
        return dataclasses.replace(base, **changes)

    return make


def test_our_tasks_get_counts_caps_and_rates(request_for, worker):
    resolved = resolve(request_for("ours"), worker)
    facts = {task.name: (task.count, task.cap, task.rate, task.draws) for task in resolved.tasks}
    assert facts == {"capitals": (24, 15, 15.0, 8), "parity": (40, None, 40.0, 1)}
    assert resolved.vocabulary["kind"] == "byte"


def test_foreign_and_nested_mixtures_get_seqios_rates(request_for, worker):
    theirs = {task.name: task.rate for task in resolve(request_for("theirs"), worker).tasks}
    assert theirs == {"shout": 20.0, "parity": 20.0}
    nested = {task.name: task.rate for task in resolve(request_for("nested"), worker).tasks}
    assert nested == pytest.approx({"capitals": 15 / 55, "parity": 40 / 55, "shout": 2.0})


def test_a_store_holds_what_seqio_gives(request_for, worker):
    resolved = resolve(request_for("theirs"), worker)
    store = Store(next(task for task in resolved.tasks if task.name == "shout").store())
    assert store.count == 40
    assert bytes(token - 3 for token in store[7].inputs) == b"say 7"
    assert store[7].targets.tolist() == [ord("7") + 3, 1]


def test_an_answer_is_used_again_until_something_changes(request_for, worker, user_folder):
    request = request_for("ours")
    first = resolve(request, worker)
    assert resolve(request, NoWorker(worker.setup)) == first
    with pytest.raises(AssertionError, match="asked for resolve"):
        resolve(dataclasses.replace(request, seed=1), NoWorker(worker.setup))
    path = user_folder / "capitals.jsonl"
    text, stat = path.read_text(), path.stat()
    try:
        path.write_text(text + json.dumps({"country": "Newland", "capital": "Newtown"}) + "\n")
        changed = resolve(request, worker)
    finally:
        path.write_text(text)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # other tests share the folder
    before = {task.name: task.fingerprint for task in first.tasks}
    after = {task.name: task.fingerprint for task in changed.tasks}
    assert before["capitals"] != after["capitals"] and before["parity"] == after["parity"]


def test_a_damaged_store_is_prepared_anew(request_for, worker):
    request = request_for("ours")
    store = pathlib.Path(resolve(request, worker).tasks[0].store())
    whole = (store / "part-00000.bin").read_bytes()
    (store / "part-00000.bin").write_bytes(whole[:5])
    resolve(request, worker)
    assert (store / "part-00000.bin").read_bytes() == whole


def _templates(folder):
    return Store(folder).part(0).columns["template"].tolist()


def test_draws_differ_and_are_the_same_again(request_for, worker):
    request = request_for("capitals")
    task = resolve(request, worker).tasks[0]
    wanted = [(task.name, task.folder, task.fingerprint, draw) for draw in (0, 1, 2)]
    worker.call("prepare", wanted=wanted, request=request)
    drawn = [_templates(task.store(draw)) for draw in (0, 1, 2)]
    assert set(drawn[0]) == {0, 1} and drawn[0] != drawn[1] != drawn[2]
    other = dataclasses.replace(request, store_dir=request.store_dir + "/other")
    assert _templates(resolve(other, worker).tasks[0].store()) == drawn[0]


def test_limit_keeps_the_first_examples(request_for, worker):
    resolved = resolve(request_for("ours", split="validation", limit=4), worker)
    assert [task.count for task in resolved.tasks] == [4, 4]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mixture": "our"}, r"no task or mixture is called 'our'; did you mean 'ours'\?"),
        ({"mixture": "ours", "split": "test"}, "split 'test'"),
        (
            {"mixture": "capitals", "lengths": {"inputs": 4, "targets": 16}, "on_long": "drop"},
            "none was kept .*raise FEATURE_LENGTHS",
        ),
        ({"mixture": "capitals", "lengths": {"inputs": 40, "targets": 3}, "on_long": "refuse"}, "capitals"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(request_for, worker, changes, said):
    with pytest.raises(UserError, match=said):
        resolve(request_for(**changes), worker)


def test_a_store_dir_that_cannot_be_made_names_the_setting(request_for, tmp_path, worker):
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="taken cannot be written: .*; free some space, or set STORE_DIR elsewhere"):
        resolve(request_for("ours", store_dir=str(tmp_path / "taken")), NoWorker(worker.setup))


def test_a_full_disk_is_told_and_what_was_prepared_stays(request_for, worker, small_disk):
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free - 8192))
    request = request_for("ours", store_dir=str(small_disk))
    with pytest.raises(UserError, match="No space left on device; free some space, or set STORE_DIR elsewhere"):
        resolve(request, worker)
    (small_disk / "ballast").unlink()
    assert [task.count for task in resolve(request, worker).tasks] == [24, 40]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("no_such_module", "module 'no_such_module' was not found; --module wants"),
        ("broken_tasks", r"importing the task modules failed: ZeroDivisionError.*broken_tasks.py, line 2"),
        ("needs_missing", "imports 'surely_not_installed', which is not installed"),
    ],
)
def test_a_module_that_does_not_import_is_named(tmp_path, module, said):
    (tmp_path / "broken_tasks.py").write_text("x = 1\ny = x / 0\n")
    (tmp_path / "needs_missing.py").write_text("import surely_not_installed\n")
    with Worker(WorkerSetup((module,), (str(tmp_path),))) as fresh, pytest.raises(UserError, match=said):
        fresh.call("list")


def test_the_child_ends_with_its_parent(tmp_path):
    code = (
        "from flan_jax.data.worker import Worker\nimport os, time\nw = Worker()\nw.start()\n"
        "print(w._process.pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(1800):  # it notices once it has imported what it needs
        if (
            not pathlib.Path(f"/proc/{child}/cmdline").exists()
            or not pathlib.Path(f"/proc/{child}/cmdline").read_bytes()
        ):
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the data process outlived its parent by three minutes")
