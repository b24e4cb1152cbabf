"""Attention's products and their gradients are those that JAX makes by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models.products import for_rows, mix, scores, softmax

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
