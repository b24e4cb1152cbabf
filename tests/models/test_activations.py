import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.models.activations import dropout


def test_dropout_keeps_the_mean_and_shares_along_the_length():
    x, key = jnp.ones((64, 7, 128)), jax.random.key(0)
    y = np.asarray(dropout(x, 0.25, key))
    assert set(np.unique(y).round(4)) == {0.0, np.float32(1.3333)} and abs(y.mean() - 1) < 0.02
    assert (y == y[:, :1]).all() and (y[0] != y[1]).any()
    assert dropout(x, 0.25, None) is x and dropout(x, 0.0, key) is x
