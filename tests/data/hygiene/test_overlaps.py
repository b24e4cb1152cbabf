"""What rows share with eval rows, against looking for every run of words in every text."""

import numpy as np
import pytest

from flan_jax.data.hygiene import contents, overlaps, words
from flan_jax.data.planning.order import mix

EVALS = [
    ("the old river runs past the mill and on to the grey sea", "true"),
    ("what is it", "yes"),
    ("name the town where the old river runs past the mill and on to a lake", "lakeside"),
]


def index(folder, evals, ngram):
    rows = [
        (overlaps.EvalRow("scored", f"e:{number}", f"evals.jsonl:{number + 1}", prompt), prompt, answer)
        for number, (prompt, answer) in enumerate(evals)
    ]
    assert overlaps.write_index(folder, iter(rows), ngram) == len(evals)
    return overlaps.Index(folder, ngram)


def test_an_overlap_is_told_with_its_longest_span_its_row_and_how_many_have_it(tmp_path):
    found = index(tmp_path, EVALS, 5).overlaps(
        [
            ("here the old river runs past the mill and on to the grey sea today", "no"),
            ("the old river runs by", "past the mill and on to a place"),
            ("nothing of it is shared here at all", ""),
            ("the old river runs", ""),
        ]
    )
    assert found[0] == {
        "why": "overlap", "row": 0, "span": EVALS[0][0], "words": 13, "evals": 1,
    }  # fmt: skip
    assert found[1] == {"why": "overlap", "row": 2, "span": "past the mill and on to a", "words": 7, "evals": 1}
    assert found[2] is found[3] is None


def test_a_phrase_that_many_evals_have_shows_as_such(tmp_path):
    (found,) = index(tmp_path, EVALS, 5).overlaps([("so the old river runs past all", "")])
    assert found["span"] == "the old river runs past" and found["evals"] == 2


def test_whole_prompts_are_met_and_short_ones_only_with_their_answer(tmp_path):
    found = index(tmp_path, EVALS, 13).overlaps(
        [(EVALS[0][0], "false"), ("what is it", "yes"), ("what is it", "no"), ("", "true")]
    )
    assert [one and (one["why"], one["row"]) for one in found] == [("eval row", 0), ("eval row", 1), None, None]


@pytest.mark.parametrize("ngram", [3, 8])
def test_rows_are_met_as_by_hand(tmp_path, ngram):
    rng = np.random.default_rng(1)
    text = lambda: " ".join(rng.choice(list("abcd"), rng.integers(1, 25)))
    evals, rows = [(text(), text()) for _ in range(20)], [(text(), text()) for _ in range(200)]
    runs = lambda one: {tuple(one.split()[i : i + ngram]) for i in range(words.count(one) - ngram + 1)}
    known = {run for pair in evals for one in pair for run in runs(one)}
    found = index(tmp_path, evals, ngram).overlaps(rows)
    for (prompt, answer), what in zip(rows, found, strict=True):
        shared = bool((runs(prompt) | runs(answer)) & known)
        if what is None:
            assert not shared
        elif what["why"] == "overlap":
            assert shared and runs(what["span"]) <= known and f" {what['span']} " in f" {prompt} | {answer} "


def test_evals_too_short_for_a_run_are_no_fault(tmp_path):
    assert index(tmp_path, [("a b", "c")], 13).overlaps([("x " * 20 + "x", "c")]) == [None]


def test_short_rows_are_one_only_under_the_same_instruction():
    """By the same key on either side: that of a stored row, and that of a scored one."""
    said = contents.Said("a", 0, 1, "Italy", "pizza", True, "Name the dish!")
    prompt, answer, *_ = contents.column_of(said, "italy", "pizza")
    stored = int(mix(prompt, answer, 1))
    assert stored in overlaps.exact_keys("italy", "pizza", words.salt_of("name the dish"))
    assert stored not in overlaps.exact_keys("italy", "pizza", words.salt_of("Name the city"))
    assert stored not in overlaps.exact_keys("italy", "pizza")
