"""There is no GPU here: the call is looked at, and computed by the same function's XLA path."""

import functools

import jax

from flan_jax.models.fast import cudnn
from tests.models.fast.packed_rows import given
from tests.models.fast.written_out import assert_the_same


def test_cudnn_gets_the_same_mask(monkeypatch):
    seen, real = [], jax.nn.dot_product_attention

    def watched(q, k, v, *, implementation, **settings):
        seen.append(implementation)
        return real(q, k, v, implementation="xla", **settings)

    monkeypatch.setattr(jax.nn, "dot_product_attention", watched)
    query, source, packed, read = given(window=9)
    assert_the_same(functools.partial(cudnn.attend, packed=packed), query, [source], read=read, biased=False)
    assert set(seen) == {"cudnn"}
