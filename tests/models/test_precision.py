"""What is computed in float32 although the model computes in bfloat16: read off the traced program."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from tests.models.batches import ALL, examples, model_of, rows


def equations(jaxpr):
    """Every equation, those of inner programs among them."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.core.jaxprs_in_params(equation.params):
            yield from equations(inner)


@pytest.mark.parametrize("name", ["encoder_decoder", "causal"])
def test_norms_softmax_and_logits_are_float32_and_products_bfloat16(name):
    config = dataclasses.replace(ALL[name], dtype="bfloat16", logit_cap=5.0, attention_cap=5.0)
    batch = rows([examples([(5, 3), (4, 4)])], config, 10, 8)
    graph, params = nnx.split(model_of(config), nnx.Param)
    jaxpr = jax.make_jaxpr(lambda params: nnx.merge(graph, params)(batch))(params)
    of = {}
    for equation in equations(jaxpr.jaxpr):
        of.setdefault(equation.primitive.name, []).append([v.aval.dtype for v in equation.invars])
    # exp: softmax; rsqrt: norms; tanh: soft caps, and GELU in the model's own dtype
    assert of["exp"] and of["rsqrt"] and of["tanh"]
    assert all(dtypes == [jnp.float32] for name in ("exp", "rsqrt", "reduce_max") for dtypes in of[name])
    assert sum(dtypes == [jnp.float32] for dtypes in of["tanh"]) >= 2
    assert {dtype for dtypes in of["dot_general"] for dtype in dtypes} == {jnp.dtype("bfloat16")}
    assert jaxpr.out_avals[0].dtype == jnp.float32
