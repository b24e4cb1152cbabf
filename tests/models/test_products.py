"""Products and their gradients are those that JAX makes by itself."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models.layers import project
from flan_jax.models.products import few_rows, for_rows, mix, scores, softmax, turned

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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_turned_is_a_transpose(dtype):
    for shape, dims in (((6, 5), ()), ((5, 6), ()), ((2, 3, 4, 5), ()), ((2, 4, 3, 5), (1, 2)), ((2, 3, 4), (0, 2))):
        x = jnp.arange(np.prod(shape), dtype=dtype).reshape(shape)
        np.testing.assert_array_equal(turned(x, *dims), x.swapaxes(*(dims or (-2, -1))))


def dots(f, *args):
    """The operands' dtypes of every product that the compiled function makes."""
    text = jax.jit(f).lower(*args).compile().as_text()
    made = dict(re.findall(r"%([\w.\-]+) = (\w+)\[", text))
    found = re.findall(r" dot\((?:\S+ )?%([\w.\-]+), (?:\S+ )?%([\w.\-]+)\)", text)
    return [{made[left], made[right]} for left, right in found]


def test_bfloat16_products_and_their_gradients_are_not_widened_on_cpu():
    shape = lambda *dims: jax.ShapeDtypeStruct(dims, jnp.bfloat16)
    x, w = shape(2, 256, 256), shape(256, 512)
    plain = dots(lambda x, w: jnp.einsum("bli,io->blo", x, w, preferred_element_type=jnp.float32), x, w)
    if plain != [{"bf16"}]:
        pytest.skip("this processor has no instructions for bfloat16 that XLA would use")
    summed = lambda y: jnp.sum(jnp.sin(y.astype(jnp.float32)))
    assert dots(jax.grad(lambda x, w: summed(project(x, w)), (0, 1)), x, w) == [{"bf16"}] * 3
    # as attention has them: keys and values come with the length before the heads
    q, k = shape(2, 4, 512, 128), shape(2, 256, 4, 128)

    def attention(q, k):
        keys = turned(k, 1, 2)
        return summed(mix(scores(q, keys).astype(q.dtype), keys))

    assert dots(jax.grad(attention, (0, 1)), q, k) == [{"bf16"}] * 6
    few = dots(few_rows, shape(8, 256), shape(512, 256))
    assert few == [{"bf16"}]
