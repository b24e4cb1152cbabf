"""Keyed order in whole numbers: hashes, and permutations that need no memory."""

from typing import Any

import numpy as np


def mix(*words) -> np.ndarray:
    """A 64-bit hash of integers (SplitMix64's finaliser, chained); arrays broadcast.

    Our own so that no library's change of stream can change a plan. Source: Steele et al., OOPSLA 2014.

    >>> int(mix(1, 2)) == int(mix(1, 2)), int(mix(1, 2)) == int(mix(2, 1))
    (True, False)
    """
    state: Any = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        for word in words:
            z = np.asarray(word, np.uint64) + state
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = (z ^ (z >> np.uint64(31))) + np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(state)


def permute(position: np.ndarray, count: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Where each position goes in a keyed permutation of range(count), in no memory but the answers'.

    A six-round Feistel network over the next power of two, walked until the value is below `count` (cycle walking).
    Source: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002.

    Args:
      position: int64 [N], each below its count.
      count: int64 [N].
      key: uint64 [N].

    Returns:
      int64 [N].

    >>> sorted(permute(np.arange(7), np.full(7, 7), np.full(7, 5, np.uint64)).tolist())
    [0, 1, 2, 3, 4, 5, 6]
    """
    from flan_jax.data.planning import plan_kernels

    out = np.empty(len(position), np.int64)
    plan_kernels.permute(np.asarray(position, np.int64), np.asarray(count, np.int64), np.asarray(key, np.uint64), out)
    return out
