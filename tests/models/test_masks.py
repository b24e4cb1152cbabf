import jax.numpy as jnp
import numpy as np

from flan_jax.models.masks import segment_mask


def test_masks():
    row = jnp.array([[1, 1, 1, 2, 2, 0]])
    causal = np.asarray(segment_mask(row, row, causal=True))[0]
    assert causal.astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    prefix = np.asarray(segment_mask(row, row, causal=True, prefix=jnp.array([[1, 1, 0, 1, 0, 0]])))[0]
    assert (prefix.astype(int) - causal).tolist() == np.eye(6, k=1, dtype=int)[[0, *[5] * 5]].tolist()
