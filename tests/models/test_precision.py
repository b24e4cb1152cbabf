"""What is computed in float32 although the model computes in bfloat16: read off the traced program."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.inference import decoding
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


@pytest.mark.parametrize("name", [pytest.param("encoder_decoder", marks=pytest.mark.slow), "causal"])
def test_options_and_answers_in_bfloat16_are_near_those_in_float32(name):
    random = np.random.default_rng(0)
    prompts, options = random.integers(3, 40, (4, 12)), random.integers(3, 40, (4, 3, 4))
    found = {}
    for dtype in ("float32", "bfloat16"):
        model = model_of(dataclasses.replace(ALL[name], dtype=dtype))
        graph, params = nnx.split(model, nnx.Param)
        score = jax.jit(lambda params, *given, graph=graph: decoding.score_options(nnx.merge(graph, params), *given))
        found[dtype] = np.asarray(score(params, prompts, options)[0])
        assert decoding.greedy(decoding.laid_out(model), prompts, 4, ()).tokens.shape == (4, 4)
    np.testing.assert_allclose(found["bfloat16"], found["float32"], rtol=0.05)
