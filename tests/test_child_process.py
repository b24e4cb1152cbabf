"""Processes of our own find this flan_jax, wherever they are started, and the modules that lie there."""

import pathlib

import pytest

from flan_jax.data.request import WorkerSetup
from flan_jax.data.worker import Worker


@pytest.fixture
def beside_another_flan_jax(tmp_path, monkeypatch):
    """A folder with another flan_jax in it, as a clone's is beside an installed one, and a module of the user's."""
    other = tmp_path / "flan_jax"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit('the other flan_jax was imported')\n")
    (tmp_path / "mine.py").write_text("from flan_jax.tasks import mixture\nmixture('mine', ['first_food'])\n")
    monkeypatch.chdir(tmp_path)
    return pathlib.Path(other)


def test_the_data_process_is_of_this_flan_jax_and_finds_modules_beside_it(beside_another_flan_jax):
    with Worker(WorkerSetup(modules=("mine",))) as worker:
        assert "mine" in [entry["name"] for entry in worker.call("list")["entries"]]
