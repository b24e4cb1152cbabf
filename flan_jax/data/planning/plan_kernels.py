"""The compiled inner loops of planning: the keyed permutation, the examples of a window, and the search for rows.

Imported where they are called, compiled at the first call and kept on disk. Whole numbers only, so that every machine
plans the same.
"""

import numba
import numpy as np
from numba.extending import intrinsic

from flan_jax.data.compiled import compiled

_ROUNDS, _ROUNDS_OF_FEW = 6, 24  # small halves mix slowly
_ONE, _ALL = np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)


@intrinsic
def _leading_zeros(typing_context, word):
    """Zero bits above the highest one of a uint64."""

    def generate(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], context.get_constant(numba.types.boolean, False))

    return numba.types.uint64(numba.types.uint64), generate


@compiled
def _highest(word):
    """Place of the highest one bit of a uint64 above 0."""
    return 63 - np.int64(_leading_zeros(word))  # type: ignore[call-arg]


@compiled
def _up_to(place):
    """A uint64 with ones from bit 0 up to and with bit `place` mod 64."""
    return _ALL >> np.uint64(63 - (place & 63))


@compiled
def _finalise(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def _mix(seed, what, task, epoch):
    """`flan_jax.data.planning.order.mix` of four integers."""
    state = np.uint64(0x9E3779B97F4A7C15)
    for word in (seed, what, task, epoch):
        state = _finalise(word + state) + np.uint64(0x9E3779B97F4A7C15)
    return state


@compiled
def _permuted(position, count, key):
    """Where a position goes in the permutation of range(count) that belongs to a key; see `order.permute`."""
    if count < 2:
        return position
    width = np.uint64(_highest(np.uint64(count - 1)) + 1)
    right_bits = width >> _ONE
    left_bits = width - right_bits
    left_mask, right_mask = (_ONE << left_bits) - _ONE, (_ONE << right_bits) - _ONE
    rounds = _ROUNDS if width > 8 else _ROUNDS_OF_FEW
    value = np.uint64(position)
    while True:
        left, right = value >> right_bits, value & right_mask
        for step in range(rounds):
            # Halves of different widths take turns instead of changing places.
            key_of_step = key + np.uint64(step) * np.uint64(0xD1342543DE82EF95)
            if step % 2:
                right ^= _finalise(key_of_step ^ left) & right_mask
            else:
                left ^= _finalise(key_of_step ^ right) & left_mask
        value = (left << right_bits) | right
        if value < np.uint64(count):
            return np.int64(value)


@compiled
def permute(position, count, key, out):
    """Fills `out`; see `order.permute`."""
    for i in range(len(position)):
        out[i] = _permuted(position[i], count[i], key[i])


@compiled
def examples_by(high, low, shares, phases, counts):
    """Fills counts at time high * 2^20 + low; see `plan.examples_by`."""
    for t in range(len(shares)):
        below = (low * shares[t] + phases[t]) >> np.uint64(20)
        counts[t] = np.int64((high * shares[t] + below) >> np.uint64(20))


@compiled
def window_examples(before, after, counts, seed, what, in_order, task, index, epoch):
    """Fills task, index and epoch of the examples number before[t] to after[t] of every task t; where in_order[t], the
    first pass is not permuted."""
    at = 0
    for t in range(len(counts)):
        number, stop = before[t], after[t]
        if number == stop:
            continue
        here = number // counts[t]
        position = number - here * counts[t]
        key = _mix(seed, what, np.uint64(t), np.uint64(here))
        for _ in range(stop - number):
            if position == counts[t]:
                here, position = here + 1, 0
                key = _mix(seed, what, np.uint64(t), np.uint64(here))
            place = position if in_order[t] and here == 0 else _permuted(position, counts[t], key)
            task[at], index[at], epoch[at] = t, place, here
            position += 1
            at += 1


@compiled
def _closest(words, marks, some, values, levels, value_at, level_at, value_share, level_share, x, y):
    """The cell (level, value) that leaves least of a row with room for x and y; (-1, -1) where none fits."""
    best, best_level, best_value = np.int64(1) << 62, np.int64(-1), np.int64(-1)
    up_to, at = value_at[x], level_at[y]
    if up_to < 0:
        return best_level, best_value
    word_of, mask = up_to >> 6, _up_to(up_to)
    while at >= 0:
        word = at >> 6  # the next level down that holds anything
        found = some[word] & _up_to(at)
        while found == 0 and word > 0:
            word -= 1
            found = some[word]
        if found == 0:
            break
        at = (word << 6) + _highest(found)
        gap = level_share[y] - level_share[levels[at]]
        if gap * gap >= best:
            break  # lower levels leave more
        value = np.int64(-1)  # its longest that fits
        found = words[at, word_of] & mask
        if found != 0:
            value = (word_of << 6) + _highest(found)
        elif word_of > 0:
            word = (word_of - 1) >> 6
            found = marks[at, word] & _up_to(word_of - 1)
            while found == 0 and word > 0:
                word -= 1
                found = marks[at, word]
            if found != 0:
                word = (word << 6) + _highest(found)
                value = (word << 6) + _highest(words[at, word])
        if value >= 0:
            other = value_share[x] - value_share[values[value]]
            if gap * gap + other * other < best:
                best, best_level, best_value = gap * gap + other * other, at, value
        at -= 1
    return best_level, best_value


@compiled
def fill_rows(starts, cells, first, values, levels, value_at, level_at, value_share, level_share, order, rows):
    """Fills one row after the other, each time with the example that leaves it closest to full.

    Examples of equal lengths are a cell. Cells stand in order of (level, value): which of the different lengths in one
    budget, and in the other.

    Args:
      starts: int64 [C + 1], where each cell starts in `order`.
      cells: int64 [2, C], level and value of each cell.
      first: int64 [levels + 1], where each level's cells start.
      values: int64 [V], the different lengths in one budget, rising.
      levels: int64 [levels], the same of the other.
      value_at: int64 [capacity + 1], place of the last of `values` up to a length, or -1.
      level_at: int64 [capacity + 1], the same of `levels`.
      value_share: int64 [capacity + 1], a length as a share of its budget, in units of 2^-20.
      level_share: int64 [capacity + 1], the same of the other.
      order: int64 [N], the examples, cell by cell.
      rows: int32 [N], filled: the row of each example.
    """
    words = np.zeros((len(levels), (len(values) + 63) >> 6), np.uint64)  # a bit a cell that holds examples
    marks = np.zeros((len(levels), (words.shape[1] + 63) >> 6), np.uint64)  # a bit a word that is not 0
    some = np.zeros((len(levels) + 63) >> 6, np.uint64)  # a bit a level that holds examples
    for c in range(cells.shape[1]):
        level, value = cells[0, c], cells[1, c]
        words[level, value >> 6] |= _ONE << np.uint64(value & 63)
        marks[level, value >> 12] |= _ONE << np.uint64((value >> 6) & 63)
        some[level >> 6] |= _ONE << np.uint64(level & 63)
    tops = starts[1:].copy()
    row, x, y = 0, len(value_at) - 1, len(level_at) - 1  # what the row still takes in each budget
    placed = 0
    while placed < len(order):
        level, value = _closest(words, marks, some, values, levels, value_at, level_at, value_share, level_share, x, y)
        if level < 0:
            row, x, y = row + 1, len(value_at) - 1, len(level_at) - 1
            continue
        c = first[level] + np.searchsorted(cells[1, first[level] : first[level + 1]], value)
        tops[c] -= 1
        rows[order[tops[c]]] = row
        x, y, placed = x - values[value], y - levels[level], placed + 1
        if tops[c] == starts[c]:
            words[level, value >> 6] &= ~(_ONE << np.uint64(value & 63))
            if words[level, value >> 6] == 0:
                marks[level, value >> 12] &= ~(_ONE << np.uint64((value >> 6) & 63))
                if not marks[level].any():
                    some[level >> 6] &= ~(_ONE << np.uint64(level & 63))
