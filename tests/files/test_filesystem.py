import os
import subprocess
import sys

import fsspec
import pytest

from flan_jax.errors import UserError
from flan_jax.files import filesystem


@pytest.fixture
def memory():
    """An address in memory, and a function that writes there."""
    system = fsspec.filesystem("memory")

    def write(name, content):
        system.pipe_file(f"/shelf/{name}", content)
        return f"memory://shelf/{name}"

    yield write
    system.store.clear()


def test_addresses_are_found_opened_and_told_apart(memory):
    memory("a.jsonl", b"one")
    memory("deep/b.jsonl", b"two")
    found = filesystem.matching("memory://shelf/**/*.jsonl")
    assert [path.rpartition("/")[2] for path in found] == ["a.jsonl", "b.jsonl"]
    assert [filesystem.open_bytes(path).read() for path in found] == [b"one", b"two"]
    assert filesystem.matching("memory://shelf/a.jsonl") == ["memory://shelf/a.jsonl"]
    assert filesystem.matching("memory://shelf/none*") == filesystem.matching("memory://shelf/deep") == []
    assert filesystem.size(found[0]) == 3
    with open(filesystem.local_copy(found[1]), "rb") as file:
        assert file.read() == b"two"


def test_a_pattern_that_cannot_be_is_told(memory):
    with pytest.raises(UserError, match=r"entire path component; write for example folder/\*\*/"):
        filesystem.matching("memory://shelf/**.jsonl")


def test_the_state_of_an_address_follows_its_content(memory):
    path = memory("a.jsonl", b"one")
    first = filesystem.state(path)
    assert first == filesystem.state(path)
    memory("a.jsonl", b"two")
    assert filesystem.state(path) != first


def test_a_protocol_of_the_users_own_is_known(tmp_path):
    from fsspec.implementations.dirfs import DirFileSystem

    class Shelf(DirFileSystem):
        protocol = "shelf"

        def __init__(self, **options):
            super().__init__(path=str(tmp_path), fs=fsspec.filesystem("file"), **options)

    fsspec.register_implementation("shelf", Shelf, clobber=True)
    (tmp_path / "a.txt").write_text("one")
    assert filesystem.matching("shelf://a.*") == ["shelf://a.txt"]
    assert filesystem.open_bytes("shelf://a.txt").read() == b"one"


def test_an_address_that_nothing_reads_says_what_to_install():
    for path in ("nowhere://a/b", "gs://bucket/*.jsonl"):
        with pytest.raises(UserError, match=r"gcsfs for gs://"):
            filesystem.matching(path)


@pytest.mark.parametrize("path", ["memory://shelf/none", "none.jsonl"])
def test_a_file_that_is_not_there_is_told(path):
    for ask in (filesystem.open_bytes, filesystem.state, filesystem.size):
        with pytest.raises(UserError, match=f"Cannot read {path}"):
            ask(path)


def rewritten(path, content):
    """Changes a file in place so that neither its size nor its time tells it."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(path)
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("size", [10, 65_536, 1_000_000])
def test_a_change_in_place_that_keeps_size_and_time_is_seen(tmp_path, size):
    path = str(tmp_path / "a")
    content = bytearray(size)
    (tmp_path / "a").write_bytes(content)
    first = filesystem.state(path)
    for place in (0, size - 1):  # the first and the last block are always looked at
        content[place] = 1
        rewritten(path, content)
        changed = filesystem.state(path)
        assert changed != first and changed[:2] == first[:2]
        content[place] = 0
    rewritten(path, content)
    assert filesystem.state(path) == first


def test_what_is_read_of_a_large_file_is_bounded(tmp_path, monkeypatch):
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(2**32)
    read = []
    opened = filesystem.open_raw

    def counted(name):
        file = opened(name)

        class Counted:
            seek, __enter__, __exit__ = file.seek, lambda self: self, lambda self, *_: file.close()

            def read(self, size=-1):
                read.append(size)
                return file.read(size)

        return Counted()

    monkeypatch.setattr(filesystem, "open_raw", counted)
    filesystem.state(str(path))
    assert 3 < len(read) <= filesystem.SAMPLE_BLOCKS and set(read) == {filesystem.SAMPLE_BLOCK}


def test_importing_it_imports_no_tensorflow_and_no_fsspec():
    code = "import sys, flan_jax.files.filesystem; print({'tensorflow', 'fsspec'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
