"""Splash attention, in Pallas's interpreter, against the plain form."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.models.fast import splash
from tests.models.batches import CAUSAL, examples, model_of, rows
from tests.models.fast.packed_rows import given, traced_with_split_lengths
from tests.models.fast.written_out import assert_the_same


@pytest.mark.parametrize(("window", "cap"), [(0, 2.0), (9, 0.0)])
def test_splash_is_the_plain_form(window, cap):
    query, source, packed, read = given(window)
    assert_the_same(
        functools.partial(splash.attend, packed=packed), query, [source], read=read, biased=False, softcap=cap
    )


def test_the_kernel_reads_rows_whole_whatever_the_table_says_of_lengths(monkeypatch):
    equations, whole = traced_with_split_lengths(splash.attend, monkeypatch)
    (placed,) = [one for one in equations if one.primitive.name == "shard_map"]
    *_, query, key, value, _ = placed.params["in_specs"]  # constants of the kernel come first
    assert (query, key, value) == (whole,) * 3


def test_a_model_with_local_and_global_layers_has_the_same_logits_and_gradients():
    base = dataclasses.replace(
        CAUSAL, num_decoder_layers=2, layer_pattern=("local", "global"), window=4, attention_cap=3.0
    )
    batch = rows([examples([(5, 6), (9, 8)]), examples([(20, 10)], seed=1)], base, 24, 12)

    def figures(attention):
        graph, params = nnx.split(model_of(dataclasses.replace(base, attention=attention)), nnx.Param)
        logits = lambda params: nnx.merge(graph, params)(batch)
        read = lambda params: (
            lambda out: (jnp.sum(jnp.sin(out) * (batch["decoder_segment_ids"] > 0)[..., None]), out)
        )(logits(params))
        (_, out), grads = jax.jit(jax.value_and_grad(read, has_aux=True))(params)
        return np.asarray(out)[batch["decoder_segment_ids"] > 0], grads

    ours, theirs = figures("splash"), figures("xla")
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max() + 1e-6)
