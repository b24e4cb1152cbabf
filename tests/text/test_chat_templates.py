import pytest

from flan_jax.errors import UserError
from flan_jax.text.chat_templates import CallStyle, ChatTemplate
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


# As Qwen 3: the last answer is written with its thoughts, the earlier ones without.
THOUGHTS_LAST = (
    "{% for m in messages %}[{{ m['role'] }}]{% if m['role'] == 'assistant' and loop.last %}<think/>{% endif %}"
    "{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


def test_earlier_answers_that_are_written_otherwise_later_stand_in_texts_of_their_own():
    assert said(of(THOUGHTS_LAST), TALK)[1] == [(3, "<think/>Me.")]
    for template, texts in (
        (of(THOUGHTS_LAST), [("[user]Hello[assistant]", "<think/>Hi!"), ("[user]Who?[assistant]", "<think/>Me.")]),
        (of("{{ messages | map(attribute='content') | join('|') }}"), [("Hello", "|Hi!"), ("", "|Me.")]),
    ):
        found = template.every_answer(TALK, [1, 3], [1, 3])
        assert len(found) == (2 if template._source == THOUGHTS_LAST else 1)
        answers = [(text, *span) for text, spans in found for span in spans]
        assert [number for _, number, _, _ in answers] == [1, 3]
        for (text, _, begin, end), (before, answer) in zip(answers, texts, strict=True):
            assert text[:begin].endswith(before) and text[begin:end] == answer
    # What need not be learnt has no text of its own.
    ((text, spans),) = of(THOUGHTS_LAST).every_answer(TALK, [1, 3], [3])
    assert text.endswith("<think/>Me.") and len(spans) == 1


PROMPTED = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant><think>\n{% endif %}"
)


@pytest.mark.parametrize(
    ("content", "learnt"),
    [
        ("<think>\nhm</think>Hi!", "hm</think>Hi!"),  # what the prompt supplies is not learnt
        ("<think>hm</think>Hi!", "hm</think>Hi!"),
        ("Hi!", "Hi!"),
        ("<b>Hi!</b>", "<b>Hi!</b>"),  # begins as the prompt does, and is not of it
    ],
)
def test_what_a_generation_prompt_supplies_is_no_part_of_an_answer(content, learnt):
    text, answers = said(of(PROMPTED), [TALK[0], {"role": "assistant", "content": content}])
    assert answers == [(1, learnt)] and text == f"<user>Hello<assistant>{content}"


CALLING = {
    "arguments as an object": "{{ c.name }}({{ c.arguments | tojson }})",
    "arguments as text": "{{ c.name + '(' + c.arguments + ')' }}",
    "no content beside": "{% if m.content is none %}{{ c.name }}({{ c.arguments | tojson }}){% endif %}",
    "no calls": "",
}


@pytest.mark.parametrize("name", CALLING)
def test_how_a_template_writes_calls_of_tools(name):
    template = of(
        "{{ tools | tojson if tools and 'object' in '" + name + "' }}{% for m in messages %}{{ m.content or '' }}"
        "{% for t in m.tool_calls or [] %}{% set c = t.function %}" + CALLING[name] + "{% endfor %}{% endfor %}"
    )
    wanted = {
        "arguments as an object": CallStyle(),
        "arguments as text": CallStyle(arguments_as_text=True),
        "no content beside": CallStyle(None),
        "no calls": None,
    }
    assert template.call_style == wanted[name]
    assert template.writes_tools == (name == "arguments as an object")


def test_the_field_for_thoughts():
    for field in ("reasoning_content", "thinking"):
        assert of("{{ messages | map(attribute='" + field + "', default='') | join }}").thoughts_field == field
    assert of(CHATML).thoughts_field is None


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


GREEDY = {
    "a range": "{% for i in range(10**12) %}x{% endfor %}",
    "loops in loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "a loop that keeps nothing": "{% for i in range(99999) %}{% for j in range(99999) if j < 0 %}{% endfor %}"
    "{% endfor %}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "a macro for ever": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "calls": "{% macro f(n) %}{{ caller() }}{{ caller() }}{% endmacro %}"
    + "{% call f(1) %}" * 40
    + "x"
    + "{% endcall %}" * 40,
    "a loop that calls itself": "{% for i in [1] recursive %}{{ loop([1]) }}{{ loop([1]) }}{% endfor %}",
    "a product": "{{ 'x' * 10**11 }}",
    "a list": "{{ ([1] * 10**11) | length }}",
    "doubling": "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "adding": "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
    "lists of lists": "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}"
    "{% endfor %}{{ n.x }}",
    "the same as JSON": "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
    "{{ n.x | tojson }}",
    "a power": "{{ 10 ** (10 ** 9) }}",
    "squares": "{% set n = namespace(x=3) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "a width": "{{ 'x'.center(10**11) }}",
    "a filter's width": "{{ 'x' | center(100000000000) }}",
    "a format": "{{ '%099999999999d' % 5 }}",
    "another format": "{{ '{:099999999999}'.format(5) }}",
    "a filter's format": "{{ '%099999999999d' | format(5) }}",
    "replacing": "{{ ('x' * 9999999).replace('x', 'y' * 9999999) }}",
    "filtered replacing": "{{ ('x' * 999999) | replace('x', 'y' * 999999) }}",
    "joining": "{{ ('x' * 9999999).join('y' * 9999999) }}",
    "indents": "{{ ('\\n' * 9999999) | indent(9999999) }}",
    "latin": "{{ lipsum(n=10**9) }}",
    "much text": "{% set x = 'x' * 9999999 %}{% for i in range(99999) %}{{ x }}{% endfor %}",
    "much of its own": "{% for i in range(99999) %}" + "text " * 99999 + "{% endfor %}",
}


@pytest.mark.parametrize("source", GREEDY.values(), ids=GREEDY.keys())
def test_a_template_without_end_or_measure_is_given_up_on(source):
    with pytest.raises(
        UserError, match="chat template of a/folder (is given up on: it .*; mend it|cannot be rendered)"
    ):
        of(source).render(TALK[:1])


def test_long_conversations_are_rendered_whole():
    talk = [{"role": ("user", "assistant")[i % 2], "content": "word " * 200} for i in range(2000)]
    assert of(CHATML).render(talk).count("word ") == 400_000
