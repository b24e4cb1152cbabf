import collections

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import Template, generator, metrics
from flan_jax.tasks.examples import describe, examples, fingerprint, reference, references, score
from flan_jax.tasks.fewshot import STYLES

LENGTHS = {"inputs": 2000, "targets": 16}


def drawn(name, draws=3, split="validation", lengths=LENGTHS):
    return [one for draw in range(draws) for one in examples(name, split, lengths, draw=draw)]


def test_prompts_without_options_are_still_ranked_over_them(fruits):
    fruits(templates=("Is {word} a fruit?\n{options}", "{options}\n{word}: which?"), without_options=True).register()
    plain, without = drawn("fruits"), drawn("fruits.no_options")
    assert {one.inputs_text.partition("\n")[0] for one in plain} & {"Is apple a fruit?"}
    assert all("fruit\n" in one.inputs_text or "other" in one.inputs_text for one in plain)
    assert {"Is apple a fruit?", "\napple: which?"} <= {one.inputs_text for one in without}
    assert all("other" not in one.inputs_text and len(one.options) == 2 for one in without)
    assert describe("fruits.no_options")["eval_kind"] == "rank"
    with pytest.raises(UserError, match=r"without_options is set, but no template shows \{options\}"):
        fruits(name="bare", templates=("{word}?",), without_options=True).register()


def test_options_in_a_drawn_order_keep_the_right_answer(fruits):
    fruits(options=("fruit", "other", "neither"), shuffle_options=True, option_styles=("dashes", "letters")).register()
    orders = collections.Counter()
    for one in drawn("fruits", draws=12):
        shown = [line[2:] for line in one.inputs_text.splitlines() if line.startswith("- ")]
        number = next(word for word in one.inputs_text.replace(":", " ").replace("?", " ").split() if word.isdigit())
        right = "other" if int(number) % 3 else "fruit"
        if shown:
            orders[tuple(shown)] += 1
            assert one.targets_text == right == shown[one.answer]
        else:
            letters = dict(line[1:].split(") ") for line in one.inputs_text.splitlines() if line.startswith("("))
            assert letters[one.targets_text] == right and one.answer == "ABC".index(one.targets_text)
    assert len(orders) == 6 and max(orders.values()) < 3 * min(orders.values())
    first, again = drawn("fruits", 1), drawn("fruits", 1)
    assert [one.inputs_text for one in first] == [one.inputs_text for one in again]


def test_a_pair_of_shots_is_drawn_between_for_each_example(fruits):
    fruits(templates=("{word} {number}",), options=None, few_shot=((0, 4), 2)).register()
    counts = collections.Counter(one.inputs_text.count("\n\n") for one in drawn("fruits.0_to_4_shot", draws=10))
    assert set(counts) == {0, 1, 2, 3, 4} and max(counts.values()) < 2.5 * min(counts.values())
    assert {one.inputs_text.count("\n\n") for one in drawn("fruits.2_shot")} == {2}
    assert describe("fruits.0_to_4_shot")["shots"] == 4


@pytest.mark.parametrize("style", STYLES)
def test_the_prompt_stands_like_its_exemplars(fruits, style):
    fruits(templates=("{word} {number}",), options=None, few_shot=(2,), exemplar_styles=(style,)).register()
    for one in drawn("fruits.2_shot", draws=1):
        layout = STYLES[style]
        *shown, asked = one.inputs_text.split(layout.after)
        assert len(shown) == 2
        for exemplar in shown:
            question, _, answer = exemplar.removeprefix(layout.before).partition(layout.between)
            assert answer in ("fruit", "other") and len(question.split()) == 2
        assert asked.startswith(layout.before) and asked.endswith(layout.between.rstrip())


def test_styles_of_exemplars_are_drawn_and_an_empty_prompt_has_none(fruits):
    fruits(templates=("{word}",), options=None, few_shot=((0, 1),), exemplar_styles=tuple(STYLES)).register()
    found = drawn("fruits.0_to_1_shot", draws=8)
    bare = [one.inputs_text for one in found if len(one.inputs_text.split()) == 1]
    assert bare and all(text == text.strip() for text in bare)
    assert len({one.inputs_text.split()[0] for one in found} & {"Q:", "Input:", "Example:", "Problem:"}) == 4


