"""Commands of a run whose token stores lie at an address."""

import shutil

import pytest

from flan_jax.data.stores import store as stores
from tests.project import rows, run


@pytest.mark.slow
def test_a_run_with_stores_at_an_address_is_that_with_local_ones(project, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAN_JAX_CACHE", str(tmp_path / "cache"))
    place, folder = tmp_path / "bucket", tmp_path / "run"
    argv = ["--gin_file", "run.gin", "--run_dir", folder, "--store_dir", f"file://{place}"]

    def command(name, *more):
        stores.forget()
        done = run(name, *argv, *more, cwd=project.folder, compiled=project.compiled)
        assert done.code == 0, done.err
        return done.out

    assert f"examples in file://{place}" in command("prepare")
    put = sorted(path for path in place.rglob("*") if path.is_file())
    assert {path.name for path in put} == {"manifest.json", "part-00000.bin"}
    shutil.rmtree(tmp_path / "cache")  # another machine
    command("train")
    assert rows(folder) == rows(trained)
    assert list((tmp_path / "cache").rglob("*.cached")) and not list((tmp_path / "cache").rglob("*.bin"))
    assert "ours" in command("plan")
    shutil.rmtree(tmp_path / "cache")
    assert "capital" in run("inspect", "--run_dir", folder, "--step", 3, cwd=project.folder).out.lower()
    damaged = next(path for path in put if path.name == "part-00000.bin")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-100] + bytes(100))
    assert "does not match its digest" in command("prepare", "--repair")
    assert damaged.read_bytes() == whole
