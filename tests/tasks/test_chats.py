import dataclasses
import json

import numpy as np
import pytest
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import ChatTask, Tally, fingerprints, generator
from flan_jax.tasks.chats import ChatRecipe
from flan_jax.tasks.conversations import turns_of
from flan_jax.tasks.examples import describe, examples
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.vocabularies import Tokenizer

LONG = {"inputs": None, "targets": None}
MESSAGES = [
    {"role": "developer", "content": "Be quick."},
    {"role": "user", "content": "Is plum a fruit?"},
    {"role": "assistant", "content": "It is."},
    {"role": "user", "content": "And stone?"},
    {"role": "assistant", "content": "It is so slow."},
    {"role": "user", "content": "unanswered"},
]


@pytest.fixture
def chat(model):
    def declare(*conversations, name="chat", **fields):
        rows = [one if isinstance(one, dict) else {"messages": one} for one in conversations]
        return ChatTask(name, generator(lambda split: rows), vocabulary=model, **fields).register()

    return declare


def test_only_what_the_assistant_says_is_learnt_and_each_answer_ends(chat, model):
    chat(MESSAGES)
    (one,) = examples("chat", "train", LONG)
    tokenizer = Tokenizer(model)
    assert one.inputs_text == "System: Be quick.\nUser: Is plum a fruit?\nAssistant:"
    assert one.inputs.tolist() == tokenizer.encode_one(one.inputs_text)
    assert one.targets_text == "It is.\nUser: And stone?\nAssistant: It is so slow."
    learnt = tokenizer.decode(one.targets[one.weights == 1].tolist())
    assert learnt == tokenizer.decode(tokenizer.encode_one("It is.") + tokenizer.encode_one("It is so slow."))
    assert one.weights.dtype == np.float32 and len(one.weights) == len(one.targets)
    ends = np.flatnonzero(one.targets == 1)
    assert len(ends) == 2 and one.weights[ends].tolist() == [1, 1] and ends[1] == len(one.targets) - 1
    # What follows the first end is the user's turn, which is shown and not learnt.
    shown = one.targets[one.weights == 0]
    assert tokenizer.decode(shown.tolist()).strip() == "User: And stone?\nAssistant:"


def test_one_answer_needs_no_weights(chat):
    chat(MESSAGES[:3])
    (one,) = examples("chat", "train", LONG)
    assert one.weights is None and one.objective == "chat"


def test_sharegpt_content_parts_and_weights_of_messages(chat):
    chat(
        [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
        [
            {"role": "user", "content": [{"type": "text", "value": "one"}, {"type": "text", "text": "two"}]},
            {
                "role": "assistant",
                "content": [{"type": "reasoning", "value": "hm"}, {"type": "text", "value": "three"}],
            },
        ],
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "unlearnt", "loss_weight": 0.0},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "learnt", "loss_weight": 0.5},
        ],
    )
    first, second, third = examples("chat", "train", LONG)
    assert (first.inputs_text, first.targets_text) == ("User: a\nAssistant:", "b")
    assert (second.inputs_text, second.targets_text) == ("User: one\ntwo\nAssistant:", "three")
    assert set(third.weights.tolist()) == {0.0, 0.5}
    assert third.weights[np.flatnonzero(third.targets == 1)].tolist() == [0.0, 0.5]


def test_literal_braces_are_no_fields(chat):
    chat([{"role": "user", "content": "hi {{name}}"}, {"role": "assistant", "content": "I am {{name}}"}])
    (one,) = examples("chat", "train", LONG)
    assert one.inputs_text == "User: hi {{name}}\nAssistant:" and one.targets_text == "I am {{name}}"


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1, "x", [1]])
def test_a_weight_that_no_loss_can_have_is_a_bad_row(chat, weight):
    chat(MESSAGES, [MESSAGES[1], {"role": "assistant", "content": "b", "loss_weight": weight}])
    with pytest.raises(UserError, match="row 1 of .*: a message's loss_weight is .*; a number of 0 or more is wanted"):
        list(examples("chat", "train", LONG))
    assert [one.id for one in examples("chat", "train", LONG, on_bad_row="skip")] == ["train:0"]


