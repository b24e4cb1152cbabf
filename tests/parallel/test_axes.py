import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from flan_jax.models import abstract_model
from flan_jax.parallel.axes import fitted_spec, left_whole, shard, sharding_of, spec
from flan_jax.parallel.rules import LOGICAL_RULES
from tests.models.batches import ALL

is_param = lambda leaf: isinstance(leaf, nnx.Variable)


def abstract_mesh(data, fsdp, tensor):
    return AbstractMesh((data, fsdp, tensor), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def test_a_mesh_axis_is_used_once():
    assert spec("batch", "length", "embed") == PartitionSpec(("data", "fsdp"), None, None)
    assert spec("embed", "mlp") == PartitionSpec("fsdp", "tensor")
    assert spec("heads", "kv_heads", "vocab") == PartitionSpec("tensor", None, None)
    assert spec("layers", None, "embed") == PartitionSpec(None, None, "fsdp")


def test_an_unknown_axis_is_refused():
    with pytest.raises(KeyError, match="emebd"):
        spec("emebd")


def test_dimensions_that_do_not_divide_stay_whole():
    mesh = abstract_mesh(2, 2, 4)
    assert fitted_spec((8, 16), ("batch", "mlp"), mesh) == PartitionSpec(("data", "fsdp"), "tensor")
    assert fitted_spec((2, 6), ("batch", "mlp"), mesh) == PartitionSpec("data", None)
    assert fitted_spec((3, 8, 2, 4), ("embed", "kv_heads", "head_dim"), mesh) == PartitionSpec(None, "fsdp", None, None)


def test_axes_a_mesh_lacks_are_passed_over():
    mesh = AbstractMesh((4,), ("fsdp",), axis_types=(AxisType.Auto,))
    assert fitted_spec((8, 16), ("batch", "mlp"), mesh) == PartitionSpec("fsdp", None)


@pytest.mark.parametrize("name", ALL)
def test_every_param_has_axes_and_every_leaf_a_sharding(name):
    graph, params = nnx.split(abstract_model(ALL[name]), nnx.Param)
    leaves = jax.tree.leaves(params, is_leaf=is_param)
    assert len(leaves) > 10
    for param in leaves:
        stacked = param.get_value().ndim - len(param.axes)
        assert stacked in (0, 1)
        assert all(axis is None or axis in LOGICAL_RULES for axis in param.axes)
        assert stacked == 0 or param.get_value().shape[0] == ALL[name].num_decoder_layers
    mesh = jax.make_mesh((1, 1, 1), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    shardings = sharding_of(params, mesh)
    assert jax.tree.structure(shardings) == jax.tree.structure(params)
    assert all(isinstance(leaf, NamedSharding) for leaf in jax.tree.leaves(shardings))


def test_kernels_are_split_and_norms_are_not():
    _, params = nnx.split(abstract_model(ALL["causal"]), nnx.Param)
    specs = {
        jax.tree_util.keystr(path): fitted_spec(param.get_value().shape, param.axes, abstract_mesh(1, 4, 2))
        for path, param in jax.tree_util.tree_leaves_with_path(params, is_leaf=is_param)
    }
    layers = "['decoder']['layers']"
    assert specs["['embedding']['embedding']"] == PartitionSpec("tensor", "fsdp")
    assert specs[layers + "['mlp']['up']['kernel']"] == PartitionSpec(None, "fsdp", "tensor")
    assert specs[layers + "['mlp']['down']['kernel']"] == PartitionSpec(None, "tensor", "fsdp")
    assert specs[layers + "['self_attention']['query']['kernel']"] == PartitionSpec(None, "fsdp", "tensor", None)
    assert specs[layers + "['self_attention']['out']['kernel']"] == PartitionSpec(None, "tensor", None, "fsdp")
    assert specs[layers + "['mlp_norm']['scale']"] == PartitionSpec(None, None)


def test_what_is_left_whole_is_told():
    _, params = nnx.split(abstract_model(ALL["causal"]), nnx.Param)
    assert left_whole(params, abstract_mesh(1, 2, 2)) == []
    told = left_whole(params, abstract_mesh(1, 1, 4))
    assert len(told) == 3 and sum("kv_heads 2 is not a multiple of 4 (tensor)" in line for line in told) == 2
    assert any("vocab 50 is not a multiple of 4" in line for line in told)


def test_shard_does_nothing_without_a_mesh():
    x = jnp.ones((3, 5))
    assert shard(x, "batch", "embed") is x
    assert "sharding_constraint" not in str(jax.make_jaxpr(lambda y: shard(y, "batch", "embed"))(x))


def test_shard_constrains_under_a_mesh():
    with jax.sharding.use_abstract_mesh(abstract_mesh(2, 2, 2)):
        jaxpr = str(jax.make_jaxpr(lambda y: shard(y, "batch", "mlp"))(np.ones((8, 6))))
    assert "sharding_constraint" in jaxpr and "'tensor'" in jaxpr
