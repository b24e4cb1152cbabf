"""What a stage takes over of the optimiser before it."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from flan_jax.config.kept import to_json
from flan_jax.config.run_config import RunConfig
from flan_jax.config.training_settings import OptimizerConfig
from flan_jax.errors import UserError
from flan_jax.parallel import mesh as meshes
from flan_jax.training import carried, state
from flan_jax.training.checkpoints import Checkpoints
from flan_jax.training.optimizer import make_optimizer
from flan_jax.training.program import Program

STEPS = 4
HOW = OptimizerConfig(learning_rate=0.5, schedule="linear")


def program(params, mesh, optimizer=HOW):
    tx = make_optimizer(optimizer, STEPS, params)
    return Program(None, tx, state.abstract_state(params, tx, mesh), None)


@pytest.fixture(scope="module")
def before(tiny, tmp_path_factory):
    """The folder of a run that took three steps, its state, and the mesh."""
    folder, mesh = tmp_path_factory.mktemp("run"), meshes.make_mesh({"data": 1})
    _, params = tiny.make()
    made = program(params, mesh)
    reached = state.create_state(params, made.tx, mesh)
    for _ in range(3):
        grads = jax.tree.map(lambda leaf: leaf * 0.1, reached["params"])
        updates, reached["opt"] = made.tx.update(grads, reached["opt"], reached["params"])
        reached["params"] = optax.apply_updates(reached["params"], updates)
    (folder / "config.json").write_text(to_json(RunConfig(mixture="m", optimizer=HOW)))
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(3, reached, {})
    checkpoints.close()
    return folder, reached, mesh


def begun(before, carry=("optimizer",), optimizer=HOW):
    folder, reached, mesh = before
    made = program(reached["params"], mesh, optimizer)
    config = RunConfig(mixture="m", init_from=str(folder), carry=carry, optimizer=optimizer)
    fresh = state.create_state(reached["params"], made.tx, mesh)
    return carried.over(config, fresh, made), made


def parts(opt, kind):
    return [
        part for part in jax.tree.leaves(opt, is_leaf=lambda part: isinstance(part, kind)) if isinstance(part, kind)
    ]


def test_moments_go_on_and_schedules_begin_anew(before):
    (found, made), reached = begun(before), before[1]
    (adam,), (ours,) = parts(reached["opt"], optax.ScaleByAdamState), parts(found["opt"], optax.ScaleByAdamState)
    for one, other in zip(jax.tree.leaves(adam), jax.tree.leaves(ours), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(ours.count) == 3 and int(found["step"]) == 0
    assert [int(part.count) for part in parts(found["opt"], optax.ScaleByScheduleState)] == [0]
    assert jax.tree.map(lambda leaf: leaf.sharding, found) == jax.tree.map(lambda leaf: leaf.sharding, made.abstract)


def test_nothing_is_carried_over_that_was_not_asked_for(before):
    found, made = begun(before, carry=())
    assert all(not np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(found["opt"]))


def test_another_optimiser_and_what_is_no_run_are_refused(before, tmp_path):
    with pytest.raises(
        UserError, match=r"optimiser of .* \(adamw\) has other statistics than this run's \(adafactor\)"
    ):
        begun(before, optimizer=dataclasses.replace(HOW, name="adafactor"))
    with pytest.raises(UserError, match="which is no run and has no optimiser"):
        begun((tmp_path, *before[1:]))
