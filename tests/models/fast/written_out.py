"""What a fast form is compared with: `attention.attend`, on the same queries and sources."""

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.models.attention import attend
from flan_jax.models.kv_cache import Source, joined

BATCH, HEADS, KV_HEADS, WIDTH = 2, 4, 2, 16
PLAIN = {"softcap": 0.0, "dropout_rate": 0.0, "dropout_key": None}


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def query_key_value(queries, keys, seed=0):
    """Queries [B, Lq, H, K], and keys and values [B, Lk, N, K]."""
    drawn = [normal(BATCH, queries, HEADS, WIDTH, seed=seed)]
    return drawn + [normal(BATCH, keys, KV_HEADS, WIDTH, seed=seed + more) for more in (1, 2)]


def plain(query, sources, **settings):
    """The plain form with a form's arguments."""
    whole = joined(sources)
    return attend(query, whole.key, whole.value, whole.biases, **settings)


def assert_the_same(form, query, sources, *, read=None, biased=True, **settings):
    """Values of a form and its gradients by queries, keys, values and biases are the plain form's, in float32.

    Args:
      form: a function of query, sources and settings.
      query: queries.
      sources: what they look at.
      read: 1 for the queries that matter; None: all.
      biased: whether the form reads biases; a kernel makes its own mask.
      **settings: besides `PLAIN`.
    """
    settings = PLAIN | settings
    arrays = [(source.key, source.value, source.biases) for source in sources]

    def figures(form):
        def summed(query, arrays):
            given = [Source(*leaves, source.cached) for leaves, source in zip(arrays, sources, strict=True)]
            out = form(query, given, **settings)
            of = out if read is None else out * read
            return jnp.sum(jnp.sin(of) * jnp.cos(jnp.arange(WIDTH))), of  # a sum that tells the outputs apart

        (_, out), grads = jax.jit(jax.value_and_grad(summed, (0, 1), has_aux=True))(query, arrays)
        return out, grads if biased else (grads[0], [one[:2] for one in grads[1]])

    for one, other in zip(*(jax.tree.leaves(figures(f)) for f in (form, plain)), strict=True):
        assert np.abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)
