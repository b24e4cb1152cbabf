"""The wheel by itself, in a fresh environment, from a folder whose names could shadow ours."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A virtual environment that holds the wheel and its dependencies, nothing of the clone."""
    if not shutil.which("uv"):
        pytest.skip("uv is not here to build the wheel and make an environment")
    folder = tmp_path_factory.mktemp("wheel")
    # Built from a copy: building leaves a folder build/ behind.
    left_out = shutil.ignore_patterns(".*", "build", "*.egg-info")
    sources = shutil.copytree(ROOT, folder / "sources", ignore=left_out)
    quiet = {"check": True, "capture_output": True, "text": True}
    subprocess.run(["uv", "build", "--wheel", "--out-dir", folder, sources], **quiet)
    (wheel,) = folder.glob("flan_jax-*.whl")
    subprocess.run(["uv", "venv", "--python", "3.11", folder / "venv"], **quiet)
    subprocess.run(["uv", "pip", "install", "--python", folder / "venv", wheel], **quiet)
    return folder / "venv" / "bin" / "flan-jax"


def test_the_quickstart_runs_beside_folders_of_our_names(installed, tmp_path):
    for name in ("mixtures", "tests", "gin_configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the caller's own folder was imported')")
    command = [installed, "train", "--gin_file=quickstart.gin", "--steps", "3", "--gin.EVAL_MIXTURE=None"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Plan of 'starter'" in done.stdout
    assert len((tmp_path / "runs" / "quickstart" / "metrics.jsonl").read_text().splitlines()) == 3
