"""The compiled inner loops of hygiene: hashes of runs of words, and which of the likely duplicates stay."""

import numpy as np

from flan_jax.data.compiled import compiled

_START, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # of FNV-1a
_ADDED = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # of SplitMix64's finaliser
_MOST_COMPARED = 64  # of those that stay in one bucket: what is not told apart by then hardly is alike


@compiled
def _mixed(state):
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))


@compiled
def runs(raw, starts, offsets, size, words, found):
    """Fills `found` with the hashes of runs of words.

    Args:
      raw: uint8, normalised texts in UTF-8 end to end; 32 stands between words.
      starts: int64 [N + 1], where each text's bytes start.
      offsets: int64 [N + 1], where each text's runs start in `found`.
      size: words of a run.
      words: uint64, room for the words of a text.
      found: uint64, what is filled.
    """
    for text in range(len(starts) - 1):
        made = offsets[text + 1] - offsets[text]
        if made == 0:
            continue
        number, state = 0, _START
        for at in range(starts[text], starts[text + 1]):
            if raw[at] == 32:
                words[number] = _mixed(state)
                number, state = number + 1, _START
            else:
                state = (state ^ np.uint64(raw[at])) * _PRIME
        words[number] = _mixed(state)
        number += 1
        length = min(size, number)
        for run in range(made):
            state = np.uint64(length)
            for word in range(run, run + length):
                state = _mixed((state ^ words[word]) + _ADDED)
            found[offsets[text] + run] = state


@compiled
def twins(signatures, buckets, head, tail, following, wanted, twin):
    """Finds for each candidate one before it that stays and is like it.

    Args:
      signatures: uint32 [C, P], of the candidates in the order of who stays.
      buckets: int32 [C, B], the bucket of each in each band; -1 where nobody shares it.
      head: int64, the first entry of each bucket that stays; -1.
      tail: int64, its last one.
      following: int64 [C * B], the entry after an entry; -1.
      wanted: how many of P must be equal.
      twin: int64 [C], what is filled: the candidate that it is like, -1 for one that stays.
    """
    candidates, bands = buckets.shape
    size = signatures.shape[1]
    for one in range(candidates):
        found = -1
        for band in range(bands):
            bucket = buckets[one, band]
            if bucket < 0:
                continue
            entry, compared = head[bucket], 0
            while entry >= 0 and compared < _MOST_COMPARED:
                other = entry // bands
                equal = 0
                for place in range(size):
                    equal += signatures[one, place] == signatures[other, place]
                if equal >= wanted and (found < 0 or other < found):
                    found = other
                    break
                entry, compared = following[entry], compared + 1
        twin[one] = found
        if found >= 0:
            continue
        for band in range(bands):
            bucket = buckets[one, band]
            if bucket < 0:
                continue
            entry = one * bands + band
            if head[bucket] < 0:
                head[bucket] = entry
            else:
                following[tail[bucket]] = entry
            tail[bucket] = entry
