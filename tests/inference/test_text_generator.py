"""What `TextGenerator` makes of token ids; tests/e2e/test_generate.py has it with a trained model."""

import numpy as np
import pytest
from jax.sharding import AbstractMesh

from flan_jax.errors import UserError
from flan_jax.inference.decoding import Decoded
from flan_jax.inference.generation import GenerationConfig
from flan_jax.inference.text_generator import TextGenerator

EOS = 1


class Letters:
    """A codec of a letter a token."""

    eos_id = EOS

    def encode(self, text):
        return [ord(letter) for letter in text]

    def encode_prompt(self, text, form):
        return self.encode(form.format(text))

    def decode(self, ids):
        return "".join(chr(i) for i in ids if i != EOS)


class Echo:
    """Answers each prompt with its own tokens, each a little less probable than the one before."""

    mesh = AbstractMesh((2, 2, 2), ("data", "fsdp", "tensor"))  # four ways for rows

    def generate(self, inputs, generation, *, ended, first_row):
        self.asked = inputs, first_row
        scores = np.where(inputs >= 0, -np.arange(1.0, inputs.shape[1] + 1), 0.0)
        return Decoded(inputs, scores.sum(axis=1) / 10 ** (generation.num_beams - 1), scores)

    def score_options(self, inputs, options):
        self.asked = inputs, options
        return (options >= 0).sum(axis=2), None


def generator_of(generation=None, stop=(), ends=False):
    given = generation or GenerationConfig(9)
    return TextGenerator(Echo(), Letters(), given, stop, prompt_form="<{}>", prompt_ends=ends, max_prompt_tokens=8)


def test_prompts_are_put_in_their_form_and_fill_the_mesh():
    generator = generator_of(ends=True)
    found = generator.complete(["ab", "c", "d", "ab", "e"], first_row=10)
    inputs, first_row = generator.model.asked
    assert inputs.shape == (8, 8) and first_row == 10
    assert inputs[0].tolist() == [*map(ord, "<ab>"), EOS, -1, -1, -1]
    assert (inputs[5:] == inputs[4]).all() and [one.text for one in found] == ["<ab>", "<c>", "<d>", "<ab>", "<e>"]
    assert found[1].token_scores == [-1, -2, -3, -4] and found[1].score == -10


@pytest.mark.parametrize(("beams", "score"), [(1, -6.0), (2, -1.5)])
def test_an_answer_that_a_stop_cuts_has_the_score_of_what_is_left_unless_it_is_a_beams(beams, score):
    (found,) = generator_of(GenerationConfig(9, num_beams=beams), stop=["b", ">"]).complete(["abc"])
    assert (found.text, found.token_scores, found.score) == ("<a", [-1, -2, -3], score)


def test_targets_are_scored_with_their_end():
    generator = generator_of()
    assert generator.log_probabilities(["a", "b"], ["xyz", ""]) == [4, 1]
    inputs, options = generator.model.asked
    assert inputs.shape == (4, 8) and options.shape == (4, 1, 16)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [("abcdefg", "has 9 tokens .* at most 8; .* inputs=9,targets=9"), ("a\udc80", "bytes that are not UTF-8")],
)
def test_a_prompt_that_was_never_trained_on_is_refused(prompt, said):
    with pytest.raises(UserError, match=said):
        generator_of().complete(["a", prompt])
