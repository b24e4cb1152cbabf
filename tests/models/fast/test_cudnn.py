"""There is no GPU here: the call is looked at, and computed by the same function's XLA path."""

import functools

import jax
import pytest

from flan_jax.models.fast import cudnn
from tests.models.fast.packed_rows import given, traced_with_split_lengths
from tests.models.fast.written_out import assert_the_same


@pytest.fixture
def seen(monkeypatch):
    """The implementations that are asked for."""
    seen, real = [], jax.nn.dot_product_attention

    def watched(q, k, v, *, implementation, **settings):
        seen.append(implementation)
        return real(q, k, v, implementation="xla", **settings)

    monkeypatch.setattr(jax.nn, "dot_product_attention", watched)
    return seen


def test_cudnn_gets_the_same_mask(seen):
    query, source, packed, read = given(window=9)
    assert_the_same(functools.partial(cudnn.attend, packed=packed), query, [source], read=read, biased=False)
    assert set(seen) == {"cudnn"}


def test_cudnn_reads_rows_whole_whatever_the_table_says_of_lengths(seen, monkeypatch):
    equations, whole = traced_with_split_lengths(cudnn.attend, monkeypatch)
    constraints = [one.params["sharding"].spec for one in equations if one.primitive.name == "sharding_constraint"]
    assert constraints == [whole] * 3 and seen == ["cudnn"]
