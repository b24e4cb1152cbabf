import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.optimizer import OptimizerConfig, make_optimizer
from flan_jax.training.parameter_names import path_names
from flan_jax.training.state import abstract_state, create_state, state_sharding

MESH = AbstractMesh((2, 2, 2), ("data", "fsdp", "tensor"))


def specs(tree):
    return {"/".join(path_names(path)): leaf.spec for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_moments_lie_like_their_parameters(tiny, decay):
    params = jax.eval_shape(tiny.init)
    state = abstract_state(params, make_optimizer(OptimizerConfig(weight_decay=decay), 10, params))
    placed = state_sharding(state, MESH)
    assert jax.tree.structure(placed) == jax.tree.structure(state)
    wanted = specs(placed["params"])
    assert wanted["embed"] == PartitionSpec("tensor", "fsdp")
    assert wanted["stack/up"] == PartitionSpec(None, "fsdp", "tensor")
    found = specs(placed["opt"])
    moments = [name for name in found if "/mu/" in name or "/nu/" in name]
    assert len(moments) == 2 * len(wanted)
    for name in moments:
        assert found[name] == wanted[name.split("u/", 1)[1]]
    assert all(found[name] == PartitionSpec() for name in found if name not in moments)
    assert placed["step"].spec == PartitionSpec()


def test_adafactor_statistics_lie_like_their_parameters_where_shapes_agree(tiny):
    params = jax.eval_shape(lambda: tiny.init(dim=128, hidden=256))
    state = abstract_state(params, make_optimizer(OptimizerConfig(name="adafactor"), 10, params))
    found = specs(state_sharding(state, MESH)["opt"])
    whole = {name: spec for name, spec in found.items() if spec != PartitionSpec()}
    # The embedding [32, 128] is too small to factor; `up` and `down` are factored, the norms' scales are 1-D.
    assert {name.split("/v/")[1]: spec for name, spec in whole.items()} == {
        "embed": PartitionSpec("tensor", "fsdp"),
        "stack/norm/scale": PartitionSpec(None, "fsdp"),
    }
    assert any("v_row/stack/up" in name for name in found)


def test_abstract_state_takes_no_memory_and_carries_shardings(tiny):
    params = jax.eval_shape(tiny.init)
    tx = make_optimizer(OptimizerConfig(), 10, params)
    leaves = jax.tree.leaves(abstract_state(params, tx, make_mesh()))
    assert leaves and all(isinstance(leaf, jax.ShapeDtypeStruct) and leaf.sharding is not None for leaf in leaves)


def test_a_state_from_a_function_equals_one_from_its_parameters(tiny):
    mesh = make_mesh()
    params = tiny.make(seed=3)[1]
    tx = make_optimizer(OptimizerConfig(), 10, params)
    state = create_state(lambda: tiny.init(seed=3), tx, mesh)
    copied = create_state(params, tx, mesh)
    assert jax.tree.structure(state) == jax.tree.structure(copied) == jax.tree.structure(abstract_state(params, tx))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state, copied)
    jax.tree.map(np.testing.assert_array_equal, copied["params"], params)
    assert int(state["step"]) == 0
    jax.tree.map(lambda leaf: leaf.delete(), copied["params"])
    assert np.isfinite(params["embed"][...]).all()
