"""Packs examples into rows by length: best-fit over every open row of a window.

    lengths  [[5, 2], [3, 2], [2, 1]], capacities [8, 4]
    row_of   [0, 0, 1]                  # 5 + 3 inputs and 2 + 2 targets fill row 0; nothing more fits

A row has one budget (decoder-only) or two (inputs and targets of an encoder-decoder). Longest first, each example goes
to the open row that it leaves fullest; rows that nothing can enter any more are closed, which keeps the search short.
"""

import functools

import numpy as np

from flan_jax.errors import UserError


def pack(lengths: np.ndarray, capacities: np.ndarray) -> np.ndarray:
    """Assigns each example to a row.

    Args:
      lengths: int [N, F] tokens of each example in each of the F budgets.
      capacities: int [F] tokens that a row holds in each budget.

    Returns:
      int32 [N]: the row of each example; rows are numbered from 0 without gaps.

    Raises:
      UserError: an example is longer than a row.

    >>> pack(np.array([[5, 2], [3, 2], [2, 1]]), np.array([8, 4])).tolist()
    [0, 0, 1]
    """
    lengths = np.ascontiguousarray(lengths, np.int64)
    capacities = np.ascontiguousarray(capacities, np.int64)
    if not len(lengths):
        return np.zeros(0, np.int32)
    if (lengths > capacities).any():
        worst = lengths[(lengths > capacities).any(axis=1)][0]
        raise UserError(
            f"an example of {worst.tolist()} tokens does not fit a row of {capacities.tolist()}; raise FEATURE_LENGTHS"
        )
    size = (lengths / capacities).max(axis=1)
    order = np.argsort(-size, kind="stable")
    return _best_fit()(lengths, capacities, order, lengths.min(axis=0))


@functools.cache
def _best_fit():
    """Compiles the search on first use: importing this file costs nothing."""
    import numba

    try:
        return numba.njit(cache=True)(_search)
    except RuntimeError:  # no folder to keep the compiled code in
        return numba.njit(_search)


def _search(lengths, capacities, order, smallest):  # pragma: no cover (compiled)
    count, budgets = lengths.shape
    row_of = np.empty(count, np.int32)
    left = np.empty((count, budgets), np.int64)  # what is left in each row
    open_rows = np.empty(count, np.int32)
    opened, made = 0, 0
    for example in order:
        best, best_left, place = -1, 1e18, -1
        for k in range(opened):
            row = open_rows[k]
            fits, after = True, 0.0
            for f in range(budgets):
                rest = left[row, f] - lengths[example, f]
                if rest < 0:
                    fits = False
                    break
                after += rest / capacities[f]
            if fits and after < best_left:
                best, best_left, place = row, after, k
        if best < 0:
            best, place = made, opened
            for f in range(budgets):
                left[best, f] = capacities[f]
            open_rows[opened] = best
            made += 1
            opened += 1
        row_of[example] = best
        full = False
        for f in range(budgets):
            left[best, f] -= lengths[example, f]
            full = full or left[best, f] < smallest[f]
        if full:
            opened -= 1
            open_rows[place] = open_rows[opened]
    return row_of
