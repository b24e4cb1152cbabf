"""Which tokens are kept, and the frequencies of draws, against probabilities worked out here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from flan_jax.inference.decoding import choice
from flan_jax.inference.decoding.tokens import row_keys

DRAWS = 20_000
PROBS = np.array([0.08, 0.3, 0.02, 0.2, 0.08, 0.32])


def kept(probs, temperature, top_k, top_p):
    """The probabilities of draws: temperature, then the k best and their equals, then the least likely 1 - p out."""
    probs = probs ** (1 / temperature)
    if top_k:
        probs = np.where(probs >= np.sort(probs)[-top_k], probs, 0)
    probs = probs / probs.sum()
    if top_p < 1:
        order = np.argsort(probs, kind="stable")
        out = order[np.cumsum(probs[order]) <= 1 - top_p]
        probs[out[: len(probs) - 1]] = 0
    return probs / probs.sum()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 0, 1.0), (0.5, 0, 1.0), (3.0, 3, 1.0), (1.0, 4, 1.0), (1.0, 0, 0.95), (2.0, 5, 0.7), (1.0, 0, 0.93)],
)
def test_draws_follow_their_probabilities(temperature, top_k, top_p):
    wanted = kept(PROBS, temperature, top_k, top_p)
    logits = jnp.log(jnp.tile(jnp.asarray(PROBS, jnp.float32), (DRAWS, 1))) + 3.0
    keys = row_keys(jax.random.key(7), DRAWS)
    drawn = np.asarray(choice.draw(keys, logits, temperature, top_k, top_p if top_p < 1 else None))
    counts = np.bincount(drawn, minlength=len(PROBS))
    assert (counts[wanted == 0] == 0).all()
    possible = wanted > 0
    assert stats.chisquare(counts[possible], DRAWS * wanted[possible]).pvalue > 1e-3


def test_the_most_probable_is_the_first_of_the_largest_and_always_an_id():
    logits = np.random.default_rng(0).integers(-3, 3, (64, 50)).astype(np.float32)
    assert np.array_equal(choice.most_probable(jnp.asarray(logits)), logits.argmax(axis=1))
    barred = jnp.array([[-jnp.inf, -jnp.inf, 0.5, -jnp.inf], [-jnp.inf] * 4, [jnp.nan] * 4])
    found = np.asarray(choice.most_probable(barred))
    assert found[:2].tolist() == [2, 0] and 0 <= found[2] < 4


def test_equals_of_the_kth_token_stay_and_of_equals_the_lower_ids_go_first():
    logits = jnp.log(jnp.array([[0.3, 0.1, 0.1, 0.1, 0.4]]))
    assert np.isfinite(choice.keep_top_k(logits, 3)[0]).tolist() == [True] * 5
    assert np.isfinite(choice.keep_top_k(logits, 2)[0]).tolist() == [True, False, False, False, True]
    assert np.isfinite(choice.keep_top_p(logits, 0.85)[0]).tolist() == [True, False, True, True, True]
    assert np.isfinite(choice.keep_top_p(logits, 0.75)[0]).tolist() == [True, False, False, True, True]
    assert np.isfinite(choice.keep_top_p(logits, 1e-9)[0]).tolist() == [False] * 4 + [True]


def test_ends_are_barred_only_while_they_should_be():
    logits = jnp.arange(5.0)[None]
    ends = choice.ids_of([4, 1])
    assert np.isfinite(choice.without_end(logits, ends, True)[0]).tolist() == [True, False, True, True, False]
    assert np.isfinite(choice.without_end(logits, ends, False)[0]).all()
    assert np.isfinite(choice.without_end(logits, choice.ids_of(()), True)[0]).all()
