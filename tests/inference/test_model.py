"""`InferenceModel.generate`: for prompts of many lengths, and until a text is found; tests/parallel has a mesh."""

import numpy as np
import pytest
from flax import nnx

from flan_jax.inference import decoding
from flan_jax.inference import model as asking
from flan_jax.inference.generation import GenerationConfig
from flan_jax.inference.model import InferenceModel
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
def model():
    graph, params = nnx.split(model_of(CAUSAL), nnx.Param)
    return InferenceModel(graph, params, make_mesh(), ENDS)


def test_prompts_of_other_lengths_compile_nothing(model):
    programs = [of(model.laid_out[0], model.mesh) for of in (asking._beginner, asking._advancer)]
    for program in programs:
        program.clear_cache()
    for length in (3, 90, 128, 0, 61):
        model.generate(prompts([length, 2]), GenerationConfig(4))
    assert [program._cache_size() for program in programs] == [1, 1]
    model.generate(prompts([129, 2]), GenerationConfig(4))  # the next length there is
    assert programs[0]._cache_size() == 2
    np.testing.assert_array_equal(
        model.generate(prompts([90, 2]), GenerationConfig(4)).tokens,
        decoding.greedy(model_of(CAUSAL), prompts([90, 2]), 4, ENDS).tokens,
    )


def test_answers_go_on_until_they_need_no_more(model):
    model = InferenceModel(model.graph, model.params, model.mesh, ())
    inputs = prompts([5, 9, 3, 1], width=12)
    whole = model.generate(inputs, GenerationConfig(70)).tokens
    seen = []

    def ended(tokens):
        seen.append((tokens >= 0).sum(axis=1))
        return np.arange(len(tokens)) < len(seen) * len(tokens) // 2  # half the rows at each look

    found = model.generate(inputs, GenerationConfig(70), ended=ended).tokens
    assert [counts.max() for counts in seen] == [16, 32]
    half = len(inputs) // 2
    np.testing.assert_array_equal(found[:half, :16], whole[:half, :16])
    np.testing.assert_array_equal(found[half:, :32], whole[half:, :32])
    assert (found[:half, 16:] == -1).all() and (found[:, 32:] == -1).all()


def test_batches_answer_as_one_batch_does(model):
    """Rows draw by their number in all, and those that fill the last batch up are left out."""
    drawn = GenerationConfig(6, temperature=2.0, seed=3)
    rows = prompts([5, 9, 3, 7, 2], width=12)
    one = model.generate(rows, drawn)
    batches = model.generate_all([row[row >= 0] for row in rows], drawn, length=12, batch_size=2)
    assert len(batches) == 5 and len({tuple(tokens) for tokens, _ in batches}) == 5
    for (tokens, score), row, whole in zip(batches, one.tokens, one.scores, strict=True):
        np.testing.assert_array_equal(tokens, row[row >= 0])
        assert score == pytest.approx(float(whole), abs=1e-4)
