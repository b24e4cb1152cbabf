"""Products and their gradients are those that JAX makes by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models.products import few_rows, for_rows, mix, scores, softmax

Q, K, V = (jax.random.normal(key, (2, 3, 5, 4)) for key in jax.random.split(jax.random.key(0), 3))
BIAS = jax.random.normal(jax.random.key(1), (1, 3, 1, 5, 5))


def ours(q, k, v, bias):
    logits = scores(q, k)[:, :, None] + for_rows(bias, len(q))
    return jnp.sum(jnp.sin(mix(softmax(logits)[:, :, 0], v)))


def plain(q, k, v, bias):
    logits = jnp.einsum("bnmk,bnsk->bnms", q, k) + bias[:, :, 0]
    return jnp.sum(jnp.sin(jnp.einsum("bnms,bnsk->bnmk", jax.nn.softmax(logits), v)))


def test_values_and_gradients_are_the_plain_ones():
    got, wanted = (jax.jit(jax.value_and_grad(f, (0, 1, 2, 3)))(Q, K, V, BIAS) for f in (ours, plain))
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scores_are_float32_and_gradients_have_the_dtype_of_what_they_are_for(dtype):
    q, k, v = (x.astype(dtype) for x in (Q, K, V))
    assert scores(q, k).dtype == jnp.float32 and mix(softmax(scores(q, k)).astype(dtype), v).dtype == q.dtype
    of = lambda q, k, v: mix(softmax(scores(q, k)).astype(dtype), v).astype(jnp.float32).sum()
    assert {grad.dtype for grad in jax.grad(of, (0, 1, 2))(q, k, v)} == {jnp.dtype(dtype)}


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
