import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.models import ModelConfig
from flan_jax.models.fast.few_rows import FewRowsLinear, few_rows
from flan_jax.models.layers import Linear


@pytest.mark.parametrize(
    ("rows", "length", "outputs"),
    [(8, 24, 1200), (3, 24, 1201), (8, 24, 40), (12, 24, 1200), (8, 700, 1200), (20, 24, 40)],
)
def test_few_rows_make_the_plain_product_alone_and_as_beams(rows, length, outputs):
    keys = jax.random.split(jax.random.key(2), 4)
    kernel = jax.random.normal(keys[0], (outputs, length))
    x = jax.random.normal(keys[1], (3, rows, length))
    close = lambda found, wanted: np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    close(jax.jit(few_rows)(x[0], kernel), x[0] @ kernel.T)
    close(jax.vmap(few_rows, (0, None))(x, kernel), x @ kernel.T)
    close(jax.vmap(few_rows, (1, None), 1)(x.swapaxes(0, 1), kernel), (x @ kernel.T).swapaxes(0, 1))
    kernels = jax.random.normal(keys[2], (3, *kernel.shape))
    close(jax.vmap(few_rows)(x, kernels), jnp.einsum("wri,woi->wro", x, kernels))
    close(jax.vmap(few_rows, (None, 0))(x[0], kernels), jnp.einsum("ri,woi->wro", x[0], kernels))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("shape", "dims"), [((6, 5), 1), ((6, 2, 5), 1), ((2, 3, 5), 2)])
def test_linear_maps_joined_are_the_plain_ones_side_by_side(shape, dims, bias):
    made = [
        Linear(nnx.Rngs(seed), shape, ("embed",) * len(shape), 1.0, ModelConfig(), dims=dims, bias=bias)
        for seed in range(2)
    ]
    for seed, linear in enumerate(made) if bias else ():
        linear.bias[...] = jax.random.normal(jax.random.key(seed), linear.bias.shape)
    x = jax.random.normal(jax.random.key(3), (4, 1, *shape[:dims]))
    kernels, biases = [linear.kernel[...] for linear in made], [linear.bias[...] for linear in made if bias]
    plain = jnp.concatenate([linear(x) for linear in made], axis=2)
    np.testing.assert_allclose(FewRowsLinear(kernels, biases, dims)(x), plain, rtol=1e-5, atol=1e-5)
