"""Rows for new tokens, compared with NumPy's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.models.config import ModelConfig
from flan_jax.models.model import abstract_model
from flan_jax.models.new_rows import with_new_rows
from flan_jax.parallel.mesh import make_mesh

SIZES = {"vocab_size": 40, "embed_dim": 16, "mlp_dim": 16, "num_encoder_layers": 1, "num_decoder_layers": 1}


@pytest.mark.parametrize(("tied", "architecture", "dtype"), [
    (True, "encoder_decoder", "float32"), (False, "decoder", "bfloat16")
])  # fmt: skip
def test_new_rows_are_the_mean_of_the_trained_and_those_stay_bit_for_bit(tied, architecture, dtype):
    config = ModelConfig(architecture=architecture, tie_embeddings=tied, param_dtype=dtype, **SIZES)
    mesh = make_mesh({"data": 1}, jax.devices()[:1])
    shapes, rng = nnx.split(abstract_model(config), nnx.Param)[1], np.random.default_rng(0)
    draw = lambda leaf: jnp.asarray(rng.normal(3.0, 1.0, leaf.get_value().shape), leaf.get_value().dtype)
    params = nnx.from_flat_state([(path, leaf.replace(draw(leaf))) for path, leaf in nnx.to_flat_state(shapes)])
    before = {path: np.asarray(leaf.get_value()) for path, leaf in nnx.to_flat_state(params)}
    tables = {("embedding", "embedding")} | (set() if tied else {("embedding", "head")})
    # 36 ids have a trained row, and 4 rows are spare; token 36 takes a spare one, 40 one that is not there yet.
    grown = with_new_rows(nnx.to_flat_state(params), dataclasses.replace(config, vocab_size=128), 36, [36, 40], mesh)
    after = {path: np.asarray(leaf.get_value()) for path, leaf in grown}
    assert after.keys() == before.keys() and tables <= after.keys()
    for path, array in after.items():
        if path not in tables:
            assert np.array_equal(array, before[path])
            continue
        kept = [*range(36), 37, 38, 39]
        assert array.shape == (128, 16) and array.dtype == before[path].dtype
        assert np.array_equal(array[kept], before[path][kept])
        mean = before[path][:36].astype(np.float64).mean(axis=0)
        close = 1e-6 if dtype == "float32" else 2**-7
        np.testing.assert_allclose(array[[36, *range(40, 128)]].astype(np.float64), [mean] * 89, rtol=close, atol=1e-7)
