import pytest

from flan_jax.errors import UserError
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import Template, as_templates, fit, parse, text_of, values_for
from flan_jax.tasks.vocabularies import Tokenizer
from flan_jax.tasks.written_form import PlainText


def test_braces_backslashes_and_values_stay_as_they_are():
    template = Template("{{x}} is \\n {code} and {code}", "{{{answer}}}")
    values = {"code": "f({y})", "answer": "{{"}
    assert template.render(values) == ("{x} is \\n f({y}) and f({y})", "{{{}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {b", "unbalanced '{' at character 2"),
        ("a } b", "unbalanced '}'"),
        ("a {} b", "placeholder '{}'"),
        ("a { b } c", "without blanks"),
        ("{a{b}}", "unbalanced"),
    ],
)
def test_faulty_braces_are_told(text, message):
    with pytest.raises(UserError, match=message):
        parse(text)


def test_a_template_is_checked_without_a_row():
    with pytest.raises(UserError, match="names? no field"):
        Template("{a}", "yes").check(has_options=False)
    with pytest.raises(UserError, match="declares none"):
        Template("{a} {options}").check(has_options=False)
    with pytest.raises(UserError, match="inputs only"):
        Template("{a}", "{options}").check(has_options=True)


def test_a_missing_field_names_the_template_and_the_nearest():
    with pytest.raises(
        BadRow, match=r"'Read \{passage\}' names the field 'passage', the row has pasage, n; did you mean 'pasage'"
    ):
        values_for(("passage",), {"pasage": "x", "n": 1}, "Read {passage}")
    with pytest.raises(BadRow, match="is null"):
        values_for(("passage",), {"passage": None}, "Read {passage}")


def test_values_read_as_text():
    assert [text_of(value) for value in ("a", 1.5, True, ["a", 2])] == ["a", "1.5", "True", "a, 2"]
    assert [text_of(value) for value in (None, {}, [None])] == [None] * 3


def test_templates_come_in_three_forms():
    assert as_templates(("a {x}", ("b {x}", "{y}"), Template("c"))) == (
        Template("a {x}"),
        Template("b {x}", "{y}"),
        Template("c"),
    )
    assert as_templates("one {x}") == (Template("one {x}"),)


@pytest.fixture(scope="module")
def tokenizer(model):
    return Tokenizer(model)


PASSAGE = "the apple and the pear walk, the river and the cloud sing. " * 10


def test_fitting_cuts_the_longest_field_and_keeps_the_instruction(tokenizer):
    prompt = parse("Read: {passage}\nQuestion: {question}\n{options}\nAnswer:")
    values = {"passage": PASSAGE, "question": "is it so?", "options": "- yes\n- no"}
    text, ids = fit(prompt, values, 60, PlainText(tokenizer))
    assert 55 <= len(ids) <= 60 and ids == tokenizer.encode_one(text)
    assert text.startswith("Read: the apple") and text.endswith("\nQuestion: is it so?\n- yes\n- no\nAnswer:")
    kept = text.removeprefix("Read: ").partition("\nQuestion")[0]
    assert kept and PASSAGE.startswith(kept)


def test_fitting_cuts_only_the_field_that_may_be(tokenizer):
    prompt = parse("{instruction}\n\n{input}")
    values = {"instruction": PASSAGE, "input": "one two three red green blue"}
    room = len(tokenizer.encode_one(prompt.render({**values, "input": ""})))
    text, ids = fit(prompt, values, room + 3, PlainText(tokenizer), trim_field="input")
    assert text.startswith(PASSAGE + "\n\none") and len(ids) <= room + 3
    assert fit(prompt, values, 40, PlainText(tokenizer), trim_field="input") is None


def test_the_options_are_never_cut(tokenizer):
    prompt = parse("{word}: {options}")
    values = {"word": "plum", "options": PASSAGE}
    assert fit(prompt, values, 40, PlainText(tokenizer)) is None
    room = len(tokenizer.encode_one(f": {PASSAGE}"))
    text, _ = fit(prompt, values, room, PlainText(tokenizer))
    assert text.endswith(PASSAGE)


def test_a_field_that_occurs_twice_is_cut_in_both_places(tokenizer):
    text, ids = fit(parse("{passage} again: {passage}!"), {"passage": PASSAGE}, 50, PlainText(tokenizer))
    first, second = text.removesuffix("!").split(" again: ")
    assert first == second and len(ids) <= 50 and len(ids) > 30


def test_cutting_the_middle_keeps_both_ends(tokenizer):
    whole = "Say what this is about. " + PASSAGE + " Answer in one word."
    text, ids = fit(parse("{inputs}"), {"inputs": whole}, 50, PlainText(tokenizer), trim_from="middle")
    assert len(ids) <= 50 and text.startswith("Say what") and text.endswith("one word.") and " ... " in text


def test_a_prompt_of_instruction_alone_does_not_fit(tokenizer):
    assert fit(parse("one two three four five {x}"), {"x": "red"}, 4, PlainText(tokenizer)) is None