def test_what_a_text_model_cannot_read_is_a_bad_row(chat):
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "a.png"}}]
    chat(MESSAGES, [{"role": "user", "content": parts}, {"role": "assistant", "content": "A plum."}])
    with pytest.raises(
        UserError, match="row 1 of .*: a message holds a part of the kind 'image_url'; models here read"
    ):
        list(examples("chat", "train", LONG))
    assert [one.id for one in examples("chat", "train", LONG, on_bad_row="skip")] == ["train:0"]


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        ({"type": "input_file", "file_id": "1"}, "part of the kind 'input_file'; models here read text alone"),
        ({"type": "document", "source": {}}, "part of the kind 'document'; models here read text alone"),
        ({"type": ["text"], "text": "x"}, r"part of the kind \['text'\]; models here read text alone"),
        ({"type": "text"}, "part of the kind 'text' without a text"),
        ({"type": "text", "text": None}, "part of the kind 'text' without a text"),
        ({}, "part of the kind 'text' without a text"),
        (3, "a part that is 3; text, or an object with its type and text, is wanted"),
        (None, "a part that is None; text, or an object with its type and text, is wanted"),
    ],
)
def test_a_part_that_holds_no_text_is_told_and_not_left_out(chat, part, fault):
    parts = [{"type": "text", "text": "What is this?"}, part]
    chat(MESSAGES, [{"role": "user", "content": parts}, {"role": "assistant", "content": "A plum."}])
    with pytest.raises(UserError, match=f"row 1 of .*: a message holds {'a ' if 'kind' in fault else ''}{fault}"):
        list(examples("chat", "train", LONG))
    assert [one.id for one in examples("chat", "train", LONG, on_bad_row="skip")] == ["train:0"]


