"""`Asked.answers`: for prompts of many lengths, and until a text is found; tests/parallel has it on a mesh."""

import numpy as np
import pytest
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.inference import decoding
from flan_jax.inference import model as asking
from flan_jax.inference.model import Asked, Writing
from flan_jax.parallel.mesh import make_mesh
from tests.models.batches import CAUSAL, VOCAB, model_of

ENDS = (1, 5)


def prompts(lengths, width=300, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.full((len(lengths), width), -1, np.int32)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = rng.integers(2, VOCAB, length)
    return rows


@pytest.fixture(scope="module")
def asked():
    graph, params = nnx.split(model_of(CAUSAL), nnx.Param)
    return Asked(graph, params, make_mesh(), ENDS)


def test_prompts_of_other_lengths_compile_nothing(asked):
    asking._jitted.cache_clear()
    for length in (3, 90, 128, 0, 61):
        asked.answers(prompts([length, 2]), Writing(4))
    programs = [
        asking._jitted(asked.laid_out[0], asked.mesh, name, fixed)
        for name, fixed in (
            ("begin", (False, 0, False, False, 4)),
            ("advance", (False, 0, False, False)),
        )
    ]
    assert [program._cache_size() for program in programs] == [1, 1]
    asked.answers(prompts([129, 2]), Writing(4))  # the next length there is
    assert programs[0]._cache_size() == 2
    np.testing.assert_array_equal(
        asked.answers(prompts([90, 2]), Writing(4)).tokens,
        decoding.greedy(model_of(CAUSAL), prompts([90, 2]), 4, ENDS).tokens,
    )


def test_answers_go_on_until_they_need_no_more(asked):
    asked = Asked(asked.graph, asked.params, asked.mesh, ())
    inputs = prompts([5, 9, 3, 1], width=12)
    whole = asked.answers(inputs, Writing(70)).tokens
    seen = []

    def ended(tokens):
        seen.append((tokens >= 0).sum(axis=1))
        return np.arange(len(tokens)) < len(seen) * len(tokens) // 2  # half the rows at each look

    found = asked.answers(inputs, Writing(70), ended=ended).tokens
    assert [counts.max() for counts in seen] == [16, 32]
    half = len(inputs) // 2
    np.testing.assert_array_equal(found[:half, :16], whole[:half, :16])
    np.testing.assert_array_equal(found[half:, :32], whole[half:, :32])
    assert (found[:half, 16:] == -1).all() and (found[:, 32:] == -1).all()


def test_settings_that_do_not_go_together_are_refused():
    for how, said in (
        (Writing(0), "max_new_tokens is 0"),
        (Writing(3, num_beams=0), "num_beams is 0"),
        (Writing(3, temperature=-1.0), "temperature is -1"),
        (Writing(3, num_beams=2, temperature=1.0), "set num_beams to 1"),
    ):
        with pytest.raises(UserError, match=said):
            how.check()
