import re

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import Corpus, Template
from flan_jax.tasks.template_check import NEAR, faults, similarity


@pytest.fixture
def reviews(fruits):
    def declare(*templates, **fields):
        sample = {"text": "A fine soup.", "label": 1}
        source = Corpus("reviews", "reviews:1.0.0", {"train": "train"}, {"train": 9}, sample)
        return fruits(
            **{"name": "reviews", "source": source, "options": ("bad", "good"), "templates": templates, **fields}
        )

    return declare


def test_paraphrases_are_looked_at_like_templates(reviews):
    wordings = ("Is this review good or bad? {text}", "Is this review good, or bad? {text}")
    (said,) = faults(reviews(Template("{text}\nHow does the writer feel?\n{options}", paraphrases=wordings)))
    assert "reads much like" in said


def test_sound_templates_have_no_faults(reviews):
    task = reviews(
        "Is this review good or bad? {text}",
        "{text}\nHow does the writer feel?\n{options}",
        "Decide what the writer thinks of the food.\n\n{text}\n{options}",
        "Review: {text}\nVerdict:\n{options}",
        held_out_templates=("Would you eat there, after reading this? {text}\n{options}",),
        inverted_templates=(
            ("Write a review that is {answer}.", "{text}"),
            Template("Write a review.", "{text}", "open"),
        ),
    )
    assert faults(task) == []


@pytest.mark.parametrize(
    ("templates", "said"),
    [
        (
            ("What do you make of it? {text} {options}", "Now, what do you make of it? {text} {options}"),
            r"'What do you .*' reads much like 'Now, what do you .*' \(88% of their pairs of words\)",
        ),
        (("Is it good or bad? {label} {text}",), "gives the answer away: label stands in its inputs"),
        (
            ("Is it good or bad? {texts}",),
            r"does not fit the sample: .* names the field 'texts', .* did you mean 'text'",
        ),
        (("What do you say to {text}?",), r"asks for 'bad', 'good', which it does not show; put \{options\} in its"),
        (("This is good, not bad: {text}.",), "asks for nothing"),
        (("{text}",), "asks for nothing"),
    ],
)
def test_each_fault_is_told_with_its_template(reviews, templates, said):
    found = faults(reviews(*templates))
    assert any(re.search(said, fault) for fault in found), found
    assert all(fault.startswith("Task 'reviews': template ") for fault in found)


def test_held_out_templates_are_compared_with_the_others_and_inverted_ones_among_themselves(reviews):
    near = "So what do you make of it? {text} {options}"
    assert len(faults(reviews("What do you make of it? {text} {options}", held_out_templates=(near,)))) == 1
    inverted = (("Write a review that is {answer}.", "{text}"), ("Write a review that is {answer}!", "{text}"))
    assert len(faults(reviews("Good or bad? {text}", inverted_templates=inverted))) == 1
    assert faults(reviews("Write: is a review that is so good or bad? {text}", inverted_templates=inverted[:1])) == []


def test_yes_and_no_go_without_saying_and_options_of_a_row_may_be_left_out(reviews):
    assert faults(reviews("Does the writer like it? {text}", options=("no", "yes"))) == []
    assert len(faults(reviews("Say whether the writer likes it: {text}", options=("no", "yes")))) == 1
    assert faults(reviews("What is it? {text}", options="label")) == []


def test_a_preprocessor_that_leaves_the_sample_out_is_told(reviews):
    with pytest.raises(UserError, match="Task 'reviews': its preprocess function leaves the sample out"):
        faults(reviews("Good or bad? {text}", preprocess=lambda row: None))


def test_the_measure_is_of_pairs_of_words_whatever_their_case_and_marks():
    one = Template("Is {word} a fruit?\n{options}")
    assert similarity(one, Template("is {word}, a fruit {options}")) == 1.0
    assert similarity(one, Template("{options} fruit a {word} is")) == 0.0 < NEAR
    assert similarity(Template("{word}"), Template("{word}?")) == 1.0


def test_the_packaged_templates_pass():
    """Those of the starter suite are alike on purpose, and ask a model of few words for days and numbers by name."""
    from flan_jax.mixtures.starter import suite

    found = [fault for task in suite.TASKS for fault in faults(task)]
    assert all("reads much like" in fault or "which it does not show" in fault for fault in found), found
