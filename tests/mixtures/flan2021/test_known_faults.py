"""The faults that users found in FLAN's own code, each looked for in every file here."""

import re

import pytest
import tensorflow_datasets

from flan_jax.tasks.recipe import Request
from flan_jax.tasks.rendering import Renderer
from flan_jax.tasks.tally import Tally
from flan_jax.tasks.variants import Variant
from tests.mixtures.flan2021.goldens import TASKS, each_template, rendered

# What TFDS calls the classes, in its order, and what each is called here.
ENTAILMENT = {"entailment": "yes", "not_entailment": "no"}
LABELS = {
    **dict.fromkeys(("anli_r1", "anli_r2", "anli_r3"), {"e": "yes", "n": "unknown", "c": "no"}),
    "cb": {"entailment": "yes", "contradiction": "no", "neutral": "unclear"},
    **dict.fromkeys(
        ("mnli_matched", "mnli_mismatched"), {"entailment": "yes", "neutral": "maybe", "contradiction": "no"}
    ),
    "snli": {"entailment": "true", "neutral": "undecided", "contradiction": "false"},
    **dict.fromkeys(("qnli", "rte", "wnli"), ENTAILMENT),
    "imdb_reviews": {"neg": "negative", "pos": "positive"},
    "sst2": {"negative": "negative", "positive": "positive"},
    "yelp_polarity_reviews": {"1": "negative", "2": "positive"},
    "glue_mrpc": {"not_equivalent": "no", "equivalent": "yes"},
    "glue_qqp": {"not_duplicate": "no", "duplicate": "yes"},
    "paws_wiki": {"different_meaning": "no", "paraphrase": "yes"},
    **dict.fromkeys(("multirc", "wsc"), {"False": "no", "True": "yes"}),
    "wic": {"False": "a different sense", "True": "the same sense"},
    "ag_news_subset": {"World": "World", "Sports": "Sports", "Business": "Business", "Sci/Tech": "Science/Tech"},
    "cola": {"unacceptable": "unacceptable", "acceptable": "acceptable"},
    "trec": {
        "DESC": "description",
        "ENTY": "thing",
        "ABBR": "abbreviation",
        "HUM": "person",
        "NUM": "number",
        "LOC": "place",
    },
}
BY_HAND = {"sentiment140", "stsb", "bool_q"}  # whose labels are numbers and truth values, not classes


def drafts(name, row, split="train"):
    tally = Tally()
    request = Request({}, on_bad_row="skip", tally=tally)
    return list(Renderer(Variant(TASKS[name], name), split, request).drafts([("row:0", row)])), tally


@pytest.mark.parametrize("name", LABELS)
def test_options_are_in_the_order_of_the_labels(name):
    features = tensorflow_datasets.builder(TASKS[name].source.tfds).info.features
    classes = features["label-coarse" if name == "trec" else "label"].names
    assert list(TASKS[name].options) == [LABELS[name][one] for one in classes]


def test_every_task_of_classes_is_compared():
    assert {name for name, task in TASKS.items() if isinstance(task.options, tuple)} == {*LABELS, *BY_HAND}
    for name, field, wanted in (
        ("sentiment140", "polarity", {0: "negative", 4: "positive"}),
        ("bool_q", "answer", {False: "no", True: "yes"}),
        ("stsb", "label", {0.2: "0", 2.5: "2", 3.6: "4", 5.0: "5"}),
    ):
        for value, answer in wanted.items():
            ((draft,), _) = drafts(name, {**TASKS[name].source.sample, field: value})
            assert draft.targets == answer, (name, value)


def test_neutral_tweets_are_left_out_and_counted():
    (found, tally) = drafts("sentiment140", {**TASKS["sentiment140"].source.sample, "polarity": 2})
    assert found == [] and tally.dropped == 1


@pytest.mark.parametrize("name", ["snli", "hellaswag"])
def test_rows_without_a_label_are_left_out_and_counted(name):
    (found, tally) = drafts(name, {**TASKS[name].source.sample, "label": -1})
    assert found == [] and tally.dropped + tally.bad_rows == 1


@pytest.mark.parametrize("name", TASKS)
def test_no_backslash_brace_or_mark_is_lost_in_a_template(name):
    for what, template in each_template(TASKS[name]):
        text = f"{template.inputs}\n{template.targets}"
        literals = "".join(literal for literal, _ in (*template.prompt.parts, *template.response.parts))
        # FLAN's lost backslashes left an "n" where a line should end: "{premise}nHypothesis".
        assert "\\" not in text and not re.search(r"(?<![a-z])n(?=[A-Z{])", text), what
        assert literals.count('"') % 2 == 0 and "{" not in literals, what
        assert "  " not in text.replace("\n  ", "\n"), what


@pytest.mark.parametrize("name", TASKS)
def test_each_field_is_filled_from_its_own(name):
    """Each text of the sample is told apart by a mark, which no other field's place in a prompt may show."""
    task = TASKS[name]
    if task.preprocess is not None:
        return  # the goldens are read by people
    fields = [field for field, value in task.source.sample.items() if isinstance(value, str)]
    row = {**task.source.sample, **{field: f"<{field}>" for field in fields}}
    for what, template in each_template(task):
        named = {task.answer if field == "answer" else field for field in template.prompt.fields} & set(fields)
        for inputs, _, _ in rendered(task, template, row):
            assert {field for field in fields if f"<{field}>" in inputs} == named, what


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.inverted_templates])
def test_inverted_templates_are_not_scored_by_the_tasks_metric(name):
    task = TASKS[name]
    assert Variant(task, name, "inverted").metrics == ("exact_match",)
    assert Variant(task, name, "with_inverted").metrics == ()
    assert all(template.direction == "forward" for template in Variant(task, name).templates)