ADD = '{"name": "add", "arguments": {"a": 1}}'
CALLS = {
    "OpenAI's": {"tool_calls": [{"id": "c1", "function": {"name": "add", "arguments": '{"a": 1}'}}], "content": None},
    "OpenAI's, with an object": {
        "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]
    },
    "OpenAI's older": {"function_call": {"name": "add", "arguments": '{"a": 1}'}, "content": ""},
    "a part": {"content": [{"type": "tool_call", "value": ADD}]},
    "ShareGPT's": {"from": "function_call", "role": None, "value": ADD},
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_calls_of_tools_are_learnt_and_their_results_are_not(chat, model, call):
    """As JSON where no template writes them; the tools are told in the system prompt."""
    tools = json.dumps([{"name": "add", "description": "adds"}])
    talk = [MESSAGES[0], MESSAGES[1], {"role": "assistant", **call}, {"role": "tool", "content": "2"}, MESSAGES[2]]
    chat({"messages": talk, "tools": tools}, {"messages": talk[1:], "tools": json.loads(tools)}, {"messages": talk})
    first, second, third = examples("chat", "train", LONG)
    asked = "User: Is plum a fruit?\nAssistant:"
    told = 'Tools:\n{"name": "add", "description": "adds"}'
    assert first.inputs_text == f"System: Be quick.\n\n{told}\n{asked}"
    assert second.inputs_text == f"System: {told}\n{asked}" and third.inputs_text == f"System: Be quick.\n{asked}"
    assert first.targets_text == f"{ADD}\nTool: 2\nAssistant: It is." and first.learnt == (ADD, "It is.")
    learnt = Tokenizer(model).decode(first.targets[first.weights > 0].tolist())
    assert "".join(learnt.split()) == "".join(f"{ADD}It is.".split())


@pytest.mark.parametrize(
    ("message", "row", "fault"),
    [
        ({"tool_calls": [{"function": {"name": "add", "arguments": "{a: 1}"}}]}, {}, "gives 'add' is no JSON .*{a: 1}"),
        ({"tool_calls": [{"function": {"name": "add", "arguments": "[1]"}}]}, {}, r"gives 'add' \[1\]; an object with"),
        ({"tool_calls": [{"function": {"arguments": "{}"}}]}, {}, "call is .*; an object with a name and arguments"),
        ({"function_call": "add(1)"}, {}, r"a message's call is no JSON .*: 'add\(1\)'"),
        ({"role": "function_call", "content": "add(1)"}, {}, r"a message's call is no JSON .*: 'add\(1\)'"),
        ({"content": [{"type": "tool_call", "value": 5}]}, {}, "a message's call is 5; an object"),
        ({"role": "user", "content": "a", "tool_calls": [ADD]}, {}, "role 'user' calls a tool; only the assistant"),
        ({"content": "a"}, {"tools": "no JSON"}, "the row's tools is no JSON .*: 'no JSON'"),
        ({"content": "a"}, {"tools": {"add": 1}}, "the row's tools are {'add': 1}; a list"),
        ({"content": "a"}, {"tools": ["5"]}, "one of the row's tools is 5; an object with a name is wanted"),
        ({"content": "a"}, {"weight": "heavy"}, "the row's weight is 'heavy'; a number of 0 or more is wanted"),
    ],
)
def test_what_is_no_call_no_tool_and_no_weight_is_a_bad_row(chat, message, row, fault):
    talk = [*MESSAGES[:2], {"role": "assistant", **message}, *MESSAGES[1:3]]
    chat(MESSAGES, {"messages": talk, **row})
    with pytest.raises(UserError, match=f"row 1 of .*{fault}"):
        list(examples("chat", "train", LONG))
    assert [one.id for one in examples("chat", "train", LONG, on_bad_row="skip")] == ["train:0"]


def trained(one):
    """The learnt texts with their weights."""
    weights = [1.0] if one.weights is None else [weight for weight in dict.fromkeys(one.weights.tolist()) if weight]
    return one.learnt, weights


MARKED = [
    {"role": "user", "content": "a", "train": True},
    {"role": "assistant", "content": "one"},
    {"role": "user", "content": "b"},
    {"role": "assistant", "content": "two", "train": False},
    {"role": "user", "content": "c"},
    {"role": "assistant", "content": "three", "weight": 1, "train_on_turn": True},
    {"role": "user", "content": "d"},
    {"role": "assistant", "content": "four", "trainable": True, "loss_weight": 0.5},
    {"role": "user", "content": "e"},
    {"role": "assistant", "content": "five", "trainable": None},
]


def test_which_answers_bear_loss(chat):
    """By choice all, the last, or those that are marked; a message's and a row's weights always count."""
    rows = [MARKED, {"messages": MARKED, "weight": 0.5}, {"messages": MARKED[:2], "weight": 0}, MARKED[:2]]
    said = ("one", "three", "four", "five")
    wanted = {
        "all": [(said, [1.0, 0.5]), (said, [0.5, 0.25]), (("one",), [1.0])],
        "marked": [(("three", "four"), [1.0, 0.5]), (("three", "four"), [0.5, 0.25])],
        "last": [(("five",), [1.0]), (("five",), [0.5]), (("one",), [1.0])],
    }
    for loss_on, learnt in wanted.items():
        chat(*rows, loss_on=loss_on, name=f"on_{loss_on}")
        tally = Tally()
        found = list(examples(f"on_{loss_on}", "train", LONG, tally=tally))
        assert [trained(one) for one in found] == learnt
        assert tally == Tally(read=4, kept=len(found), dropped=4 - len(found))
    (last, *_) = examples("on_last", "train", LONG)
    assert last.inputs_text.endswith("Assistant: four\nUser: e\nAssistant:") and last.targets_text == "five"


THOUGHTS = {
    "a part": {"content": [{"type": "reasoning", "value": "hm"}, {"type": "text", "text": "It is."}]},
    "a part as Anthropic has it": {"content": [{"type": "thinking", "thinking": "hm"}, "It is."]},
    "a field": {"content": "It is.", "reasoning_content": "hm"},
    "in the text": {"content": "<think>\nhm\n</think>\n\nIt is."},
    "in the text, opened by the prompt": {"content": "hm\n</think>\nIt is."},
}


@pytest.mark.parametrize("form", THOUGHTS)
def test_thoughts(chat, model, form):
    chat(MESSAGES[1:2] + [{"role": "assistant", **THOUGHTS[form]}], loss_on="all")
    (one,) = examples("chat", "train", LONG)
    in_text = "text" in form
    assert one.targets_text == (THOUGHTS[form]["content"] if in_text else "It is.")
    found: dict = {}
    for thinking in ("left_out", "context", "learnt"):
        chat(MESSAGES[1:2] + [{"role": "assistant", **THOUGHTS[form]}], thinking=thinking, name=thinking)
        (found[thinking],) = examples(thinking, "train", LONG)
        assert found[thinking].inputs_text == one.inputs_text
    thought = "<think>\nhm\n</think>\n\n"
    assert (found["left_out"].targets_text, found["left_out"].learnt) == ("It is.", ("It is.",))
    assert found["learnt"].targets_text == thought + "It is." and found["learnt"].weights is None
    shown = found["context"]
    tokenizer = Tokenizer(model)
    assert shown.targets[shown.weights == 0].tolist() == tokenizer.encode_one(thought)
    assert shown.targets[shown.weights == 1].tolist() == [*tokenizer.encode_one("It is."), 1]


def test_each_answer_as_an_example_of_its_own(chat, model):
    chat(MESSAGES, MESSAGES[:3], each_turn=True)
    first, second, third = examples("chat", "train", LONG)
    assert [one.id for one in (first, second, third)] == ["train:0#0", "train:0#1", "train:1"]
    asked = "System: Be quick.\nUser: Is plum a fruit?\nAssistant:"
    assert first.inputs_text == third.inputs_text == asked and first.targets_text == first.references[0] == "It is."
    assert second.inputs_text == f"{asked} It is.\nUser: And stone?\nAssistant:"
    assert second.targets_text == "It is so slow." and second.weights is None
    tokenizer = Tokenizer(model)
    assert second.inputs.tolist() == tokenizer.encode_one(second.inputs_text)
    assert second.targets.tolist() == [*tokenizer.encode_one("It is so slow."), 1]
    # What does not fit loses the first exchange, and keeps the system prompt and the question.
    tally = Tally()
    _, cut, _ = examples("chat", "train", {"inputs": len(first.inputs) + 4, "targets": None}, tally=tally)
    assert cut.inputs_text == "System: Be quick.\nUser: And stone?\nAssistant:" and tally.truncated == 1
    assert cut.cut_tokens == len(second.inputs) - len(cut.inputs)


def test_a_row_may_give_several_conversations(chat):
    """As a tree does, each of whose paths is one."""

    def paths(row):
        return [{"messages": [MESSAGES[1], {"role": "assistant", "content": said}]} for said in row["said"]] or None

    rows = [{"said": ["It is.", "No."]}, {"said": ["Yes."]}, {"said": []}, {"said": ["", "It is."]}]
    chat(*rows, preprocess=paths)
    tally = Tally()
    found = [(one.id, one.targets_text) for one in examples("chat", "train", LONG, tally=tally)]
    assert found == [("train:0#0", "It is."), ("train:0#1", "No."), ("train:1", "Yes."), ("train:3#1", "It is.")]
    assert tally == Tally(read=6, kept=4, dropped=2)


def test_choices_that_there_are_not_are_told(chat):
    with pytest.raises(UserError, match="loss_on is 'first', wanted one of 'all', 'last', 'marked'"):
        chat(MESSAGES, loss_on="first")
    with pytest.raises(UserError, match="thinking is 'learn', wanted one of .*did you mean 'learnt'"):
        chat(MESSAGES, thinking="learn")


def test_every_choice_shapes_the_fingerprint(chat):
    task = chat(MESSAGES)
    choices = [
        {},
        {"loss_on": "last"},
        {"thinking": "left_out"},
        {"tools": None},
        {"weight": None},
        {"each_turn": True},
    ]
    shapings = [ChatRecipe(dataclasses.replace(task, **choice)).shaping() for choice in choices]
    assert len({fingerprints.of(one) for one in shapings}) == len(choices)


def test_parts_of_the_responses_api_and_tables_of_both_forms_are_read(chat):
    said = [
        {"role": "user", "content": [{"type": "input_text", "text": "a", "value": None}, {"text": None, "value": "c"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
    ]
    both = [
        {"role": None, "from": "human", "content": None, "value": "a"},
        {"role": "assistant", "from": None, "content": "b", "value": None},
    ]
    chat(said, both)
    first, second = examples("chat", "train", LONG)
    assert (first.inputs_text, first.targets_text) == ("User: a\nc\nAssistant:", "b")
    assert (second.inputs_text, second.targets_text) == ("User: a\nAssistant:", "b")


def test_conversations_without_an_answer_are_dropped_and_counted(chat):
    unweighted = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "loss_weight": 0}]
    chat(MESSAGES[:2], [], [MESSAGES[1], {"role": "assistant", "content": " "}], unweighted, MESSAGES)
    tally = Tally()
    assert [one.id for one in examples("chat", "train", LONG, tally=tally)] == ["train:4"]
    assert tally == Tally(read=5, kept=1, dropped=4)


def test_too_long_targets_lose_whole_exchanges_and_keep_their_end(chat, model):
    chat(MESSAGES)
    (whole,) = examples("chat", "train", LONG)
    first = int(np.flatnonzero(whole.targets == 1)[0]) + 1
    tally = Tally()
    (cut,) = examples("chat", "train", {"inputs": None, "targets": len(whole.targets) - 1}, tally=tally)
    assert cut.targets.tolist() == whole.targets[:first].tolist() and cut.cut_tokens == len(whole.targets) - first
    assert tally.truncated == 1
    (short,) = examples("chat", "train", {"inputs": None, "targets": 3})
    assert short.targets.tolist() == [*whole.targets[:2].tolist(), 1] and short.weights is None


def test_a_prompt_too_long_is_cut_in_what_is_said(chat, model):
    chat([{"role": "user", "content": "the apple and the pear " * 20}, {"role": "assistant", "content": "so"}])
    (one,) = examples("chat", "train", {"inputs": 30, "targets": 8})
    assert one.inputs_text.startswith("User: the apple") and one.inputs_text.endswith("\nAssistant:")
    assert len(one.inputs) <= 30
    with pytest.raises(UserError, match="its inputs have"):
        list(examples("chat", "train", {"inputs": 30, "targets": 8}, on_long="refuse"))


def test_an_example_whose_learnt_part_is_cut_off_is_not_kept(chat):
    answers = [{"role": "assistant", "content": "unlearnt", "loss_weight": 0}, MESSAGES[3], MESSAGES[4]]
    chat([MESSAGES[1], *answers])
    tally = Tally()
    assert not list(examples("chat", "train", {"inputs": None, "targets": 12}, tally=tally))
    assert tally == Tally(read=1, too_long=1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"turns": []}, "no field 'messages' with the messages, the row has turns"),
        ([{"role": "narrator", "content": "x"}], "the role 'narrator'; the roles are system, developer, user"),
        (["hello"], "a message is 'hello'"),
        ({"messages": "hello"}, "the messages are text that is no JSON"),
        ([{"role": "user", "content": True}], "content is bool"),
    ],
)
def test_rows_that_are_no_conversation(chat, row, message):
    chat(row)
    with pytest.raises(UserError, match=message):
        list(examples("chat", "train", LONG))
    tally = Tally()
    assert not list(examples("chat", "train", LONG, on_bad_row="skip", tally=tally)) and tally.bad_rows == 1


