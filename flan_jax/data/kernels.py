"""The compiled inner loops of reading: lengths and rows straight from the mapped columns of parts.

Each example is named by `slot`, its part's row in `table` (see `Part.addresses`), and `local`, its place in that part.
Compiled at the first call and kept on disk; without the interpreter's lock, so that threads share the work.
"""

from typing import Any

import numba
import numpy as np
from numba.core import cgutils
from numba.extending import intrinsic

from flan_jax.data.compiled import compiled


def _to_pointer(typing_context, address):
    """An integer as a pointer."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return numba.types.voidptr(address), generate


_pointer: Any = intrinsic(_to_pointer)


def _crc_tables() -> np.ndarray:
    """CRC-32's tables for four bytes at a time (Kounavis and Berry, 2005): uint32 [4, 256]."""
    first = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = np.where(first & 1, np.uint32(0xEDB88320) ^ (first >> 1), first >> 1).astype(np.uint32)
    tables = [first]
    for _ in range(3):
        tables.append(first[tables[-1] & 0xFF] ^ (tables[-1] >> 8))
    return np.stack(tables)


_CRC = _crc_tables()


@compiled
def _crc(state, word):
    state ^= word
    return _CRC[3, state & 255] ^ _CRC[2, (state >> 8) & 255] ^ _CRC[1, (state >> 16) & 255] ^ _CRC[0, state >> 24]


@compiled
def _bounds(address, values, local):
    """Where an example's tokens start and end; (0, -1) where the offsets cannot be right."""
    offsets = numba.carray(_pointer(address), (local + 2,), np.int64)
    start, end = offsets[local], offsets[local + 1]
    if start < 0 or end < start or end > values:
        return 0, -1
    return start, end


@compiled
def lengths(table, slot, local, found):
    """Fills `found` [N, 2] with tokens of inputs and targets; gives the first example with bad offsets, or -1."""
    for e in range(len(slot)):
        part = table[slot[e]]
        start, end = _bounds(part[0], part[7], local[e])
        found[e, 0] = end - start
        start, end = _bounds(part[2], part[8], local[e])
        found[e, 1] = end - start
        if found[e, 0] < 0 or found[e, 1] < 0:
            return e
    return -1


@compiled
def fill(table, slot, local, row, task, joined, begin, check, decoder, loss_weights, encoder):
    """Lays examples out in zeroed rows; see `flan_jax.data.rows` for the arrays.

    Args:
      table: int64 [parts, 9].
      slot: int32 [N].
      local: int64 [N].
      row: int32 [N] the row of each example; those of a row stand together.
      task: int32 [N].
      joined: whether a row holds inputs and targets end to end.
      begin: the input token before an example's first; -1: none, each input token's target is the token after it.
      check: whether examples are compared with their checksums.
      decoder: int32 [6, B, L]: input tokens, target tokens, segment ids, positions, task ids, prefix mask.
      loss_weights: float32 [B, L].
      encoder: int32 [3, B, Li]: input tokens, segment ids, positions.

    Returns:
      -1, or the first example that is damaged or does not fit.
    """
    current, number, at, before = -1, 0, 0, 0
    for e in range(len(slot)):
        b = row[e]
        if b != current:
            current, number, at, before = b, 0, 0, 0
        number += 1
        part = table[slot[e]]
        input_start, input_end = _bounds(part[0], part[7], local[e])
        start, end = _bounds(part[2], part[8], local[e])
        inputs, targets = input_end - input_start, end - start
        total = inputs + targets if joined else targets
        if inputs < 0 or targets < 0 or at + total > decoder.shape[2]:
            return e
        if not joined and before + inputs > encoder.shape[2]:
            return e
        wide = part[6] == 4
        input_ids16 = numba.carray(_pointer(part[1]), (input_end,), np.uint16)
        input_ids32 = numba.carray(_pointer(part[1]), (input_end,), np.uint32)
        ids16 = numba.carray(_pointer(part[3]), (end,), np.uint16)
        ids32 = numba.carray(_pointer(part[3]), (end,), np.uint32)
        weights = numba.carray(_pointer(part[4]), (end,), np.float32)
        weight_words = numba.carray(_pointer(part[4]), (end,), np.uint32)
        weighted = part[4] != 0
        state, last = np.uint64(0xFFFFFFFF), np.int32(begin)
        back = 1 if begin < 0 else 0  # how far before its place an example's token is predicted
        for i in range(inputs):
            word = np.uint64(input_ids32[input_start + i]) if wide else np.uint64(input_ids16[input_start + i])
            state = _crc(state, word)
            token = np.int32(word)
            if joined:
                if begin >= 0 or i > 0:
                    decoder[0, b, at + i - back] = last
                    decoder[1, b, at + i - back] = token
                decoder[5, b, at + i] = 1
                last = token
            else:
                encoder[0, b, before + i] = token
                encoder[1, b, before + i] = number
                encoder[2, b, before + i] = i
        first = at + inputs if joined else at
        for i in range(targets):
            word = np.uint64(ids32[start + i]) if wide else np.uint64(ids16[start + i])
            state = _crc(state, word)
            if begin >= 0 or first + i > at:
                decoder[0, b, first + i - back] = last
                decoder[1, b, first + i - back] = np.int32(word)
                loss_weights[b, first + i - back] = weights[start + i] if weighted else np.float32(1)
            last = np.int32(word)
        if begin < 0 and total:
            decoder[0, b, at + total - 1] = last
        if joined and begin >= 0 and inputs and targets:
            # The input token of position p is token p - 1: the inputs are read at positions 0 .. inputs.
            decoder[5, b, first] = 1
        for i in range(total):
            decoder[2, b, at + i] = number
            decoder[3, b, at + i] = i
            decoder[4, b, at + i] = task[e]
        if check:
            if weighted:
                for i in range(start, end):
                    state = _crc(state, np.uint64(weight_words[i]))
            checksum = numba.carray(_pointer(part[5]), (local[e] + 1,), np.uint32)[local[e]]
            if state ^ np.uint64(0xFFFFFFFF) != np.uint64(checksum):
                return e
        at += total
        before += inputs
    return -1
