import types

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from flan_jax.errors import UserError
from flan_jax.parallel.mesh import batch_sharding, check_batch, compiler_options, make_mesh
from flan_jax.parallel.rules import LOGICAL_RULES


def test_the_rest_is_filled_in():
    mesh = make_mesh({"data": 1, "fsdp": -1, "tensor": 1})
    assert dict(mesh.shape) == {"data": 1, "fsdp": jax.device_count(), "tensor": 1}
    assert mesh.axis_types == (AxisType.Auto,) * 3
    assert dict(make_mesh({"data": -1}).shape) == {"data": jax.device_count(), "fsdp": 1, "tensor": 1}


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"data": 3, "fsdp": 2}, r"data 3 x fsdp 2 x tensor 1 asks for 6 devices, which is not the 1 at hand"),
        ({"tensor": 7}, r"asks for 7 devices, which does not divide|asks for 7 devices, which is not the 1"),
        ({"fsdp": -1, "tensor": 7}, r"asks for 7 devices, which does not divide the 1 at hand"),
        ({"fsdp": -1, "data": -1}, r"at most one of them -1"),
        ({"fsdp": 0}, r"sizes of 1 or more"),
        ({"fdsp": 1}, r"no axis 'fdsp'.*did you mean 'fsdp'"),
    ],
)
def test_meshes_that_cannot_be(shape, words):
    with pytest.raises(UserError, match=words):
        make_mesh(shape, jax.devices()[:1])


def test_batches_must_divide():
    mesh = jax.sharding.AbstractMesh((2, 4, 2), ("data", "fsdp", "tensor"))
    check_batch(48, 2, mesh)
    check_batch(8, 1, mesh)
    with pytest.raises(
        UserError, match=r"batch of 40 rows .* 2 microbatches over 8 devices .* multiple of 16, such as 32 or 48"
    ):
        check_batch(40, 2, mesh)
    with pytest.raises(UserError, match=r"multiple of 16, such as 16"):
        check_batch(4, 2, mesh)
    for bad in ((0, 1), (16, 0)):
        with pytest.raises(UserError):
            check_batch(*bad, mesh)


def test_batches_follow_the_table(monkeypatch):
    monkeypatch.setitem(LOGICAL_RULES, "batch", "fsdp")
    monkeypatch.setitem(LOGICAL_RULES, "length", ("data", "tensor"))
    mesh = jax.sharding.AbstractMesh((2, 4, 2), ("data", "fsdp", "tensor"))
    check_batch(40, 2, mesh)
    with pytest.raises(UserError, match=r"over 4 devices \(fsdp\): set BATCH_SIZE to a multiple of 8"):
        check_batch(12, 2, mesh)
    assert batch_sharding(make_mesh({"fsdp": -1})).spec == PartitionSpec("fsdp", ("data", "tensor"))


def test_rows_of_a_batch_go_over_both_data_axes():
    assert batch_sharding(make_mesh({"fsdp": -1})).spec == PartitionSpec(("data", "fsdp"), None)


def test_xla_flags_go_before_our_options_and_an_accelerator_has_none(monkeypatch):
    here, there = make_mesh({"data": 1}, jax.devices()[:1]), types.SimpleNamespace(platform="tpu")
    elsewhere = types.SimpleNamespace(devices=np.array([there], dtype=object))
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    assert compiler_options(here, 2) == {"xla_backend_optimization_level": 2}
    assert compiler_options(elsewhere, 2) is None
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    assert compiler_options(here, 2) is None
