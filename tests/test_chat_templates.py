import pytest

from flan_jax.chat_templates import ChatTemplate
from flan_jax.errors import UserError
from tests.tokenizer_folders import CHATML

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": None}
TALK = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi!"},
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "Me."},
]
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)


def of(source, begins=False):
    return ChatTemplate(source, "a/folder", TOKENS, begins)


def said(template, messages):
    text, spans = template.answers(messages)
    return text, [(number, text[first:end]) for number, first, end in spans]


def test_answers_are_found_by_rendering_what_comes_before_them():
    text, answers = said(of(CHATML), TALK)
    assert text.startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n")
    assert answers == [(1, "Hi!<|im_end|>\n"), (3, "Me.<|im_end|>\n")]
    assert of(CHATML).render(TALK[:1], answering=True).endswith("Hello<|im_end|>\n<|im_start|>assistant\n")


def test_generation_marks_say_it_where_there_are():
    marked = (
        "{% for m in messages %}{{ m['role'] + ':' }}{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ m['content'] + '.' }}{% endgeneration %}"
        "{% else %}{{ m['content'] }}{% endif %}|{% endfor %}"
    )
    assert said(of(marked), TALK) == ("user:Hello|assistant:Hi!.|user:Who?|assistant:Me..|", [(1, "Hi!."), (3, "Me..")])
    with pytest.raises(UserError, match="marks 0 answers of 1|marks 1 answers of 2"):
        of("{% generation %}{{ messages[1]['content'] }}{% endgeneration %}").answers(TALK)


def test_earlier_answers_that_are_written_otherwise_later_are_passed_over():
    # As Qwen 3: the last answer is written with its thoughts, the earlier ones without.
    thinking = (
        "{% for m in messages %}[{{ m['role'] }}]{% if m['role'] == 'assistant' and loop.last %}<think/>{% endif %}"
        "{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    assert said(of(thinking), TALK)[1] == [(3, "<think/>Me.")]


def test_a_row_that_begins_by_itself_is_not_begun_twice():
    assert of(LLAMA2).render(TALK[:2]) == "<s>[INST] Hello [/INST] Hi!</s>"
    text, answers = said(of(LLAMA2, begins=True), TALK[:2])
    assert text == "[INST] Hello [/INST] Hi!</s>" and answers == [(1, " Hi!</s>")]
    assert of(LLAMA2, begins=True).prompt_format() == "[INST] {} [/INST]"


def test_what_templates_of_models_use_is_there():
    source = (
        "{%- for m in messages %}\n    {%- if m.role == 'tool' %}{% continue %}{% endif %}\n"
        "    {{- m | tojson }}\n{%- endfor %}"
    )
    assert of(source).render([{"role": "tool"}, {"role": "user", "content": "é"}]) == '{"role": "user", "content": "é"}'


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "{{ raise_exception('roles must alternate') }}",
            "of a/folder refuses a conversation of user, .*: roles must al",
        ),
        ("{% for m in messages %}", "cannot be rendered .TemplateSyntaxError: Unexpected end of template"),
        ("{{ messages.__class__.__mro__ }}", "cannot be rendered .SecurityError: .*unsafe"),
        ("{{ messages | length }}", "it is not clear what the assistant says; put {% generation %}"),
    ],
)
def test_faults_of_a_template_are_told(source, words):
    with pytest.raises(UserError, match=words):
        of(source).answers(TALK)


def test_a_prompt_that_the_template_repeats_has_no_format():
    assert of("{{ messages[0].content }}{{ messages[0].content }}").prompt_format() == "{}"


def test_the_date_is_the_same_every_day():
    assert of("{{ strftime_now('%d %b %Y') }}").render(TALK) == "26 Jul 2024"


def test_whatever_goes_wrong_in_a_template_is_told():
    with pytest.raises(UserError, match="cannot be rendered .TypeError: .*mend it"):
        of("{{ messages[0].content + 5 }}").render(TALK)


def test_what_follows_an_answer():
    assert of(CHATML).after_answer() == "<|im_end|>\n" and of(LLAMA2, begins=True).after_answer() == "</s>"
    assert of("{{ messages | length }}").after_answer() == of("{% x %}").after_answer() == ""
