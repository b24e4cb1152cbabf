import math

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import metrics


def test_the_best_reference_counts():
    assert metrics.accuracy([["a", "b"], "c"], ["b", "d"]) == {"accuracy": 50.0}
    assert metrics.f1([["red green", "blue"]], ["blue"]) == {"f1": 100.0}


def test_normalising_forgives_case_articles_and_punctuation_only():
    targets = ["The Eiffel Tower", "12", "theory", "a cat"]
    assert metrics.exact_match(targets, ["eiffel tower.", "12", "ory", "the cat!"]) == {"exact_match": 75.0}


def test_answers_that_normalise_to_nothing_are_compared_as_they_stand():
    assert metrics.exact_match(["A", "+", "the"], ["the", "-", "the"])["exact_match"] == pytest.approx(100 / 3)
    assert metrics.f1(["A", "+"], ["B", "+"]) == {"f1": 50.0}
    assert metrics.f1([""], ["word"]) == {"f1": 0.0}


def test_f1_counts_repeated_words_once_each():
    assert metrics.f1(["red red green"], ["red"])["f1"] == pytest.approx(100 * 2 * 1 / (3 + 1))


def test_no_examples_give_no_figure():
    assert math.isnan(metrics.accuracy([], [])["accuracy"])
    with pytest.raises(UserError, match="2 targets and 1 predictions"):
        metrics.accuracy(["a", "b"], ["a"])


def test_figures_are_plain_numbers():
    both = metrics.accuracy(["a b"], ["a b"]) | metrics.f1(["a b"], ["a b"])
    assert metrics.numbers({**both, "words": "none"}) == {"accuracy": 100.0, "f1": 100.0}


def test_names_and_functions():
    def own(targets, predictions):
        return {"own": 1.0}

    assert metrics.function("f1") is metrics.f1 and metrics.function(own) is own
    assert (metrics.name_of("f1"), metrics.name_of(own)) == ("f1", "own")
    with pytest.raises(UserError, match="no metric 'rougue' .*did you mean 'rouge'"):
        metrics.function("rougue")
