"""Packs examples into rows by length.

    lengths  [[5, 2], [3, 2], [2, 1]], capacities [8, 4]
    row_of   [0, 0, 1]                  # 5 + 3 inputs and 2 + 2 targets fill row 0; nothing more fits

A row has one budget (decoder-only) or two (inputs and targets of an encoder-decoder). Rows are filled one after the
other: the next example is the one, of all that are left, that brings the row closest to full, as the distance of what
is left from nothing, each budget as a share of its size. With one budget that is first-fit-decreasing; with two, the
norm-based greedy of Panigrahy et al., "Heuristics for Vector Bin Packing", 2011. No bound on open rows, no sampling:
the search is exact, in bit sets over the different lengths.
"""

import numpy as np

from flan_jax.errors import UserError

_UNIT_BITS = 20


def pack(lengths: np.ndarray, capacities: np.ndarray) -> np.ndarray:
    """Assigns each example to a row.

    Args:
      lengths: int [N, F] tokens of each example in each of the F budgets, one or two.
      capacities: int [F] tokens that a row holds in each budget.

    Returns:
      int32 [N]: the row of each example; rows are numbered from 0 without gaps.

    Raises:
      UserError: an example is longer than a row.

    >>> pack(np.array([[5, 2], [3, 2], [2, 1]]), np.array([8, 4])).tolist()
    [0, 0, 1]
    """
    from flan_jax.data.planning import plan_kernels

    lengths, capacities = _two_budgets(lengths, capacities)
    rows = np.empty(len(lengths), np.int32)
    if not len(lengths):
        return rows
    different = [np.unique(lengths[:, f], return_inverse=True) for f in (0, 1)]
    # The budget of fewer different lengths gives the levels, which the search goes through one by one.
    v, w = (0, 1) if len(different[1][0]) <= len(different[0][0]) else (1, 0)
    (values, value), (levels, level) = different[v], different[w]
    cell = level * len(values) + value
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    cells = np.stack([level[order[starts]], value[order[starts]]])
    first = np.searchsorted(cells[0], np.arange(len(levels) + 1))
    plan_kernels.fill_rows(
        np.append(starts, len(order)),
        cells,
        first,
        values,
        levels,
        np.searchsorted(values, np.arange(capacities[v] + 1), side="right") - 1,
        np.searchsorted(levels, np.arange(capacities[w] + 1), side="right") - 1,
        (np.arange(capacities[v] + 1) << _UNIT_BITS) // capacities[v],
        (np.arange(capacities[w] + 1) << _UNIT_BITS) // capacities[w],
        order,
        rows,
    )
    return rows


def least_rows(lengths: np.ndarray, capacities: np.ndarray) -> int:
    """A bound that no packing can go below, whatever it does.

    The sum bound: rows that hold the tokens of all. The stronger one: for any threshold t, examples of more than
    capacity - t tokens of one budget share no row with each other or with those of t or more; so these need a row each,
    beside the rows that hold the tokens (of either budget) of those between. The largest over every t up to half a row.
    Source: Martello and Toth's L2 (1990), as Spieksma (1994) and Caprara and Toth (2001) extend it to two budgets.

    Args:
      lengths: int [N, F], F being 1 or 2.
      capacities: int [F].

    >>> least_rows(np.array([[10, 10], [90, 1], [5, 90]]), np.array([100, 100]))
    2
    >>> least_rows(np.array([[100, 1], [1, 100], [1, 100]]), np.array([100, 100]))
    3
    """
    lengths, capacities = _two_budgets(lengths, capacities)
    if not len(lengths):
        return 0
    least = int((-(-lengths.sum(axis=0) // capacities)).max())
    for f in (0, 1):
        order = np.argsort(lengths[:, f], kind="stable")
        tokens = lengths[order, f]
        sums = np.concatenate([np.zeros((1, 2), np.int64), np.cumsum(lengths[order], axis=0)])
        thresholds = np.unique(tokens)
        thresholds = thresholds[(thresholds > 0) & (2 * thresholds <= capacities[f])]
        start = np.searchsorted(tokens, thresholds, side="left")
        stop = np.searchsorted(tokens, capacities[f] - thresholds, side="right")
        between = (-(-(sums[stop] - sums[start]) // capacities)).max(axis=1)
        least = max(least, int((len(tokens) - stop + between).max(initial=0)))
    return least


def _two_budgets(lengths: np.ndarray, capacities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checks lengths against capacities; a single budget gets a second one that nobody uses."""
    lengths, capacities = np.asarray(lengths, np.int64), np.asarray(capacities, np.int64)
    if (lengths > capacities).any():
        worst = lengths[(lengths > capacities).any(axis=1)][0]
        raise UserError(
            f"an example of {worst.tolist()} tokens does not fit a row of {capacities.tolist()}; raise FEATURE_LENGTHS"
        )
    if len(capacities) == 1:
        return np.concatenate([lengths, np.zeros_like(lengths)], axis=1), np.append(capacities, 1)
    return lengths, capacities