def test_exemplars_go_before_anything_is_cut_and_are_counted(fruits):
    from flan_jax.tasks.examples import Tally

    fruits(
        templates=("{word} {number}",), options=None, few_shot=(16,), exemplar_styles=("question_answer",)
    ).register()
    tally = Tally()
    found = list(examples("fruits.16_shot", "train", {"inputs": 60, "targets": 8}, tally=tally))
    assert len(found) == 40 and tally.pruned_exemplars > 100 and tally.cut_tokens == 0
    for one in found:
        assert len(one.inputs) <= 60 and one.inputs_text.startswith("Q: ") and one.inputs_text.endswith("\nA:")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"few_shot": ((4, 2),)}, r"few_shot has \(4, 2\)"),
        ({"few_shot": ((1, 2, 3),)}, "or pairs such as"),
        ({"exemplar_styles": ("questions_answer",)}, "did you mean 'question_answer'"),
        ({"exemplar_styles": ()}, "exemplar_styles is empty"),
    ],
)
def test_faults_of_shots_are_told(fruits, fields, said):
    with pytest.raises(UserError, match=said):
        fruits(**fields).register()


def test_metrics_get_the_field_that_the_declaration_names(fruits):
    """As MultiRC's do: the same label of two questions is told apart by the question."""
    rows = [
        {"word": word, "label": label, "question": question}
        for word, label, question in (("plum", "yes", "a"), ("stone", "no", "a"), ("pear", "yes", "b"))
    ]
    task = fruits(
        source=generator(lambda split: rows),
        templates=("{word}? {options}",),
        options=("yes", "no"),
        metrics=("multirc",),
        metric_field="question",
    ).register()
    targets = [target for target, _ in references("fruits", "validation", LENGTHS)]
    assert targets[1] == {"references": ["no"], "field": "a"}
    found = score("fruits", "validation", ["yes", "yes", "yes"], LENGTHS)
    assert found == {"f1_of_answers": 80.0, "exact_match_of_questions": 50.0}
    assert metrics.unit_of(metrics.function("multirc")) == "%"
    (example, *_) = examples("fruits", "validation", LENGTHS)
    assert reference(example)[0]["field"] == "a"
    how = {"source": task.source, "templates": task.templates, "options": task.options}
    fruits(name="other", metric_field="nothing", **how).register()
    with pytest.raises(UserError, match="no field 'nothing' for the metrics, the row has word, label, question"):
        list(examples("other", "validation", LENGTHS))
    # What is kept beside the tokens of a store holds the field.
    fruits(name="plain", **how).register()
    fruits(name="grouped", metric_field="question", **how).register()
    assert fingerprint("plain") != fingerprint("grouped")


def test_of_two_options_a_truth_value_is_the_answer(fruits):
    rows = [{"word": "plum", "label": True}, {"word": "stone", "label": False}]
    how = {"source": generator(lambda split: rows), "templates": ("{word}? {options}",)}
    fruits(**how, options=("no", "yes")).register()
    assert [one.targets_text for one in examples("fruits", "train", LENGTHS)] == ["yes", "no"]
    fruits(**how, name="three", options=("no", "maybe", "yes")).register()
    with pytest.raises(UserError, match="the answer True is not among the options"):
        list(examples("three", "train", LENGTHS))


def test_the_first_of_several_answers_is_learnt_or_one_is_drawn_and_all_count(fruits):
    rows = [{"word": f"w{number}", "label": ["first", "second"]} for number in range(30)]
    how = {"source": generator(lambda split: rows), "templates": ("{word}?",), "options": None}
    fruits(**how, draw_answer=False).register()
    fruits(**how, name="drawn").register()
    found = {name: list(examples(name, "train", LENGTHS)) for name in ("fruits", "drawn")}
    assert {one.targets_text for one in found["fruits"]} == {"first"}
    assert {one.targets_text for one in found["drawn"]} == {"first", "second"}
    assert all(one.references == ("first", "second") for several in found.values() for one in several)
    assert fingerprint("fruits") != fingerprint("drawn")


