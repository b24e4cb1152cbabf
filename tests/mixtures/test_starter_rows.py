import collections
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys

import pytest

from flan_jax.mixtures.starter import comparison, draws, passages, reviews, sentences, sequences, word_lists
from tests.counted_calls import calls_of

GENERATORS = {
    "passages": (passages.passages, "passage"),
    "word_lists": (word_lists.word_lists, "words"),
    "heights": (comparison.heights, "statement"),
    "ages": (comparison.ages, "statement"),
    "sentences": (sentences.sentences, "sentence"),
    "reviews": (reviews.reviews, "review"),
    "events": (sequences.events, "event"),
}
EACH = pytest.mark.parametrize("name", GENERATORS)


def digest(name):
    generate, _ = GENERATORS[name]
    taken = [list(itertools.islice(generate(split), 50)) for split in ("train", "validation")]
    return hashlib.sha256(json.dumps(taken).encode()).hexdigest()


@EACH
def test_train_and_validation_share_no_text(name):
    generate, text = GENERATORS[name]
    train = [row[text] for row in generate("train")]
    validation = [row[text] for row in generate("validation")]
    assert len(train) == len(set(train)) == draws.NUM_ROWS["train"]
    assert len(validation) == len(set(validation)) == draws.NUM_ROWS["validation"]
    assert not set(train) & set(validation)


@EACH
def test_a_row_costs_few_calls_and_comes_when_it_is_wanted(name):
    generate, _ = GENERATORS[name]
    made = lambda count: calls_of(lambda: collections.deque(itertools.islice(generate("train"), count), maxlen=0))
    made(10)
    first, all_rows = made(1), made(None)
    assert first < 100 and all_rows / draws.NUM_ROWS["train"] < 60


def test_rows_are_the_same_whatever_the_hash_seed():
    code = (
        "import json, pathlib, runpy, sys\n"
        "module = runpy.run_path(sys.argv[1])\n"
        "print(json.dumps({name: module['digest'](name) for name in module['GENERATORS']}))"
    )
    told = {name: digest(name) for name in GENERATORS}
    done = subprocess.run(
        [sys.executable, "-c", code, __file__],
        env={**os.environ, "PYTHONHASHSEED": "4242"},  # this process has another
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == told


def test_an_unknown_split_is_refused():
    with pytest.raises(KeyError):
        next(passages.passages("test"))


def test_draws_cover_their_range():
    draw = draws.Draws(3)
    assert {draw.below(5) for _ in range(200)} == set(range(5))
    assert {draw.pick("abc") for _ in range(100)} == set("abc")
    assert {tuple(draw.distinct("abc", 3)) for _ in range(200)} == set(itertools.permutations("abc"))


def test_comparisons_are_true():
    said = re.compile(r"(\w+) is (taller|shorter) than (\w+) (?:but|and) (taller|shorter) than (\w+)\.")
    for row in itertools.islice(comparison.heights("train"), 300):
        middle, first, one, second, other = said.fullmatch(row["statement"]).groups()
        beyond = {first: one, second: other}
        assert (row["least"], row["most"]) == (beyond["taller"], beyond["shorter"])
        assert sorted(row["people"]) == sorted((middle, one, other))


def test_events_step_by_one():
    for row in itertools.islice(sequences.events("train"), 300):
        day, number = sequences.DAYS.index(row["day"]), sequences.NUMBERS.index(row["more"]) - 1
        assert row["after"] == sequences.DAYS[(day + 1) % 7] and row["before"] == sequences.DAYS[(day + 6) % 7]
        assert sequences.NUMBERS.index(row["fewer"]) == number - 1
        assert row["day"] in row["event"] and f" {sequences.NUMBERS[number]} " in row["event"]
