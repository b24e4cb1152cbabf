"""Conversations that are not as they should be: read where one knows what is meant, else told by row and message."""

import json

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import ChatTask, Tally, generator, jsonl
from flan_jax.tasks.conversations import turns_of
from flan_jax.tasks.examples import examples
from tests.tokenizer_folders import byte_level

LONG = {"inputs": None, "targets": None}
ASKED = {"role": "user", "content": "a"}
SAID = {"role": "assistant", "content": "b"}
PAIR = [ASKED, SAID]
# Refuses all but user and assistant by turns, perhaps after a system prompt, as templates of Llama 2's kind do.
STRICT = (
    "{% for m in messages if m.role != 'system' %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def read(rows, vocabulary, tally=None, name="chat", **how):
    rows = [one if isinstance(one, dict) and "messages" in one else {"messages": one} for one in rows]
    ChatTask(name, generator(lambda split: rows), vocabulary=vocabulary).register()
    return list(examples(name, "train", LONG, tally=tally, **how))


@pytest.mark.parametrize(
    "messages",
    [
        json.dumps(PAIR),  # a column of text
        {"role": ["user", "assistant"], "content": ["a", "b"]},  # a column each, as tables keep lists of objects
        {"1": SAID, "0": ASKED},
        [{"role": " User ", "content": "a"}, {"from": "chatgpt", "value": "b"}],
        [{"role": "user", "content": {"type": "text", "text": "a"}}, SAID],
        [{"role": "system", "content": ""}, *PAIR],  # no system prompt
        [*PAIR, {"role": "user", "content": "and"}],  # nobody answers
        [*PAIR, {"role": "user", "content": "and"}, {"role": "assistant"}],
        [*PAIR, {"role": "user"}],
    ],
)
def test_what_is_meant_is_read(model, messages):
    (one,) = read([messages], model)
    assert (one.inputs_text, one.targets_text) == ("User: a\nAssistant:", "b")


def test_numbers_are_text(model):
    (one,) = read([[{"role": "user", "content": 4}, {"role": "assistant", "content": 2.5}]], model)
    assert (one.inputs_text, one.targets_text) == ("User: 4\nAssistant:", "2.5")


def test_what_the_assistant_says_before_it_is_asked_is_shown_and_not_learnt(model):
    hello = {"role": "assistant", "content": "Is it so?"}
    greeted, prompted = read([[hello, *PAIR], [{"role": "system", "content": "Greet."}, hello]], model)
    assert (greeted.inputs_text, greeted.targets_text) == ("Assistant: Is it so?\nUser: a\nAssistant:", "b")
    assert greeted.weights is None
    # Unless the message itself says that it counts.
    (marked,) = read([[{**hello, "loss_weight": 1.0}, *PAIR]], model, name="marked")
    assert (marked.inputs_text, marked.targets_text) == ("Assistant:", "Is it so?\nUser: a\nAssistant: b")
    assert marked.weights[0] == marked.weights[-1] == 1
    # A system prompt asks where no user does.
    assert prompted.inputs_text == "System: Greet.\nAssistant:" and prompted.weights is None
    tally = Tally()
    assert not read([[hello]], model, tally, name="alone") and tally == Tally(read=1, dropped=1)


def test_a_system_prompt_in_the_middle_stands_where_it_is(model, tmp_path):
    talk = [*PAIR, {"role": "system", "content": "d"}, {"role": "user", "content": "c"}, SAID]
    (one,) = read([talk], model)
    assert one.targets_text == "b\nSystem: d\nUser: c\nAssistant: b" and sorted(set(one.weights.tolist())) == [0, 1]
    first = "{% for m in messages[1:] if m.role == 'system' %}{{ raise_exception('system first') }}{% endfor %}"
    folder = str(byte_level(tmp_path / "first", first + STRICT))
    with pytest.raises(
        UserError, match="row 0 of .* refuses a conversation of user, assistant, system, .*skip. To leave"
    ):
        read([talk], folder, name="first")


def test_turns_of_one_role_stand_as_they_are(model):
    (one,) = read([[ASKED, {"role": "user", "content": "c"}, SAID, SAID]], model)
    assert one.inputs_text == "User: a\nUser: c\nAssistant:" and one.targets_text == "b\nAssistant: b"


def test_a_template_that_wants_users_and_assistants_by_turns_gets_them(tmp_path):
    folder = str(byte_level(tmp_path / "strict", STRICT))
    hello, more = {"role": "assistant", "content": "Hi!"}, {"role": "user", "content": "c"}
    system = {"role": "system", "content": "d"}
    odd, even = read([[hello, system, ASKED, more, SAID, SAID], [ASKED, SAID]], folder)
    asked = "<|im_start|>system\nd<|im_end|>\n<|im_start|>user\na\n\nc<|im_end|>\n<|im_start|>assistant\n"
    assert odd.inputs_text == asked and odd.targets_text == "b\n\nb"
    assert even.targets_text == "b"
    unequal = [ASKED, {**SAID, "loss_weight": 0.0}, SAID]  # one is learnt and one is not: they cannot be one
    with pytest.raises(
        UserError, match=r"row 0 of .* refuses a conversation of user, assistant, assistant: roles must"
    ):
        read([unequal], folder, name="unequal")


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        (
            [ASKED, SAID, {"role": "user", "content": " "}, SAID],
            r"the user says nothing \(message 3\), so what follows",
        ),
        ([ASKED, {"role": "assistant", "content": None}, *PAIR], r"the assistant says nothing \(message 2\)"),
        ([{"role": "user"}, SAID], r"the user says nothing \(message 1\)"),
        ([ASKED, {"role": "asistant", "content": "b"}], r"role 'asistant'; .*did you mean 'assistant'\? \(message 2\)"),
        ([ASKED, {"content": "b"}], r"a message has no role, it has content \(message 2\)"),
        ([ASKED, "b"], r"a message is 'b'; an object with a role and content is wanted \(message 2\)"),
        ([ASKED, {"from": "function_call", "value": "add(1"}, SAID], r"call is no JSON .*'add\(1' \(message 2\)"),
        ([ASKED, {"role": "assistant", "content": {"a": 1}}], r"content is dict; text .* is wanted \(message 2\)"),
        ([ASKED, {"role": "assistant", "content": float("nan")}], r"content is float; .* \(message 2\)"),
        ("[{", "the messages are text that is no JSON"),
        ({"a": 1}, "the messages are dict; a list is wanted"),
        (None, "the messages are NoneType; a list is wanted"),
    ],
)
def test_what_nobody_can_know_is_told_by_file_row_and_message(tmp_path, model, messages, fault):
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps({"id": "same", "messages": one}) + "\n" for one in (PAIR, messages, PAIR)))
    ChatTask("chat", jsonl(path), vocabulary=model).register()
    with pytest.raises(UserError, match=rf"talks.jsonl:2: .*{fault}.*--on_bad_row skip"):
        list(examples("chat", "train", LONG))
    tally = Tally()
    found = list(examples("chat", "train", LONG, on_bad_row="skip", tally=tally))
    # The others are read, whatever their rows call themselves.
    assert [one.id for one in found] == ["talks:0", "talks:2"] and tally == Tally(read=3, kept=2, bad_rows=1)


def test_one_row_may_hold_several_conversations(model):
    def parted(row):
        if row["talks"] == 1:
            raise ValueError("one")
        return [{"messages": PAIR}, {"messages": [{"role": "narrator"}]}, {"messages": PAIR[:1]}][: row["talks"]]

    rows = [{"talks": 3}, {"talks": 0}, {"talks": 1}]
    ChatTask("several", generator(lambda split: rows), preprocess=parted, vocabulary=model).register()
    tally = Tally()
    found = list(examples("several", "train", LONG, on_bad_row="skip", tally=tally))
    assert [one.id for one in found] == ["train:0#0"] and tally == Tally(read=5, kept=1, bad_rows=2, dropped=2)
    with pytest.raises(UserError, match="row 0 of .*: a message has the role 'narrator'"):
        list(examples("several", "train", LONG))


def test_no_turn_is_lost():
    assert [turn.text for turn in turns_of([ASKED, {"role": "tool", "content": ""}, SAID])] == ["a", "", "b"]