def test_a_task_says_itself_what_becomes_of_its_bad_rows(fruits):
    from flan_jax.tasks.examples import Tally

    rows = [{"word": "plum", "label": "fruit"}, {"word": "?", "label": "animal"}]
    how = {"source": generator(lambda split: rows), "templates": ("{word} {options}",)}
    fruits(**how, on_bad_row="skip").register()
    tally = Tally()
    assert len(list(examples("fruits", "train", LENGTHS, on_bad_row="error", tally=tally))) == 1
    assert tally.bad_rows == 1
    fruits(**how, name="strict", on_bad_row="error").register()
    with pytest.raises(UserError, match=r"Task 'strict', row 1 of .*: the answer 'animal' is not among"):
        list(examples("strict", "train", LENGTHS, on_bad_row="skip"))


def test_a_template_of_many_wordings_weighs_no_more_than_one(fruits):
    many = Template(
        "{word} {number}, a fruit? {options}", paraphrases=[f"{n}: {{word}}{{number}}? {{options}}" for n in range(9)]
    )
    numbers = {"source": generator(lambda split: ({"word": "plum", "label": "fruit", "number": n} for n in range(900)))}
    fruits(templates=(many, "Is {word} {number} a fruit? {options}"), **numbers).register()
    found = list(examples("fruits", "train", LENGTHS))
    first = [one for one in found if one.template == 0]
    assert abs(len(first) - 450) < 45  # three standard deviations
    wordings = collections.Counter(one.inputs_text[:2] for one in first)
    assert len(wordings) == 10 and min(wordings.values()) > 20
    assert describe("fruits")["random"] and fingerprint("fruits") != fingerprint(
        fruits(name="alone", templates=(many.wordings[0], "Is {word} {number} a fruit? {options}")).register().name
    )
    each = list(examples("fruits", "train", LENGTHS, each_template=True, limit=1))
    assert [one.inputs_text.partition(" ")[0] for one in each] == ["plum", "Is"]


def test_typing_errors_are_made_in_the_fields_of_training_prompts_alone(fruits):
    rows = [{"word": f"an apple and {n} pears", "label": ("fruit", "other")[n % 2]} for n in range(300)]
    how = {"source": generator(lambda split: iter(rows)), "templates": ("A question: is {word} fruit? {options}",)}
    how["option_styles"] = ("dashes",)
    fruits(**how, input_noise=0.5, few_shot=(1,)).register()
    fruits(name="clean", **how).register()
    clean, noisy = (list(examples(name, "train", LENGTHS)) for name in ("clean", "fruits"))
    words = [(a, b) for one, other in zip(clean, noisy, strict=True) for a, b in _prompt_words(one, other)]
    spoilt = [pair for pair in words if pair[0] != pair[1]]
    # Of apple, and, pears, half: 450 of 900, give or take three standard deviations; nothing else.
    assert {a for a, _ in spoilt} == {"apple", "and", "pears"} and abs(len(spoilt) - 450) < 45
    assert [one.targets_text for one in clean] == [one.targets_text for one in noisy]
    again = list(examples("fruits", "train", LENGTHS, limit=20))
    assert [one.inputs_text for one in again] == [one.inputs_text for one in noisy[:20]]
    other = list(examples("fruits", "train", LENGTHS, limit=20, draw=1))
    assert [one.inputs_text for one in other] != [one.inputs_text for one in noisy[:20]]
    for name in ("fruits", "fruits.1_shot"):  # an exemplar has no errors
        shown = next(examples(name, "validation" if name == "fruits" else "train", LENGTHS)).inputs_text
        assert shown.startswith("A question: is an apple and")
    assert describe("fruits")["random"] and not describe("clean")["random"]


def _prompt_words(one, other):
    return zip(one.inputs_text.split(), other.inputs_text.split(), strict=True)


def test_each_template_words_each_row(fruits):
    fruits(held_out_templates=("{word}? {options}",)).register()
    found = list(examples("fruits", "validation", LENGTHS, each_template=True, limit=3))
    assert [(one.id, one.template) for one in found] == [
        (f"validation:{row}#{template}", template) for row in range(3) for template in range(2)
    ]
    for one, other in zip(found[::2], found[1::2], strict=True):
        assert one.inputs_text.startswith(f"{one.id[11]}: is") and other.inputs_text.startswith("What is")
        assert one.targets_text == other.targets_text