def test_roles_of_tools(chat):
    chat(
        [
            {"from": "human", "value": "sum"},
            {"from": "function_call", "value": ADD},
            {"from": "observation", "value": "2"},
            {"from": "gpt", "value": "two"},
        ],
        role_names=(("system", "S"), ("user", "U"), ("assistant", "A"), ("tool", "T")),
    )
    (one,) = examples("chat", "train", LONG)
    assert one.inputs_text == "U: sum\nA:" and one.targets_text == f"{ADD}\nT: 2\nA: two"
    with pytest.raises(BadRow):
        turns_of([{"role": None}])


def test_the_ids_are_seqios_and_the_registered_task_gives_them_with_their_weights(chat, model):
    chat(MESSAGES, MESSAGES[:3], MESSAGES[:2])
    lengths = {"inputs": 40, "targets": 60}
    first, second = examples("chat", "train", lengths)
    encode = seqio.SentencePieceVocabulary(model, extra_ids=100).encode
    asked, answer, between, later = (
        encode("System: Be quick.\nUser: Is plum a fruit?\nAssistant:"),
        [*encode("It is."), 1],
        encode("\nUser: And stone?\nAssistant:"),
        [*encode("It is so slow."), 1],
    )
    assert first.inputs.tolist() == second.inputs.tolist() == asked
    assert first.targets.tolist() == answer + between + later and second.targets.tolist() == answer
    assert first.weights.tolist() == [1.0] * len(answer) + [0.0] * len(between) + [1.0] * len(later)
    dataset = seqio.get_mixture_or_task("chat").get_dataset(lengths, "train", shuffle=False)
    for one, other in zip((first, second), dataset.as_numpy_iterator(), strict=True):
        assert one.inputs.tolist() == other["inputs"].tolist()
        assert one.targets.tolist() == other["targets"].tolist()
        weights = np.ones(len(one.targets)) if one.weights is None else one.weights
        assert weights.tolist() == other["targets_loss_weights"].tolist()


