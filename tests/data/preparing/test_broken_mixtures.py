"""A file of mixtures/ that cannot be imported stops what needs it, and nothing else."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A copy of the package in which a dataset's file has a fault, and what a command in it says."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "flan_jax", folder / "flan_jax", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mixtures", "gin_configs"):
        shutil.copytree(ROOT / name, folder / "flan_jax" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "flan_jax/mixtures/flan2021/sentiment/sst2.py").write_text("TASKS = (undefined,)\n")

    def run(*argv):
        command = [sys.executable, "-m", "flan_jax.main", *argv]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)

    return run


def test_what_does_not_need_it_is_registered(broken):
    done = broken("tasks")
    assert done.returncode == 0, done.stderr
    names = {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    assert {"starter", "flan2021_nli", "flan2021_without_sentiment", "imdb_reviews", "rte"} <= names
    assert not {"flan2021", "flan2021_sentiment", "flan2021_without_nli", "sst2"} & names
    assert (
        "flan_jax.mixtures.flan2021.sentiment.sst2 cannot be imported (NameError: name 'undefined' is not"
        in done.stdout
    )


def test_what_needs_it_is_told_of_it(broken):
    done = broken("plan", "--mixture", "flan2021", "--estimate", "--steps", "1")
    assert done.returncode == 2
    assert "no task or mixture is called 'flan2021'" in done.stderr
    assert "needs flan_jax.mixtures.flan2021.sentiment.sst2, which cannot be imported (NameError" in done.stderr
