"""Products and their gradients are those that JAX makes by itself."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models.fast.cpu_products import attend, mix, over_rows, project, scores, softmax, transposed
from flan_jax.models.fast.few_rows import few_rows
from flan_jax.models.kv_cache import Source
from flan_jax.models.masks import mask_bias
from tests.models.fast.written_out import BATCH, HEADS, KV_HEADS, assert_the_same, normal, query_key_value

Q, K, V = (jax.random.normal(key, (2, 3, 5, 4)) for key in jax.random.split(jax.random.key(0), 3))
BIAS = jax.random.normal(jax.random.key(1), (1, 3, 1, 5, 5))


def ours(q, k, v, bias):
    logits = scores(q, k)[:, :, None] + over_rows(bias, len(q))
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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_turned_is_a_transpose(dtype):
    for shape, dims in (((6, 5), ()), ((5, 6), ()), ((2, 3, 4, 5), ()), ((2, 4, 3, 5), (1, 2)), ((2, 3, 4), (0, 2))):
        x = jnp.arange(np.prod(shape), dtype=dtype).reshape(shape)
        np.testing.assert_array_equal(transposed(x, *dims), x.swapaxes(*(dims or (-2, -1))))


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
        keys = transposed(k, 1, 2)
        return summed(mix(scores(q, keys).astype(q.dtype), keys))

    assert dots(jax.grad(attention, (0, 1)), q, k) == [{"bf16"}] * 6
    few = dots(few_rows, shape(8, 256), shape(512, 256))
    assert few == [{"bf16"}]


@pytest.mark.parametrize(("cap", "rate"), [(0.0, 0.0), (1.5, 0.0), (0.0, 0.4)])
def test_attention_is_the_plain_form(cap, rate):
    query, key, value = query_key_value(5, 7)
    mask = mask_bias(jnp.asarray(np.random.default_rng(0).random((BATCH, 5, 7)) < 0.7).at[:, :, 0].set(True))
    of_heads = normal(1, KV_HEADS, HEADS // KV_HEADS, 5, 7, seed=4)  # one bias for all rows, as T5's
    source, settings = Source(key, value, (mask, of_heads)), {"softcap": cap, "dropout_rate": rate}
    assert_the_same(attend, query, [source], **settings, dropout_key=jax.random.key(0) if rate else None)


@pytest.mark.parametrize(
    ("x", "weights", "dims"), [((2, 3, 4), (4, 5), 1), ((2, 3, 4), (4, 5, 6), 1), ((2, 3, 4, 5), (4, 5, 6), 2)]
)
def test_project_is_a_product_with_the_gradients_of_one(x, weights, dims):
    x, weights = normal(*x), normal(*weights, seed=1)
    plain = lambda x, w: jnp.tensordot(x, w, dims)
    np.testing.assert_array_equal(project(x, weights, dims), plain(x, weights))
    loss = lambda f: lambda x, w: jnp.sin(f(x, w)).sum()
    ours = jax.grad(loss(lambda x, w: project(x, w, dims)), argnums=(0, 1))(x, weights)
    theirs = jax.grad(loss(plain), argnums=(0, 1))(x, weights)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
