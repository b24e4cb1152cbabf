"""Which rows are twins, against comparing all pairs by hand."""

import numpy as np
import pytest

from flan_jax.data.hygiene import duplicates, words
from flan_jax.data.hygiene.contents import COLUMNS

NOUNS = "river cloud stone apple pear green tree house boat lamp".split()  # noqa: SIM905


def made(texts):
    """Columns of rows that are prompts alone."""
    columns = np.zeros(len(texts), COLUMNS)
    columns["prompt"] = [words.digest(text) for text in texts]
    columns["words"] = [words.count(text) for text in texts]
    return columns


def shingles(text):
    tokens = text.split()
    return {tuple(tokens[i : i + 5]) for i in range(max(1, len(tokens) - 4))}


def jaccard(one, other):
    one, other = shingles(one), shingles(other)
    return len(one & other) / len(one | other)


def near(texts, tmp_path, similarity=0.8, stays="first", pieces=1):
    tmp_path.mkdir(exist_ok=True)
    files = duplicates.SignatureFiles(tmp_path, similarity)
    cuts = np.linspace(0, len(texts), pieces + 1).astype(int)
    for number, (start, end) in enumerate(zip(cuts, cuts[1:], strict=False)):
        files.write(number, duplicates.signatures(texts[start:end]))
    order = duplicates.order_of(made(texts), stays)
    return duplicates.near(files, np.array(cuts[1:]), order, np.ones(len(texts), bool))


@pytest.fixture(scope="module")
def texts():
    """Texts of 60 words, a third of them another one with up to 12 words changed."""
    rng = np.random.default_rng(3)
    found = []
    for number in range(240):
        if number % 3 or not found:
            found.append([f"{word}{rng.integers(50)}" for word in rng.choice(NOUNS, 60)])
            continue
        copy = list(found[rng.integers(len(found))])
        start, changed = rng.integers(48), rng.integers(0, 13)
        copy[start : start + changed] = [f"new{rng.integers(10**6)}" for _ in range(changed)]
        found.append(copy)
    return [" ".join(text) for text in found]


def test_exact_twins_are_the_first_that_say_the_same():
    columns = made(["a b", "c", "a b", "", "a b", "c"])
    columns["answer"] = [1, 1, 1, 0, 2, 1]
    among = columns["words"] > 0
    assert duplicates.exact(columns, np.arange(6), among).tolist() == [-1, -1, 0, -1, -1, 1]
    assert duplicates.exact(columns, np.array([5, 4, 3, 2, 1, 0]), among).tolist() == [2, 5, -1, -1, -1, -1]
    among[0] = False
    assert duplicates.exact(columns, np.arange(6), among).tolist() == [-1, -1, -1, -1, -1, 1]


def test_near_twins_are_those_that_comparing_all_pairs_finds(texts, tmp_path):
    found = near(texts, tmp_path)
    missed = wrong = 0
    for row, twin in enumerate(found.twin.tolist()):
        stay = [other for other in range(row) if found.twin[other] < 0]
        most = max((jaccard(texts[row], texts[other]) for other in stay), default=0)
        if twin >= 0:
            assert twin < row and found.twin[twin] < 0, "a twin is trained on"
            assert abs(jaccard(texts[row], texts[twin]) - found.similarity[row]) < 0.15
            wrong += most < 0.7
        else:
            missed += most > 0.9
    assert (found.twin >= 0).sum() > 20 and missed == wrong == 0


def test_how_the_rows_were_cut_and_who_looked_changes_nothing(texts, tmp_path):
    whole = near(texts, tmp_path / "whole")
    cut = near(texts, tmp_path / "cut", pieces=7)
    assert whole.twin.tolist() == cut.twin.tolist() and whole.similarity.tolist() == cut.similarity.tolist()


def test_the_longest_stays_where_that_is_asked_for(tmp_path):
    long = " ".join(f"w{i}" for i in range(60))
    texts = [long.rsplit(" ", 2)[0], "something else of more than five words", long]
    assert near(texts, tmp_path).twin.tolist() == [-1, -1, 0]
    assert near(texts, tmp_path, stays="longest").twin.tolist() == [2, -1, -1]


def test_texts_of_few_words_are_alike_only_where_they_are_equal(tmp_path):
    assert near(["is 12 odd", "is 13 odd", "is 12 odd"], tmp_path).twin.tolist() == [-1, -1, 0]


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_bands_find_nearly_all_that_are_as_alike_as_is_wanted(similarity):
    bands, width = duplicates.bands_of(similarity)
    assert bands * width <= duplicates.SIZE
    assert 1 - (1 - similarity**width) ** bands > 0.98


def test_a_salt_parts_what_is_asked_the_other_way_round():
    one, other = duplicates.signatures(["a b c d e f"]), duplicates.signatures(["a b c d e f"] * 2, [0, 1])
    assert (one == other[0]).all() and (one == other[1]).mean() < 0.1


def test_without_rensa_it_is_said_what_to_install(monkeypatch):
    import sys

    from flan_jax.errors import UserError

    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(UserError, match=r"Hygiene.duplicates 'near' needs rensa.*flan-jax\[hygiene\].*'exact'"):
        duplicates.check_installed()
