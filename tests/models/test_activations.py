import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.models.activations import dropout, noisy


def test_dropout_keeps_the_mean_and_shares_along_the_length():
    x, key = jnp.ones((64, 7, 128)), jax.random.key(0)
    y = np.asarray(dropout(x, 0.25, key))
    assert set(np.unique(y).round(4)) == {0.0, np.float32(1.3333)} and abs(y.mean() - 1) < 0.02
    assert (y == y[:, :1]).all() and (y[0] != y[1]).any()
    assert dropout(x, 0.25, None) is x and dropout(x, 0.0, key) is x


def test_noise_is_even_and_goes_with_the_examples_own_length():
    segments = np.zeros((2, 40), np.int32)
    segments[0, :4], segments[0, 4:20], segments[1, :40] = 1, 2, 1
    x, alpha = jnp.ones((2, 40, 64)), 5.0
    added = np.asarray(noisy(x, segments, alpha, jax.random.key(0)) - x)
    assert (added[segments == 0] == 0).all()
    for row, segment, tokens in ((0, 1, 4), (0, 2, 16), (1, 1, 40)):
        here, largest = added[row, segments[row] == segment], alpha / np.sqrt(tokens * 64)
        assert len(here) == tokens and np.abs(here).max() <= largest
        assert np.isclose(here.std(), largest / np.sqrt(3), rtol=0.1) and abs(here.mean()) < 0.2 * largest
    assert noisy(x, segments, alpha, None) is x and noisy(x, segments, 0.0, jax.random.key(0)) is x