def test_a_description(chat):
    chat(MESSAGES, cap=9, cluster="chat")
    described = describe("chat")
    assert (described["objective"], described["eval_kind"]) == ("chat", "loss")
    assert (described["cap"], described["random"]) == (9, False)


def test_role_names_must_be_whole(chat):
    with pytest.raises(UserError, match="leaves out tool, user"):
        chat(MESSAGES, role_names=(("system", "S"), ("assistant", "A")))


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("chat/messages_content_parts.jsonl", "messages"),
        ("chat/reason_tool_use.jsonl", "messages"),
        ("chat/glaive_toolcall_zh.json", "conversations"),
        ("chat/fastchat_dummy_conversation.json", "conversations"),
    ],
)
def test_real_conversations_lose_nothing_that_is_said(data, model, path, field):
    content = (data / path).read_text()
    rows = json.loads(content) if content.startswith("[") else [json.loads(line) for line in content.splitlines()]
    ChatTask("real", generator(lambda split: rows), messages=field, vocabulary=model).register()
    tally = Tally()
    found = list(examples("real", "train", LONG, tally=tally))
    assert len(found) + tally.dropped == len(rows) == tally.read and len(found) > 0.9 * len(rows)
    tokenizer = Tokenizer(model)
    for one, row in zip(found[:40], rows, strict=False):
        answers = [turn.text for turn in turns_of(row[field]) if turn.role == "assistant" and turn.text]
        weights = np.ones(len(one.targets)) if one.weights is None else one.weights
        learnt = tokenizer.decode(one.targets[weights > 0].tolist())
        assert "".join(learnt.split()) == "".join("".join(answers).split())
