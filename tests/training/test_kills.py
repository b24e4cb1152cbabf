"""A run killed while it saves: what is left is whole."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from flan_jax.training.checkpoints import Checkpoints

SAVES = """
import itertools, sys
import jax.numpy as jnp
from flan_jax.training.checkpoints import Checkpoints
checkpoints = Checkpoints(sys.argv[1], keep=2)
first = (checkpoints.latest() or 0) + 1
for step in itertools.count(first):
    state = {"params": {"w": jnp.full((1 << 20,), step, jnp.float32)}, "opt": {}, "step": jnp.int32(step)}
    checkpoints.save(step, state, {"step": step})
    print(step, flush=True)
"""


ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_change_of_a_name_the_newest_whole_step_is_read_and_the_run_goes_on(tmp_path, every):
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.killing_saves", str(tmp_path), str(every)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["faults"] == [] and found["names"] == ["2", "3"]
    assert len(found["points"]) >= 16 and len(found["reached"]) == 2 * len(found["points"]) // every
    assert found["reached"] == sorted(found["reached"]) and {0, 1, 2, 3} <= {*found["reached"], 3}


@pytest.mark.soak
def test_after_each_kill_the_latest_step_is_whole(tmp_path):
    reached = 0
    for kill in range(8):
        child = subprocess.Popen([sys.executable, "-c", SAVES, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        started = [int(child.stdout.readline()) for _ in range(4)]
        time.sleep(0.013 * kill)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        reader = Checkpoints(tmp_path, read_only=True)
        latest = reader.latest()
        assert latest is not None and latest >= started[-1] - 1 > reached
        assert reader._read(latest, {})[1] == {"step": latest}
        back = reader.restore_params(latest, {"w": jax.ShapeDtypeStruct((1 << 20,), np.float32)})
        assert (np.asarray(back["w"]) == latest).all()
        reader.close()
        reached = latest
    Checkpoints(tmp_path, keep=2).close()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert all(name.isdigit() for name in left), f"the next start clears what was half done, but there is {left}"
