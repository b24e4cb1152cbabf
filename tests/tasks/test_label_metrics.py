"""Figures were made with scikit-learn 1.9.1 (`f1_score`, `matthews_corrcoef`) and by hand from the definitions."""

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks.label_metrics import binary_f1, macro_f1, matthews, multirc, pearson

WANTED = "cbcbccccabacaaabbabcacaacabbabaaaccbaaaa"
GIVEN = "cbbbbcbdabacaaabaadbaaacaabbdbabacdbaaaa"


def test_as_scikit_learn_has_them():
    targets, predictions = [[label] for label in WANTED], list(GIVEN)
    assert macro_f1(targets, predictions)["macro_f1"] == pytest.approx(49.98934356351237, rel=1e-12)
    assert matthews(targets, predictions)["matthews"] == pytest.approx(53.96323540196936, rel=1e-12)
    assert binary_f1("a")(targets, predictions)["f1"] == pytest.approx(83.33333333333334, rel=1e-12)


def test_blanks_do_not_count_and_any_right_label_will_do():
    assert binary_f1("yes")([["yes"], ["no", "yes"]], [" yes", "yes\n"]) == {"f1": 100.0}
    assert macro_f1([["a", "b"]], ["b"]) == {"macro_f1": 100.0}
    assert binary_f1("yes").__name__ == "binary_f1"


def test_nothing_to_tell_is_no_fault():
    assert binary_f1("yes")(["no"], ["no"]) == {"f1": 0.0}
    assert matthews(["a", "a"], ["a", "a"]) == {"matthews": 0.0} == matthews([], [])
    assert pearson(["1", "1"], ["1", "2"]) == {"pearson": 0.0, "spearman": 0.0}
    with pytest.raises(UserError, match="1 targets and 2 predictions"):
        matthews(["a"], ["a", "b"])


def test_correlations_go_by_the_true_number_and_what_is_no_number_counts_as_minus_one():
    targets = [{"references": [str(round(score))], "field": score} for score in (0.2, 1.6, 4.4, 5.0)]
    # By hand: about their means, products of (0.2, 1.6, 4.4, 5.0) and (-1, 2, 4, 5) sum to 17.6, squares to 15.6, 21.
    found = pearson(targets, ["none", "2", "4", "5"])
    assert found["pearson"] == pytest.approx(100 * 17.6 / (15.6 * 21.0) ** 0.5)
    assert found["spearman"] == 100.0


def test_multirc_counts_answers_and_whole_questions():
    """Two questions of three answers and one of two; the second is right throughout. Of four "yes" three are found, and
    one "no" is called "yes"."""
    wanted = "yes no no yes yes no yes no".split()  # noqa: SIM905
    given = "no no no yes yes no yes yes".split()  # noqa: SIM905
    questions = ["p1-q1"] * 3 + ["p1-q2"] * 3 + ["p2-q1"] * 2
    targets = [{"references": [label], "field": question} for label, question in zip(wanted, questions, strict=True)]
    found = multirc(targets, given)
    assert found["f1_of_answers"] == pytest.approx(100 * 2 * 3 / (4 + 4))
    assert found["exact_match_of_questions"] == pytest.approx(100 / 3)
