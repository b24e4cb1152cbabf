"""Another table of logical axes is another layout of the same training. In a child process, with eight devices."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from flan_jax.parallel.mesh import make_mesh
from flan_jax.parallel.rules import LOGICAL_RULES
from flan_jax.training.loss import LossConfig
from flan_jax.training.optimizer import OptimizerConfig
from flan_jax.training.program import abstract_batch, make_program
from flan_jax.training.state import create_state
from flan_jax.training.step import place_batch
from tests.models.batches import ALL, examples, model_of, rows

STEPS, ROWS, LENGTHS = 3, 8, {"inputs": 16, "targets": 8}
MESH = {"data": 2, "fsdp": 2, "tensor": 2}
SPLIT = {"batch": "data", "length": "fsdp"}
CHUNKS = {"encoder_decoder": 0, "causal": 4}  # tokens; 0: whole logits


def train(kind: str) -> dict:
    """Metrics of a few steps, and what the compiled step holds of each of a batch's arrays on a device."""
    config, mesh = ALL[kind], make_mesh(MESH)
    settings = OptimizerConfig(learning_rate=0.02, eps=1e-4), LossConfig(chunk=CHUNKS[kind], z_loss=1e-3)
    program = make_program(mesh, config, *settings, steps=STEPS, num_tasks=2, microbatches=2)
    shapes = abstract_batch(config, LENGTHS, ROWS, mesh)
    step = program.step.lower(program.abstract, shapes).compile()
    state, metrics = create_state(nnx.split(model_of(config), nnx.Param)[1], program.tx, mesh), []
    for seed in range(STEPS):
        packed = [examples([(5, 3), (6, 2 + row % 3)], ROWS * seed + row) for row in range(ROWS)]
        batch = rows(packed, config, *LENGTHS.values())
        batch["decoder_task_ids"] = batch["decoder_segment_ids"] // 2
        batch = place_batch({name: batch[name] for name in shapes}, mesh)
        state, found = step(state, batch, program.step.scalars)
        metrics.append({name: np.asarray(value).tolist() for name, value in found.items()})
    read = {name: place for name, place in step.input_shardings[0][1].items() if place is not None}
    return {"metrics": metrics, "held": {name: read[name].shard_shape(shapes[name].shape) for name in read}}


@pytest.fixture(scope="module")
def seen():
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=1"
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.test_split_lengths"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", CHUNKS)
def test_splitting_lengths_changes_no_number(seen, kind):
    ours, theirs = seen[kind]["split"]["metrics"], seen[kind]["whole"]["metrics"]
    assert len({each["loss_sum"] for each in theirs}) == STEPS and len(ours) == STEPS
    for a, b in zip(ours, theirs, strict=True):
        for name in b:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4 if name == "grad_norm" else 1e-5, err_msg=name)


@pytest.mark.parametrize("kind", CHUNKS)
def test_each_device_holds_its_part_of_rows_and_lengths(seen, kind):
    whole, split = seen[kind]["whole"]["held"], seen[kind]["split"]["held"]
    assert len(whole) > 5
    for name, (count, length) in whole.items():
        assert count == ROWS // 4 and length in (*LENGTHS.values(), sum(LENGTHS.values()))
        assert split[name] == [ROWS // 2, length // 2]


def main() -> None:
    assert jax.device_count() == 8
    found: dict[str, dict] = {}
    for kind in CHUNKS:
        before, found[kind] = dict(LOGICAL_RULES), {"whole": train(kind)}
        LOGICAL_RULES.update(SPLIT)
        found[kind]["split"] = train(kind)
        LOGICAL_RULES.update(before)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
