"""Texts as what is compared of them: words of letters and digits, and hashes of runs of words.

    "The River-Bank,  No. 7"   →  "the river bank no 7"   →  runs of 3 words: a hash each

Case, marks, blanks and how a letter is composed do not count. Scripts that put no blanks between words give a word a
character. All hashes are of our own, so that neither a process nor a version of Python changes them.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

RULES = 1  # raise it when the same text comes to give other words or hashes
# Han, kana, Thai, Lao, Burmese, Khmer: a character stands for a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_INDIC = "\u0900-\u0963\u0966-\u0dff"  # its vowel signs are no letters to Python, but the inside of words
_WORD = re.compile(f"[{_UNSPACED}]|(?:[^\\W_{_UNSPACED}]|[{_INDIC}])+")
_PLAIN = re.compile(r"[a-z0-9]+")


def normalised(text: str) -> str:
    """A text's words with single blanks between them.

    >>> normalised("The River-Bank,  No. ７"), normalised("Straße!"), normalised("河は長い。")
    ('the river bank no 7', 'strasse', '河 は 長 い')
    """
    if text.isascii():
        return " ".join(_PLAIN.findall(text.lower()))
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def digest(words: str) -> int:
    """A hash of a normalised text in 64 bits; 0 for an empty one alone."""
    if not words:
        return 0
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little") or 1


def salt_of(instruction: str) -> int:
    """What tells apart rows that say the same under another instruction; 0 where rows say none."""
    return digest(normalised(instruction)) if instruction else 0


def count(words: str) -> int:
    """How many words a normalised text has."""
    return words.count(" ") + 1 if words else 0


def runs(texts: Sequence[str], size: int, short: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all runs of `size` words of normalised texts.

    Args:
      texts: N of them.
      size: words of a run.
      short: whether a text of fewer words gives one run of all it has; else it gives none.

    Returns:
      uint64 hashes, end to end; int64 [N + 1], where each text's start.

    >>> hashes, offsets = runs(["a b c", "b c", ""], 2)
    >>> offsets.tolist(), int(hashes[1]) == int(hashes[2])
    ([0, 2, 3, 3], True)
    """
    from flan_jax.data.hygiene import run_kernels

    counts = np.array([count(text) for text in texts], np.int64)
    made = np.maximum(counts - size + 1, ((counts > 0) & short).astype(np.int64))
    offsets = np.concatenate([[0], np.cumsum(made)])
    raw = [text.encode() for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in raw])]).astype(np.int64)
    found = np.empty(int(offsets[-1]), np.uint64)
    longest = int(counts.max(initial=0))
    run_kernels.runs(
        np.frombuffer(b"".join(raw) or b" ", np.uint8), starts, offsets, size, np.empty(longest, np.uint64), found
    )
    return found, offsets
