"""Beam search against one worked out here in NumPy, prompt by prompt, without a cache."""

import jax
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.inference import decoding
from tests.models.batches import ALL, VOCAB, examples, logits_of, model_of, rows

ENDS = (1, 9, 20, 33)  # several, so that answers end at many lengths
LENGTH, NEW = 7, 5
PROMPTS = [tokens for tokens, _ in examples([(7, 0), (3, 0), (0, 0)])]
INPUTS = np.stack([np.pad(p, (0, LENGTH - len(p)), constant_values=-1) for p in PROMPTS]).astype(np.int32)


@pytest.fixture(scope="module", params=["encoder_decoder", "causal"])
def config(request):
    return ALL[request.param]


class NextToken:
    """Log-probabilities of the token after a prompt and some of its answer, by the plain forward pass."""

    def __init__(self, config):
        self.config, self.model, self.known = config, model_of(config), {}

    def __call__(self, prompt, made):
        at = (tuple(prompt), tuple(made))
        if at not in self.known:
            # One batch shape whatever is asked, so that there is one compilation.
            answer = np.array([*made, 2], np.int32)
            batch = rows([[(prompt, answer)]], self.config, LENGTH, NEW)
            place = len(made) + (0 if self.config.architecture == "encoder_decoder" else len(prompt))
            self.known[at] = np.asarray(jax.nn.log_softmax(logits_of(self.model, batch)[0, place]), np.float64)
        return self.known[at]


@pytest.fixture(scope="module")
def next_token(config):
    return NextToken(config)


def search(next_token, prompt, width, penalty, early, least):
    """Beam search as transformers describes it: (score, tokens) of the answers that ended, best first."""
    running, ended, is_open = [(0.0, [])], [], True
    for made in range(1, NEW + 1):
        candidates = []
        for total, tokens in running:
            log_probs = next_token(prompt, tokens).copy()
            if made <= least:
                log_probs[list(ENDS)] = -np.inf
            candidates += [(total + log_probs[token], [*tokens, token]) for token in range(VOCAB)]
        candidates = sorted(candidates, key=lambda one: -one[0])[: (1 + len(ENDS)) * width]
        stops = [tokens[-1] in ENDS or made == NEW for _, tokens in candidates]
        full = early is True and len(ended) == width
        if is_open and not full:
            ended += [
                (t / made**penalty, tokens) for (t, tokens), s in list(zip(candidates, stops, strict=True))[:width] if s
            ]
            ended = sorted(ended, key=lambda one: -one[0])[:width]
        running = [one for one, stop in zip(candidates, stops, strict=True) if not stop][:width]
        if not running or (early is True and len(ended) == width):
            break
        best = running[0][0] / (NEW if early == "never" and penalty > 0 else made) ** penalty
        is_open = is_open and (len(ended) < width or best > ended[-1][0])
        if not is_open:
            break
    return ended


@pytest.mark.parametrize(
    ("width", "penalty", "early", "least"),
    [(3, 1.0, False, 0), (3, -1.0, True, 0), (3, 2.0, "never", 2)],
)
def test_beam_search_equals_one_without_arrays(config, next_token, width, penalty, early, least):
    found = decoding.beam_search(
        next_token.model,
        INPUTS,
        NEW,
        ENDS,
        width,
        length_penalty=penalty,
        early_stopping=early,
        num_returned=width,
        min_new_tokens=least,
    )
    lengths = set()
    for row, prompt in enumerate(PROMPTS):
        wanted = search(next_token, prompt, width, penalty, early, least)
        assert len(wanted) == width
        for place, (score, tokens) in enumerate(wanted):
            lengths.add(len(tokens))
            assert found.tokens[row, place].tolist() == tokens + [-1] * (NEW - len(tokens))
            assert found.scores[row, place] == pytest.approx(score, rel=1e-4)
            each = [next_token(prompt, tokens[:i])[token] for i, token in enumerate(tokens)]
            np.testing.assert_allclose(found.token_scores[row, place, : len(tokens)], each, atol=1e-4)
    # Answers of one length alone would leave the penalty untried; a high one wants the longest.
    assert len(lengths) > 1 or penalty == 2.0


def test_one_beam_is_greedy(config):
    model = model_of(config)
    searched = decoding.beam_search(model, INPUTS, NEW, (), 1, length_penalty=0.0)
    greedy = decoding.greedy(model, INPUTS, NEW, ())
    np.testing.assert_array_equal(searched.tokens[:, 0], greedy.tokens)
    np.testing.assert_allclose(searched.scores[:, 0], greedy.scores, rtol=1e-5)


def test_faults_are_told_at_once():
    with pytest.raises(UserError, match=r"(?s)num_beams is 0.*early_stopping is 'soon'.*num_returned is 3"):
        decoding.beam_search(model_of(ALL["causal"]), INPUTS, NEW, 1, 0, early_stopping="soon", num_returned=3)
