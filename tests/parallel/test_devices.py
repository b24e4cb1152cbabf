import json
import os
import subprocess
import sys

import pytest

from tests.models.batches import ALL
from tests.parallel.eight_devices import MESHES


@pytest.fixture(scope="module")
def report():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.parallel.eight_devices", *ALL],
        env=os.environ | flags,
        capture_output=True,
        text=True,
        timeout=600,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("report ")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[0].removeprefix("report "))


@pytest.mark.parametrize("mesh", [mesh for mesh in MESHES if mesh != "1"])
@pytest.mark.parametrize("name", ALL)
def test_a_mesh_changes_no_number(report, name, mesh):
    row = report[f"{name} {mesh}"]
    assert row["size"] > 0.1
    assert row["logits"] < 1e-5
    assert row["gradients"] < 1e-4
    assert row["compiles"] == 1
    assert (row["split"] > 5) == (mesh != "8x1x1")  # data parallelism alone keeps parameters whole


@pytest.mark.parametrize("name", [name for name in ALL if name != "prefix"])
def test_a_mesh_decodes_to_the_same_tokens(report, name):
    assert report[f"{name} decodes"] == [True, True, True]
