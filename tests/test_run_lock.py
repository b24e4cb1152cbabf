"""One process trains in a run's folder at a time: a second one is told who is there, and a kill leaves no lock."""

import json
import socket
import subprocess
import sys

import pytest

from flan_jax.errors import UserError
from flan_jax.run_lock import LOCK_FILE, RunLock
from tests.project import check_refused

HOLD = """
import pathlib, sys
from flan_jax.run_lock import RunLock
with RunLock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder's lock."""
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_told_who_trains_there_until_that_is_killed(project, tmp_path, holder):
    said = f"is being trained in by process {holder.pid} on {socket.gethostname()} since 20"
    check_refused(project("train", "--gin_file", "run.gin", "--run_dir", tmp_path), said, "take another --run_dir")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != LOCK_FILE], "it wrote nothing"
    holder.kill()
    holder.wait()
    with RunLock(tmp_path) as lock:
        assert lock.notice == ""
        with pytest.raises(UserError, match="is being trained in"), RunLock(tmp_path):
            pass
    assert (tmp_path / LOCK_FILE).read_text() == "", "it ended by itself, so the next one has nothing to tell"


def test_a_run_of_another_machine_that_did_not_end_by_itself_is_told(tmp_path):
    before = {"host": "elsewhere", "pid": 7, "since": "2026-01-02 03:04:05+00:00"}
    (tmp_path / LOCK_FILE).write_text(json.dumps(before))
    with RunLock(tmp_path) as lock:
        assert "the last run here, by process 7 on elsewhere since 2026-01-02" in lock.notice
        assert json.loads((tmp_path / LOCK_FILE).read_text())["host"] == socket.gethostname()


@pytest.mark.parametrize("damaged", [b"", b"[]", b"{", b"\xff\xfe{", b"[" * 100_000])
def test_a_damaged_lock_says_nothing_and_keeps_nobody_out(tmp_path, damaged):
    (tmp_path / LOCK_FILE).write_bytes(damaged)
    with RunLock(tmp_path) as lock:
        assert lock.notice == ""


def test_a_file_system_without_locks_is_told_and_trains(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with RunLock(tmp_path) as lock:
        assert "run.lock cannot be locked on this file system (Operation not supported)" in lock.notice
