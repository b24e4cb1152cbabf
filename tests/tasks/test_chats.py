import json

import numpy as np
import pytest
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import ChatTask, Tally, generator
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
    def declare(*conversations, **fields):
        rows = [one if isinstance(one, dict) else {"messages": one} for one in conversations]
        return ChatTask("chat", generator(lambda split: rows), vocabulary=model, **fields).register()

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


@pytest.mark.parametrize("key", ["tool_calls", "function_call"])
def test_a_call_beside_the_content_is_told_and_not_left_out(chat, key):
    call = {"role": "assistant", "content": None, key: [{"function": {"name": "f", "arguments": "{}"}}]}
    chat([*MESSAGES[:3], {**MESSAGES[2], key: None}], [*MESSAGES[:2], call, *MESSAGES[1:3]])
    with pytest.raises(UserError, match=f"row 1 of .*: a message holds {key}, of which nothing would be learnt; write"):
        list(examples("chat", "train", LONG))
    assert [one.id for one in examples("chat", "train", LONG, on_bad_row="skip")] == ["train:0"]


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
            {"from": "function_call", "value": '{"add": 1}'},
            {"from": "observation", "value": "2"},
            {"from": "gpt", "value": "two"},
        ],
        role_names=(("system", "S"), ("user", "U"), ("assistant", "A"), ("tool", "T")),
    )
    (one,) = examples("chat", "train", LONG)
    assert one.inputs_text == "U: sum\nA:" and one.targets_text == '{"add": 1}\nT: 2\nA: two'
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
