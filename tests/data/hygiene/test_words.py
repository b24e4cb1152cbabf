"""What is compared of texts, against a plain way to say it."""

import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from flan_jax.data.hygiene import words


def plainly(text):
    """Letters and digits of a text, word by word."""
    kept = "".join(c if c.isalnum() else " " for c in unicodedata.normalize("NFKC", text).casefold())
    return " ".join(kept.split())


@pytest.mark.parametrize(
    "text", ["The cat; it SAT.", "a_b c-d", "Ünïcode ﬁne Ⅳ ½", "Ένα ΔΎΟ", "  \n", "1,234.5", "ÅNGSTRÖM Å", "it's"]
)
def test_words_are_letters_and_digits(text):
    assert words.normalised(text) == plainly(text)


def test_how_a_letter_is_composed_does_not_count():
    assert words.normalised("cafe\u0301") == words.normalised("caf\u00e9") == "café"
    assert words.digest(words.normalised("cafe\u0301!")) == words.digest("café") != words.digest("cafe")


def test_scripts_without_blanks_give_a_word_a_character_and_vowel_signs_part_none():
    assert words.normalised("河 は長い") == "河 は 長 い"
    assert words.normalised("हिन्दी भाषा।") == "हिन्दी भाषा"


@pytest.mark.parametrize("size", [1, 2, 5, 13])
def test_equal_runs_have_equal_hashes_and_no_others(size):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["a", "bb", "ccc", "é", "河"], rng.integers(0, 30))) for _ in range(60)]
    hashes, offsets = words.runs(texts, size)
    known: dict = {}
    for text, start, end in zip(texts, offsets, offsets[1:], strict=False):
        tokens = text.split()
        runs = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
        assert len(runs) == end - start
        for run, value in zip(runs, hashes[start:end].tolist(), strict=True):
            assert known.setdefault(run, value) == value
    assert len(set(known.values())) == len(known)


def test_a_short_text_is_one_run_where_that_is_wanted():
    hashes, offsets = words.runs(["a b", "", "a b c"], 5, short=True)
    assert offsets.tolist() == [0, 1, 1, 2] and hashes[0] != hashes[1]


def test_hashes_are_the_same_in_every_process():
    """PYTHONHASHSEED is another in each: what is kept beside stores must stay true."""
    said = "from flan_jax.data.hygiene import words; print(words.digest('a b'), words.runs(['a b c'], 2)[0].tolist())"
    other = {**os.environ, "PYTHONHASHSEED": "7"}
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, env=other).stdout
    assert found == f"{words.digest('a b')} {words.runs(['a b c'], 2)[0].tolist()}\n"
