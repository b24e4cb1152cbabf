"""Two processes save and restore together, and agree on which step is sound. They talk over the loopback."""

import json
import os
import pathlib
import runpy
import socket
import subprocess
import sys

import numpy as np
import pytest


def one_process(index: str, port: str, folder: str) -> None:
    """Trains, saves twice, damages the newer step, restores the older one."""
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=int(index))
    from flan_jax.parallel.mesh import local_rows, make_mesh
    from flan_jax.parallel.rules import LOGICAL_RULES
    from flan_jax.training.checkpoints import Checkpoints
    from flan_jax.training.objective import likelihood
    from flan_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
    from flan_jax.training.state import abstract_state, create_state, state_sharding
    from flan_jax.training.step import make_train_step, place_batch

    tiny = runpy.run_path(str(pathlib.Path(__file__).with_name("conftest.py")))
    mesh, config = make_mesh({"data": 2, "fsdp": 2}), OptimizerConfig(learning_rate=0.02)
    shapes = jax.eval_shape(tiny["init"])
    tx = make_optimizer(config, 9, shapes)
    state = create_state(tiny["init"], tx, mesh)
    step = make_train_step(
        likelihood(tiny["make"]()[0]),
        tx,
        mesh=mesh,
        state_shardings=state_sharding(state, mesh),
        schedule=learning_rate_schedule(config, 9),
        num_tasks=3,
    )
    rows = slice(4 * int(index), 4 * int(index) + 4)
    losses = []

    def train(state, number):
        batch = {name: value[rows] for name, value in tiny["make_batch"](seed=number).items()}
        state, metrics = step(state, place_batch(batch, mesh))
        losses.append(float(metrics["loss_sum"]))
        return state

    checkpoints = Checkpoints(folder, best_metric="score")
    for number in range(2):
        state = train(state, number)
        checkpoints.save(number + 1, state, {"number": number})
        checkpoints.rank(number + 1, {"score": -number})
    checkpoints.wait()
    found = [checkpoints.latest(), checkpoints.best()]
    if index == "0":
        next((pathlib.Path(folder) / "2" / "params").rglob("manifest.ocdbt")).unlink()
    checkpoints.close()
    checkpoints = Checkpoints(folder)
    found.append(checkpoints.latest())
    state, extra = checkpoints.restore(1, abstract_state(shapes, tx, mesh))
    state = train(state, 1)
    checkpoints.save(2, state, {"number": "again"})
    checkpoints.wait()
    found.append(checkpoints.latest())
    checkpoints.close()
    # Of a length that is split over processes each of them loads the whole, and places its part.
    LOGICAL_RULES.update(batch="fsdp", length="data")
    whole = np.arange(48, dtype=np.int32).reshape(8, 6)
    placed = place_batch({"tokens": whole}, mesh)["tokens"]
    parts = placed.addressable_shards
    assert placed.shape == (8, 6) and {part.data.shape for part in parts} == {(4, 3)}
    assert local_rows(8, mesh) == range(8) and all(np.array_equal(part.data, whole[part.index]) for part in parts)
    print(json.dumps({"losses": losses, "found": found, "extra": extra}), flush=True)
    jax.distributed.shutdown()


@pytest.mark.slow
def test_two_processes_save_restore_and_agree(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    children = [
        subprocess.Popen(
            [sys.executable, __file__, str(index), str(port), str(tmp_path / "checkpoints")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for index in range(2)
    ]
    try:
        outputs = [child.communicate(timeout=240) for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0], outputs[0][1][-2000:] + outputs[1][1][-2000:]
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in outputs)
    assert first == second
    assert first["found"] == [2, 1, 1, 2]
    assert first["extra"] == {"number": 0}
    np.testing.assert_equal(first["losses"][2], first["losses"][1])


if __name__ == "__main__":
    one_process(*sys.argv[1:])
