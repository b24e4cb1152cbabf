"""Prompts of many lengths as arrays of few shapes, so that few programs are compiled."""

from collections.abc import Sequence

import numpy as np

SHORTEST = 128  # padding of prompts is cut off down to this length, or twice it, four times it, ...


def padded(rows: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Token ids as an int32 array, -1 where there is none.

    >>> padded([np.array([5, 6]), np.array([7])], (3, 3)).tolist()
    [[5, 6, -1], [7, -1, -1], [-1, -1, -1]]
    """
    array = np.full(shape, -1, np.int32)
    for b, row in enumerate(rows):
        array[b, : len(row)] = row[: shape[1]]
    return array


def filled_up(prompts: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Prompts as `padded` has them, the last of them again in the rows that are left.

    Unlike an empty prompt's, the answer to the last one ends when the others do.

    >>> filled_up([np.array([5, 6]), np.array([7])], (4, 2)).tolist()
    [[5, 6], [7, -1], [7, -1], [7, -1]]
    """
    return padded([*prompts, *[prompts[-1]] * (shape[0] - len(prompts))], shape)


def trimmed(inputs: np.ndarray) -> np.ndarray:
    """Prompts with some of their padding cut off, to the least of a few lengths that holds them all.

    >>> [trimmed(np.full((2, 700), -1)).shape[1], trimmed(np.full((2, 700), 5)).shape[1]]
    [128, 700]
    """
    longest = int((inputs >= 0).sum(axis=1).max(initial=0))
    length = SHORTEST
    while length < longest:
        length *= 2
    return inputs[:, :length]
