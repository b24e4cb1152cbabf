import importlib.util
import sys

import jax
import jax.numpy as jnp
import pytest

from flan_jax.errors import UserError
from flan_jax.parallel import ahead
from flan_jax.parallel.ahead import compile_ahead, compile_in_child

ROOT = __file__.rsplit("/tests/", 1)[0]


def test_a_report_counts_bytes():
    step = jax.jit(lambda x, y: x + y.sum(), donate_argnums=0)
    report = compile_ahead(step, jax.ShapeDtypeStruct((256,), jnp.float32), jax.ShapeDtypeStruct((10,), jnp.float32))
    assert report.compiles and report.error == "" and report.chips == 1
    assert report.argument_bytes == 256 * 4 + 10 * 4
    assert report.output_bytes == report.alias_bytes == 256 * 4
    assert report.peak_bytes >= report.argument_bytes


def test_without_the_compiler_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"flan-jax\[tpu-aot\]"):
        ahead.topology_mesh("v5e:4x4")


@pytest.fixture(scope="module")
def child():
    """Compiles a program of programs.py on v5e:4x4."""
    pytest.importorskip("libtpu", reason="needs the extra tpu-aot")

    def compile_it(name, mesh_shape, topology="v5e:4x4", **arguments):
        return compile_in_child(
            name, arguments, topology=topology, mesh_shape=mesh_shape, path=[ROOT, *_folders()], timeout=300
        )

    return compile_it


def _folders():
    return [folder for folder in sys.path if folder]


@pytest.mark.parametrize("mesh_shape", [{"fsdp": -1}, {"data": 2, "fsdp": 4, "tensor": 2}])
@pytest.mark.parametrize("architecture", ["encoder_decoder", "decoder"])
def test_a_gradient_compiles_for_a_tpu_that_is_not_here(child, architecture, mesh_shape):
    report = child("tests.parallel.programs:gradient", mesh_shape, architecture=architecture)
    assert report.compiles, report.error
    assert report.chips == 16
    # donated parameters are where the gradients go: donation works when as much is aliased
    parameters = report.alias_bytes
    assert 0 < parameters < report.argument_bytes < 1.5 * parameters
    assert report.argument_bytes <= report.peak_bytes < 2**28


def test_memory_is_flat_in_the_mesh_and_grows_with_the_batch(child):
    small = child("tests.parallel.programs:gradient", {"fsdp": -1}, batch_size=32)
    large = child("tests.parallel.programs:gradient", {"fsdp": -1}, batch_size=256)
    assert small.alias_bytes == large.alias_bytes
    assert large.temp_bytes > 2 * small.temp_bytes


def test_a_program_too_large_is_reported(child):
    report = child("tests.parallel.programs:too_large", {"fsdp": -1})
    assert not report.compiles
    assert "RESOURCE_EXHAUSTED" in report.error and report.peak_bytes == 0


def test_faults_are_told(child):
    with pytest.raises(UserError, match="topology 'v5e:4x5' is not known"):
        child("tests.parallel.programs:too_large", {}, topology="v5e:4x5")
    with pytest.raises(UserError, match="which does not divide the 16"):
        child("tests.parallel.programs:too_large", {"tensor": 3, "fsdp": -1})
    with pytest.raises(UserError, match="did you mean 'too_large'"):
        child("tests.parallel.programs:toolarge", {"fsdp": -1})
    with pytest.raises(UserError, match="'nowhere:x' is not there"):
        child("nowhere:x", {"fsdp": -1})
    with pytest.raises(RuntimeError, match="a fault of the program"):
        child("tests.parallel.programs:broken", {"fsdp": -1})
