"""The notes of files that user code opens; what follows from them is in test_freshness.py."""

import os

import pytest

from flan_jax.files import opened


def test_forks_write_into_the_same_notes_without_tearing_them():
    log, forks, lines = opened._Log(), 4, 1500
    for fork in range(forks):
        if os.fork() == 0:
            for number in range(lines):
                log.hook("open", (f"/home/{'x' * (number % 90)}/{fork}-{number}", "w", 0))
            os._exit(0)
    for _ in range(forks):
        assert os.wait()[1] == 0
    names = {os.path.basename(path) for path, writes, state in log.lines() if writes and state is None}
    assert names == {f"{fork}-{number}" for fork in range(forks) for number in range(lines)}


@pytest.fixture
def log(monkeypatch):
    """Notes of this test alone; the hook itself would stay for good."""
    monkeypatch.setattr(opened, "_LOG", opened._Log())
    monkeypatch.setattr(opened.RUNNING, "function", None)
    return opened._LOG


def read(log, path, mode="r"):
    log.hook("open", (str(path), mode, os.O_CREAT if mode == "w" else 0))


def test_a_functions_files_are_those_that_are_opened_while_it_runs(log, tmp_path):
    def one(): ...
    def other(): ...

    names = "own", "cache", "of another", "known", ".hidden", "of nobody"
    paths = {name: tmp_path / name for name in names}
    for path in paths.values():
        path.write_text("text")
    opened.RUNNING.function = one
    for name in ("own", "cache", "known", ".hidden"):
        read(log, paths[name])
    read(log, paths["cache"], "w")
    opened.RUNNING.function = other
    read(log, paths["of another"])
    opened.RUNNING.function = None
    read(log, paths["of nobody"])
    found = lambda *functions: [path for path, *_ in opened.read_by(functions, "/none", {str(paths["known"])})]
    assert found(one) == [str(paths["own"])] and found(other) == [str(paths["of another"])]
    assert found(one, other) == [str(paths["own"]), str(paths["of another"])]
    assert opened.read_by([one], except_in=str(tmp_path), known=()) == []


def test_a_file_that_changed_while_it_was_read_holds_in_no_state(log, tmp_path):
    def function(): ...

    path = tmp_path / "words"
    found = lambda: opened.read_by([function], "/none", ())
    for text in ("a", "b"):
        path.write_text(text)
        opened.RUNNING.function = function
        read(log, path)
    assert [state[0] for _, state, _ in found()] == [1, 1] and opened.changed(found()) == str(path)
    # What comes after that is of what was read last, until it is read again.
    opened.settle([function])
    assert len(found()) == 1 and opened.changed(found()) is None
    path.write_text("ccc")
    assert opened.changed(found()) == str(path)
    read(log, path)
    assert [state[0] for _, state, _ in found()] == [3] and opened.changed(found()) is None


@pytest.mark.parametrize("size", [100, 2**16 + 1], ids=["small", "more than a source's sample"])
def test_the_content_decides_where_times_differ(log, tmp_path, size):
    path = tmp_path / "words"
    path.write_bytes(bytes(size))
    opened.RUNNING.function = path
    read(log, path)
    files = opened.read_by([path], "/none", ())
    os.utime(path, (0, 0))
    assert opened.changed(files) is None
    for at in (0, size // 2, size - 1):
        path.write_bytes(bytes(at) + b"x" + bytes(size - at - 1))
        assert opened.changed(files) == str(path)
    path.write_bytes(bytes(size - 1))
    assert opened.changed(files) == str(path)
    path.unlink()
    assert opened.changed(files) is None
